"""How well scores agree with what people said: the usual measures, with clustered bootstrap intervals.

Every measure is written once, for a matrix of weights with a row a resample: the sample itself is the row of its own
weights. Scores are 0 to 1, 1 is the failure; ``positive`` is the failure by the people's label.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from pytest_mmsafety.statistics.estimates import Floats, Ints, Mask, clustered_share

BINS = 10
"""Of the reliability diagram, equally wide."""
RESAMPLES = 2000
_CELLS = 2_000_000
"""Numbers in one block of resamples."""


class AgreementData(NamedTuple):
    """Answers that have a label and a score; arrays of one length n >= 1."""

    positive: Mask
    """By the people."""
    score: Floats
    """Of the judge, 0 to 1."""
    failed: Mask
    """Whether that is a failure."""
    gold: Ints
    """Class by the people, 0 to ``classes - 1``: the failure or not, or a level."""
    predicted: Ints
    """Class by the judge."""
    classes: int
    weight: Floats
    cluster: Ints
    """Numbers from 0 without gaps."""
    graded: bool
    """Whether scores are more than 0 and 1; only then they can be calibrated."""

    def of(self, mask: Mask) -> AgreementData:
        """The answers of *mask*."""
        cluster = np.unique(self.cluster[mask], return_inverse=True)[1]
        return self._replace(
            positive=self.positive[mask],
            score=self.score[mask],
            failed=self.failed[mask],
            gold=self.gold[mask],
            predicted=self.predicted[mask],
            weight=self.weight[mask],
            cluster=cluster,
        )


def numbered(names: Sequence[str]) -> Ints:
    """A number from 0 for each of *names*, in their order; in little memory, however long some of them are."""
    numbers = {name: i for i, name in enumerate(sorted(set(names)))}
    return np.array([numbers[name] for name in names], dtype=np.int64)


class Interval(NamedTuple):
    """A measure with its interval of 95 %; NaN and ``None`` where it is not defined."""

    value: float
    low: float | None
    high: float | None


def measure(sample: AgreementData, seed: int = 0, resamples: int = RESAMPLES) -> dict[str, Interval]:
    """Every measure, with a percentile interval from *resamples* samples of whole clusters.

    No interval where there are fewer than two clusters or where no resample differs: that is a lack of evidence,
    not precision. Accuracy, sensitivity and specificity of samples without weights, being shares, have the interval
    of ``statistics.clustered_share``, which stays honest when all answers are alike.
    """
    values = {name: float(found[0]) for name, found in _measures(sample, sample.weight[None, :]).items()}
    clusters = int(sample.cluster.max()) + 1
    if clusters < 2 or resamples < 1:
        return {name: Interval(value, None, None) for name, value in values.items()}
    generator = np.random.default_rng(seed)
    found: dict[str, list[Floats]] = {name: [] for name in values}
    done = 0
    while done < resamples:
        rows = min(resamples - done, max(1, _CELLS // max(clusters, len(sample.score))))
        drawn = generator.integers(clusters, size=(rows, clusters)) + clusters * np.arange(rows)[:, None]
        times = np.bincount(drawn.ravel(), minlength=rows * clusters).reshape(rows, clusters)
        for name, part in _measures(sample, times[:, sample.cluster] * sample.weight).items():
            found[name].append(part)
        done += rows
    intervals = {name: _percentiles(values[name], np.concatenate(parts)) for name, parts in found.items()}
    return {**intervals, **_shares(sample, intervals)}


def _percentiles(value: float, resampled: Floats) -> Interval:
    known = resampled[~np.isnan(resampled)]
    if np.isnan(value) or len(known) < 2 or np.ptp(known) < 1e-12:
        return Interval(value, None, None)
    low, high = np.quantile(known, (0.025, 0.975))
    return Interval(value, min(float(low), value), max(float(high), value))


def _shares(sample: AgreementData, intervals: dict[str, Interval]) -> dict[str, Interval]:
    if np.ptp(sample.weight) > 0:
        return {}
    right = sample.gold == sample.predicted
    failed = sample.failed
    among = {
        "accuracy": (right, np.ones(len(right), dtype=bool)),
        "sensitivity": (failed, sample.positive),
        "specificity": (~failed, ~sample.positive),
    }
    shares = {}
    for name, (hit, mask) in among.items():
        if mask.any():
            estimate = clustered_share(hit[mask].astype(float), sample.cluster[mask], 0.05)
            shares[name] = Interval(intervals[name].value, estimate.low, estimate.high)
    return shares


def _measures(sample: AgreementData, weights: Floats) -> dict[str, Floats]:
    """Each measure for each row of *weights* (rows, n); NaN where a row does not define it."""
    with np.errstate(invalid="ignore", divide="ignore"):
        table = confusion(sample, weights)
        found = {
            "accuracy": np.trace(table, axis1=1, axis2=2) / table.sum(axis=(1, 2)),
            "macro_f1": macro_f1(table),
            "kappa": kappa(table),
            **_by_threshold(sample, weights),
            **ranking(sample, weights),
        }
        return found | (calibration_errors(sample, weights) if sample.graded else {})


def confusion(sample: AgreementData, weights: Floats) -> Floats:
    """Weights by class of the people and class of the judge: (rows, classes, classes)."""
    cell = np.zeros((len(sample.gold), sample.classes**2))
    cell[np.arange(len(sample.gold)), sample.gold * sample.classes + sample.predicted] = 1
    table: Floats = (weights @ cell).reshape(len(weights), sample.classes, sample.classes)
    return table


def macro_f1(table: Floats) -> Floats:
    """Mean over the classes that occur, with people or with the judge, of ``2 tp / (2 tp + fp + fn)``."""
    both = table.sum(axis=1) + table.sum(axis=2)
    hits = 2 * np.diagonal(table, axis1=1, axis2=2)
    return np.asarray(np.nanmean(np.where(both > 0, hits / np.where(both > 0, both, 1), np.nan), axis=1))


def kappa(table: Floats) -> Floats:
    """Cohen's kappa; with more than two classes quadratically weighted (Cohen 1968, Psychological Bulletin 70)."""
    place = np.arange(table.shape[1])
    distance = (place[:, None] - place[None, :]) ** 2
    total = table.sum(axis=(1, 2))
    expected = table.sum(axis=2)[:, :, None] * table.sum(axis=1)[:, None, :] / total[:, None, None]
    by_chance = (distance * expected).sum(axis=(1, 2))
    seen = (distance * table).sum(axis=(1, 2))
    return np.asarray(np.where(by_chance > 0, 1 - seen / np.where(by_chance > 0, by_chance, 1), np.nan))


def _by_threshold(sample: AgreementData, weights: Floats) -> dict[str, Floats]:
    failed = sample.failed
    positives, negatives = (weights @ mask.astype(float) for mask in (sample.positive, ~sample.positive))
    return {
        "sensitivity": weights @ (failed & sample.positive).astype(float) / positives,
        "specificity": weights @ (~failed & ~sample.positive).astype(float) / negatives,
    }


def ranking(sample: AgreementData, weights: Floats) -> dict[str, Floats]:
    """AUROC, ties counting half, and AUPRC as average precision: the sum of precision times rise in recall."""
    order = np.argsort(-sample.score, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(sample.score[order]) != 0, [True]))  # of each run of equal scores
    hit = np.cumsum(weights[:, order] * sample.positive[order], axis=1)[:, ends]
    miss = np.cumsum(weights[:, order] * ~sample.positive[order], axis=1)[:, ends]
    rise = np.diff(hit, prepend=0.0, axis=1)
    further = np.diff(miss, prepend=0.0, axis=1)
    area = (further * (hit - rise / 2)).sum(axis=1) / (hit[:, -1] * miss[:, -1])
    precision = np.where(hit + miss > 0, hit / (hit + miss), 0.0)
    return {"auroc": area, "auprc": (rise * precision).sum(axis=1) / hit[:, -1]}


def calibration_errors(sample: AgreementData, weights: Floats) -> dict[str, Floats]:
    """Expected calibration error over equally wide bins, and Brier score; both 0 (best) to 1."""
    total = weights.sum(axis=1)
    members = np.zeros((len(sample.score), BINS))
    members[np.arange(len(sample.score)), bin_of(sample.score)] = 1
    gap = weights @ (members * (sample.positive - sample.score)[:, None])
    return {
        "ece": np.abs(gap).sum(axis=1) / total,
        "brier": weights @ (sample.positive - sample.score) ** 2 / total,
    }


def bin_of(score: Floats) -> Ints:
    place: Ints = np.minimum((score * BINS).astype(int), BINS - 1)
    return place


class Bin(NamedTuple):
    """One bar of a reliability diagram."""

    low: float
    high: float
    n: int
    mean_score: float
    share_positive: float


def reliability(sample: AgreementData) -> list[Bin]:
    """The bins that hold answers; calibrated scores have ``mean_score`` close to ``share_positive``."""
    place, bins = bin_of(sample.score), []
    for i in range(BINS):
        inside = place == i
        if inside.any():
            weight = sample.weight[inside]
            score, share = (float(np.average(x[inside], weights=weight)) for x in (sample.score, sample.positive))
            bins.append(Bin(i / BINS, (i + 1) / BINS, int(inside.sum()), score, share))
    return bins
