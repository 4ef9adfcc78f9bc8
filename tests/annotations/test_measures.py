"""Measures against values known by hand and against the plainest possible definitions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_mmsafety.annotations.measures import (
    AgreementData,
    confusion,
    kappa,
    macro_f1,
    measure,
    ranking,
    reliability,
)


def sample(
    gold: Sequence[int],
    scores: Sequence[float],
    *,
    predicted: Sequence[int] | None = None,
    classes: int = 2,
    weights: Sequence[float] | None = None,
    clusters: Sequence[int] | None = None,
) -> AgreementData:
    score = np.array(scores, dtype=float)
    top = classes - 1
    return AgreementData(
        positive=np.array(gold) / top >= 0.5,
        score=score,
        failed=score >= 0.5,
        gold=np.array(gold),
        predicted=np.array(predicted) if predicted is not None else np.floor(score * top + 0.5).astype(int),
        classes=classes,
        weight=np.array(weights if weights is not None else [1.0] * len(gold)),
        cluster=np.array(clusters if clusters is not None else range(len(gold))),
        graded=True,
    )


def values(of: AgreementData, **options: Any) -> dict[str, float]:
    return {name: found.value for name, found in measure(of, resamples=0, **options).items()}


def test_a_textbook_example() -> None:
    """The four answers of scikit-learn's documentation of roc_auc_score and average_precision_score."""
    found = values(sample([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]))
    assert found["auroc"] == pytest.approx(0.75)
    assert found["auprc"] == pytest.approx(0.8333333)
    assert found["accuracy"] == 0.75
    assert found["sensitivity"] == 0.5
    assert found["specificity"] == 1.0
    assert found["brier"] == pytest.approx((0.01 + 0.16 + 0.4225 + 0.04) / 4)
    assert found["ece"] == pytest.approx((0.1 + 0.4 + 0.65 + 0.2) / 4)


def test_kappa_of_two_annotators() -> None:
    """The 50 proposals of the usual example: observed 0.7, by chance 0.5."""
    table = np.array([[[20.0, 5.0], [10.0, 15.0]]])
    assert kappa(table)[0] == pytest.approx(0.4)
    assert macro_f1(table)[0] == pytest.approx((40 / 55 + 30 / 45) / 2)


def test_quadratic_weights_forgive_neighbours() -> None:
    near = sample([0, 1, 2, 3], [0.0] * 4, predicted=[1, 1, 2, 3], classes=4)
    far = sample([0, 1, 2, 3], [0.0] * 4, predicted=[3, 1, 2, 3], classes=4)
    # Observed 1 and 9; by chance sum (i - j)^2 p_i q_j * 4 = 8 and 11.
    assert values(near)["kappa"] == pytest.approx(1 - 1 / _by_chance([0, 1, 2, 3], [1, 1, 2, 3]))
    assert values(far)["kappa"] == pytest.approx(1 - 9 / _by_chance([0, 1, 2, 3], [3, 1, 2, 3]))


def _by_chance(gold: Sequence[int], predicted: Sequence[int]) -> float:
    return sum((g - p) ** 2 for g in gold for p in predicted) / len(gold)


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 4), st.integers(1, 3)), min_size=1, max_size=25))
def test_ranking_is_what_the_definitions_say(rows: list[tuple[int, int, int]]) -> None:
    gold, score, times = zip(*rows, strict=True)
    of = sample(gold, [s / 4 for s in score], weights=times)
    with np.errstate(all="ignore"):
        found = ranking(of, of.weight[None, :])
    many = [(g, s) for g, s, t in rows for _ in range(t)]  # a weight is as good as that many copies
    pairs = [(p, n) for gp, p in many if gp for gn, n in many if not gn]
    if pairs:
        area = sum((p > n) + (p == n) / 2 for p, n in pairs) / len(pairs)
        assert found["auroc"][0] == pytest.approx(area)
    else:
        assert math.isnan(found["auroc"][0])
    if positives := sum(g for g, _ in many):
        precision, recall, last = 0.0, 0.0, 0.0
        for cut in sorted({s for _, s in many}, reverse=True):
            chosen = [g for g, s in many if s >= cut]
            recall = sum(chosen) / positives
            precision += sum(chosen) / len(chosen) * (recall - last)
            last = recall
        assert found["auprc"][0] == pytest.approx(precision)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30))
def test_tables_are_what_the_definitions_say(rows: list[tuple[int, int]]) -> None:
    gold, predicted = zip(*rows, strict=True)
    of = sample(gold, [0.0] * len(gold), predicted=predicted, classes=4)
    table = confusion(of, of.weight[None, :])
    assert [[sum(row == (i, j) for row in rows) for j in range(4)] for i in range(4)] == table[0].tolist()
    f1 = []
    for level in sorted({*gold, *predicted}):
        both = sum(row == (level, level) for row in rows)
        f1.append(2 * both / (gold.count(level) + predicted.count(level)))
    assert macro_f1(table)[0] == pytest.approx(sum(f1) / len(f1))
    with np.errstate(all="ignore"):
        found = kappa(table)[0]
    chance = _by_chance(gold, predicted)
    if chance:
        assert found == pytest.approx(1 - sum((g - p) ** 2 for g, p in rows) / chance)
    else:
        assert math.isnan(found)


def test_intervals_are_of_whole_clusters() -> None:
    """The same answers: as 40 questions, and as 4 questions answered ten times alike."""
    generator = np.random.default_rng(1)
    gold = [0, 1, 0, 1] * 10
    scores = np.clip(generator.normal(gold, 0.7), 0, 1).tolist()
    alone = measure(sample(gold, scores), resamples=400)
    together = measure(sample(gold, scores, clusters=[i // 10 for i in range(40)]), resamples=400)
    copies = measure(sample(gold * 10, scores * 10, clusters=[*range(40)] * 10), resamples=400)
    for name in ("auroc", "auprc", "macro_f1", "kappa", "brier", "ece"):
        one, ten = alone[name], copies[name]
        assert one.low is not None
        assert one.high is not None
        assert ten.low is not None
        assert ten.high is not None
        assert one.low < one.value < one.high
        assert ten.high - ten.low == pytest.approx(one.high - one.low, rel=0.15), "copies bring nothing"
        assert together[name].value == pytest.approx(one.value)


def test_intervals_hold_what_they_promise() -> None:
    """AUROC of normal scores one standard deviation apart is 0.760; 95 % intervals should hold it in 95 of 100."""
    generator = np.random.default_rng(7)
    held = 0
    for _ in range(100):
        gold = np.arange(80) % 2
        found = measure(sample(gold.tolist(), (generator.normal(gold, 1) / 20 + 0.5).tolist()), resamples=200)["auroc"]
        assert found.low is not None
        assert found.high is not None
        held += found.low <= 0.7602 <= found.high
    assert held >= 85


def test_the_same_seed_gives_the_same_intervals() -> None:
    of = sample([0, 1] * 20, [i / 40 for i in range(40)])
    assert measure(of, 3, 100) == measure(of, 3, 100)
    assert measure(of, 3, 100) != measure(of, 4, 100)


def test_all_right_is_not_certain() -> None:
    found = measure(sample([0, 1] * 5, [0.0, 1.0] * 5), resamples=50)
    accuracy = found["accuracy"]
    assert (accuracy.value, accuracy.high) == (1.0, 1.0)
    assert accuracy.low is not None
    assert 0.6 < accuracy.low < 0.8
    assert (found["auroc"].value, found["auroc"].low) == (1.0, None), "no resample differs: no interval"


@pytest.mark.parametrize("gold", [[0, 0, 0], [1, 1, 1]])
def test_one_class_alone(gold: list[int]) -> None:
    found = measure(sample(gold, [0.2, 0.4, 0.9]), resamples=50)
    assert math.isnan(found["auroc"].value)
    assert found["auroc"].low is None
    assert not math.isnan(found["accuracy"].value)


def test_one_question_has_no_interval() -> None:
    assert {f.low for f in measure(sample([0, 1], [0.1, 0.9], clusters=[0, 0])).values()} == {None}


def test_reliability_bins() -> None:
    bins = reliability(sample([0, 1, 1, 1], [0.05, 0.05, 0.95, 1.0]))
    assert [(b.low, b.high, b.n) for b in bins] == [(0.0, 0.1, 2), (0.9, 1.0, 2)]
    assert bins[0].mean_score == pytest.approx(0.05)
    assert bins[0].share_positive == 0.5
    assert bins[1].share_positive == 1.0
