"""Correction for the judge's errors: properties, refusals, and coverage by seeded simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pytest_mmsafety.judge_errors import Stratum
from pytest_mmsafety.statistics.correction import (
    MIN_OF_EACH,
    Confusion,
    corrected_rate,
    prediction_powered,
    quality_limit,
    unfit,
    weighted_mean,
)
from pytest_mmsafety.statistics.estimates import Estimate, clustered_share

GOOD = Confusion(95, 2, 98, 5)


def share(hits: int, n: int) -> Estimate:
    return clustered_share([1.0] * hits + [0.0] * (n - hits), range(n), 0.05)


def confusions(most: int = 300) -> st.SearchStrategy[Confusion]:
    right, wrong = st.integers(20, most), st.integers(0, most)
    return st.builds(Confusion, right, wrong, right, wrong).filter(lambda c: not unfit(c))


# --- counts


def test_a_stratum_of_a_calibration_file_has_the_counts() -> None:
    stratum = Stratum({}, 64, 30, 5, 25, 2, 1, 1, 40, 20, 25, ("here",))
    confusion = Confusion.of(stratum)
    assert confusion == Confusion(30, 5, 25, 2, 20, 25)
    assert confusion.sensitivity == 30 / 32
    assert confusion.specificity == 25 / 30
    assert (confusion.positives, confusion.negatives) == (20, 25)


def test_mirrored_twice_is_the_same() -> None:
    confusion = Confusion(30, 5, 25, 2, 20, 28)
    assert confusion.mirrored().sensitivity == confusion.specificity
    assert confusion.mirrored().mirrored() == confusion


# --- refusals


@pytest.mark.parametrize(
    ("confusion", "words"),
    [
        (Confusion(0, 0, 100, 0), "0 independent answers that failed"),
        (Confusion(15, 2, 98, MIN_OF_EACH - 16), "19 independent answers that failed, fewer than the 20"),
        (Confusion(95, 1, 15, 5), "16 independent answers that did not fail"),
        (Confusion(95, 2, 98, 5, 10, 90), "10 independent answers that failed"),
        (Confusion(60, 40, 60, 40), "too weak to correct for: sensitivity 60% + specificity 60% - 1"),
        (Confusion(14, 4, 16, 6), "too weak"),
    ],
)
def test_a_judge_that_is_weak_or_little_known_is_refused(confusion: Confusion, words: str) -> None:
    found = corrected_rate(share(10, 100), confusion, 0.05)
    assert found.estimate is None
    assert words in found.reason
    assert found.raw.value == 0.1


@pytest.mark.parametrize(("hits", "word"), [(0, "fewer"), (1000, "more")])
def test_a_run_that_contradicts_its_calibration_is_refused(hits: int, word: str) -> None:
    found = corrected_rate(share(hits, 1000), Confusion(80, 20, 80, 20), 0.05)
    assert found.estimate is None
    assert f"finds {word} failures" in found.reason
    assert "not like the labelled cases" in found.reason


def test_the_quality_limit_is_below_what_was_seen() -> None:
    assert 0.85 < quality_limit(GOOD) < 0.93
    assert quality_limit(Confusion(19, 1, 19, 1)) < quality_limit(Confusion(190, 10, 190, 10)) < 0.9


# --- the corrected rate


def test_a_faultless_judge_that_is_well_known_changes_nothing() -> None:
    raw = share(30, 200)
    found = corrected_rate(raw, Confusion(1_000_000, 0, 1_000_000, 0), 0.05).estimate
    assert found is not None
    assert found.value == pytest.approx(raw.value)
    assert (found.low, found.high) == pytest.approx((raw.low, raw.high), abs=2e-3)


def test_known_errors_are_taken_out() -> None:
    """30 % failures, sensitivity .9, specificity .8: the judge finds 41 %."""
    found = corrected_rate(share(410, 1000), Confusion(90_000, 20_000, 80_000, 10_000), 0.05).estimate
    assert found is not None
    assert found.value == pytest.approx(0.3)
    raw = share(410, 1000)
    assert found.high - found.low == pytest.approx((raw.high - raw.low) / 0.7, rel=0.05)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 100), confusions())
def test_the_interval_holds_the_estimate_and_has_a_width(hits: int, confusion: Confusion) -> None:
    found = corrected_rate(share(hits, 100), confusion, 0.05)
    assert (found.estimate is None) == bool(found.reason)
    if found.estimate:
        assert 0 <= found.estimate.low <= found.estimate.value <= found.estimate.high <= 1
        assert found.estimate.high - found.estimate.low > 0.01
        wide, narrow = found.estimate.interval(0.01), found.estimate.interval(0.2)
        assert wide[0] <= narrow[0]
        assert wide[1] >= narrow[1]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 99), confusions())
def test_more_failures_never_look_safer(hits: int, confusion: Confusion) -> None:
    few, more = (corrected_rate(share(k, 100), confusion, 0.05).estimate for k in (hits, hits + 1))
    assume(few is not None and more is not None)
    assert few.value <= more.value + 1e-9
    assert few.low <= more.low + 1e-3  # both are read off a grid
    assert few.high <= more.high + 1e-3


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 100), confusions())
def test_what_is_asked_for_does_not_matter(hits: int, confusion: Confusion) -> None:
    failed = corrected_rate(share(hits, 100), confusion, 0.05).estimate
    passed = corrected_rate(share(100 - hits, 100), confusion.mirrored(), 0.05).estimate
    assert (failed is None) == (passed is None)
    if failed and passed:
        mirror = (1 - passed.high, 1 - passed.value, 1 - passed.low)
        assert (failed.low, failed.value, failed.high) == pytest.approx(mirror, abs=1e-9)


def test_a_better_known_judge_gives_a_narrower_interval() -> None:
    widths = []
    for times in (1, 4, 16):
        confusion = Confusion(36 * times, 8 * times, 72 * times, 4 * times)
        found = corrected_rate(share(300, 1000), confusion, 0.05).estimate
        assert found is not None
        widths.append(found.high - found.low)
    assert widths == sorted(widths, reverse=True)
    assert widths[0] > 1.5 * widths[2]


def test_p_value_and_interval_agree() -> None:
    found = corrected_rate(share(200, 1000), GOOD, 0.05).estimate
    assert found is not None
    p = found.p_value(lambda low, high: low > 0.15)
    assert found.interval(p * 1.01)[0] > 0.15
    assert found.interval(p * 0.99)[0] < 0.15


@pytest.mark.parametrize("judge", [(0.97, 0.98), (0.85, 0.9)])
@pytest.mark.parametrize(("rate", "size"), [(0.0, 1), (0.05, 4), (0.5, 1), (0.5, 4)])
def test_coverage(judge: tuple[float, float], rate: float, size: int) -> None:
    """95 % intervals hold the truth in at least 93 % of seeded simulations; half a judge's error hits whole clusters."""
    random = np.random.default_rng([int(100 * judge[0]), int(100 * rate), size])
    rounds, held, given_ = 100, 0, 0
    cluster = np.arange(200) // size

    def alike(values: np.ndarray) -> np.ndarray:
        whole = np.repeat(random.random(len(values) // size) < 0.3, size)
        return np.where(whole, np.repeat(values[::size], size), values)

    for _ in range(rounds):
        failed = alike(random.random(200) < rate)
        says = alike(random.random(200) < np.where(failed, judge[0], 1 - judge[1])).astype(float)
        right = [int(alike(random.random(160) < chance).sum()) for chance in judge]
        confusion = Confusion(right[0], 160 - right[1], right[1], 160 - right[0], 160 // size, 160 // size)
        found = corrected_rate(clustered_share(says, cluster, 0.05), confusion, 0.05).estimate
        given_ += found is not None
        held += found is not None and found.low <= rate <= found.high
    assert given_ > 0.9 * rounds
    assert held / given_ >= 0.93


# --- several corrected rates


def test_dependent_parts_give_the_wider_interval() -> None:
    parts = [(0.5, share(10, 100)), (0.5, share(40, 100))]
    apart, together = (weighted_mean(parts, 0.05, independent=independent) for independent in (True, False))
    assert apart.value == together.value == pytest.approx(0.25)
    assert together.low < apart.low < 0.25 < apart.high < together.high
    assert together.low == pytest.approx(np.mean([part.low for _, part in parts]))
    assert apart.n == 200


def test_one_part_is_itself() -> None:
    one = share(10, 100)
    mean = weighted_mean([(1.0, one)], 0.05, independent=True)
    assert (mean.low, mean.value, mean.high) == pytest.approx((one.low, one.value, one.high))


# --- labels of this run


def test_labels_of_everything_are_the_answer() -> None:
    labels = [1.0] * 20 + [0.0] * 80
    found = prediction_powered([0.0] * 100, labels, range(100), 0.05)
    assert found.raw.value == 0
    assert found.estimate == share(20, 100)


def test_too_few_labels_are_refused() -> None:
    found = prediction_powered([0.0] * 100, [0.0] * 29 + [np.nan] * 71, range(100), 0.05)
    assert found.estimate is None
    assert "29 labelled clusters, fewer than the 30 required" in found.reason


def test_a_judge_that_guesses_is_left_aside() -> None:
    random = np.random.default_rng(3)
    labels = np.where(np.arange(500) < 100, random.random(500) < 0.3, np.nan)
    found = prediction_powered((random.random(500) < 0.5).astype(float), labels, range(500), 0.05).estimate
    assert found == clustered_share(labels[:100], range(100), 0.05)


def test_a_good_judge_narrows_what_the_labels_say() -> None:
    random = np.random.default_rng(4)
    failed = random.random(2000) < 0.3
    score = np.where(random.random(2000) < 0.02, ~failed, failed).astype(float)
    label = np.where(np.arange(2000) < 150, failed, np.nan)
    found = prediction_powered(score, label, range(2000), 0.05).estimate
    assert found is not None
    alone = clustered_share(label[:150], range(150), 0.05)
    assert found.high - found.low < 0.75 * (alone.high - alone.low)


@pytest.mark.parametrize(
    ("rate", "judge", "size"), [(0.05, (0.9, 0.9), 1), (0.3, (0.9, 0.95), 4), (0.3, (0.7, 0.6), 1)]
)
def test_labels_repair_a_judge_of_unknown_errors(rate: float, judge: tuple[float, float], size: int) -> None:
    random, held, raw_held = np.random.default_rng(7), 0, 0
    cluster = np.arange(800) // size
    for _ in range(150):
        failed = np.repeat(random.random(800 // size) < rate, size)
        score = (random.random(800) < np.where(failed, judge[0], 1 - judge[1])).astype(float)
        labelled = np.isin(cluster, random.permutation(800 // size)[:60])
        found = prediction_powered(score, np.where(labelled, failed, np.nan), cluster, 0.05)
        assert found.estimate is not None
        held += found.estimate.low <= rate <= found.estimate.high
        raw_held += found.raw.low <= rate <= found.raw.high
    assert held >= 0.93 * 150
    assert raw_held < held


@pytest.mark.parametrize(
    ("rate", "judge"), [(0.0, (0.9, 0.9)), (0.05, (0.7, 0.9)), (0.3, (0.9, 0.95)), (0.3, (0.6, 0.9))]
)
def test_labels_drawn_by_verdict_repair_the_judge_if_they_are_weighted(rate: float, judge: tuple[float, float]) -> None:
    """As many of the flagged answers as of the others: each stands for another number of answers."""
    random, held, unweighted_held = np.random.default_rng(11), 0, 0
    for _ in range(150):
        failed = random.random(800) < rate
        score = (random.random(800) < np.where(failed, judge[0], 1 - judge[1])).astype(float)
        stands_for = np.full(800, np.nan)
        for verdict in (0, 1):
            of_it = random.permutation(np.flatnonzero(score == verdict))
            stands_for[of_it[:60]] = max(len(of_it) / 60, 1)
        label = np.where(np.isnan(stands_for), np.nan, failed)
        found = prediction_powered(score, label, range(800), 0.05, sampling=stands_for).estimate
        wrong = prediction_powered(score, label, range(800), 0.05).estimate
        assert found is not None
        assert wrong is not None
        held += found.low <= rate <= found.high
        unweighted_held += wrong.low <= rate <= wrong.high
    assert held >= 0.93 * 150
    assert unweighted_held < held or rate == 0


@pytest.mark.parametrize("rates", [(0.05, 0.05), (0.02, 0.6)])
def test_labels_of_a_weighted_mean_hold_the_level(rates: tuple[float, float]) -> None:
    random, held = np.random.default_rng(13), 0
    strata = np.arange(900) % 3 // 2
    truth = 0.5 * rates[0] + 0.5 * rates[1]
    for _ in range(150):
        failed = random.random(900) < np.array(rates)[strata]
        score = (random.random(900) < np.where(failed, 0.8, 0.1)).astype(float)
        label = np.where(np.isin(np.arange(900), random.permutation(900)[:120]), failed, np.nan)
        weights, sampling = {0: 0.5, 1: 0.5}, np.ones(900)
        found = prediction_powered(
            score, label, range(900), 0.05, strata=strata, weights=weights, sampling=sampling
        ).estimate
        assert found is not None
        held += found.low <= truth <= found.high
    assert held >= 0.93 * 150


def test_judge_and_errors_that_go_together_in_clusters_widen_the_interval() -> None:
    """Where the judge finds half of a bad cluster, it misses the other half: the two do not make up for each other."""
    bad = np.repeat(np.arange(200) % 4 == 0, 4)
    score = (bad & (np.arange(800) % 4 < 2)).astype(float)
    label = np.where(np.arange(800) < 400, bad, np.nan)
    together = prediction_powered(score, label, np.repeat(range(200), 4), 0.05).estimate
    shuffled = np.random.default_rng(1).permutation(800)
    apart = prediction_powered(score[shuffled], label[shuffled], np.repeat(range(200), 4), 0.05).estimate
    assert together is not None
    assert apart is not None
    assert together.value == pytest.approx(0.25)
    assert together.high - together.low > 1.3 * (apart.high - apart.low)
