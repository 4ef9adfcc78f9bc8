"""Estimates with intervals that respect how cases depend on one another. Pure and deterministic."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass


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
    strata: Sequence[Hashable] | None = None,
    weights: Mapping[Hashable, float] | None = None,
) -> Estimate:
    """Mean of *values* (each 0 to 1) with a confidence interval of level ``1 - alpha``.

    Cases of one cluster may depend on each other as much as they like; clusters are independent. With
    *weights* (summing to 1) the estimate is the weighted mean of the means of the *strata*.

    The interval is the one of Korn and Graubard (1998, Survey Methodology 24, 193-201): Clopper-Pearson
    at an effective sample size, here ``p (1 - p) / variance`` with the linearised variance between
    clusters, corrected for its degrees of freedom, and never above n. Where no variance can be seen
    (all 0, all 1, one cluster) a cluster counts as one case, so no interval has width zero.
    ``values`` must not be empty; every stratum with a weight must have a case.
    """
    import numpy as np
    from scipy.special import betaincinv, stdtrit

    x = np.asarray(values, dtype=float)
    stratum = _codes(strata) if strata is not None and weights else np.zeros(len(x), dtype=int)
    share = _case_weights(stratum, strata, weights)
    p = float(share @ x)
    cluster = _codes(clusters)
    count = int(cluster.max()) + 1
    means = np.bincount(stratum, share * x) / np.bincount(stratum, share)
    cluster_weight = np.bincount(cluster, share)
    # All answers of a cluster alike: the least that the cases can be worth.
    fewest = 1 / float(cluster_weight @ cluster_weight)
    degrees = count - int(stratum.max()) - 1
    residual = np.bincount(cluster, share * (x - means[stratum]))
    variance = count / (count - 1) * float(residual @ residual) if count > 1 else 0.0
    if variance <= 1e-12 or not 0 < p < 1 or degrees < 1:
        effective = fewest
    else:
        t_ratio = stdtrit(max(len(x) - 1, 1), 1 - alpha / 2) / stdtrit(degrees, 1 - alpha / 2)
        effective = min(p * (1 - p) / variance * float(t_ratio) ** 2, 1 / float(share @ share))
    hits = effective * p
    low = float(betaincinv(hits, effective - hits + 1, alpha / 2)) if hits > 1e-9 else 0.0
    high = float(betaincinv(hits + 1, effective - hits, 1 - alpha / 2)) if effective - hits > 1e-9 else 1.0
    return Estimate(p, min(low, p), max(high, p), len(x), count)


def _codes(labels: Sequence[Hashable]):  # type: ignore[no-untyped-def]  # numpy is imported where it is used
    import numpy as np

    codes: dict[Hashable, int] = {}
    return np.fromiter((codes.setdefault(label, len(codes)) for label in labels), dtype=int, count=len(labels))


def _case_weights(stratum, strata, weights):  # type: ignore[no-untyped-def]
    """What each case contributes to the estimate; sums to 1."""
    import numpy as np

    if strata is None or not weights:
        return np.full(len(stratum), 1 / len(stratum))
    sizes = np.bincount(stratum)
    return np.array([weights[label] for label in strata]) / sizes[stratum]
