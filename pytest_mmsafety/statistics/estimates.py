"""Estimates with intervals that respect how cases depend on one another. Pure and deterministic.

Every function returns an :class:`Estimate`, which can give its interval at any level. A verdict needs nothing
else: another method (a correction for the judge's errors, a confidence sequence) only has to make one.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, stdtrit

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

PSEUDO_CLUSTERS = 3
"""Clusters of wholly alike cases that every sample is suspected to hide, see :func:`effective_size`."""

_NARROWEST = 0.98
"""The largest alpha for which intervals are asked: beyond, an interval says nothing."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its two-sided interval."""

    value: float
    low: float
    high: float
    n: int
    """Cases."""
    clusters: int
    interval: Callable[[float], tuple[float, float]] = field(repr=False, compare=False)
    """Low and high end at level 1 - alpha; a smaller alpha never narrows it."""

    def p_value(self, beyond: Callable[[float, float], bool]) -> float:
        """The smallest alpha at which the interval (low, high) is wholly *beyond* something; 1 if none is.

        It is at most alpha exactly where the interval of level 1 - alpha is beyond: test and interval agree.
        """
        return float(smallest_alpha(lambda alpha: beyond(*self.interval(float(alpha)))))


def smallest_alpha(beyond: Callable[[Any], Any], shape: tuple[int, ...] = ()) -> Floats:
    """Where *beyond*, asked at an array of alphas, turns from false to true, to nine digits; 1 where it never does.

    Nothing below 1e-12 is distinguished.
    """
    low, high = np.full(shape, 1e-12), np.full(shape, _NARROWEST)
    never = ~np.asarray(beyond(high), dtype=bool)
    at_once = np.asarray(beyond(low), dtype=bool)
    if np.all(never):
        return np.ones(shape)
    for _ in range(35):
        middle = np.sqrt(low * high)
        there = np.asarray(beyond(middle), dtype=bool)
        low, high = np.where(there, low, middle), np.where(there, middle, high)
    return np.where(never, 1.0, np.where(at_once, 1e-12, high))


class Spread(NamedTuple):
    """A share, and how much it would vary from sample to sample. Numbers, or arrays of one shape."""

    value: Any
    variance: Any
    """Between clusters, linearised; 0 where none can be seen."""
    minority_clusters: Any
    """Clusters that hold the rarer answer."""
    n: int
    clusters: int
    degrees: int
    """Of freedom of the variance."""
    n_eff_min: float
    """Independent cases that the share is worth if each cluster is one answer given again and again."""
    n_eff_max: float
    """The same if clusters do not matter."""


def clustered_share(  # noqa: PLR0913 - what a survey knows of a case
    values: Sequence[float] | Floats,
    clusters: Sequence[Hashable] | Ints,
    alpha: float,
    strata: Sequence[Hashable] | Ints | None = None,
    weights: Mapping[Any, float] | None = None,
    *,
    sampling: Floats | None = None,
) -> Estimate:
    """Mean of *values* (each 0 to 1) with a confidence interval of level ``1 - alpha``.

    Cases of one cluster may depend on each other as much as they like; clusters are independent. With
    *weights* (summing to 1) the estimate is the weighted mean of the means of the *strata*. *sampling*: how many
    cases each stands for, above 0, where they were drawn with unequal chances.

    The interval is the one of Korn and Graubard (1998, Survey Methodology 24, 193-201): Clopper-Pearson
    at an effective sample size, see :func:`effective_size` for where ours is more careful. ``values`` must
    not be empty; every weighted stratum must have a case.
    """
    x = np.asarray(values, dtype=float)
    share, stratum = case_shares(len(x), strata, weights, sampling)
    spread = _spread(x, share, stratum, codes(clusters))
    return _estimate(spread, float(spread.value), lambda level: share_interval(spread, level), alpha)


def clustered_ratio(
    numerators: Sequence[float] | Floats,
    denominators: Sequence[float] | Floats,
    clusters: Sequence[Hashable] | Ints,
    alpha: float,
) -> Estimate:
    """``sum(numerators) / sum(denominators)``, 0 to 1, where no numerator is above its denominator.

    A ratio of totals is the mean of its cases' ratios weighted with their denominators, so that linearisation
    (Cochran 1977, Sampling Techniques, 6.4) gives the variance of :func:`clustered_share`. Cases with
    denominator 0 are left out; there must be another.
    """
    total = np.asarray(denominators, dtype=float)
    counts = total > 0
    total, part = total[counts], np.asarray(numerators, dtype=float)[counts]
    spread = _spread(part / total, total / total.sum(), np.zeros(len(total), dtype=int), codes(clusters, counts))
    return _estimate(spread, float(spread.value), lambda level: share_interval(spread, level), alpha)


def clustered_difference(  # noqa: PLR0913 - what a survey knows of a case
    differences: Sequence[float] | Floats,
    clusters: Sequence[Hashable] | Ints,
    alpha: float,
    strata: Sequence[Hashable] | Ints | None = None,
    weights: Mapping[Any, float] | None = None,
    *,
    sampling: Floats | None = None,
) -> Estimate:
    """Mean of paired *differences* (each -1 to 1) with a confidence interval of level ``1 - alpha``.

    *strata*, *weights* and *sampling* as in :func:`clustered_share`.

    The mean rise and the mean fall are shares, each with the interval of :func:`clustered_share`; the interval
    of rise - fall follows from the variances that these recover (MOVER: Zou and Donner 2008, Statistics in
    Medicine 27, 1693-1702; with correlation: Newcombe 1998, Statistics in Medicine 17, 2635-2650, method 10).
    The correlation is taken from the clusters where it widens the interval, and as 0 where it would narrow it.
    Where nothing changed the interval is that of no rise and no fall in so many clusters, not of width zero.
    """
    x = np.asarray(differences, dtype=float)
    share, stratum = case_shares(len(x), strata, weights, sampling)
    code = codes(clusters)
    rise, fall = (_spread(part, share, stratum, code) for part in (np.maximum(x, 0), np.maximum(-x, 0)))
    correlation = correlation_of(rise, fall, _between_clusters(cluster_residuals(x, share, stratum, code)))
    value = round(float(rise.value - fall.value), 12)
    return _estimate(rise, value, lambda level: difference_interval(rise, fall, correlation, level), alpha)


def share_interval(spread: Spread, alpha: float) -> tuple[Any, Any]:
    """Clopper-Pearson at the effective size: arrays of low and high ends."""
    size = effective_size(spread, alpha)
    hits = np.clip(size * spread.value, 0, size)
    rest = size - hits
    low = np.where(hits > 1e-9, betaincinv(np.maximum(hits, 1e-9), rest + 1, alpha / 2), 0.0)
    high = np.where(rest > 1e-9, betaincinv(hits + 1, np.maximum(rest, 1e-9), 1 - alpha / 2), 1.0)
    return np.minimum(low, spread.value), np.maximum(high, spread.value)


def effective_size(spread: Spread, alpha: float) -> Any:
    """How many independent cases the share is worth when an interval of level ``1 - alpha`` is made of it.

    ``value (1 - value) / variance``, reduced for the degrees of freedom of the variance (Korn and Graubard).
    Where cases share clusters this is too many when clusters are seldom alike but then altogether: few samples
    show it. So ``PSEUDO_CLUSTERS`` of the clusters with the rarer answer count as wholly alike, which is what it takes
    to hold the level in simulation (docs/statistics.md). The size stays between one case a cluster and all cases;
    where no variance can be seen (all 0, all 1, one cluster) a cluster is worth one case.
    """
    if spread.degrees < 1:
        return np.broadcast_to(spread.n_eff_min, np.shape(spread.value)).astype(float)
    t_ratio = stdtrit(spread.n - 1, 1 - alpha / 2) / stdtrit(spread.degrees, 1 - alpha / 2)
    seen = np.asarray(spread.variance) > 1e-12
    variance = np.where(seen, spread.variance, 1.0)
    size = np.where(seen, spread.value * (1 - spread.value) / variance * t_ratio**2, spread.n_eff_min)
    size = np.clip(size, spread.n_eff_min, spread.n_eff_max)
    if spread.clusters < spread.n:
        pseudo = np.minimum(1, PSEUDO_CLUSTERS / np.maximum(spread.minority_clusters, 1))
        size = 1 / ((1 - pseudo) / size + pseudo / spread.n_eff_min)
    return size


def difference_interval(rise: Spread, fall: Spread, correlation: Any, alpha: float) -> tuple[Any, Any]:
    """MOVER interval of rise - fall: arrays of low and high ends."""
    (rise_low, rise_high), (fall_low, fall_high) = share_interval(rise, alpha), share_interval(fall, alpha)

    def width(one: Any, other: Any) -> Any:
        return np.sqrt(one**2 + other**2 - 2 * correlation * one * other)

    value = rise.value - fall.value
    low = value - width(rise.value - rise_low, fall_high - fall.value)
    high = value + width(rise_high - rise.value, fall.value - fall_low)
    return np.maximum(low, -1.0), np.minimum(high, 1.0)


def correlation_of(rise: Spread, fall: Spread, net_variance: Any) -> Any:
    """Of rise and fall between clusters, -1 to 0, from the variance of their difference."""
    product = 2 * np.sqrt(rise.variance * fall.variance)
    covariance = rise.variance + fall.variance - net_variance
    return np.clip(np.where(product > 1e-15, covariance / np.maximum(product, 1e-15), 0.0), -1.0, 0.0)


def spread_of_clusters(totals: Floats, sizes: Ints) -> Spread:
    """Unstratified shares from sums a cluster: *totals* of shape (..., clusters), *sizes* of shape (clusters,)."""
    n = int(sizes.sum())
    value = totals.sum(axis=-1) / n
    residual = (totals - sizes * value[..., None]) / n
    minority_clusters = np.minimum((totals > 0).sum(axis=-1), (totals < sizes).sum(axis=-1))
    n_eff_min, count = n**2 / float(sizes @ sizes), len(sizes)
    return Spread(value, _between_clusters(residual), minority_clusters, n, count, count - 1, n_eff_min, float(n))


def _spread(x: Floats, share: Floats, stratum: Ints, cluster: Ints) -> Spread:
    value = np.float64(round(float(share @ x), 12))  # 1 is 1, however the weights add up
    of_cluster = np.bincount(cluster, share)
    minority_clusters = min(int(np.count_nonzero(np.bincount(cluster, part))) for part in (x, 1 - x))
    n_eff_min, n_eff_max = 1 / float(of_cluster @ of_cluster), _independent_size(value, x, share, stratum)
    degrees = len(of_cluster) - int(stratum.max()) - 1
    variance = _between_clusters(cluster_residuals(x, share, stratum, cluster))
    return Spread(value, variance, minority_clusters, len(x), len(of_cluster), degrees, n_eff_min, n_eff_max)


def cluster_residuals(x: Floats, share: Floats, stratum: Ints, cluster: Ints) -> Floats:
    """What each cluster adds to the estimate beyond what its cases' strata add on average."""
    means = np.bincount(stratum, share * x) / np.bincount(stratum, share)
    residual: Floats = np.bincount(cluster, share * (x - means[stratum])).astype(float)
    return residual


def _independent_size(value: Any, x: Floats, share: Floats, stratum: Ints) -> float:
    """Independent cases that the estimate is worth if clusters do not matter.

    Strata with different rates leave less to chance than one sample with their mean rate: their variances are added
    up, each with one failure and one success more than were seen, since a stratum may hide what it did not show.
    """
    weighted = np.bincount(stratum, share**2)
    size = 1 / float(weighted.sum())
    if len(weighted) == 1:
        return size
    count = np.bincount(stratum)
    mean = np.bincount(stratum, share * x) / np.bincount(stratum, share)
    rate = (count * mean + 1) / (count + 2)
    return max(size, float(value * (1 - value) / (weighted @ (rate * (1 - rate)))))


def _between_clusters(residual: Any) -> Any:
    """Variance of a total from the residuals of its clusters, the last axis."""
    count = residual.shape[-1]
    return count / (count - 1) * (residual**2).sum(axis=-1) if count > 1 else 0 * residual.sum(axis=-1)


def _estimate(spread: Spread, value: float, interval: Callable[[float], tuple[Any, Any]], alpha: float) -> Estimate:
    def at(level: float) -> tuple[float, float]:
        low, high = interval(level)
        return float(low), float(high)

    return Estimate(value, *at(alpha), spread.n, spread.clusters, at)


def codes(labels: Sequence[Hashable] | Ints, among: Any = None) -> Ints:
    """Numbers from 0 without gaps, one a label; *among*: a mask of those that count."""
    if not isinstance(labels, np.ndarray):
        known: dict[Hashable, int] = {}
        labels = np.fromiter((known.setdefault(label, len(known)) for label in labels), dtype=int, count=len(labels))
    return np.unique(labels if among is None else labels[among], return_inverse=True)[1]


def case_shares(
    n: int,
    strata: Sequence[Hashable] | Ints | None,
    weights: Mapping[Any, float] | None,
    sampling: Floats | None = None,
) -> tuple[Floats, Ints]:
    """What each case contributes to an estimate (sums to 1), and its stratum."""
    stands_for = np.ones(n) if sampling is None else sampling
    if strata is None or not weights:
        return stands_for / stands_for.sum(), np.zeros(n, dtype=int)
    stratum = codes(strata)
    weight = np.array([weights[label] for label in (strata.tolist() if isinstance(strata, np.ndarray) else strata)])
    return weight * stands_for / np.bincount(stratum, stands_for)[stratum], stratum


def intra_cluster_correlation(values: Sequence[float] | Floats, clusters: Sequence[Hashable] | Ints) -> float:
    """How alike the cases of a cluster are, 0 to 1: the analysis-of-variance estimator (Donner 1986, section 2).

    0 where it is negative or cannot be seen (no cluster has two cases, or all values are equal).
    """
    x, cluster = np.asarray(values, dtype=float), codes(clusters)
    sizes = np.bincount(cluster)
    n, count = len(x), len(sizes)
    if count < 2 or count == n:
        return 0.0
    means = np.bincount(cluster, x) / sizes
    between = float(sizes @ (means - x.mean()) ** 2) / (count - 1)
    within = float(((x - means[cluster]) ** 2).sum()) / (n - count)
    typical = (n - float(sizes @ sizes) / n) / (count - 1)
    total = between + (typical - 1) * within
    return float(np.clip((between - within) / total, 0, 1)) if total > 0 else 0.0
