"""Early stop: how often it is wrong, how often it agrees with the full run, and how many cases it saves.

    python perf/early_stop.py [--quick] [--draws 2000] [--only errors families savings shares]

Seeded simulation, a few minutes on one core; prints the tables of docs/statistics-sequential.md. Shares carry the
standard error of the simulation.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from parts import run_parts

from pytest_mmsafety.statistics.decisions import HOLDS, UNDECIDED, VIOLATED
from pytest_mmsafety.statistics.estimates import share_interval, spread_of_clusters
from pytest_mmsafety.statistics.sequential import EARLY_SHARE, SequentialTest, decide, plan_rounds, serving_order

ALPHA = 0.05
LOOKS = 50
"""Of a run, evenly spaced."""


class Sample(NamedTuple):
    """Clusters in the order of serving: failures, cases, stratum."""

    totals: np.ndarray
    sizes: np.ndarray
    strata: tuple[str, ...] | None = None


# --- wrong verdicts


def errors(draws: int, *, quick: bool) -> Iterator[str]:
    """The true rate lies on the bound, where wrong verdicts are most frequent; one look after every cluster."""
    yield (
        "| clusters | bound | cases | proven above | proven below "
        "| above, early or full run | below, early or full run |"
    )
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    worst, cells = [0.0] * 4, 0
    for name, bound, n in itertools.product(POPULATIONS, (0.01, 0.05, 0.2, 0.5), (100, 1000)):
        if (quick and (n > 100 or bound in (0.01, 0.5))) or (bound > 0.3 and name.startswith("three")):
            continue  # three strata of rates 0:1:2 cannot have such a mean
        wrong, samples = np.zeros(4), draws if n == 100 else draws // 2
        for seed in range(samples):
            random = np.random.default_rng([seed, n, int(bound * 100), len(name)])
            sample = POPULATIONS[name](random, n, bound)
            test = SequentialTest(bound, plan_rounds(sample.sizes, sample.strata))
            test.update(sample.totals, sample.sizes)
            above, below = test.p_above <= EARLY_SHARE * ALPHA, test.p_below <= EARLY_SHARE * ALPHA
            low, high = _full(sample, (1 - EARLY_SHARE) * ALPHA)
            wrong += [
                test.p_above <= ALPHA,
                test.p_below <= ALPHA,
                above or (not below and low > bound),
                below or (not above and high <= bound),
            ]
        shares = wrong / samples
        worst, cells = [max(a, b) for a, b in zip(worst, shares, strict=True)], cells + 1
        yield f"| {name} | {bound:.0%} | {n} | " + " | ".join(_share(share, samples) for share in shares) + " |"
    yield f"| largest of {cells} | | | " + " | ".join(f"{share:.1%}" for share in worst) + " |"


def families(draws: int, *, quick: bool) -> Iterator[str]:
    """Gates of one policy, each true rate on its bound of 5 %, clusters of 2, ICC .3."""
    yield "| gates | cases each | cases shared | any gate wrong, early stop at alpha | without Holm |"
    yield "| --- | --- | --- | --- | --- |"
    draws //= 4
    for gates, shared in itertools.product((2, 20) if quick else (2, 20, 60), (False, True)):
        n, wrong, bare = 300, 0, 0
        rounds = plan_rounds(np.full(n // 2, 2))
        for seed in range(draws):
            random = np.random.default_rng([seed, gates, int(shared)])
            common = _alike(random, 0.05, np.full(n // 4, 2), 0.3)
            tests = []
            for _ in range(gates):
                own = _alike(random, 0.05, np.full(n // 2, 2), 0.3)
                if shared:
                    own[::2] = common  # every other cluster belongs to all of the gates
                test = SequentialTest(0.05, rounds)
                test.update(own, np.full(n // 2, 2))
                tests.append(test)
            wrong += any(state != UNDECIDED for state in decide(tests, ALPHA))
            bare += any(min(test.p_above, test.p_below) <= ALPHA for test in tests)
        common_part = "half" if shared else "none"
        yield f"| {gates} | {n} | {common_part} | {_share(wrong / draws, draws)} | {bare / draws:.1%} |"


# --- what it saves


def savings(draws: int, *, quick: bool) -> Iterator[str]:
    """The true rate is three times the bound, or a third of it."""
    yield (
        "| truth | bound | cases | clusters of | gates | full run decides | same verdict "
        "| same verdict from half of the cases or fewer | cases asked |"
    )
    yield "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    draws //= 10
    grid = itertools.product(
        (3, 1 / 3), (0.01, 0.05, 0.1, 0.2, 0.3), (100, 300, 1000, 3000), (1, 4), (1,) if quick else (1, 20)
    )
    for times, bound, n, size, gates in grid:
        if (quick and bound not in (0.05, 0.2)) or (gates > 1 and (size > 1 or bound not in (0.05, 0.2))):
            continue
        decided, same, half, asked = _compare(draws, Plan(times, bound, n, size), ALPHA / gates, EARLY_SHARE)
        yield (
            f"| {'three times' if times == 3 else 'a third'} | {bound:.0%} | {n} | {size} | {gates} | {decided:.0%} "
            f"| {_share(same, draws)} | {_share(half, draws)} | {asked:.0%} |"
        )


def shares(draws: int, *, quick: bool) -> Iterator[str]:  # noqa: ARG001
    """What part of alpha the early stop should spend: more saves more cases, and leaves less for the full run."""
    yield "| spent early | truth | full run decides | same verdict | half of the cases or fewer | asked |"
    yield "| --- | --- | --- | --- | --- | --- |"
    draws //= 5
    for share, (times, n) in itertools.product((0.1, 0.2, 0.5), ((3, 300), (2, 300), (1 / 3, 1000), (0.5, 1000))):
        decided, same, half, asked = _compare(draws, Plan(times, 0.05, n, 1), ALPHA, share)
        yield f"| {share:.0%} | {times * 5:.2g} % of {n} | {decided:.0%} | {same:.0%} | {half:.0%} | {asked:.0%} |"


class Plan(NamedTuple):
    """A gate whose true rate is so many times its bound, and its cases."""

    times: float
    bound: float
    n: int
    size: int


def _compare(draws: int, plan: Plan, alpha: float, spent: float) -> tuple[float, float, float, float]:
    """Shares of runs that the full run decides, in which early stop agrees, and does so with half; cases asked."""
    times, bound, n, size = plan
    rate, clusters = times * bound, n // size
    sizes, rounds = np.full(clusters, size), plan_rounds(np.full(clusters, size))
    stops = np.unique(np.linspace(0, clusters, LOOKS + 1).astype(int))
    counts = np.zeros(4)
    for seed in range(draws):
        random = np.random.default_rng([seed, n, size, int(rate * 1e4)])
        sample = Sample(_alike(random, rate, sizes, 0.3), sizes)
        low, high = _full(sample, alpha)
        full = VIOLATED if low > bound else HOLDS if high <= bound else UNDECIDED
        test, verdict = SequentialTest(bound, rounds), UNDECIDED
        for start, stop in itertools.pairwise(stops):
            test.update(sample.totals[start:stop], sizes[start:stop])
            (verdict,) = decide([test], spent * alpha)
            if verdict != UNDECIDED:
                break
        used = test.seen / clusters
        if verdict == UNDECIDED:
            low, high = _full(sample, (1 - spent) * alpha)
            verdict = VIOLATED if low > bound else HOLDS if high <= bound else UNDECIDED
        same = verdict == full
        counts += [full != UNDECIDED, same, same and used <= 0.5, used]
    decided, same_share, half, asked = (counts / draws).tolist()
    return decided, same_share, half, asked


def _full(sample: Sample, alpha: float) -> tuple[float, float]:
    """The full run's interval."""
    kept = sample.sizes > 0
    spread = spread_of_clusters(sample.totals[kept], sample.sizes[kept])
    low, high = share_interval(spread, alpha)
    return float(low), float(high)


# --- populations: the rate of all cases is what was asked for


def _alike(random: np.random.Generator, rate: float, sizes: np.ndarray, icc: float) -> np.ndarray:
    """Failures a cluster: in a share of ICC of the clusters all answers are the same."""
    whole = sizes * (random.random(len(sizes)) < rate)
    return np.where(random.random(len(sizes)) < icc, whole, random.binomial(sizes, rate)).astype(float)


def _same_size(size: int, icc: float) -> object:
    def sample(random: np.random.Generator, n: int, rate: float) -> Sample:
        sizes = np.full(n // size, size)
        return Sample(_alike(random, rate, sizes, icc), sizes)

    return sample


def _big_ones_fail(random: np.random.Generator, n: int, rate: float) -> Sample:
    """Clusters of 1 and of 9 cases, as many of each; only the big ones fail."""
    sizes = random.choice([1, 9], n // 5)
    return Sample(np.where(sizes == 9, random.binomial(9, rate * 10 / 9, len(sizes)), 0).astype(float), sizes)


def _strata(random: np.random.Generator, n: int, rate: float, parts: tuple[float, ...], rates: np.ndarray) -> Sample:
    """Single cases of strata with these parts of all and these rates (relative), served as the package serves them."""
    count = (np.array(parts) * n).round().astype(int)
    labels = np.repeat([f"s{i}" for i in range(len(parts))], count)
    chance = np.repeat(rates / (rates @ count) * count.sum() * rate, count)
    fails = (random.random(len(labels)) < chance).astype(float)
    keys = [f"{i:05}" for i in range(len(labels))]
    order = serving_order(keys, keys, labels.tolist(), seed=int(random.integers(1000)))
    return Sample(fails[order], np.ones(len(order), dtype=int), tuple(labels[order].tolist()))


POPULATIONS = {
    "single cases": _same_size(1, 0.0),
    "2 cases, ICC .3": _same_size(2, 0.3),
    "12 cases, ICC .6": _same_size(12, 0.6),
    "12 cases, ICC 1": _same_size(12, 1.0),
    "1 or 9 cases, only the big fail": _big_ones_fail,
    "two strata 1:1, one never fails": lambda random, n, rate: _strata(
        random, n, rate, (0.5, 0.5), np.array([0.0, 1.0])
    ),
    "three strata 60:20:20, rates 0:1:2": lambda random, n, rate: _strata(
        random, n, rate, (0.6, 0.2, 0.2), np.array([0.0, 1.0, 2.0])
    ),
}


def _share(share: float, draws: int) -> str:
    return f"{share:.1%} ± {100 * math.sqrt(max(share * (1 - share), 1 / draws) / draws):.1f}"


PARTS = {"errors": errors, "families": families, "savings": savings, "shares": shares}

if __name__ == "__main__":
    run_parts(__doc__, PARTS, draws=2000)
