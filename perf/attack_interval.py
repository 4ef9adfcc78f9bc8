"""Whether the interval of an attack's rate is right although a search picks the worst of many, by simulation.

    python perf/attack_interval.py [--runs 2000]

1. The rate of a search: every case is searched with N calls, of which each flips with a chance of its own. The quantity
   is the share of *cases like these* that a search of N calls breaks. What is picked is picked inside of a case.
2. The rate of one change that was chosen because it breaks most cases: measured on the cases that it was chosen on, and
   on the other half.
3. Cases that never break, asked of a target that flips by chance: how many a search calls broken, by ``confirm``.
"""

from __future__ import annotations

import argparse

import numpy as np

from pytest_mmsafety.statistics.estimates import clustered_share

ALPHA = 0.05


def covered(values: np.ndarray, clusters: np.ndarray, truth: float) -> int:
    """-1: the interval lies above the truth, 1: below it, 0: it covers it."""
    estimate = clustered_share(values, clusters, ALPHA)
    return -int(estimate.low > truth + 1e-12) + int(estimate.high < truth - 1e-12)


def row(name: str, sides: list[int]) -> None:
    above, below = sides.count(-1) / len(sides), sides.count(1) / len(sides)
    print(f"| {name} | {1 - above - below:.1%} | {above:.1%} | {below:.1%} |", flush=True)


def searches(chance: np.random.Generator, runs: int) -> None:
    """A case's chance that a call flips it is drawn anew, alike inside of a cluster; most cases have hardly any."""
    print("\n| searches | covers | too high | too low |\n| --- | --- | --- | --- |")
    for clusters, size, calls in ((30, 1, 20), (60, 3, 20), (60, 3, 200), (200, 2, 200)):

        def broken(number: int, calls: int = calls, size: int = size) -> tuple[np.ndarray, np.ndarray]:
            of_cluster = chance.beta(0.15, 12, number)
            a_call = np.clip(np.repeat(of_cluster, size) * chance.uniform(0.2, 1.8, number * size), 0, 1)
            return chance.random(number * size) < 1 - (1 - a_call) ** calls, np.repeat(np.arange(number), size)

        truth = float(broken(400_000)[0].mean())
        sides = [covered(*(part.astype(float) for part in broken(clusters)), truth) for _ in range(runs)]
        row(f"{clusters} clusters of {size}, {calls} calls a case, true rate {truth:.0%}", sides)


def best_of_many(chance: np.random.Generator, runs: int) -> None:
    """36 changes break 5 to 30 % of all cases; the best of them on a sample is reported."""
    print("\n| the best of 36 changes | covers | too high | too low |\n| --- | --- | --- | --- |")
    for number in (40, 100, 300):
        same, other = [], []
        for _ in range(runs):
            rates = chance.uniform(0.05, 0.3, 36)
            flips = chance.random((number, 36)) < rates
            best = int(flips.mean(axis=0).argmax())
            same.append(covered(flips[:, best].astype(float), np.arange(number), rates[best]))
            half = number // 2
            best = int(flips[:half].mean(axis=0).argmax())
            other.append(covered(flips[half:, best].astype(float), np.arange(number - half), rates[best]))
        row(f"{number} cases, measured on those that it was chosen on", same)
        row(f"{number} cases, chosen on one half, measured on the other", other)


def by_chance(chance: np.random.Generator, runs: int) -> None:
    print("\n| calls | a call flips by chance | no confirmation | 1/1 | 2/2 | 2/3 | 3/3 |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for calls in (20, 200):
        for rate in (0.01, 0.02, 0.05, 0.1):
            shares = []
            for needed, of in ((0, 0), (1, 1), (2, 2), (2, 3), (3, 3)):
                shares.append(np.mean([_called_broken(chance, calls, rate, needed, of) for _ in range(runs)]))
            print(f"| {calls} | {rate:.0%} | " + " | ".join(f"{share:.1%}" for share in shares) + " |", flush=True)


def _called_broken(chance: np.random.Generator, calls: int, rate: float, needed: int, of: int) -> bool:
    """As a search does: a flip is asked for again *of* times, out of the same calls."""
    left = calls
    while left > 0:
        left -= 1
        if chance.random() < rate:
            if of > left:
                return False
            left -= of
            if chance.binomial(of, rate) >= needed:
                return True
    return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=2000)
    runs = parser.parse_args().runs
    chance = np.random.default_rng(12)
    print(f"intervals of {1 - ALPHA:.0%}, {runs} runs each: simulation error about {np.sqrt(0.05 * 0.95 / runs):.1%}")
    searches(chance, runs)
    best_of_many(chance, runs)
    by_chance(chance, runs)


if __name__ == "__main__":
    main()
