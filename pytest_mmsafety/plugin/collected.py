"""What was collected, held against the options: what cannot be right is said before a model is paid for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_mmsafety.errors import SetupError, plural

if TYPE_CHECKING:
    from pytest_mmsafety.cases import Case
    from pytest_mmsafety.evaluation.checks import CaseTags
    from pytest_mmsafety.evaluation.early_stop import EarlyStop
    from pytest_mmsafety.gates import Gate
    from pytest_mmsafety.judges.panel import Panel
    from pytest_mmsafety.plugin.library import Library
    from pytest_mmsafety.plugin.settings import Settings
    from pytest_mmsafety.policies import Policy
    from pytest_mmsafety.run import Run, RunSettings


class Collected:
    """The suites of the session, the policy that applies to them, and the baseline."""

    def __init__(self, settings: Settings, policy: Policy | None, library: Library, baseline: Run | None) -> None:
        self._settings = settings
        self.policy = policy
        self.library = library
        self.baseline = baseline
        self.notes: list[str] = []
        """What a reader of the run must know."""

    @property
    def gates(self) -> Sequence[Gate]:
        return self.policy.gates if self.policy else ()

    def check(self, run_settings: RunSettings, *, last_failed: bool) -> None:
        """Raise :class:`SetupError` for options that turn out to be wrong once the cases are known.

        *last_failed*: ``--lf`` runs a part of the suites, so that what is missing may be in another.
        """
        for name in self.library.unused_data():
            raise SetupError(f"--data: {name!r} is asked for by no collected suite")
        self._check_any_case(last_failed=last_failed)
        if not any(self.library.cases):
            return
        if self._settings.attack:
            from pytest_mmsafety.attacks.cases import check_budget

            for suite in self.library.suites:
                check_budget(suite, self._settings.attack)
        self._check_baseline(run_settings)
        if policy := self.policy:
            self._check_policy(policy, whole=not (self.library.broken or last_failed))
            self._check_spelling(policy)

    def _check_any_case(self, *, last_failed: bool) -> None:
        """Raise :class:`SetupError` if gates were asked for and there is no case at all that they could be about."""
        asked = (
            "--thresholds" if self._settings.thresholds else "--require-gates" if self._settings.require_gates else ""
        )
        if not asked or last_failed or self.library.broken or any(self.library.cases):
            return
        wanting = [suite.data for suite in self.library.suites if suite.wants_data]
        hint = f"give --data {wanting[0]}=PATH" if wanting else "name a suite, or a folder of suites"
        raise SetupError(f"{asked}: no case was collected, so nothing can be gated; {hint}")

    def _check_spelling(self, policy: Policy) -> None:
        from pytest_mmsafety.evaluation.spelling import misspelt_tag, near_miss, rare_twins

        if problem := misspelt_tag(self.library.cases) or near_miss(policy.gates, self.library.tags):
            raise SetupError(problem)
        self.notes += [note for note in rare_twins(self.library.cases) if note not in self.notes]

    def _check_baseline(self, run_settings: RunSettings) -> None:
        """What can be compared before anything is asked; judges are compared when they have judged."""
        from pytest_mmsafety import baselines

        if self.baseline is None:
            return
        differences = [
            *baselines.setting_differences(run_settings, self.baseline.settings),
            *baselines.case_differences(list(self.library.cases), self.baseline.records),
        ]
        if reason := baselines.refusal(differences, self._settings.baseline_allow):
            raise SetupError(f"--baseline: {reason}")

    def _check_policy(self, policy: Policy, *, whole: bool) -> None:
        from pytest_mmsafety.evaluation.checks import check_gates, unmatched_reason

        tags: list[CaseTags] = self.library.tags
        if self._settings.thresholds:
            check_gates(policy.gates, tags, str(policy.path), whole=whole)
        else:  # the default policy: gates that do not apply are left out
            self._leave_out([gate for gate in policy.gates if not unmatched_reason(gate, tags)], policy)

    def _leave_out(self, gates: Sequence[Gate], policy: Policy) -> None:
        """Keep these gates of the default policy, and name the others; with ``--require-gates`` keep all.

        Raises :class:`SetupError` if none is left: a run of the suites as such is meant to be gated.
        """
        if not gates:
            raise SetupError(
                f"--thresholds: no gate of {policy.name}, the default policy, matches a case; give --thresholds=FILE, "
                "or name the suites (pytest --model=... cases) to gate nothing"
            )
        if self._settings.require_gates:
            return  # a gate without a case is then not evaluated, and blocks
        left_out = [gate.name for gate in policy.gates if gate not in gates]
        if left_out:
            count = plural(len(left_out), "gate")
            self.notes.append(f"{count} of {policy.name}, the default policy, without a case: {', '.join(left_out)}")
        self.policy = replace(policy, gates=tuple(gates))

    def forecast(self, panel: Panel) -> list[str]:
        """Before anything is asked: gates that these judges will probably leave unevaluated, a line each."""
        from pytest_mmsafety.evaluation.forecast import gates_likely_unevaluated
        from pytest_mmsafety.judge_errors import known_errors

        errors = known_errors(self._settings.judge_errors)
        return list(gates_likely_unevaluated(self.gates, list(self.library.cases), panel, errors))

    def plan_early_stop(self, selected: Sequence[Case]) -> EarlyStop:
        """What ``--early-stop`` asks of the selected cases, and in which order."""
        from pytest_mmsafety.evaluation.early_stop import EarlyStop

        return EarlyStop(self.gates, selected, self.library.cases, self._settings.batch_size)

    def unknown_cases(self, last_failed: Sequence[str]) -> str:
        """Why it is not known which cases there are, so that no gate can be evaluated; or empty.

        *last_failed*: node ids that ``--lf`` selects, of files that the workers of xdist pass over as a whole.
        """
        for reason in self.library.broken.values():
            return f"a suite could not be read: {reason.splitlines()[0]}"
        if any(self.library.group(nodeid, self._settings.root) for nodeid in last_failed):
            return "--lf runs a part of the suites"
        return ""
