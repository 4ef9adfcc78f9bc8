"""A gate's number without the errors of the judges whose verdicts it is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_mmsafety.correction import Confusion, Corrected, corrected_rate, weighted_mean
from pytest_mmsafety.metrics import Metric
from pytest_mmsafety.statistics import Estimate, clustered_share

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pytest_mmsafety.judges.calibration import Calibration

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]


class Columns(NamedTuple):
    """The cases that a number is made of, an entry each."""

    values: Floats
    """0 or 1."""
    clusters: Ints
    strata: Ints
    judge: Ints
    """Index into *judges*."""
    judges: Sequence[str]
    """Names with versions."""


def corrected_share(  # noqa: PLR0913 - what is corrected, by what, at which level
    raw: Estimate,
    metric: Metric,
    columns: Columns,
    calibrations: Mapping[str, Calibration],
    tags: Mapping[str, str],
    *,
    alpha: float,
) -> Corrected | None:
    """Correct the estimate *raw* of *metric* over *columns*; ``None`` if none of its judges is calibrated.

    Every part of one stratum and one judge is corrected by itself, with the counts of the calibration that fit *tags*
    best; judges without a calibration are taken to be exact. The parts are put together by
    :func:`~pytest_mmsafety.correction.weighted_mean`, as dependent ones.
    """
    import numpy as np

    if not {columns.judges[code] for code in np.unique(columns.judge)} & calibrations.keys():
        return None
    if not np.isin(columns.values, (0.0, 1.0)).all():
        return Corrected(raw, None, "the judge's scores are degrees, and only yes or no can be corrected")
    parts: list[tuple[float, Estimate]] = []
    for weight, code, here in _parts(metric, columns):
        part = clustered_share(columns.values[here], columns.clusters[here], alpha)
        calibration = calibrations.get(columns.judges[code])
        if calibration is not None:
            confusion = Confusion.of(calibration.best(tags))
            found = corrected_rate(part, confusion.mirrored() if metric.higher_is_better else confusion, alpha)
            if found.estimate is None:
                return Corrected(raw, None, f"{columns.judges[code]}: {found.reason}")
            part = found.estimate
        parts.append((weight, part))
    whole = parts[0][1] if len(parts) == 1 else weighted_mean(parts, alpha, independent=False)
    return Corrected(raw, Estimate(whole.value, whole.low, whole.high, raw.n, raw.clusters, whole.interval), "")


def _parts(metric: Metric, columns: Columns) -> list[tuple[float, int, Any]]:
    """Weight in the metric, judge and cases of every stratum and judge that occur together."""
    import numpy as np

    weights = list(metric.weights.values()) or [1.0]
    found = []
    for stratum in np.unique(columns.strata):
        in_stratum = columns.strata == stratum
        for code in np.unique(columns.judge[in_stratum]):
            here = in_stratum & (columns.judge == code)
            found.append((weights[stratum] * float(here.sum() / in_stratum.sum()), int(code), here))
    return found
