"""Judges of known error: coverage of corrected intervals, and when a correction is refused.

    python perf/judge_correction.py [--quick] [--draws 400] [--only coverage ...]

Seeded simulation, about ten minutes on one core (--quick: one); prints the tables of docs/statistics-sequential.md.
Shares carry the standard error of the simulation.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from parts import run_parts

from pytest_mmsafety.statistics import correction
from pytest_mmsafety.statistics.correction import Confusion, corrected_rate, prediction_powered, quality_limit
from pytest_mmsafety.statistics.estimates import Estimate, clustered_share

ALPHA = 0.05
RATES = (0.0, 0.01, 0.05, 0.2, 0.5, 0.95)
LIMITS = (-1.0, 0.0, 0.1, 0.2, 0.3, 0.4)
"""Of se + sp - 1; the first: none but that the estimate is above 0."""


class Judge(NamedTuple):
    """The probabilities that a failure is flagged and that another answer is not."""

    sensitivity: float
    specificity: float

    def says(self, random: np.random.Generator, failed: np.ndarray) -> np.ndarray:
        return random.random(failed.shape) < np.where(failed, self.sensitivity, 1 - self.specificity)


JUDGES = (Judge(0.99, 0.99), Judge(0.9, 0.98), Judge(0.95, 0.8), Judge(0.8, 0.9), Judge(0.7, 0.8))


def coverage(draws: int, *, quick: bool) -> Iterator[str]:
    """Corrected 95 % intervals over judges, labelled samples and runs; uncorrected ones beside them."""
    yield (
        "| judge | calibration | run | lowest coverage | at rate | raw interval covers, lowest "
        "| refused, most | mean width, corrected | raw |"
    )
    yield "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    designs = ((40, 80, 1), (200, 200, 1), (200, 200, 4))
    runs = ((100, 1), (1000, 1), (600, 4))
    for judge, (failed, passed, tied), (n, size) in itertools.product(JUDGES, designs, runs):
        if (tied == 1) != (size == 1) or (quick and judge in JUDGES[1:3]):
            continue
        rows = []
        for rate in RATES[::2] if quick else RATES:
            random = np.random.default_rng([n, size, failed, int(1000 * rate), int(100 * judge.sensitivity)])
            held, raw_held, given, widths = 0, 0, 0, [0.0, 0.0]
            for _ in range(draws):
                raw = _run(random, judge, rate, n, size)
                raw_held += raw.low <= rate <= raw.high
                widths[1] += raw.high - raw.low
                estimate = corrected_rate(raw, _calibration(random, judge, failed, passed, tied), ALPHA).estimate
                if estimate:
                    given += 1
                    held += estimate.low <= rate <= estimate.high
                    widths[0] += estimate.high - estimate.low
            rows.append((held / max(given, 1), rate, raw_held / draws, 1 - given / draws, widths[0] / max(given, 1)))
            rows[-1] += (widths[1] / draws,)
        low = min(row for row in rows if row[3] < 0.9) if any(row[3] < 0.9 for row in rows) else (math.nan,) * 6
        cell = f"{failed} + {passed}" + (f", clusters of {tied}" if tied > 1 else "")
        yield (
            f"| {judge.sensitivity:g}, {judge.specificity:g} | {cell} | {n}, clusters of {size} "
            f"| {_share(low[0], draws)} | {low[1]:g} | {min(row[2] for row in rows):.0%} "
            f"| {max(row[3] for row in rows):.0%} | {np.mean([row[4] for row in rows]):.3f} "
            f"| {np.mean([row[5] for row in rows]):.3f} |"
        )


def quality(draws: int, *, quick: bool) -> Iterator[str]:
    """Weak judges: coverage and width by the quality limit at which a correction is refused."""
    yield (
        "| true J | calibration | rate | "
        + " | ".join(f"limit {t:g}: given, covers, width" for t in LIMITS)
        + " | raw covers |"
    )
    yield "| --- | --- | --- |" + " --- |" * (len(LIMITS) + 1)
    kept, correction.MIN_QUALITY = correction.MIN_QUALITY, -2.0
    least, correction.MIN_OF_EACH = correction.MIN_OF_EACH, 1
    for youden, each, rate in itertools.product((0.1, 0.2, 0.3, 0.4, 0.6), (10, 20, 100), (0.05, 0.5)):
        if quick and rate == 0.05:
            continue
        judge = Judge((1 + youden) / 2, (1 + youden) / 2)
        random = np.random.default_rng([each, int(youden * 10), int(rate * 100)])
        found, raw_held = [], 0
        for _ in range(draws):
            raw, confusion = _run(random, judge, rate, 1000, 1), _calibration(random, judge, each, each, 1)
            raw_held += raw.low <= rate <= raw.high
            informative = confusion.sensitivity + confusion.specificity > 1.001
            if informative and (estimate := corrected_rate(raw, confusion, ALPHA).estimate):
                held = estimate.low <= rate <= estimate.high
                found.append((quality_limit(confusion), held, estimate.high - estimate.low))
        cells = []
        for limit in LIMITS:
            of = [row for row in found if row[0] >= limit]
            shown = f"{np.mean([row[1] for row in of]):.0%}, {np.mean([row[2] for row in of]):.2f}" if of else "-"
            cells.append(f"{len(of) / draws:.0%}, {shown}")
        yield f"| {youden:g} | {each} + {each} | {rate:g} | " + " | ".join(cells) + f" | {raw_held / draws:.0%} |"
    correction.MIN_QUALITY, correction.MIN_OF_EACH = kept, least


def methods(draws: int, *, quick: bool) -> Iterator[str]:
    """Other intervals in the same cells: lowest coverage over the rates, and mean width."""
    yield "| judge | calibration | run | method | lowest coverage | at rate | mean width |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    cells, draws = ((40, 80, 100), (40, 80, 1000), (200, 200, 1000)), draws // 2
    for judge, (failed, passed, n) in itertools.product(JUDGES[1::2] if quick else JUDGES, cells):
        for name, method in METHODS.items():
            rows = []
            for rate in RATES:
                random = np.random.default_rng([n, failed, int(1000 * rate), int(100 * judge.sensitivity)])
                ends = []
                for _ in range(draws):
                    raw = _run(random, judge, rate, n, 1)
                    ends.append(method(raw, _calibration(random, judge, failed, passed, 1), n))
                held = sum(low <= rate <= high for low, high in ends) / draws
                rows.append((held, rate, sum(high - low for low, high in ends) / draws))
            low = min(rows)
            yield (
                f"| {judge.sensitivity:g}, {judge.specificity:g} | {failed} + {passed} | {n} | {name} "
                f"| {_share(low[0], draws)} | {low[1]:g} | {np.mean([row[2] for row in rows]):.3f} |"
            )


def _melded(raw: Estimate, confusion: Confusion, n: int) -> tuple[float, float]:  # noqa: ARG001
    found = corrected_rate(raw, confusion, ALPHA).estimate
    return (found.low, found.high) if found else (0.0, 1.0)


def _wald(raw: Estimate, confusion: Confusion, n: int) -> tuple[float, float]:
    """Rogan and Gladen 1978, delta method."""
    return _delta(raw.value, n, Judge(confusion.sensitivity, confusion.specificity), confusion, 0.0)


def _lang_reiczigel(raw: Estimate, confusion: Confusion, n: int) -> tuple[float, float]:
    """Lang and Reiczigel 2014, Preventive Veterinary Medicine 113, 13-22."""
    z = 1.959964
    se = (confusion.tp + 1) / (confusion.tp + confusion.fn + 2)
    sp = (confusion.tn + 1) / (confusion.tn + confusion.fp + 2)
    return _delta((n * raw.value + z * z / 2) / (n + z * z), n + z * z, Judge(se, sp), confusion, 2 * z * z)


def _delta(q: float, n: float, judge: Judge, confusion: Confusion, shift: float) -> tuple[float, float]:
    se, sp = judge
    youden = max(se + sp - 1, 1e-9)
    rate = (q + sp - 1) / youden
    of_se, of_sp = se * (1 - se) / (confusion.tp + confusion.fn), sp * (1 - sp) / (confusion.tn + confusion.fp)
    middle = rate + shift * (rate * of_se - (1 - rate) * of_sp)
    half = 1.959964 * math.sqrt(q * (1 - q) / n + rate**2 * of_se + (1 - rate) ** 2 * of_sp) / youden
    return min(max(middle - half, 0), 1), max(min(middle + half, 1), 0)


METHODS = {"melded": _melded, "Lang-Reiczigel": _lang_reiczigel, "Rogan-Gladen, Wald": _wald}


def labels(draws: int, *, quick: bool) -> Iterator[str]:
    """Prediction-powered: people label a random part of the clusters of a run."""
    yield "| judge | rate | cases | labelled | coverage | width | labels alone, width | raw covers |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
    judges = (Judge(0.99, 0.99), Judge(0.9, 0.95), Judge(0.6, 0.7))
    grid = itertools.product(judges, (0.01, 0.05, 0.3), ((1000, 1, 50), (1000, 1, 200), (1200, 4, 50)))
    for judge, rate, (n, size, clusters) in grid:
        if quick and rate == 0.05:
            continue
        random = np.random.default_rng([n, clusters, int(rate * 100), int(judge.sensitivity * 100)])
        counts = np.zeros(4)
        code = np.arange(n) // size
        for _ in range(draws):
            failed = _failed(random, rate, n, size)
            score = judge.says(random, failed).astype(float)
            drawn = random.permutation(n // size)[:clusters]
            label = np.where(np.isin(code, drawn), failed, np.nan)
            found = prediction_powered(score, label, code, ALPHA)
            alone = clustered_share(label[~np.isnan(label)], code[~np.isnan(label)], ALPHA)
            assert found.estimate
            counts += [
                found.estimate.low <= rate <= found.estimate.high,
                found.estimate.high - found.estimate.low,
                alone.high - alone.low,
                found.raw.low <= rate <= found.raw.high,
            ]
        held, width, alone_width, raw_held = (counts / draws).tolist()
        yield (
            f"| {judge.sensitivity:g}, {judge.specificity:g} | {rate:g} | {n}, clusters of {size} "
            f"| {clusters} clusters | {_share(held, draws)} | {width:.3f} | {alone_width:.3f} | {raw_held:.0%} |"
        )


def verdicts(draws: int, *, quick: bool) -> Iterator[str]:
    """Prediction-powered, where as many flagged answers are labelled as others: each stands for other numbers."""
    yield "| judge | rate | cases | labelled | coverage | above | below | width | without weights, covers |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    judges = (Judge(0.99, 0.99), Judge(0.9, 0.95), Judge(0.7, 0.9))
    grid = itertools.product(judges, (0.0, 0.01, 0.05, 0.3), ((1000, 1, 60), (1000, 1, 200), (1200, 4, 200)))
    for judge, rate, (n, size, labelled) in grid:
        if quick and rate == 0.05:
            continue
        random = np.random.default_rng([n, labelled, int(rate * 100), int(judge.sensitivity * 100), 2])
        counts = np.zeros(5)
        code = np.arange(n) // size
        for _ in range(draws):
            failed = _failed(random, rate, n, size)
            score = judge.says(random, failed).astype(float)
            stands_for = np.full(n, np.nan)
            for verdict in (0, 1):
                of_it = random.permutation(np.flatnonzero(score == verdict))
                drawn = of_it[: labelled // 2]
                stands_for[drawn] = len(of_it) / max(len(drawn), 1)
            label = np.where(np.isnan(stands_for), np.nan, failed)
            found = prediction_powered(score, label, code, ALPHA, sampling=stands_for).estimate
            unweighted = prediction_powered(score, label, code, ALPHA).estimate
            assert found
            assert unweighted
            held = found.low <= rate <= found.high
            counts += [held, found.low > rate, found.high < rate, found.high - found.low, 0]
            counts[4] += unweighted.low <= rate <= unweighted.high
        held_share, above, below, width, unweighted_held = (counts / draws).tolist()
        yield (
            f"| {judge.sensitivity:g}, {judge.specificity:g} | {rate:g} | {n}, clusters of {size} | {labelled} "
            f"| {_share(held_share, draws)} | {above:.1%} | {below:.1%} | {width:.3f} | {unweighted_held:.0%} |"
        )


def abstentions(draws: int, *, quick: bool) -> Iterator[str]:
    """Prediction-powered, where the judge abstains in a band of its risk: by the prediction for those answers.

    A fifth of each verdict, and of the unscored, is labelled. ``d'``: the distance between failures and others.
    """
    ways = ("as expected", "one half", "risk", "risk above one half", "risk of all", "labels alone", "left out")
    yield f"| d', band | abstains: failures, others | rate | cases | coverage | {' | '.join(ways)} | left out covers |"
    yield "| --- |" + " --- |" * (len(ways) + 5)
    judges = ((2.0, (0.35, 0.8)), (2.0, (0.1, 0.97)), (3.5, (0.2, 0.9)), (3.5, (0.02, 0.998)))
    for (apart, band), rate, (n, size) in itertools.product(judges, (0.02, 0.05, 0.2), ((1000, 1), (1200, 4))):
        if quick and (rate == 0.05 or size > 1):
            continue
        random = np.random.default_rng([n, int(rate * 100), int(apart * 10), int(band[0] * 100)])
        code, found = np.arange(n) // size, []
        for _ in range(draws):
            failed = _failed(random, rate, n, size)
            margin = apart * random.normal(np.where(failed, apart / 2, -apart / 2))
            risk = 1 / (1 + np.exp(-margin))  # calibrated as if half of the answers failed
            guess = (risk > 0.5).astype(float)
            unscored = (band[0] <= risk) & (risk <= band[1])
            label, stands_for = _labelled_fifth(random, failed, np.where(unscored, 2, guess))
            predictions = [np.where(unscored, other, guess) for other in (0.0, 0.5, risk)]
            ends = [_powered(one, label, code, stands_for) for one in (*predictions, guess, risk)]
            known, scored = ~np.isnan(label), ~unscored
            ends.append(clustered_share(label[known], code[known], ALPHA, sampling=stands_for[known]))
            ends.append(_powered(guess[scored], label[scored], code[scored], stands_for[scored]))
            held = [ends[i].low <= rate <= ends[i].high for i in (0, -1)]
            abstains = unscored[failed].mean() if failed.any() else np.nan, unscored[~failed].mean()
            found.append([*abstains, *held, *(one.high - one.low for one in ends)])
        failing, others, held, without, *widths = np.nanmean(found, axis=0).tolist()
        yield (
            f"| {apart:g}, {band[0]:g} to {band[1]:g} | {failing:.0%}, {others:.0%} | {rate:g} "
            f"| {n}, clusters of {size} | {_share(held, draws)} | {' | '.join(f'{width:.3f}' for width in widths)} "
            f"| {without:.0%} |"
        )


def _labelled_fifth(
    random: np.random.Generator, failed: np.ndarray, verdict: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Labels of a fifth of each verdict, at least five, and how many answers each stands for; NaN elsewhere."""
    stands_for = np.full(len(failed), np.nan)
    for one in np.unique(verdict):
        of_it = random.permutation(np.flatnonzero(verdict == one))
        drawn = of_it[: max(len(of_it) // 5, 5)]
        stands_for[drawn] = len(of_it) / len(drawn)
    return np.where(np.isnan(stands_for), np.nan, failed), stands_for


def _powered(score: np.ndarray, label: np.ndarray, code: np.ndarray, stands_for: np.ndarray) -> Estimate:
    found = prediction_powered(score, label, code, ALPHA, sampling=stands_for).estimate
    assert found
    return found


# --- samples


def _failed(random: np.random.Generator, rate: float, n: int, size: int) -> np.ndarray:
    """True failures; of clusters with several cases, 3 in 10 are wholly alike."""
    own, shared = random.random(n) < rate, (random.random(n // size) < rate).repeat(size)
    return np.where((random.random(n // size) < 0.3).repeat(size), shared, own)


def _run(random: np.random.Generator, judge: Judge, rate: float, n: int, size: int) -> Estimate:
    says = judge.says(random, _failed(random, rate, n, size))
    return clustered_share(says.astype(float), np.arange(n) // size, ALPHA)


def _calibration(random: np.random.Generator, judge: Judge, failed: int, passed: int, size: int) -> Confusion:
    """Cases of one cluster share the truth; in half of the clusters all verdicts are the same."""

    def right(chance: float, count: int) -> int:
        alike = (random.random(count // size) < 0.5).repeat(size)
        shared = (random.random(count // size) < chance).repeat(size)
        return int(np.where(alike, shared, random.random(count) < chance).sum())

    tp, tn = right(judge.sensitivity, failed), right(judge.specificity, passed)
    return Confusion(tp, passed - tn, tn, failed - tp, failed // size, passed // size)


def _share(share: float, draws: int) -> str:
    return f"{share:.1%} ± {100 * math.sqrt(max(share * (1 - share), 1 / draws) / draws):.1f}"


PARTS = {
    "coverage": coverage,
    "quality": quality,
    "methods": methods,
    "labels": labels,
    "verdicts": verdicts,
    "abstentions": abstentions,
}

if __name__ == "__main__":
    run_parts(__doc__, PARTS, draws=400)
