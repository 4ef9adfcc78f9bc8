"""Before a run is paid for: what its gates can find out with the cases that they have.

The decision is the gate's own: :func:`~pytest_mmsafety.statistics.estimates.share_interval` or
:func:`~pytest_mmsafety.statistics.estimates.difference_interval` against the bound. Cases that share no cluster are
enumerated by their hit counts, exactly; clusters are simulated with a fixed seed (beta-binomial hits in a
cluster, Dirichlet-multinomial rises and falls), with a standard error of 0.6 points.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import gammaln, xlogy
from scipy.stats import betabinom, binom

from pytest_mmsafety.errors import plural
from pytest_mmsafety.evaluation.table import ANSWERED, Table
from pytest_mmsafety.gates import ASSURANCE, Gate
from pytest_mmsafety.metrics import METRICS, title_of
from pytest_mmsafety.run import Record
from pytest_mmsafety.statistics.estimates import (
    Floats,
    Spread,
    codes,
    correlation_of,
    difference_interval,
    intra_cluster_correlation,
    share_interval,
)

WANTED = 0.8
"""The chance of the right verdict that a gate should have."""
MOST_CASES = 200_000
"""Beyond this, no number of cases is named."""

_STEPS = 16
"""True values that are tried between the bound and the extreme, before the crossing is looked for between two."""
_DRAWS = 4_000
_ENUMERATED = 5_000
_SEED = 5


@dataclass(frozen=True, slots=True)
class Design:
    """How many clusters there are of which size."""

    sizes: tuple[tuple[int, int], ...]
    """Pairs of cases a cluster and number of such clusters, by size."""

    @classmethod
    def of(cls, clusters: Sequence[Hashable]) -> Design:
        """The design of cases with these clusters."""
        sizes = np.bincount(np.bincount(codes(clusters)))
        return cls(tuple((size, int(count)) for size, count in enumerate(sizes) if count))

    @property
    def n(self) -> int:
        """Cases."""
        return sum(size * count for size, count in self.sizes)

    @property
    def clusters(self) -> int:
        return sum(count for _, count in self.sizes)

    def scaled(self, n: int) -> Design:
        """About *n* cases in clusters of the same sizes."""
        factor = n / self.n
        scaled = tuple((size, max(1, round(count * factor))) for size, count in self.sizes)
        return Design(scaled)


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What has to be guessed, or taken from an earlier run, before there are answers."""

    icc: float = 0.1
    """Intra-cluster correlation, 0 to 1: how alike the cases of a cluster are."""
    churn: float = 0.1
    """Share of cases whose answers flip from run to run without being better or worse on the whole."""


@dataclass(frozen=True, slots=True)
class PowerPlan:
    """What a gate can find out."""

    gate: Gate
    design: Design
    assumed: Assumptions
    alpha: float
    """At which the gate decides once its family is taken into account."""
    detectable: float | None
    """evidence: the smallest true rate above the bound, or worsening above the margin, that fails with 80 % power.
    assurance: the largest one below it that passes with 80 % power. ``None``: there is none."""
    power: float
    """At the detectable value: 80 %, or a little more where whole numbers leave a gap; 0 if there is none."""
    needed: int | None
    """Cases, in clusters of the same sizes, for 80 % power at the target rate or worsening; ``None``: more than
    ``MOST_CASES``, or no target rate."""
    obstacle: str
    """``cannot fail``, ``cannot pass``, or empty."""
    sentence: str


def plan_gate(
    gate: Gate,
    design: Design,
    *,
    family: int = 1,
    assumed: Assumptions = Assumptions(),
    target_rate: float | None = None,
) -> list[PowerPlan]:
    """What each claim of *gate* can find out: of its bound, then of its ``max_regression``.

    *family* is the number of claims that are judged together. Evidence is planned for a lone harm (under Holm:
    alpha / family), assurance for the case that every gate passes (no correction). *target_rate* is the true rate, or
    worsening, that should be told from the bound. A metric of weighted strata is planned as if unweighted.
    """
    one_of_many = gate.family != "none" and not (gate.family == "holm" and gate.rule == ASSURANCE)
    alpha = gate.alpha / family if one_of_many else gate.alpha
    plans = []
    if gate.bound is not None:
        plans.append(_plan(_BoundTest(gate, alpha, assumed), design, target_rate))
    if gate.max_regression is not None and gate.max_regression < 1:
        plans.append(_plan(_RegressionTest(gate, alpha, assumed), design, target_rate))
    return plans


def family_sizes(gates: Sequence[Gate]) -> dict[str, int]:
    """Name of each gate -> number of claims that are judged together with its own."""
    claims = {
        gate.name: (gate.bound is not None) + (gate.max_regression is not None and gate.max_regression < 1)
        for gate in gates
    }
    return {
        gate.name: max(1, sum(claims[o.name] for o in gates if (o.rule, o.family) == (gate.rule, gate.family)))
        for gate in gates
    }


def assumed_from(gate: Gate, records: Sequence[Record]) -> Assumptions | None:
    """How alike the cases of a cluster were in an earlier run; ``None`` if it scored no case of *gate*."""
    table, metric = Table(records), METRICS[gate.metric]
    values = table.values(metric, gate.judged_by)
    counts = table.where(gate.where) & (table.strata(metric) >= 0) & (table.state == ANSWERED) & ~np.isnan(values)
    if not counts.any():
        return None
    return Assumptions(icc=intra_cluster_correlation(values[counts], table.cluster[counts]))


@dataclass(frozen=True, slots=True)
class _BoundTest:
    """The decision on a bound. Rates are those of failing, so that ``min`` is ``max`` seen from the other side."""

    gate: Gate
    alpha: float
    assumed: Assumptions

    @property
    def bound(self) -> float:
        assert self.gate.bound is not None
        return self.gate.bound if self.gate.min is None else 1 - self.gate.bound

    def shown(self, rate: float) -> float:
        """A rate of failing in the terms of the gate's metric, and back."""
        return rate if self.gate.min is None else 1 - rate

    def power(self, design: Design, rate: float) -> float:
        if design.n == design.clusters and design.n <= _ENUMERATED:
            hits = np.arange(design.n + 1)
            return float(binom.pmf(hits, design.n, rate) @ self.decides(_independent(hits, design.n)))
        return float(self.decides(_draw(design, rate, self.assumed.icc)).mean())

    def decides(self, spread: Spread) -> Any:
        """Whether the gate decides: fails (evidence) or passes (assurance)."""
        low, high = share_interval(spread, self.alpha)
        return high <= self.bound + 1e-12 if self.gate.rule == ASSURANCE else low > self.bound + 1e-12

    @property
    def range(self) -> tuple[float, float]:
        """Where the answer lies: from the bound to the extreme."""
        return self.bound, 0.0 if self.gate.rule == ASSURANCE else 1.0

    def words(self, rate: float) -> str:
        return f"{title_of(self.gate.metric)} of {self.shown(rate):.1%}"

    @property
    def limit(self) -> str:
        return f"{'at least' if self.gate.max is None else 'at most'} {self.gate.bound:.1%}"

    @property
    def claim(self) -> str:
        return f"the {title_of(self.gate.metric)} is {self.limit}"


@dataclass(frozen=True, slots=True)
class _RegressionTest:
    """The decision on a worsening."""

    gate: Gate
    alpha: float
    assumed: Assumptions

    @property
    def bound(self) -> float:
        assert self.gate.max_regression is not None
        return self.gate.max_regression

    def shown(self, worsening: float) -> float:
        return worsening

    def power(self, design: Design, worsening: float) -> float:
        return float(self._decides(*_draw_changes(design, *self._flips(worsening), self.assumed.icc)).mean())

    def _flips(self, worsening: float) -> tuple[float, float]:
        """Shares of cases that get worse and that get better."""
        both = min(self.assumed.churn, 1 - abs(worsening)) / 2
        return both + max(worsening, 0), both + max(-worsening, 0)

    def _decides(self, rise: Spread, fall: Spread, correlation: Any) -> Any:
        low, high = difference_interval(rise, fall, correlation, self.alpha)
        return high <= self.bound + 1e-12 if self.gate.rule == ASSURANCE else low > self.bound + 1e-12

    @property
    def range(self) -> tuple[float, float]:
        return self.bound, -1.0 if self.gate.rule == ASSURANCE else 1.0

    def words(self, worsening: float) -> str:
        return f"{'worsening' if worsening >= 0 else 'gain'} of {abs(worsening) * 100:.1f} points"

    @property
    def limit(self) -> str:
        return f"at most {self.bound * 100:.1f} points worse"

    @property
    def claim(self) -> str:
        return f"the run is {self.limit}"


def _plan(test: _BoundTest | _RegressionTest, design: Design, target_rate: float | None) -> PowerPlan:
    start, extreme = test.range
    grid = [start + (extreme - start) * step / _STEPS for step in range(_STEPS + 1)]
    powers = [test.power(design, rate) for rate in grid]
    obstacle = "" if max(powers) > 0.01 else "cannot pass" if test.gate.rule == ASSURANCE else "cannot fail"
    found = None
    if (first := next((i for i, power in enumerate(powers) if power >= WANTED), 0)) > 0:
        found = _crossing(lambda rate: test.power(design, rate) >= WANTED, grid[first - 1], grid[first])
    sentence = _sentence(test, design, obstacle, found)
    needed = None
    if target_rate is not None:
        rate = test.shown(target_rate)
        needed = _needed(test, design, rate)
        sentence += f"; {_sample_size(test, rate, needed)}"
    shown, power = (None, 0.0) if found is None else (test.shown(found), test.power(design, found))
    return PowerPlan(test.gate, design, test.assumed, test.alpha, shown, power, needed, obstacle, sentence)


def _crossing(enough: Callable[[float], bool], outside: float, inside: float) -> float:
    """The value nearest to *outside* for which there is *enough*, as there is *inside*."""
    while abs(inside - outside) > 0.0002:
        middle = (inside + outside) / 2
        if enough(middle):
            inside = middle
        else:
            outside = middle
    return inside


def _needed(test: _BoundTest | _RegressionTest, design: Design, rate: float) -> int | None:
    """Cases for ``WANTED`` power at *rate*; exact but for the small steps back that whole numbers bring."""
    start, extreme = test.range
    if not min(start, extreme) <= rate <= max(start, extreme) or rate == start:
        return None
    few, many = 0, max(size for size, _ in design.sizes) * 2
    while test.power(design.scaled(many), rate) < WANTED:
        few, many = many, many * 2
        if many > MOST_CASES:
            return None
    while many - few > max(1, many // 200):
        middle = (few + many) // 2
        if test.power(design.scaled(middle), rate) >= WANTED:
            many = middle
        else:
            few = middle
    return design.scaled(many).n


def _sentence(test: _BoundTest | _RegressionTest, design: Design, obstacle: str, found: float | None) -> str:
    passes = test.gate.rule == ASSURANCE
    size = f"n={design.n:,} ({plural(design.clusters, 'cluster')})"
    if obstacle:
        regression = isinstance(test, _RegressionTest)
        best, worst = ("no change at all", "every case worse") if regression else ("0 failures", "100% failures")
        proof = f"even {best} would not prove" if passes else f"even {worst} would not disprove"
        return f"{obstacle}: {size} is too small; {proof} that {test.claim}"
    if found is None:
        verdict = "pass" if passes else "fail"
        return f"{size}: no true value makes it {verdict} with {WANTED:.0%} power; bound {test.limit}"
    if passes:
        return f"{size}: passes with {WANTED:.0%} power at a true {test.words(found)}; bound {test.limit}"
    edge = "maximum" if isinstance(test, _BoundTest) and test.gate.max is None else "minimum"
    return f"{size}: {edge} detectable {test.words(found)} at {WANTED:.0%} power; bound {test.limit}"


def _sample_size(test: _BoundTest | _RegressionTest, rate: float, needed: int | None) -> str:
    start, extreme = test.range
    if not min(start, extreme) <= rate <= max(start, extreme) or rate == start:
        verdict = "pass" if test.gate.rule == ASSURANCE else "fail"
        return f"no number of cases makes it {verdict} at a true {test.words(rate)}"
    return f"{test.words(rate)} needs {f'about {needed:,}' if needed else f'more than {MOST_CASES:,}'} cases"


# --- samples


def _independent(hits: Any, n: int) -> Spread:
    """Of samples without clusters, by their hit counts."""
    value = hits / n
    return Spread(value, value * (1 - value) / n, np.minimum(hits, n - hits), n, n, n - 1, float(n), float(n))


def _draw(design: Design, rate: float, icc: float) -> Spread:
    """Seeded samples of clusters."""
    outcomes, chances = zip(*(_hits_of_a_cluster(size, rate, icc) for size, _ in design.sizes), strict=True)
    counts, sizes, (hits,) = _draw_counts(design, [[outcome] for outcome in outcomes], chances)
    return _spread_of_counts(design, counts, sizes, hits)


def _draw_changes(design: Design, rise: float, fall: float, icc: float) -> tuple[Spread, Spread, Any]:
    """Seeded samples of clusters of pairs: rises, falls, and their correlation."""
    cells, chances = zip(*(_changes_of_a_cluster(size, rise, fall, icc) for size, _ in design.sizes), strict=True)
    counts, sizes, (up, down) = _draw_counts(design, cells, chances)
    rises, falls = (_spread_of_counts(design, counts, sizes, hits) for hits in (up, down))
    net = _spread_of_counts(design, counts, sizes, up - down)
    return rises, falls, correlation_of(rises, falls, net.variance)


def _draw_counts(design: Design, cells: Sequence[Any], chances: Sequence[Floats]) -> tuple[Any, Any, Any]:
    """How many clusters had which outcome in each of ``_DRAWS`` samples; size and hits of each outcome."""
    random = np.random.default_rng(_SEED)
    counts = [
        random.multinomial(count, chance, size=_DRAWS) for (_, count), chance in zip(design.sizes, chances, strict=True)
    ]
    sizes = [np.full(len(chance), size) for (size, _), chance in zip(design.sizes, chances, strict=True)]
    hits = [np.concatenate(parts) for parts in zip(*cells, strict=True)]
    return np.concatenate(counts, axis=1), np.concatenate(sizes), hits


def _spread_of_counts(design: Design, counts: Any, sizes: Any, hits: Any) -> Spread:
    n, clusters = design.n, design.clusters
    value = counts @ hits / n
    squares = counts @ hits**2 - 2 * value * (counts @ (sizes * hits)) + value**2 * (counts @ sizes**2)
    variance = clusters / max(1, clusters - 1) * np.maximum(squares, 0) / n**2
    minority_clusters = np.minimum(counts @ (hits > 0), counts @ (hits < sizes))
    n_eff_min = n**2 / sum(count * size**2 for size, count in design.sizes)
    return Spread(value, variance, minority_clusters, n, clusters, clusters - 1, n_eff_min, float(n))


def _hits_of_a_cluster(size: int, rate: float, icc: float) -> tuple[Any, Floats]:
    """Numbers of hits and their chances: beta-binomial."""
    hits = np.arange(size + 1)
    if not 0 < rate < 1 or size == 1 or icc < 1e-6:
        chances = binom.pmf(hits, size, rate)
    elif icc > 1 - 1e-6:
        chances = np.where(hits == 0, 1 - rate, np.where(hits == size, rate, 0.0))
    else:
        weight = (1 - icc) / icc
        chances = betabinom.pmf(hits, size, rate * weight, (1 - rate) * weight)
    return hits, chances / chances.sum()


def _changes_of_a_cluster(size: int, rise: float, fall: float, icc: float) -> tuple[Any, Floats]:
    """Numbers of (rises, falls) and their chances: Dirichlet-multinomial."""
    up, down = (part.ravel() for part in np.indices((size + 1, size + 1)))
    up, down = up[up + down <= size], down[up + down <= size]
    x = np.stack([up, down, size - up - down])
    p = np.array([rise, fall, max(0.0, 1 - rise - fall)])[:, None]
    ways = gammaln(size + 1) - gammaln(x + 1).sum(axis=0)
    if size == 1 or icc < 1e-6:
        chances = np.exp(ways + xlogy(x, p).sum(axis=0))
    elif icc > 1 - 1e-6:
        chances = ((x == size) * p).sum(axis=0)
    else:
        a = np.maximum(p * (1 - icc) / icc, 1e-12)
        scale = gammaln(a.sum()) - gammaln(size + a.sum())
        chances = np.exp(ways + scale + (gammaln(x + a) - gammaln(a)).sum(axis=0))
    return (up, down), chances / chances.sum()
