"""Measures of weighted and resampled answers: weights as copies, bins by hand, and intervals that depend on a seed alone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_mmsafety.annotations import measures
from pytest_mmsafety.annotations.measures import (
    BINS,
    AgreementData,
    Interval,
    bin_of,
    calibration_errors,
    measure,
    reliability,
)
from pytest_mmsafety.statistics.estimates import clustered_share

ROWS = st.lists(st.tuples(st.booleans(), st.integers(0, 20), st.integers(1, 3)), min_size=1, max_size=15)


def data(positive: Any, score: Any, weight: Any = None, cluster: Any = None, *, graded: bool = True) -> AgreementData:
    score, positive = np.array(score, dtype=float), np.array(positive, dtype=bool)
    failed = score >= 0.5
    weights = np.ones(len(score)) if weight is None else np.array(weight, dtype=float)
    clusters = np.arange(len(score)) if cluster is None else np.array(cluster)
    return AgreementData(
        positive, score, failed, positive.astype(int), failed.astype(int), 2, weights, clusters, graded
    )


def same(one: float, other: float) -> bool:
    return (math.isnan(one) and math.isnan(other)) or one == pytest.approx(other)


@settings(max_examples=40)
@given(ROWS)
def test_a_weight_is_as_good_as_that_many_copies(rows: list[tuple[bool, int, int]]) -> None:
    positive, score, times = zip(*rows, strict=True)
    weighted = measure(data(positive, np.array(score) / 20, times), resamples=0)
    copied = measure(data(np.repeat(positive, times), np.repeat(score, times) / 20), resamples=0)
    assert weighted.keys() == copied.keys()
    assert all(same(weighted[name].value, copied[name].value) for name in weighted)


@given(ROWS, st.floats(0.01, 100))
def test_the_scale_of_the_weights_does_not_count(rows: list[tuple[bool, int, int]], factor: float) -> None:
    positive, score, times = zip(*rows, strict=True)
    one, other = (
        measure(data(positive, np.array(score) / 20, np.array(times) * scale), resamples=0) for scale in (1, factor)
    )
    assert all(same(one[name].value, other[name].value) for name in one)


@given(ROWS)
def test_calibration_errors_are_what_the_definitions_say(rows: list[tuple[bool, int, int]]) -> None:
    positive, score, times = zip(*rows, strict=True)
    of = data(positive, np.array(score) / 20, times)
    found = calibration_errors(of, of.weight[None, :])
    members: dict[int, list[tuple[bool, float, int]]] = {}
    for p, s, t in rows:
        members.setdefault(min(s // 2, BINS - 1), []).append((p, s / 20, t))
    gaps = [abs(sum(t * (p - s) for p, s, t in inside)) for inside in members.values()]
    assert found["ece"][0] == pytest.approx(sum(gaps) / sum(times))
    assert found["brier"][0] == pytest.approx(sum(t * (p - s / 20) ** 2 for p, s, t in rows) / sum(times))
    bins = reliability(of)
    assert [one.n for one in bins] == [len(members[place]) for place in sorted(members)]
    assert sum(
        abs(b.share_positive - b.mean_score) * sum(t for *_, t in members[i])
        for b, i in zip(bins, sorted(members), strict=True)
    ) == pytest.approx(sum(gaps))


def test_the_bins_are_equally_wide_and_the_last_has_the_one() -> None:
    assert bin_of(np.array([0.0, 0.05, 0.1, 0.55, 0.95, 1.0])).tolist() == [0, 0, 1, 5, 9, 9]


def test_a_judge_of_two_scores_has_no_calibration() -> None:
    names = set(measure(data([True, False], [1.0, 0.0], graded=False), resamples=0))
    assert names == {"accuracy", "macro_f1", "kappa", "sensitivity", "specificity", "auroc", "auprc"}
    assert set(measure(data([True, False], [1.0, 0.0]), resamples=0)) - names == {"ece", "brier"}


# --- intervals


def noisy(n: int = 30) -> AgreementData:
    generator = np.random.default_rng(4)
    positive = np.arange(n) % 2 == 0
    return data(positive, np.clip(generator.normal(positive, 0.8), 0, 1), cluster=np.arange(n) // 2)


def test_intervals_do_not_depend_on_how_many_resamples_are_worked_on_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = measure(noisy(), seed=5, resamples=64)
    monkeypatch.setattr(measures, "_CELLS", 100)  # three resamples at a time
    assert measure(noisy(), seed=5, resamples=64) == whole


def test_an_interval_holds_its_value_and_is_a_percentile_of_resamples() -> None:
    of = noisy()
    found = measure(of, seed=1, resamples=200)
    generator = np.random.default_rng(1)
    values = []
    for _ in range(200):
        drawn = generator.integers(15, size=15)
        rows = np.concatenate([np.flatnonzero(of.cluster == one) for one in drawn])
        values.append(measure(data(of.positive[rows], of.score[rows]), resamples=0)["auroc"].value)
    low, high = np.quantile(values, (0.025, 0.975))
    assert found["auroc"].low == pytest.approx(low)
    assert found["auroc"].high == pytest.approx(high)
    assert low <= found["auroc"].value <= high


@pytest.mark.parametrize("name", ["accuracy", "sensitivity", "specificity"])
def test_shares_have_the_interval_of_the_gates(name: str) -> None:
    of = noisy()
    mask = {"accuracy": of.positive | True, "sensitivity": of.positive, "specificity": ~of.positive}[name]
    hit = {"accuracy": of.failed == of.positive, "sensitivity": of.failed, "specificity": ~of.failed}[name]
    wanted = clustered_share(hit[mask].astype(float), of.cluster[mask], 0.05)
    assert measure(of, resamples=20)[name] == Interval(pytest.approx(wanted.value), wanted.low, wanted.high)  # type: ignore[arg-type]


def test_weighted_shares_have_an_interval_of_resamples() -> None:
    of = noisy()._replace(weight=np.arange(30) % 3 + 1.0)
    one, other = (measure(of, seed=seed, resamples=50)["accuracy"] for seed in (1, 2))
    assert one.value == other.value
    assert (one.low, one.high) != (other.low, other.high)


def test_some_of_the_answers_have_clusters_without_gaps() -> None:
    of = noisy()
    some = of.of(np.arange(30) % 4 == 0)
    assert some.cluster.tolist() == list(range(8))
    assert some.score.tolist() == of.score[::4].tolist()
    assert (some.classes, some.graded) == (2, True)
    assert len(some.weight) == len(some.gold) == len(some.predicted) == len(some.failed) == len(some.positive) == 8
