"""Early stop: looking at a gate after every cluster, as often as one likes, without more wrong verdicts.

A test by betting (Waudby-Smith and Ramdas 2024, JRSS-B 86, 1-27). Somebody who doubts that a rate is at most its
bound p bets on every cluster: with s failures among m cases, capital is multiplied by 1 + bet (s - p m). If the
rate *is* at most p, no bettor's capital is expected to grow, whatever the sizes of clusters and however alike their
cases; so the chance that it ever reaches 1 / alpha is at most alpha (Ville 1939). The statement is the one of the
full run's gate, about the population that the suite's clusters are drawn from, not about the suite's own cases:
those drawn without replacement would be known exactly in the end, the population never is.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import NamedTuple

import numpy as np

from pytest_mmsafety.statistics.decisions import HOLDS, UNDECIDED, VIOLATED, State
from pytest_mmsafety.statistics.estimates import Estimate, Floats, Mask
from pytest_mmsafety.statistics.multiplicity import holm

RARE = 20
"""Strata with fewer clusters are served as one: every round of a test needs a cluster of each stratum."""

EARLY_SHARE = 0.2
"""Of a gate's alpha: what the early stop may spend; the full run's test has the rest."""

_RATIO = 1.6
"""Between neighbouring bets."""
_SMALLEST_BET = 0.3
_BOLDEST = 0.95
"""Share of the largest bet that cannot go bankrupt."""
_LEAST = 1e-6
"""Bounds are kept this far from 0 and 1, where bets would be infinite."""
_GRID = 200
"""Rates at which a confidence sequence is tried, denser towards 0 and 1."""


# --- the order of serving


def cluster_strata(
    clusters: Sequence[Hashable], strata: Sequence[str], rare: int = RARE
) -> dict[Hashable, tuple[str, ...]]:
    """Cluster -> stratum: the strata of its cases; ``()`` for all clusters whose stratum is rare.

    Where these are rare even together, the smallest other stratum joins them.
    """
    found: dict[Hashable, set[str]] = {}
    for cluster, stratum in zip(clusters, strata, strict=True):
        found.setdefault(cluster, set()).add(stratum)
    label: dict[Hashable, tuple[str, ...]] = {cluster: tuple(sorted(names)) for cluster, names in found.items()}
    count = Counter(label.values())
    ascending = sorted(count, key=lambda name: (count[name], name))
    pooled = {name for name in ascending if count[name] < rare}
    if pooled and sum(count[name] for name in pooled) < rare:
        pooled.update(ascending[len(pooled) : len(pooled) + 1])
    return {cluster: () if name in pooled else name for cluster, name in label.items()}


def serving_order(
    keys: Sequence[str], clusters: Sequence[Hashable], strata: Sequence[str], seed: int, rare: int = RARE
) -> list[int]:
    """Indices of cases in the order in which they are asked; it depends on the seed and the keys, not on their order.

    Clusters stay together. Within a stratum (:func:`cluster_strata`) their order is random; strata are interleaved, so
    that after any number of clusters each has had about its share of them.
    """
    members: dict[Hashable, list[int]] = {}
    for i in sorted(range(len(keys)), key=keys.__getitem__):
        members.setdefault(clusters[i], []).append(i)
    lot = {cluster: sha256(f"{seed} {keys[of[0]]}".encode()).digest() for cluster, of in members.items()}
    stratum = cluster_strata(clusters, strata, rare)
    size, drawn = Counter(stratum.values()), Counter[tuple[str, ...]]()
    place: dict[Hashable, float] = {}
    for cluster in sorted(members, key=lot.__getitem__):
        name = stratum[cluster]
        place[cluster] = (drawn[name] + 0.5) / size[name]
        drawn[name] += 1
    return [i for cluster in sorted(members, key=lambda c: (place[c], lot[c])) for i in members[cluster]]


class Rounds(NamedTuple):
    """How a test bets on clusters that are served in a fixed order of strata. Known before any is asked."""

    factor: Floats
    """Of each cluster's bet; 0: it is in no whole round."""
    ends: Mask
    """Mask: a round is whole after this cluster, so that the test may look."""
    largest: float
    """Factor times size, of any cluster."""


def plan_rounds(sizes: Sequence[float] | Floats, strata: Sequence[Hashable] | None = None) -> Rounds:
    """Rounds for clusters of *sizes* (in cases, or in a metric's case weights), in the order of serving.

    Strata may have different rates, so clusters in a fixed order of strata are no sample of one population. A round
    has at least one cluster of every stratum. A stratum with the share N of all clusters and c of those of a round
    bets with factor N / c on each. The expected growths of a round, weighted so, add up to those of a random
    sample, and a product is largest where its factors are equal: over whole rounds nobody's capital is expected to
    grow (compare Spertus, Sridhar and Stark 2024, arXiv 2409.06680, on sequential inference from strata).
    """
    size = np.asarray(sizes, dtype=float)
    if strata is None:
        factor, ends = np.ones(len(size)), np.ones(len(size), dtype=bool)
        return Rounds(factor, ends, float(size.max(initial=0)))
    total = Counter(strata)
    factor, ends = np.zeros(len(size)), np.zeros(len(size), dtype=bool)
    start, here = 0, Counter[Hashable]()
    for i, stratum in enumerate(strata):
        here[stratum] += 1
        if len(here) == len(total):
            length = i + 1 - start
            factor[start : i + 1] = [total[s] / len(size) / (here[s] / length) for s in strata[start : i + 1]]
            ends[i] = True
            start, here = i + 1, Counter()
    return Rounds(factor, ends, float((factor * size).max(initial=0)))


# --- the test


@dataclass
class SequentialTest:
    """Whether a rate is above or below a bound, asked again after every cluster.

    ``p_above`` and ``p_below`` may be read at any time and acted upon: the chance that ``p_above`` is *ever* at most
    alpha is at most alpha / 2 while the rate is at most the bound, and likewise for ``p_below``. They never rise. They
    count two-sided, as those of :class:`Estimate` do.

    The rate is ``E[total] / E[size]`` of a cluster. Differences d between -1 and 1 to a margin are tested
    as ``(d + 1) / 2`` to ``(margin + 1) / 2``. For a weighted metric total and size are in case weights (weight of the
    stratum / cases of the suite in it), which takes unscored answers to be equally frequent in its strata.
    """

    bound: float
    """0 to 1."""
    rounds: Rounds
    """Of all clusters of the gate, in the order of serving."""
    seen: int = field(default=0, init=False)
    """Clusters so far."""
    p_above: float = field(default=1.0, init=False)
    p_below: float = field(default=1.0, init=False)
    _capital: list[Floats] = field(default_factory=list, init=False, repr=False)
    """Logarithms, one a bet: of those who doubt that the rate is at most the bound, and at least."""

    def update(self, totals: Sequence[float] | Floats, sizes: Sequence[float] | Floats) -> None:
        """Take in the next clusters: failures (0 to size) and scored cases of each.

        Capital is spread evenly over fixed bets (the grid-Kelly bettor of Waudby-Smith and Ramdas), so that clusters
        count alike in any order. Raises ``ValueError`` for clusters that were not planned.
        """
        total, size = np.asarray(totals, dtype=float), np.asarray(sizes, dtype=float)
        part = slice(self.seen, self.seen + len(total))
        factor, ends = self.rounds.factor[part], self.rounds.ends[part]
        scale = self.rounds.largest or 1.0
        if len(factor) < len(total):
            raise ValueError(f"{self.seen + len(total)} clusters, but {len(self.rounds.factor)} were planned")
        if np.any(factor * size > scale * (1 + 1e-9)) or np.any(total > size * (1 + 1e-9)) or np.any(total < 0):
            raise ValueError("a cluster has more cases than were planned, or failures that are not among its cases")
        p = min(max(self.bound, _LEAST), 1 - _LEAST)
        surplus = factor / scale * (total - p * size)
        bets = (_bets(1 / p), -_bets(1 / (1 - p)))
        before = self._capital or [np.zeros(len(side)) for side in bets]
        growth = [np.log1p(np.outer(surplus, side)).cumsum(axis=0) for side in bets]
        paths = [start + grown for start, grown in zip(before, growth, strict=True)]
        self.seen += len(total)
        if len(total):
            self._capital = [path[-1] for path in paths]
            above, below = (_mean_capital(path[ends]).max(initial=0) for path in paths)
            self.p_above, self.p_below = (
                min(self.p_above, 2 * math.exp(-above)),
                min(self.p_below, 2 * math.exp(-below)),
            )


def _bets(most: float) -> Floats:
    """Per unit of the largest cluster; *most* could go bankrupt."""
    boldest = _BOLDEST * most
    return np.geomspace(_SMALLEST_BET, boldest, 1 + math.ceil(math.log(boldest / _SMALLEST_BET, _RATIO)))


def _mean_capital(path: Floats) -> Floats:
    """Logarithm of the mean over bets, at each look."""
    together: Floats = np.logaddexp.reduce(path, axis=1)
    return together - math.log(path.shape[1])


def decide(tests: Sequence[SequentialTest], alpha: float, at_least: Sequence[bool] | None = None) -> list[State]:
    """``holds``, ``violated`` or ``undecided`` for each gate of a family; *at_least*: whose bound is a minimum.

    Holm's adjustment (any dependence) for each direction. p-values that never rise and are valid at any time stay so
    under it: what was certain stays certain, and the chance that any of the verdicts is ever wrong is at most *alpha*.
    Hochberg's is not used, for claims of safety neither: it needs positive dependence, also of the stopping times.
    """
    minimum = at_least or [False] * len(tests)
    above, below = holm([test.p_above for test in tests]), holm([test.p_below for test in tests])
    pairs = [(b, a) if flip else (a, b) for a, b, flip in zip(above, below, minimum, strict=True)]
    return [VIOLATED if over <= alpha else HOLDS if under <= alpha else UNDECIDED for over, under in pairs]


def confidence_sequence(
    test: SequentialTest,
    totals: Sequence[float] | Floats,
    sizes: Sequence[float] | Floats,
    alpha: float,
    cases: int,
) -> Estimate:
    """The rate after clusters with these *totals* and *sizes*, with an interval that holds however often one looked.

    It holds the bounds that tests like *test* would not have rejected by now, tried on a grid that has its bound: it
    is beyond that only where the test says so. *cases*: how many were scored.
    """
    total, size = np.asarray(totals, dtype=float), np.asarray(sizes, dtype=float)
    factor = test.rounds.factor[: len(total)]
    value = float(factor @ total / max(factor @ size, 1e-300))
    tried = np.unique([*(np.sin(np.linspace(0, np.pi / 2, _GRID + 1)) ** 2), test.bound])
    others = [SequentialTest(float(bound), test.rounds) for bound in tried]
    for other in others:
        other.update(total, size)
    above, below = np.array([other.p_above for other in others]), np.array([other.p_below for other in others])

    def interval(level: float) -> tuple[float, float]:
        # Up to the first bound that is not rejected; rejected ones beyond would be an accident of the bets.
        low, high = int(np.argmin([*(above <= level), False])), int(np.argmin([*(below[::-1] <= level), False]))
        floor = np.nextafter(tried[low - 1], 1) if low else 0.0
        ceiling = np.nextafter(tried[-high], 0) if high else 1.0
        return min(float(floor), value), max(float(ceiling), value)

    return Estimate(value, *interval(alpha), cases, len(total), interval)
