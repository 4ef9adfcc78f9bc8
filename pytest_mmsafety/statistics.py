"""Estimates with intervals that respect how cases depend on one another. Pure and deterministic."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A share with its two-sided interval."""

    value: float
    low: float
    high: float
    n: int
    clusters: int


def clustered_share(
    values: Sequence[float],
    clusters: Sequence[Hashable],
    alpha: float,
    strata: Sequence[str] | None = None,
    weights: Mapping[str, float] | None = None,
) -> Estimate:
    """Mean of *values* (each 0 to 1) with a confidence interval of level ``1 - alpha``.

    Cases of one cluster may depend on each other as much as they like; clusters are independent. With
    *weights* (summing to 1) the estimate is the weighted mean of the means of the *strata*.

    The interval is the one of Korn and Graubard (1998, Survey Methodology 24, 193-201): Clopper-Pearson
    at an effective sample size, ``p (1 - p) / variance`` with the linearised variance between clusters,
    corrected for its degrees of freedom. Ours differs in two ways, found by simulation: the variance has
    no more degrees of freedom than there are clusters with the rarer answer, and a cluster is worth at
    least one case. Where no variance can be seen (all 0, all 1, one cluster) it is worth exactly one, so
    no interval has width zero. ``values`` must not be empty; every weighted stratum must have a case.
    """
    import numpy as np
    from scipy.special import betaincinv

    x = np.asarray(values, dtype=float)
    stratum = _codes(strata) if strata is not None and weights else np.zeros(len(x), dtype=int)
    cluster = _codes(clusters)
    share = _case_weights(stratum, strata, weights)
    p = round(float(share @ x), 12)  # 1 is 1, however the weights add up
    effective = _effective_size(x, share, stratum, cluster, alpha)
    hits = effective * p
    low = float(betaincinv(hits, effective - hits + 1, alpha / 2)) if hits > 1e-9 else 0.0
    high = float(betaincinv(hits + 1, effective - hits, 1 - alpha / 2)) if effective - hits > 1e-9 else 1.0
    return Estimate(p, min(low, p), max(high, p), len(x), int(cluster.max()) + 1)


def _effective_size(x: Floats, share: Floats, stratum: Ints, cluster: Ints, alpha: float) -> float:
    """How many independent cases the estimate is worth."""
    import numpy as np
    from scipy.special import stdtrit

    p = float(share @ x)
    of_cluster = np.bincount(cluster, share)
    fewest, most = 1 / float(of_cluster @ of_cluster), 1 / float(share @ share)
    means = np.bincount(stratum, share * x) / np.bincount(stratum, share)
    residual = np.bincount(cluster, share * (x - means[stratum]))
    count = len(of_cluster)
    variance = count / (count - 1) * float(residual @ residual) if count > 1 else 0.0
    degrees = count - int(stratum.max()) - 1
    if variance <= 1e-12 or degrees < 1:
        return fewest
    if count < len(x):
        rarer = min(int(np.count_nonzero(np.bincount(cluster, value))) for value in (x, 1 - x))
        degrees = max(1, min(degrees, rarer))
    t_ratio = float(stdtrit(len(x) - 1, 1 - alpha / 2) / stdtrit(degrees, 1 - alpha / 2))
    return float(np.clip(p * (1 - p) / variance * t_ratio**2, fewest, most))


def _codes(labels: Sequence[Hashable]) -> Ints:
    """Numbers from 0 in order of first appearance."""
    import numpy as np

    codes: dict[Hashable, int] = {}
    return np.fromiter((codes.setdefault(label, len(codes)) for label in labels), dtype=int, count=len(labels))


def _case_weights(stratum: Ints, strata: Sequence[str] | None, weights: Mapping[str, float] | None) -> Floats:
    """What each case contributes to the estimate; sums to 1."""
    import numpy as np

    if strata is None or not weights:
        return np.full(len(stratum), 1 / len(stratum))
    sizes = np.bincount(stratum)
    return np.array([weights[label] for label in strata]) / sizes[stratum]
