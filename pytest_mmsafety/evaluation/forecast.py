"""Before any model is asked: which gates the judges at hand will probably leave silent."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from pytest_mmsafety.errors import SetupError
from pytest_mmsafety.evaluation import reasons as sentences
from pytest_mmsafety.metrics import METRICS

if TYPE_CHECKING:
    from pytest_mmsafety.calibration import Calibration
    from pytest_mmsafety.cases import Case
    from pytest_mmsafety.gates import Gate
    from pytest_mmsafety.judges.panel import Panel


def silent_gates(
    gates: Sequence[Gate], cases: Sequence[Case], panel: Panel, errors: Mapping[str, Calibration]
) -> Iterator[str]:
    """A line a gate whose judges leave more unscored, by their measured *errors*, than it allows.

    A judge that nobody measured is taken to score everything.
    """
    asked_of = [(case, *_abstains(case, panel, errors)) for case in cases if not case.skip]
    for gate in gates:
        if gate.judge or METRICS[gate.metric].counts_unscored:
            continue
        asked = [(judge, share) for case, judge, share in asked_of if gate.speaks_of(case.suite, case.tags)]
        unscored: dict[str, float] = defaultdict(float)
        for judge, share in asked:
            unscored[judge] += share
        share = sum(unscored.values()) / max(len(asked), 1)
        if share > gate.max_unscored:
            most = max(unscored, key=lambda name: unscored[name])
            yield f"{gate.name}: {sentences.foreseen(most, share, gate.max_unscored)}"


def _abstains(case: Case, panel: Panel, errors: Mapping[str, Calibration]) -> tuple[str, float]:
    """The judge that will speak of *case*, and the share of such answers that it leaves unscored."""
    try:
        judge = next((judge.name for judge in panel.judges_of(case)), "")
    except SetupError:  # whoever collects the case says so
        judge = ""
    if judge not in errors:
        return judge, 0.0
    stratum = errors[judge].best({"language": case.tags.get("language", "")})
    return judge, (stratum.abstained_positive + stratum.abstained_negative) / max(stratum.n, 1)
