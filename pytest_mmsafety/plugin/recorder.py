"""Outcomes as they come in, and the run that they make."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from pytest_mmsafety.errors import plural
from pytest_mmsafety.outcomes import Outcome
from pytest_mmsafety.run import (
    Record,
    Run,
    RunSettings,
    SuiteInfo,
    environment,
    make_record,
    model_name,
    public_arguments,
)

if TYPE_CHECKING:
    from pytest_mmsafety.gates import GateResult
    from pytest_mmsafety.plugin.library import Library
    from pytest_mmsafety.plugin.settings import Settings
    from pytest_mmsafety.policies import Policy


class Recorder:
    """Everything that the items of a session reported, from this process or from workers."""

    def __init__(self, settings: Settings, library: Library) -> None:
        self._settings = settings
        self._library = library
        self.outcomes: dict[str, Outcome] = {}
        self.notes: list[str] = []
        self.target = settings.model
        """What the target calls itself, once it was needed."""
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

    @property
    def calls(self) -> int:
        """Batches that the target was asked, over all workers."""
        return sum(self._calls.values())

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
        judge_args = public_arguments(settings.judge_args)
        return RunSettings(
            model=model_name(settings.model),
            model_args=public_arguments(settings.model_args),
            judge=settings.judge,
            judge_args={name: model_name(value) for name, value in judge_args.items()},
            batch_size=settings.batch_size,
            samples=settings.samples,
            subset=settings.subset,
            early_stop=settings.early_stop,
            target_calls=self.calls,
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
            suites=tuple(SuiteInfo(s.name, s.benchmark, s.title, s.sha256, len(s.cases)) for s in self._library.suites),
            records=self.records,
            gates=tuple(gates),
            policy=policy.name if policy else "",
            notes=(*self._warnings(complete=complete), *self.notes, *notes, *self._remarks()),
        )

    def _warnings(self, *, complete: bool) -> Iterator[str]:
        if not complete:
            yield "the run was stopped before its end: no gate was evaluated"
        if failed := list(self._failed_must_pass()):
            some = ", ".join(failed[:5]) + (" ..." if len(failed) > 5 else "")
            cases = plural(len(failed), "case")
            yield f"{cases} that must pass did not, which fails the run whatever the gates say: {some}"

    def _remarks(self) -> Iterator[str]:
        if self._settings.subset < 1:
            share = f"{self._settings.subset:.0%}"
            yield f"a fixed part of each suite was asked ({share}): gates are evaluated on that part"

    def _failed_must_pass(self) -> Iterator[str]:
        for case in self._library.cases:
            outcome = self.outcomes.get(case.key)
            if case.must_pass and outcome and outcome.response is not None and outcome.score != 0:
                yield case.key
