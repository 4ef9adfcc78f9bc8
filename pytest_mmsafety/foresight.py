"""Before any model is asked: which gates the judges at hand will probably leave silent."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from pytest_mmsafety import sentences
from pytest_mmsafety.metrics import METRICS

if TYPE_CHECKING:
    from pytest_mmsafety.cases import Case
    from pytest_mmsafety.gates import Gate
    from pytest_mmsafety.judges.calibration import Calibration
    from pytest_mmsafety.judges.panel import Panel


def silent_gates(
    gates: Sequence[Gate], cases: Sequence[Case], panel: Panel, errors: Mapping[str, Calibration]
) -> Iterator[str]:
    """A line a gate whose judges leave more unscored, by their measured *errors*, than it allows.

    A judge that nobody measured is taken to score everything.
    """
    for gate in gates:
        if gate.judge or METRICS[gate.metric].counts_unscored:
            continue
        asked = [case for case in cases if gate.speaks_of(case.suite, case.tags) and not case.skip]
        unscored: dict[str, float] = defaultdict(float)
        for case in asked:
            judge = next((judge.name for judge in panel.judges_of(case)), "")
            if judge in errors:
                unscored[judge] += _abstains(errors[judge], case)
        share = sum(unscored.values()) / max(len(asked), 1)
        if share > gate.max_unscored:
            most = max(unscored, key=lambda name: unscored[name])
            yield f"{gate.name}: {sentences.foreseen(most, share, gate.max_unscored)}"


def _abstains(calibration: Calibration, case: Case) -> float:
    stratum = calibration.best({"language": case.tags.get("language", "")})
    return (stratum.abstained_positive + stratum.abstained_negative) / max(stratum.n, 1)
