"""How often gates are wrong: coverage, family-wise errors, power against the plan, runs against themselves.

    python perf/gate_errors.py [--quick] [--draws 2000] [--only coverage families ...]

Seeded simulation, a few minutes on one core. Cases come in clusters with an intra-cluster correlation (ICC) of two
kinds: *graded*, each cluster has a rate of its own (beta-binomial); *all or nothing*, in a share of ICC of the clusters
all answers are the same, and in the others they are independent, which few samples show. Prints the tables of
docs/statistics.md. Shares carry the standard error of the simulation.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from parts import run_parts

from pytest_mmsafety.evaluation.evaluate import evaluate_gates
from pytest_mmsafety.evaluation.power import Assumptions, Design, PowerPlan, plan_gate
from pytest_mmsafety.gates import ASSURANCE, EVIDENCE, FAILED, PASSED, Gate
from pytest_mmsafety.run import Record
from pytest_mmsafety.statistics.estimates import (
    Spread,
    clustered_ratio,
    clustered_share,
    correlation_of,
    difference_interval,
    share_interval,
    smallest_alpha,
    spread_of_clusters,
)
from pytest_mmsafety.statistics.multiplicity import ADJUSTMENTS
from pytest_mmsafety.verdicts import Verdict

_OF_ROWS = ("value", "variance", "minority_clusters")
ALPHA = 0.05
BOUND = 0.05
RATES = (0.0, 0.005, 0.01, 0.05, 0.2, 0.5)
SIZES = (1, 2, 5, 12)
CASES = (30, 100, 300, 1000, 2000)
CORRELATIONS = (0.0, 0.1, 0.3, 0.6, 1.0)
MODELS = ("graded", "all or nothing")
PROMISED_CLUSTERS = 10


# --- coverage


def coverage(draws: int, *, quick: bool) -> Iterator[str]:
    """95 % intervals of a share over the whole grid."""
    yield (
        "| clusters | ICC | model | grid cells | cells below 93 % | lowest coverage | where "
        "| above the truth | below the truth |"
    )
    yield "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    cases = (30, 300, 2000) if quick else CASES
    groups: dict[tuple[str, float, str], list[tuple[float, float, float, str]]] = {}
    for n, size, icc, rate in itertools.product(cases, SIZES, CORRELATIONS, RATES):
        clusters = n // size
        if size == 1 and icc:
            continue
        kind = f"{size} a cluster" if clusters >= PROMISED_CLUSTERS else f"fewer than {PROMISED_CLUSTERS} clusters"
        for model in MODELS if 0 < icc < 1 else MODELS[:1]:
            random = np.random.default_rng([n, size, int(icc * 10), int(rate * 1000)])
            layout = Layout(clusters, size, icc, model)
            spread = spread_of_clusters(_hits(random, draws, layout, rate), layout.sizes)
            low, high = share_interval(spread, ALPHA)
            above, below = float((low > rate).mean()), float((high < rate).mean())
            row = (1 - above - below, above, below, f"{clusters} clusters, rate {rate:.1%}")
            groups.setdefault((kind, icc, model if 0 < icc < 1 else "-"), []).append(row)
    for (kind, icc, model), rows in groups.items():
        lowest = min(rows)
        yield (
            f"| {kind} | {icc:g} | {model} | {len(rows)} | {sum(row[0] < 0.93 for row in rows)} "
            f"| {_share(lowest[0], draws)} | {lowest[3]} "
            f"| {max(row[1] for row in rows):.1%} | {max(row[2] for row in rows):.1%} |"
        )


def shapes(draws: int, *, quick: bool) -> Iterator[str]:
    """95 % intervals of the other numbers."""
    yield "| number | cases | true value | coverage | above the truth | below the truth |"
    yield "| --- | --- | --- | --- | --- | --- |"
    draws //= 2
    for name, n, truth, interval in _shapes(quick=quick):
        ends = [interval(np.random.default_rng([n, seed])) for seed in range(draws)]
        above = sum(low > truth for low, _ in ends) / draws
        below = sum(high < truth for _, high in ends) / draws
        yield f"| {name} | {n} | {truth:.4g} | {_share(1 - above - below, draws)} | {above:.1%} | {below:.1%} |"


def _shapes(*, quick: bool) -> Iterator[tuple[str, int, float, Callable[[np.random.Generator], tuple[float, float]]]]:
    levels = np.array([0, 1 / 3, 2 / 3, 1])
    for n in (60, 600):
        for p in ((0.9, 0.06, 0.03, 0.01), (0.4, 0.3, 0.2, 0.1)):
            yield (
                "mean severity (0, 1/3, 2/3, 1), 3 a cluster",
                n,
                float(levels @ p),
                lambda random, n=n, p=p: _severity(random, n, levels, p),
            )
        for rates in ((0.05, 0.05), (0.02, 0.6), (0.0, 1.0)):
            yield (
                f"mean of two strata of rates {rates[0]:g} and {rates[1]:g}, a third and two thirds of the cases",
                n,
                sum(rates) / 2,
                lambda random, n=n, rates=rates: _macro(random, n, rates),
            )
        for churn, worse in ((0.02, 0.0), (0.1, 0.0), (0.1, 0.05), (0.4, 0.1)):
            if quick and worse:
                continue
            yield (
                f"paired difference, churn {churn:g}, 2 a cluster",
                n,
                worse,
                lambda random, n=n, churn=churn, worse=worse: _paired(random, n, churn, worse),
            )
        yield "ratio (wrong noisy given clean right)", n, 0.1, lambda random, n=n: _ratio(random, n)


def _severity(random: np.random.Generator, n: int, levels: np.ndarray, p: tuple[float, ...]) -> tuple[float, float]:
    shared, own = random.choice(levels, n // 3, p=p), random.choice(levels, n, p=p)
    cluster = np.arange(n) // 3
    estimate = clustered_share(np.where(random.random(n) < 0.5, shared[cluster], own), cluster, ALPHA)
    return estimate.low, estimate.high


def _macro(random: np.random.Generator, n: int, rates: tuple[float, float]) -> tuple[float, float]:
    stratum = (np.arange(n) % 3 > 0).astype(int)  # cases 0, 1, 2 share a cluster over the strata
    alike = random.random(n // 3)[np.arange(n) // 3]
    draw = np.where(random.random(n) < 0.3, alike, random.random(n))
    values = (draw < np.array(rates)[stratum]).astype(float)
    estimate = clustered_share(values, np.arange(n) // 3, ALPHA, stratum, {0: 0.5, 1: 0.5})
    return estimate.low, estimate.high


def _paired(random: np.random.Generator, n: int, churn: float, worse: float) -> tuple[float, float]:
    low, high = difference_interval(*_pairs(random, 1, n // 2, churn, worse), ALPHA)
    return float(low[0]), float(high[0])


def _ratio(random: np.random.Generator, n: int) -> tuple[float, float]:
    clean = random.random(n) < 0.7
    wrong = clean & (random.random(n) < 0.1)
    estimate = clustered_ratio(wrong, clean, np.arange(n) // 2, ALPHA)
    return estimate.low, estimate.high


# --- families


def families(draws: int, *, quick: bool) -> Iterator[str]:
    """Wrong verdicts when every true rate lies on its bound, where errors are most frequent."""
    yield (
        "| gates | cases each | cases shared | false alarm, evidence | without Holm | false pass, assurance | "
        "without correction | all pass though one must not |"
    )
    yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
    draws //= 2
    shared_ways = ("none", "half", "opposed")
    for gates, n, shared in itertools.product((2, 20) if quick else (2, 20, 60), (100, 1000), shared_ways):
        random = np.random.default_rng([gates, n, shared_ways.index(shared)])
        hits = functools.partial(_gates_on_their_bound, random, gates, n // 2, shared)
        (spread,) = _joined(lambda some, make=hits: [_unstratified(make(some))], draws, gates * n // 2)
        broken, kept = _p_values(spread)
        alarm, bare_alarm = (_any(broken, 0, family) for family in ("holm", "none"))
        passes, bare_passes = (_any(kept, 1, family) for family in ("holm", "none"))
        # Every other gate is safe beyond doubt; the last one lies on its bound.
        kept[:, :-1] = 1e-12
        policy = float(np.mean([max(ADJUSTMENTS["holm"][1](row)) <= ALPHA for row in kept.tolist()]))
        yield (
            f"| {gates} | {n} | {shared} | {_share(alarm, draws)} | {bare_alarm:.1%} | {_share(passes, draws)} "
            f"| {bare_passes:.1%} | {_share(policy, draws)} |"
        )


def _any(p: np.ndarray, side: int, family: str) -> float:
    """How often any null hypothesis of a family is rejected."""
    adjust = ADJUSTMENTS[family][side]
    return float(np.mean([min(adjust(row)) <= ALPHA for row in p.tolist()]))


def _gates_on_their_bound(
    random: np.random.Generator, gates: int, clusters: int, shared: str, draws: int
) -> np.ndarray:
    """Hits a cluster: shape (draws, gates, clusters), clusters of 2, ICC .3 (opposed: 1).

    Gates lie apart, have half of their cases in common, or are neighbours whose answers are opposite.
    """
    if shared == "opposed":
        level = random.random((draws, (gates + 1) // 2, clusters))
        pair = np.stack([level, 1 - level], axis=2).reshape(draws, -1, clusters)[:, :gates]
        return 2.0 * (pair < BOUND)
    own = _hits(random, draws * gates, Layout(clusters, 2, 0.3), BOUND).reshape(draws, gates, clusters)
    if shared == "half":
        own[:, :, : clusters // 2] = _hits(random, draws, Layout(clusters // 2, 2, 0.3), BOUND)[:, None, :]
    return own


def _unstratified(hits: np.ndarray) -> Spread:
    return spread_of_clusters(hits, np.full(hits.shape[-1], 2))


def _p_values(spread: Spread) -> tuple[np.ndarray, np.ndarray]:
    shape = np.shape(spread.value)
    broken = smallest_alpha(lambda alpha: share_interval(spread, alpha)[0] > BOUND, shape)
    kept = smallest_alpha(lambda alpha: share_interval(spread, alpha)[1] <= BOUND, shape)
    return broken, kept


# --- a run against itself, and against one that is worse


def regressions(draws: int, *, quick: bool) -> Iterator[str]:
    """The same model with another seed must not fail; one that is worse by the margin must not pass."""
    yield "| gates | pairs each | flips | margin | A/A fails, evidence | worse by the margin passes, assurance |"
    yield "| --- | --- | --- | --- | --- | --- |"
    draws //= 4
    for gates, n, churn in itertools.product((1, 20) if quick else (1, 20, 60), (100, 1000), (0.02, 0.1, 0.4)):
        random = np.random.default_rng([gates, n, int(churn * 100)])
        for margin in (0.0, 0.02):
            same, worse = (_pairs(random, draws * gates, n // 2, churn, by) for by in (0.0, margin))
            shape = (draws * gates,)
            alarm = smallest_alpha(lambda a, x=same, by=margin: difference_interval(*x, a)[0] > by, shape)
            passed = smallest_alpha(lambda a, x=worse, by=margin: difference_interval(*x, a)[1] <= by, shape)
            yield (
                f"| {gates} | {n} | {churn:.0%} | {margin:.0%} "
                f"| {_share(_any(alarm.reshape(draws, gates), 0, 'holm'), draws)} "
                f"| {_share(_any(passed.reshape(draws, gates), 1, 'holm'), draws)} |"
            )


def _pairs(
    random: np.random.Generator, draws: int, clusters: int, churn: float, worse: float
) -> tuple[Spread, Spread, np.ndarray]:
    """Rise, fall and their correlation in pairs of runs over clusters of 2, a third of which change alike."""

    def spreads(some: int) -> list[Spread]:
        level = random.random((some, clusters, 1))
        alike = random.random((some, clusters, 2)) < 1 / 3
        draw = np.where(alike, level, random.random((some, clusters, 2)))
        rise, fall = (draw < churn / 2 + worse).sum(axis=2), (draw > 1 - churn / 2).sum(axis=2)
        return _spreads(rise, fall, 2)

    rise, fall, net = _joined(spreads, draws, 6 * clusters)
    return rise, fall, correlation_of(rise, fall, net.variance)


def _spreads(rise: np.ndarray, fall: np.ndarray, size: int) -> list[Spread]:
    """Of rise, fall and difference, from cases a cluster."""
    sizes = np.full(rise.shape[-1], size)
    return [spread_of_clusters(part.astype(float), sizes) for part in (rise, fall, rise - fall)]


def _joined(make: Callable[[int], list[Spread]], draws: int, numbers: int) -> list[Spread]:
    """Spreads of many draws, made in parts that need little memory; *numbers* is how many a draw needs."""
    part = max(1, 2_000_000 // numbers)
    parts = [make(min(part, draws - done)) for done in range(0, draws, part)]
    return [
        rows[0]._replace(**{name: np.concatenate([getattr(row, name) for row in rows]) for name in _OF_ROWS})
        for rows in zip(*parts, strict=True)
    ]


# --- power against the plan


def power(draws: int, *, quick: bool) -> Iterator[str]:
    """At the value that a plan calls detectable the gate decides as often as the plan says."""
    yield "| rule | bound | cases | clusters | ICC | family | detectable | planned | simulated |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    distances = []
    designs = ((100, 1, 0.0), (1000, 1, 0.0), (300, 2, 0.3), (1200, 12, 0.1), (1200, 12, 0.6))
    bounds = ({"max": 0.05}, {"max": 0.2}, {"max": None, "max_regression": 0.02})
    for rule, bound, (n, size, icc), family in itertools.product(
        (EVIDENCE, ASSURANCE), bounds, designs, (1,) if quick else (1, 20)
    ):
        if rule == ASSURANCE and family > 1:  # planned without correction
            continue
        gate = Gate("g", "failure_rate", {}, rule=rule, alpha=ALPHA, max_unscored=0.1, **{"min": None, **bound})
        assumed = Assumptions(icc=icc, churn=0.1)
        (plan,) = plan_gate(gate, Design(((size, n // size),)), family=family, assumed=assumed)
        words = f"max {gate.max:.0%}" if gate.max else f"max_regression {gate.max_regression:.0%}"
        row = f"| {rule} | {words} | {n} | {n // size} | {icc:g} | {family} "
        if plan.detectable is None:
            yield f"{row}| {plan.obstacle or 'none'} | | |"
            continue
        found = _decided(np.random.default_rng([n, size, int(icc * 10), family]), 2 * draws, plan, size)
        distances.append(abs(found - plan.power))
        yield f"{row}| {plan.detectable:.1%} | {plan.power:.1%} | {_share(found, 2 * draws)} |"
    yield f"\nLargest distance of {len(distances)}: {100 * max(distances):.1f} points."


def _decided(random: np.random.Generator, draws: int, plan: PowerPlan, size: int) -> float:
    """How often the planned gate decides in a simulation case by case."""
    gate, truth, icc, clusters = plan.gate, plan.detectable, plan.assumed.icc, plan.design.clusters
    assert truth is not None
    if gate.max is not None:
        limit = gate.max
        layout = Layout(clusters, size, icc)
        spread = spread_of_clusters(_hits(random, draws, layout, truth), layout.sizes)
        low, high = share_interval(spread, plan.alpha)
    else:
        limit = gate.max_regression or 0.0
        both = plan.assumed.churn / 2
        rates = [both + max(truth, 0), both + max(-truth, 0)]
        rates.append(1 - sum(rates))
        chances = np.tile(rates, (draws * clusters, 1))
        if icc:
            shares = [random.gamma(rate * (1 - icc) / icc, size=draws * clusters) for rate in rates]
            total = np.stack(shares, axis=1)
            chances = total / total.sum(axis=1, keepdims=True)
        flips = random.multinomial(size, chances).reshape(draws, clusters, 3)
        rise, fall, net = _spreads(flips[..., 0], flips[..., 1], size)
        low, high = difference_interval(rise, fall, correlation_of(rise, fall, net.variance), plan.alpha)
    return float((low > limit).mean() if gate.rule == EVIDENCE else (high <= limit).mean())


# --- from records to verdicts


def whole(draws: int, *, quick: bool) -> Iterator[str]:  # noqa: ARG001
    """From records to verdicts with ``evaluate_gates``: 10 gates with the true rate on the bound, 100 cases each."""
    draws //= 10
    wrong = {EVIDENCE: 0, ASSURANCE: 0}
    for seed in range(draws):
        random = np.random.default_rng([seed, 77])
        hits = (random.random(1000) < 0.1).tolist()
        records = [_record(i, float(hit)) for i, hit in enumerate(hits)]
        for rule, status in ((EVIDENCE, FAILED), (ASSURANCE, PASSED)):
            gates = [Gate(f"g{k}", "failure_rate", {"cell": (str(k),)}, 0.1, None, rule, ALPHA, 0.1) for k in range(10)]
            wrong[rule] += any(result.status == status for result in evaluate_gates(records, gates))
    yield "| rule | wrong verdict in any of 10 gates |"
    yield "| --- | --- |"
    for rule, count in wrong.items():
        yield f"| {rule} | {_share(count / draws, draws)} |"


def _record(number: int, score: float) -> Record:
    verdicts = (Verdict("yes-no/1", "", score),)
    tags = {"cell": str(number % 10)}
    return Record(
        str(number), "s", str(number), tags, "yes", "", (), str(number // 20), "", verdicts, "", "", 0.0, stored=False
    )


# --- samples


class Layout(NamedTuple):
    """How cases lie in clusters."""

    clusters: int
    size: int
    icc: float
    model: str = MODELS[0]

    @property
    def sizes(self) -> np.ndarray:
        return np.full(self.clusters, self.size)


def _hits(random: np.random.Generator, draws: int, layout: Layout, rate: float) -> np.ndarray:
    """Hits a cluster: shape (draws, clusters)."""
    clusters, size, icc, model = layout
    shape = (draws, clusters)
    if rate in (0, 1):
        return np.full(shape, size * rate)
    if icc == 0 or size == 1:
        return random.binomial(size, rate, shape).astype(float)
    if icc == 1:
        return float(size) * (random.random(shape) < rate)
    if model == MODELS[0]:
        weight = (1 - icc) / icc
        return random.binomial(size, random.beta(rate * weight, (1 - rate) * weight, shape)).astype(float)
    alike = random.random(shape) < icc
    return np.where(alike, size * (random.random(shape) < rate), random.binomial(size, rate, shape)).astype(float)


def _share(share: float, draws: int) -> str:
    return f"{share:.1%} ± {100 * math.sqrt(max(share * (1 - share), 1 / draws) / draws):.1f}"


PARTS = {
    "coverage": coverage,
    "shapes": shapes,
    "families": families,
    "regressions": regressions,
    "power": power,
    "whole": whole,
}

if __name__ == "__main__":
    run_parts(__doc__, PARTS, draws=2000)
