"""Gates on a saved run: what has to fit, and the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pytest_mmsafety.errors import SetupError

if TYPE_CHECKING:
    from pytest_mmsafety.calibration import Calibration
    from pytest_mmsafety.gates import Gate, GateResult
    from pytest_mmsafety.labels import Labels
    from pytest_mmsafety.policies import Policy
    from pytest_mmsafety.run import Run


def judge_saved_run(  # noqa: PLR0913 - all that a verdict depends on
    run: Run,
    gates: Sequence[Gate],
    baseline: Run | None,
    calibrations: Mapping[str, Calibration] = {},
    labels: Labels | None = None,
    *,
    require: bool = False,
) -> list[GateResult]:
    """Judge *gates* on a saved run. Raises :class:`SetupError` if they speak of none of its cases."""
    from pytest_mmsafety.evaluation.checks import unmatched
    from pytest_mmsafety.evaluation.evaluate import evaluate_gates

    cases = [(record.suite, record.tags) for record in run.records]
    reasons = [unmatched(gate, cases) for gate in gates]
    if all(reasons):
        raise SetupError(f"--thresholds: matches no case of the run; gate {gates[0].name!r}: {reasons[0]}")
    before = None if baseline is None else baseline.records
    return evaluate_gates(
        run.records, gates, require=require, baseline=before, calibrations=calibrations, labels=labels
    )


def check_comparable(
    run: Run, gates: Sequence[Gate], baseline: Run | None, allowed: frozenset[str] = frozenset()
) -> None:
    """Raises :class:`SetupError` if a baseline is needed and missing, or there and not comparable."""
    from pytest_mmsafety import baselines
    from pytest_mmsafety.evaluation.checks import missing_baseline

    if baseline is None:
        if reason := missing_baseline(gates):
            raise SetupError(f"--baseline: {reason}")
    elif reason := baselines.refusal(baselines.run_differences(run, baseline), allowed):
        raise SetupError(f"--baseline: {reason}")


def check_tolerated(run: Run, policy: Policy) -> None:
    """Raises :class:`SetupError` if a filter of zero tolerance is misspelt; of a part of the suites nobody knows."""
    from pytest_mmsafety.evaluation.checks import misspelt_tolerance

    if run.settings.get("subset", "1") != "1":
        return
    cases = [(record.suite, record.tags) for record in run.records]
    for gate in policy.gates:
        if problem := misspelt_tolerance(gate, cases):
            raise SetupError(f"--thresholds: {policy.path}: gate {gate.name!r}: {problem}")
