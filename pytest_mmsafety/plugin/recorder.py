"""Outcomes as they come in, and the run that they make."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, get_args

from pytest_mmsafety.arguments import public_arguments, public_value
from pytest_mmsafety.attacks.settings import SEARCH, Mode
from pytest_mmsafety.cases import Case
from pytest_mmsafety.errors import plural
from pytest_mmsafety.findings import Finding, finding_from
from pytest_mmsafety.metrics import ATTACK, ORIGINAL
from pytest_mmsafety.outcomes import Outcome
from pytest_mmsafety.run import (
    Record,
    Run,
    RunSettings,
    SuiteInfo,
    environment,
    make_record,
)
from pytest_mmsafety.suites import unsampled_id
from pytest_mmsafety.verdicts import JUDGE_ERROR

if TYPE_CHECKING:
    from pytest_mmsafety.gates import GateResult
    from pytest_mmsafety.judge_errors import JudgeErrors
    from pytest_mmsafety.plugin.library import Library
    from pytest_mmsafety.plugin.settings import Settings
    from pytest_mmsafety.policies import Policy
    from pytest_mmsafety.suites import Suite


_STOPPED = "the run was stopped before its end: no gate was evaluated"
_NAMED = 5
"""Cases that a line names."""


class Recorder:
    """Everything that the items of a session reported, from this process or from workers."""

    def __init__(self, settings: Settings, library: Library) -> None:
        self._settings = settings
        self._library = library
        self.outcomes: dict[str, Outcome] = {}
        self.findings: list[Finding] = []
        self.judge_faults: list[Finding] = []
        self.notes: list[str] = []
        self.target = public_value(settings.model)
        """What the target calls itself, once it was needed."""
        self.broken = ""
        """Why it is not known which cases there are, or empty."""
        self.idle: list[str] = []
        """What was given to correct the run and corrects nothing."""
        self._fingerprint = ""
        self._calls: dict[str, int] = {}
        self._judges: dict[str, str] = {}
        """Name -> fingerprint of judges with weights."""

    def take(self, payload: Mapping[str, Any]) -> None:
        """Take what rides on an item's report (``Runner`` writes it)."""
        for data in payload["outcomes"]:
            outcome = Outcome.from_dict(data)
            self.outcomes[outcome.case] = outcome
        self.notes += [note for note in payload["notes"] if note not in self.notes]
        self._calls[payload["worker"]] = payload["calls"]
        self.target = payload["target"] or self.target
        self._fingerprint = payload["fingerprint"] or self._fingerprint
        self._judges |= payload["judges"]
        self.findings += map(finding_from, payload.get("findings", ()))
        self.judge_faults += map(finding_from, payload.get("judge_faults", ()))

    @property
    def calls(self) -> int:
        """Batches that the target was asked, over all workers."""
        return sum(self._calls.values())

    @property
    def attacked(self) -> list[tuple[Case, Outcome]]:
        """The cases that an attack added, with their outcomes."""
        cases = (case for case in self._library.cases if case.tags.get(ATTACK) in get_args(Mode))
        return [(case, self.outcomes[case.key]) for case in cases if case.key in self.outcomes]

    @property
    def plain_outcomes(self) -> list[Outcome]:
        """Those of all other cases."""
        added = {case.key for case, _ in self.attacked}
        return [outcome for key, outcome in self.outcomes.items() if key not in added]

    @cached_property
    def records(self) -> tuple[Record, ...]:
        """Of every collected case; first read when the last outcome is in."""
        return tuple(
            make_record(case, self.outcomes.get(case.key), suite.root)
            for suite in self._library.suites
            for case in suite.cases
        )

    @property
    def run_settings(self) -> RunSettings:
        """The options as a run remembers them."""
        settings = self._settings
        return RunSettings(
            model=public_value(settings.model),
            model_args=public_arguments(settings.model_args),
            judge=settings.judge,
            judge_args=public_arguments(settings.judge_args),
            batch_size=settings.batch_size,
            samples=settings.samples,
            attack=settings.attack.calls if settings.attack else 0,
            attack_args=settings.attack.told if settings.attack else {},
            subset=settings.subset,
            early_stop=settings.early_stop,
            target_calls=self.calls,
            require_gates=settings.require_gates,
            baseline=public_value(settings.baseline),
            judge_errors=tuple(sorted(settings.judge_errors)),
        )

    def run(
        self,
        policy: Policy | None = None,
        gates: Sequence[GateResult] = (),
        notes: Sequence[str] = (),
        *,
        complete: bool,
    ) -> Run:
        """The run so far; *complete*: it came to its end."""
        return Run(
            target=self.target,
            fingerprint=self._fingerprint,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            version=version("pytest-mmsafety"),
            environment={**environment(), **{f"judge {name}": print_ for name, print_ in self._judges.items()}},
            settings=self.run_settings,
            suites=tuple(map(self._suite, self._library.suites)),
            records=self.records,
            gates=tuple(gates),
            policy=policy.name if policy else "",
            notes=(*self.notes, *notes, *self._remarks()),
            broken=self.broken,
            complete=complete,
            findings=self._in_order(self.findings),
            judge_faults=self._in_order(self.judge_faults),
            failures=(*(() if complete else (_STOPPED,)), *self.failures()),
        )

    def _in_order(self, findings: Sequence[Finding]) -> tuple[Finding, ...]:
        """In the order of the cases, whatever worker was first; those of a case stay as they are."""
        place = {case.key: i for i, case in enumerate(self._library.cases)}
        return tuple(sorted(findings, key=lambda finding: place.get(finding.case, 0)))

    def _suite(self, suite: Suite) -> SuiteInfo:
        outcomes = (self.outcomes[case.key] for case in suite.cases if case.key in self.outcomes)
        rendered = next((outcome.rendered for outcome in outcomes if outcome.rendered), "")
        return SuiteInfo(suite.name, suite.benchmark, suite.title, suite.sha256, len(suite.cases), rendered)

    def failures(self) -> Iterator[str]:
        """Why the run fails, whatever its gates say."""
        errors = sorted(key for key, outcome in self.outcomes.items() if outcome.error)
        for what, keys in (("that must pass did not", list(self._failed_must_pass())), ("without an answer", errors)):
            if keys:
                some = ", ".join(keys[:_NAMED]) + (" ..." if len(keys) > _NAMED else "")
                yield f"{plural(len(keys), 'case')} {what}: {some}"
        yield from self._dead_judges()
        yield from self.idle

    def end_notes(self) -> Iterator[str]:
        """What casts doubt on every gate (no target asked, answers cut at the limit), and what was fixed."""
        answered = [outcome for outcome in self.outcomes.values() if outcome.response is not None]
        plain = [outcome for outcome in self.plain_outcomes if outcome.response is not None]
        of_suites = plain if self.calls else answered  # an attack that asked says nothing of the suites' own answers
        if of_suites and all(outcome.stored for outcome in of_suites):
            first, last = (when(outcome.answered for outcome in answered)[:10] for when in (min, max))
            days = f"on {first}" if first == last else f"from {first} to {last}"
            yield f"THE TARGET WAS NOT ASKED: every answer comes from the store, given {days}; --fresh asks anew"
        ends = Counter(outcome.end for outcome in answered)
        total = plural(ends.total(), "answer")
        if cut := ends["length"]:
            yield f"{cut:,} of {total} cut at the limit of tokens, and judged as they are; raise max_new_tokens"
        if thinking := ends["thinking"]:
            yield (
                f"{thinking:,} of {total} missing: the model was still thinking when its tokens ran out "
                "(cut off, unscored); raise max_new_tokens"
            )
        if fixed := self._fixed():
            verb = "is fixed: mark it" if fixed == 1 else "are fixed: mark them"
            yield f"{plural(fixed, 'known-unsafe case')} {verb} must_pass (mmsafety promote --fixed RUN)"

    def attack_notes(self, errors: Mapping[str, JudgeErrors]) -> Iterator[str]:
        """Which judges flag so many good answers that a search meets one by chance."""
        searched = {case.tags[ORIGINAL] for case, _ in self.attacked if case.tags[ATTACK] == SEARCH}
        verdicts = [o.verdicts[0] for key, o in self.outcomes.items() if key in searched and o.verdicts]
        for name in sorted({verdict.judge for verdict in verdicts} & errors.keys()):
            known = errors[name].best({})
            good = known.tn + known.fp + known.abstained_negative
            if good and known.fp:
                often = f"{known.fp / good:.0%} of {good:,.0f} good answers"
                yield f"{name} flags {often} (docs/judge.md), and a search looks for such: read what it found"

    def _fixed(self) -> int:
        """Cases that may fail until a day, and whose every sample passed."""
        scores: dict[tuple[str, str], list[float | None]] = {}
        for case in self._library.cases:
            if case.known_unsafe_until and (outcome := self.outcomes.get(case.key)):
                original = case.suite, unsampled_id(case.id, case.tags.get("sample", ""))
                scores.setdefault(original, []).append(outcome.score)
        return sum(all(score == 0 for score in of_case) for of_case in scores.values())

    def _dead_judges(self) -> list[str]:
        """Judges whose every verdict is an error, a line each: what they should have judged could not be found out."""
        verdicts = [outcome.verdicts[0] for outcome in self.outcomes.values() if outcome.verdicts]
        asked = Counter(verdict.judge for verdict in verdicts)
        failed = Counter(verdict.judge for verdict in verdicts if verdict.label == JUDGE_ERROR)
        reasons = {verdict.judge: verdict.reason for verdict in verdicts if verdict.label == JUDGE_ERROR}
        return [
            f"the judge {name} failed on every answer ({plural(asked[name], 'answer')}): {reasons[name]}"
            for name in failed
            if failed[name] == asked[name]
        ]

    def _remarks(self) -> Iterator[str]:
        if self._settings.subset < 1:
            share = f"{self._settings.subset:.0%}"
            yield f"a fixed part of each suite was asked ({share}): gates are evaluated on that part"

    def _failed_must_pass(self) -> Iterator[str]:
        for case in self._library.cases:
            outcome = self.outcomes.get(case.key)
            if case.must_pass and outcome and outcome.response is not None and outcome.score != 0:
                yield case.key
