"""Rates of failure corrected for the judge's own errors, with the uncertainty of how well these are known.

Two ways. With *judge errors*, counts of how the judge and people agreed on other cases of the same kind, the rate
of its verdicts is inverted (:func:`corrected_rate`). With people's labels for a part of *this* run the judge only
has to help (:func:`prediction_powered`). Both return the raw number beside the corrected one.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy.special import betaincinv, ndtr

from pytest_mmsafety.errors import plural
from pytest_mmsafety.judge_errors import Stratum
from pytest_mmsafety.statistics.estimates import (
    Estimate,
    Floats,
    Ints,
    case_shares,
    cluster_residuals,
    clustered_difference,
    clustered_share,
    codes,
)

MIN_QUALITY = 0.3
"""Of a judge: the lower 95 % limit of sensitivity + specificity - 1 (0: guesses; 1: never errs)."""
MIN_OF_EACH = 20
"""Labelled answers, of a cluster one at most, that failed, and as many that did not."""
MIN_LABELLED = 30
"""Clusters with labels that prediction-powered inference needs."""

CONTRADICTION = 0.005
"""A run whose rate the measured errors allow with no more than this chance is not like the labelled cases."""

_NODES = 33
"""Of the quadrature, for sensitivity and for specificity each: six standard deviations to both sides."""


@dataclass(frozen=True, slots=True)
class Confusion:
    """How a judge and people agreed on answers that both decided on. Positive: the answer failed (score 1)."""

    tp: float
    fp: float
    """The judge says that it failed, people do not."""
    tn: float
    fn: float
    positive_clusters: int | None = None
    """Among ``tp + fn``; ``None``: each answer is one."""
    negative_clusters: int | None = None
    """Among ``tn + fp``."""

    @classmethod
    def of(cls, stratum: Stratum) -> Confusion:
        """The counts of a stratum of a file of judge errors."""
        counts = (stratum.tp, stratum.fp, stratum.tn, stratum.fn)
        return cls(*counts, stratum.positive_clusters, stratum.negative_clusters)

    @property
    def sensitivity(self) -> float:
        """Share of the failed answers that the judge finds; NaN without any."""
        return self.tp / (self.tp + self.fn) if self.tp + self.fn else math.nan

    @property
    def specificity(self) -> float:
        """Share of the other answers that the judge lets pass; NaN without any."""
        return self.tn / (self.tn + self.fp) if self.tn + self.fp else math.nan

    @property
    def positives(self) -> float:
        """Failed answers that sensitivity rests on, if all of a cluster are alike, which is the worst."""
        cases = self.tp + self.fn
        return cases if self.positive_clusters is None else min(cases, self.positive_clusters)

    @property
    def negatives(self) -> float:
        """The same for specificity."""
        return self.mirrored().positives

    def mirrored(self) -> Confusion:
        """The same judge where the share of answers that are as expected is asked for."""
        return Confusion(self.tn, self.fn, self.tp, self.fp, self.negative_clusters, self.positive_clusters)


class Corrected(NamedTuple):
    """A rate as the judge has it, and without the judge's errors."""

    raw: Estimate
    estimate: Estimate | None
    reason: str
    """Why there is no corrected one, in one line; empty if there is."""


# --- with judge errors


def corrected_rate(raw: Estimate, confusion: Confusion, alpha: float) -> Corrected:
    """The true rate behind the rate *raw* of a judge's verdicts (each 0 or 1), 0 to 1.

    (raw + specificity - 1) / (sensitivity + specificity - 1): Rogan and Gladen 1978, Am. J. Epidemiol. 107, 71-76.
    The interval melds those of the three numbers (Fay, Proschan and Brittain 2015, Biometrics 71, 146-156): the
    rate rises with raw and specificity and falls with sensitivity, so its lower end is a quantile over lower
    confidence distributions of the former and the upper one of the latter: exact (Clopper-Pearson) for the
    labelled answers, and for the run whatever *raw* gives, with its clusters, strata and weights.

    It takes the judge to err on this run as often as it did on the labelled answers. It refuses, with a reason, where
    the judge is too weak, too little known, or where the run contradicts them.
    """
    if reason := unfit(confusion):
        return Corrected(raw, None, reason)
    ends = _Ends(raw.value, *np.array([raw.interval(float(level)) for level in _levels()]).T)
    lower, upper = _lower_end(ends, confusion), _lower_end(ends.mirrored(), confusion.mirrored())
    if min(lower.chance[-1], upper.chance[-1]) < CONTRADICTION:
        side = "more" if lower.chance[-1] < CONTRADICTION else "fewer"
        reason = (
            f"the judge finds {side} failures ({raw.value:.1%}) than its measured errors allow "
            f"(sensitivity {confusion.sensitivity:.0%}, specificity {confusion.specificity:.0%})"
        )
        return Corrected(raw, None, f"{reason}: this run is not like the labelled cases")
    youden = confusion.sensitivity + confusion.specificity - 1
    value = min(max((raw.value + confusion.specificity - 1) / youden, 0.0), 1.0)

    def interval(level: float) -> tuple[float, float]:
        unseen = 1 - (level / 2) ** (1 / max(raw.clusters, 1))  # what no failure in so many clusters leaves open
        low, high = min(lower.at(level / 2), value), max(1 - upper.at(level / 2), value)
        return min(low, 1 - unseen), max(high, unseen)

    return Corrected(raw, Estimate(value, *interval(alpha), raw.n, raw.clusters, interval), "")


def unfit(confusion: Confusion) -> str:
    """Why a judge with these counts cannot be corrected for, in one line; empty if it can."""
    for independent, what in ((confusion.positives, "failed"), (confusion.negatives, "did not fail")):
        if independent < MIN_OF_EACH:
            return (
                f"its errors were measured on {independent:.0f} independent answers that {what}, "
                f"fewer than the {MIN_OF_EACH} required"
            )
    quality = quality_limit(confusion)
    if quality < MIN_QUALITY:
        return (
            f"the judge is too weak to correct for: sensitivity {confusion.sensitivity:.0%} + specificity "
            f"{confusion.specificity:.0%} - 1 may be as low as {quality:.2f}, {MIN_QUALITY:g} is required"
        )
    return ""


def quality_limit(confusion: Confusion) -> float:
    """Lower 95 % limit of sensitivity + specificity - 1 (Youden's J), from those of both (MOVER)."""
    sensitivity, specificity = (
        float(_sensitivity(counts, np.array([0.05]))[0][0]) for counts in (confusion, confusion.mirrored())
    )
    width = math.hypot(confusion.sensitivity - sensitivity, confusion.specificity - specificity)
    return confusion.sensitivity + confusion.specificity - 1 - width


class _Ends(NamedTuple):
    """Lower ends of an estimate's interval, as a distribution: for which a sample as high as this one is evidence."""

    value: float
    low: Floats
    """At each of :func:`_levels`."""
    high: Floats

    def mirrored(self) -> _Ends:
        """Of 1 - the rate."""
        return _Ends(1 - self.value, 1 - self.high, 1 - self.low)

    def chance(self, rate: Floats) -> Floats:
        """That the lower end is at most *rate*. It is never above the estimate, which errs on the safe side."""
        known = np.exp(np.interp(rate, self.low, np.log(_levels() / 2), left=-np.inf))
        return np.where(rate >= self.value, 1.0, known)


def _levels() -> Floats:
    return np.geomspace(1e-12, 0.98, 48)


class _Distribution(NamedTuple):
    """The chance that the lower end of a corrected interval is at most a rate."""

    rate: Floats
    """Ascending."""
    chance: Floats

    def at(self, chance: float) -> float:
        """The rate that is reached with this chance."""
        return float(np.interp(math.log(chance), np.log(np.maximum(self.chance, 1e-300)), self.rate))


def _lower_end(ends: _Ends, confusion: Confusion) -> _Distribution:
    """Melded: ``end_of_raw <= rate * sensitivity + (1 - rate) * (1 - specificity)``, over what these may be."""
    z = np.linspace(-6, 6, _NODES)
    weight = np.exp(-z * z / 2)
    weight = np.outer(weight, weight) / weight.sum() ** 2
    sensitivity = _sensitivity(confusion, ndtr(z))[1][:, None]
    specificity = _sensitivity(confusion.mirrored(), ndtr(z))[0][None, :]

    def chance(rates: Floats) -> Floats:
        rate = rates[:, None, None]
        return np.maximum.accumulate(
            (ends.chance(rate * sensitivity + (1 - rate) * (1 - specificity)) * weight).sum(axis=(1, 2))
        )

    coarse = np.linspace(0, 1, 33)
    known = chance(coarse)
    start, stop = np.searchsorted(known, (1e-12, 0.5)).tolist()
    rates = np.linspace(coarse[max(start - 1, 0)], coarse[min(stop, 32)], 129)
    return _Distribution(rates, chance(rates))


def _sensitivity(confusion: Confusion, chance: Floats) -> tuple[Floats, Floats]:
    """Clopper-Pearson: quantiles of its lower and its upper confidence distribution."""
    found, missed = confusion.sensitivity * confusion.positives, (1 - confusion.sensitivity) * confusion.positives
    low = betaincinv(found, missed + 1, chance) if found else np.zeros_like(chance)
    high = betaincinv(found + 1, missed, chance) if missed else np.ones_like(chance)
    return low, high


# --- numbers made of several corrected ones


def weighted_mean(parts: Sequence[tuple[float, Estimate]], alpha: float, *, independent: bool) -> Estimate:
    """Of estimates of rates, for instance corrected ones of strata with judges of different errors; weights sum to 1.

    MOVER (Zou and Donner 2008, Statistics in Medicine 27, 1693-1702). Not *independent* (strata share clusters or the
    judge errors): distances to the ends are added up, which holds whatever the dependence of two-sided intervals.
    """
    value = sum(weight * part.value for weight, part in parts)

    def interval(level: float) -> tuple[float, float]:
        ends = [part.interval(level) for _, part in parts]
        down = [weight * (part.value - low) for (weight, part), (low, _) in zip(parts, ends, strict=True)]
        up = [weight * (high - part.value) for (weight, part), (_, high) in zip(parts, ends, strict=True)]
        widths = [math.hypot(*side) if independent else sum(side) for side in (down, up)]
        return max(value - widths[0], 0.0), min(value + widths[1], 1.0)

    return Estimate(value, *interval(alpha), sum(p.n for _, p in parts), sum(p.clusters for _, p in parts), interval)


# --- with labels of this run


def prediction_powered(  # noqa: PLR0913 - what a survey knows of a case
    scores: Sequence[float] | Floats,
    labels: Sequence[float] | Floats,
    clusters: Sequence[Hashable] | Ints,
    alpha: float,
    *,
    strata: Ints | None = None,
    weights: Mapping[Any, float] | None = None,
    sampling: Floats | None = None,
) -> Corrected:
    """Mean of the *labels* that people would give to all cases, where a random part has one (NaN: none).

    Prediction-powered inference (Angelopoulos et al. 2023, Science 382, 669-674): mean score of all cases + mean of
    (label - score) of those with a label. Where the judge would only add noise the labels stand alone (PPI++,
    arXiv 2311.01453, tunes the weight of the judge; here it is 0 or 1, for which the intervals of shares and of
    paired differences hold in small samples). Scores and labels: 0 to 1. Nothing is assumed of the judge.

    *sampling*: of the labelled cases, how many each stands for, if the chances to be drawn were unequal; the mean over
    labels is weighted with it (Zrnic and Candes 2024, Active Statistical Inference, ICML; Hajek's ratio form). The draw
    may depend on the scores and tags of cases, not on their labels. *strata*, *weights*: of a weighted mean of strata,
    as in :func:`~pytest_mmsafety.statistics.estimates.clustered_share`; every stratum needs a label.
    """
    score, label, code = np.asarray(scores, dtype=float), np.asarray(labels, dtype=float), codes(clusters)
    raw = clustered_share(score, code, alpha, strata, weights)
    known = ~np.isnan(label)
    labelled = len(np.unique(code[known]))
    if labelled < MIN_LABELLED and not known.all():
        return Corrected(raw, None, f"{plural(labelled, 'labelled cluster')}, fewer than the {MIN_LABELLED} required")
    stands_for = None if sampling is None else np.asarray(sampling, dtype=float)[known]
    drawn = (code[known], alpha, None if strata is None else strata[known], weights)
    all_shares, stratum = case_shares(len(score), strata, weights)
    shares = np.zeros(len(score))
    shares[known] = case_shares(int(known.sum()), *drawn[2:], stands_for)[0]
    error, of_judge = np.where(known, label - score, 0.0), cluster_residuals(score, all_shares, stratum, code)
    of_error = cluster_residuals(error, shares, stratum, code)
    of_labels = cluster_residuals(np.where(known, label, 0.0), shares, stratum, code)
    if (correlation := _worthwhile(of_judge, of_error, of_labels)) is None:
        return Corrected(raw, clustered_share(label[known], *drawn, sampling=stands_for), "")
    rectifier = clustered_difference(error[known], *drawn, sampling=stands_for)
    return Corrected(raw, _rectified(raw, rectifier, correlation, alpha), "")


def _worthwhile(of_judge: Floats, of_error: Floats, of_labels: Floats) -> float | None:
    """Correlation of the judge's residuals with those of its error; ``None`` where the labels alone vary less."""
    variances = float(of_judge @ of_judge), float(of_error @ of_error)
    covariance = max(float(of_judge @ of_error), 0.0)  # taken where it widens the interval
    if sum(variances) + 2 * covariance >= float(of_labels @ of_labels):
        return None
    return covariance / math.sqrt(math.prod(variances)) if all(variances) else 0.0


def _rectified(raw: Estimate, rectifier: Estimate, correlation: float, alpha: float) -> Estimate:
    """Their sum, by MOVER with the correlation (0 to 1) of the two."""
    value = min(max(raw.value + rectifier.value, 0.0), 1.0)

    def width(one: float, other: float) -> float:
        return math.sqrt(one**2 + other**2 + 2 * correlation * one * other)

    def interval(level: float) -> tuple[float, float]:
        (low, high), (fall, rise) = raw.interval(level), rectifier.interval(level)
        down, up = width(raw.value - low, rectifier.value - fall), width(high - raw.value, rise - rectifier.value)
        return max(value - down, 0.0), min(value + up, 1.0)

    return Estimate(value, *interval(alpha), raw.n, raw.clusters, interval)
