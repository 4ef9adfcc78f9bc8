"""Forecast, before a model is asked: the gates that these judges will probably leave unevaluated."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from pytest_mmsafety.cases import Case
from pytest_mmsafety.errors import SetupError
from pytest_mmsafety.evaluation import reasons
from pytest_mmsafety.gates import Gate
from pytest_mmsafety.judge_errors import JudgeErrors
from pytest_mmsafety.judges.panel import Panel
from pytest_mmsafety.metrics import METRICS


def gates_likely_unevaluated(
    gates: Sequence[Gate], cases: Sequence[Case], panel: Panel, errors: Mapping[str, JudgeErrors]
) -> Iterator[str]:
    """A line a gate whose judges leave more unscored, by their measured *errors*, than it allows.

    A judge without measured errors is taken to score everything.
    """
    asked_of = [(case, *_abstains(case, panel, errors)) for case in cases if not case.skip]
    for gate in gates:
        if gate.judged_by or METRICS[gate.metric].counts_unscored:
            continue
        asked = [(judge, share) for case, judge, share in asked_of if gate.applies_to(case.suite, case.tags)]
        unscored: dict[str, float] = defaultdict(float)
        for judge, share in asked:
            unscored[judge] += share
        share = sum(unscored.values()) / max(len(asked), 1)
        if share > gate.max_unscored:
            most = max(unscored, key=lambda name: unscored[name])
            yield f"{gate.name}: {reasons.foreseen(most, share, gate.max_unscored)}"


def _abstains(case: Case, panel: Panel, errors: Mapping[str, JudgeErrors]) -> tuple[str, float]:
    """The judge of *case*, and the share of such answers that it leaves unscored."""
    try:
        judge = next((judge.name for judge in panel.judges_of(case)), "")
    except SetupError:  # reported where the case is collected
        judge = ""
    if judge not in errors:
        return judge, 0.0
    stratum = errors[judge].best({"language": case.tags.get("language", "")})
    return judge, (stratum.abstained_positive + stratum.abstained_negative) / max(stratum.n, 1)
