"""Intervals: properties that must hold for any data, and coverage by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, t

from pytest_mmsafety.statistics.estimates import (
    Estimate,
    clustered_difference,
    clustered_ratio,
    clustered_share,
    effective_size,
    share_interval,
    smallest_alpha,
    spread_of_clusters,
)

SCORES = st.lists(st.sampled_from([0.0, 1 / 3, 2 / 3, 1.0]), min_size=1, max_size=60)


@given(SCORES, st.integers(1, 10))
def test_the_interval_holds_the_estimate_and_has_a_width(scores: list[float], per_cluster: int) -> None:
    estimate = clustered_share(scores, [i // per_cluster for i in range(len(scores))], 0.05)
    assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1
    assert estimate.high > estimate.low
    assert estimate.value == pytest.approx(np.mean(scores))


@given(SCORES, st.randoms())
def test_order_does_not_matter(scores: list[float], random) -> None:  # type: ignore[no-untyped-def]
    rows = [(score, i // 3) for i, score in enumerate(scores)]
    shuffled = random.sample(rows, len(rows))
    first = clustered_share(*zip(*rows, strict=True), 0.05)
    second = clustered_share(*zip(*shuffled, strict=True), 0.05)
    assert (first.low, first.high) == pytest.approx((second.low, second.high), abs=1e-9)


@given(SCORES)
def test_a_smaller_alpha_never_narrows(scores: list[float]) -> None:
    wide, narrow = (clustered_share(scores, range(len(scores)), alpha) for alpha in (0.01, 0.2))
    assert wide.low <= narrow.low + 1e-9
    assert wide.high >= narrow.high - 1e-9


@given(SCORES)
def test_reversing_the_scores_mirrors_the_interval(scores: list[float]) -> None:
    one = clustered_share(scores, range(len(scores)), 0.05)
    other = clustered_share([1 - score for score in scores], range(len(scores)), 0.05)
    assert (1 - other.high, 1 - other.low) == pytest.approx((one.low, one.high), abs=1e-6)


@pytest.mark.parametrize(("hits", "n"), [(0, 30), (30, 30), (0, 1), (1, 1)])
def test_extremes_of_independent_cases_are_clopper_pearson(hits: int, n: int) -> None:
    estimate = clustered_share([1.0] * hits + [0.0] * (n - hits), range(n), 0.05)
    exact = binomtest(hits, n).proportion_ci(method="exact")
    assert (estimate.low, estimate.high) == pytest.approx((exact.low, exact.high), abs=1e-6)


def test_copies_of_a_case_add_nothing() -> None:
    once = clustered_share([0.0] * 20, range(20), 0.05)
    copied = clustered_share([0.0] * 200, [i // 10 for i in range(200)], 0.05)
    assert copied.high == pytest.approx(once.high)
    assert (copied.n, copied.clusters) == (200, 20)


def test_weights_make_a_macro_mean() -> None:
    values, strata = [1.0] * 90 + [0.0] * 10, ["big"] * 90 + ["small"] * 10
    estimate = clustered_share(values, range(100), 0.05, strata, {"big": 0.5, "small": 0.5})
    assert estimate.value == pytest.approx(0.5)
    assert estimate.high - estimate.low > 0.1


def test_equal_chances_to_be_drawn_change_nothing() -> None:
    values, clusters, strata = [1.0, 0.0, 0.5, 0.0] * 20, [i // 2 for i in range(80)], [i % 4 // 2 for i in range(80)]
    for function in (clustered_share, clustered_difference):
        plain = function(values, clusters, 0.05, strata, {0: 0.3, 1: 0.7})
        drawn = function(values, clusters, 0.05, strata, {0: 0.3, 1: 0.7}, sampling=np.full(80, 7.0))
        assert (drawn.value, drawn.low, drawn.high) == pytest.approx((plain.value, plain.low, plain.high))


def test_a_case_that_stands_for_many_counts_for_many_but_tells_no_more_than_one() -> None:
    values, stands_for = [1.0] * 10 + [0.0] * 90, np.array([1.0] * 10 + [10.0] * 90)
    found = clustered_share(values, range(100), 0.05, sampling=stands_for)
    assert found.value == pytest.approx(10 / 910)
    assert found.high > clustered_share([1.0] * 10 + [0.0] * 900, range(910), 0.05).high
    assert clustered_share([0.0] * 100, range(100), 0.05, sampling=stands_for).high > 1 - 0.025 ** (1 / 100)


def test_strata_of_different_rates_leave_less_to_chance() -> None:
    """Half of the weight on a rate of 2 %, half on 90 %: narrower than one sample with the same mean."""
    values = [1.0] * 2 + [0.0] * 98 + [1.0] * 90 + [0.0] * 10
    strata = ["a"] * 100 + ["b"] * 100
    stratified = clustered_share(values, range(200), 0.05, strata, {"a": 0.5, "b": 0.5})
    pooled = clustered_share(values, range(200), 0.05)
    assert stratified.value == pooled.value
    assert stratified.high - stratified.low < 0.6 * (pooled.high - pooled.low)


def test_a_small_stratum_may_hide_what_it_did_not_show() -> None:
    """15 cases at 5 % and half of the weight: nearly half of the samples show none."""
    random = np.random.default_rng(22)
    held, rounds = 0, 600
    for _ in range(rounds):
        values = [*(random.random(15) < 0.05).tolist(), *(random.random(400) < 0.5).tolist()]
        estimate = clustered_share(values, range(415), 0.05, ["a"] * 15 + ["b"] * 400, {"a": 0.5, "b": 0.5})
        held += estimate.low <= 0.275 <= estimate.high
    assert held / rounds >= 0.93


def test_few_clusters_know_their_own_variance_badly() -> None:
    """Korn and Graubard: n p (1 - p) / variance, times the squared ratio of t quantiles; then three alike clusters."""
    hits = np.array([[1.0, 7.0, 4.0, 8.0, 0.0, 4.0, 6.0, 2.0]])
    spread = spread_of_clusters(hits, np.full(8, 8))
    seen = 0.5 * 0.5 / float(spread.variance[0])
    ratio = (t.ppf(0.975, 63) / t.ppf(0.975, 7)) ** 2
    reduced = min(seen * ratio, 64.0)
    assert reduced < 64
    expected = 1 / ((1 - 3 / 7) / reduced + 3 / 7 / 8)  # 7 clusters hold a hit
    assert float(effective_size(spread, 0.05)[0]) == pytest.approx(expected)


# --- p-values


@given(SCORES, st.integers(1, 4), st.floats(0.02, 0.98), st.floats(0.001, 0.5))
def test_p_value_and_interval_agree(scores: list[float], per_cluster: int, bound: float, alpha: float) -> None:
    estimate = clustered_share(scores, [i // per_cluster for i in range(len(scores))], alpha)
    for beyond in (lambda low, _: low > bound, lambda _, high: high <= bound):
        p = estimate.p_value(beyond)
        assert 0 < p <= 1
        if abs(p - alpha) > 1e-6:
            assert (p <= alpha) == beyond(estimate.low, estimate.high)


def test_p_value_of_independent_cases_is_the_exact_test_doubled() -> None:
    estimate = clustered_share([1.0] * 12 + [0.0] * 88, range(100), 0.05)
    above = binomtest(12, 100, 0.05, alternative="greater").pvalue
    below = binomtest(12, 100, 0.3, alternative="less").pvalue
    assert estimate.p_value(lambda low, _: low > 0.05) == pytest.approx(2 * above, rel=1e-6)
    assert estimate.p_value(lambda _, high: high <= 0.3) == pytest.approx(2 * below, rel=1e-6)
    assert estimate.p_value(lambda low, _: low > 0.12) == 1
    assert estimate.p_value(lambda low, _: low >= 0) == pytest.approx(1e-12)


def test_smallest_alphas_of_an_array() -> None:
    turns = np.array([[0.3, 1e-5], [2.0, 0.0]])
    found = smallest_alpha(lambda alpha: alpha >= turns, (2, 2))
    assert found == pytest.approx(np.array([[0.3, 1e-5], [1.0, 1e-12]]), rel=1e-6)


@given(st.lists(st.integers(0, 4), min_size=2, max_size=15), st.integers(1, 4))
def test_sums_by_cluster_give_the_same_interval_as_cases(hits: list[int], size: int) -> None:
    """What simulations and plans use, and what gates use."""
    hits = [min(hit, size) for hit in hits]
    values = [float(i < hit) for hit in hits for i in range(size)]
    estimate = clustered_share(values, [i // size for i in range(len(values))], 0.05)
    spread = spread_of_clusters(np.array([hits], dtype=float), np.full(len(hits), size))
    low, high = share_interval(spread, 0.05)
    assert (low[0], high[0]) == pytest.approx((estimate.low, estimate.high), abs=1e-6)


# --- paired differences

CHANGES = st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.0, 0.5, 1.0]), min_size=1, max_size=60)


def difference(changes: list[float], per_cluster: int = 1, alpha: float = 0.05) -> Estimate:
    return clustered_difference(changes, [i // per_cluster for i in range(len(changes))], alpha)


@given(CHANGES, st.integers(1, 10))
def test_a_difference_lies_in_its_interval_which_has_a_width(changes: list[float], per_cluster: int) -> None:
    found = difference(changes, per_cluster)
    assert found.value == pytest.approx(np.mean(changes), abs=1e-9)
    assert -1 <= found.low <= found.value <= found.high <= 1
    assert found.high - found.low > 1e-6
    assert found.n == len(changes)


@given(CHANGES, st.integers(1, 4))
def test_turning_the_runs_around_mirrors_the_difference(changes: list[float], per_cluster: int) -> None:
    one, other = difference(changes, per_cluster), difference([-change for change in changes], per_cluster)
    assert (-other.high, -other.low) == pytest.approx((one.low, one.high), abs=1e-6)


@given(CHANGES, st.integers(1, 4))
def test_a_smaller_alpha_never_narrows_a_difference(changes: list[float], per_cluster: int) -> None:
    wide, narrow = (difference(changes, per_cluster, alpha) for alpha in (0.001, 0.2))
    assert wide.low <= narrow.low + 1e-9
    assert wide.high >= narrow.high - 1e-9


def test_without_any_change_a_difference_is_as_unsure_as_zero_events() -> None:
    found = difference([0.0] * 50)
    none = clustered_share([0.0] * 50, range(50), 0.05).high
    assert (found.low, found.high) == pytest.approx((-none, none))


def test_pairs_tell_more_than_two_samples() -> None:
    found = difference([1.0] * 6 + [-1.0] * 2 + [0.0] * 392)
    apart = clustered_share([1.0] * 120 + [0.0] * 280, range(400), 0.05)
    assert found.high - found.low < (apart.high - apart.low) / 2


def test_changes_that_come_by_cluster_tell_less() -> None:
    changes = [1.0] * 20 + [0.0] * 180
    alone, together = difference(changes), difference(changes, per_cluster=10)
    assert together.high > alone.high
    assert together.clusters == 20


@pytest.mark.parametrize(("churn", "worse", "size"), [(0.05, 0.0, 1), (0.2, 0.05, 1), (0.2, 0.05, 4)])
def test_coverage_of_a_difference(churn: float, worse: float, size: int) -> None:
    random = np.random.default_rng(8)
    held, rounds = 0, 600
    for _ in range(rounds):
        draw = random.random(240)
        alike = np.repeat(random.random(240 // size), size)
        draw = np.where(random.random(240) < 0.3, alike, draw) if size > 1 else draw
        changes = np.where(draw < churn / 2 + worse, 1.0, np.where(draw > 1 - churn / 2, -1.0, 0.0))
        found = clustered_difference(changes, np.arange(240) // size, 0.05)
        held += found.low <= worse <= found.high
    assert held / rounds >= 0.93


# --- ratios


def test_a_ratio_of_zeros_and_ones_is_a_share_of_a_part() -> None:
    clean, wrong = [1.0] * 40 + [0.0] * 20, [1.0] * 8 + [0.0] * 52
    found = clustered_ratio(wrong, clean, range(60), 0.05)
    share = clustered_share(wrong[:40], range(40), 0.05)
    assert (found.value, found.low, found.high) == pytest.approx((share.value, share.low, share.high))
    assert (found.n, found.clusters) == (40, 40)


def test_a_ratio_weighs_by_its_denominators() -> None:
    found = clustered_ratio([4.0, 0.0, 1.0], [4.0, 1.0, 5.0], ["a", "b", "c"], 0.05)
    assert found.value == pytest.approx(0.5)
    assert found.low < 0.5 < found.high


# --- coverage; perf/gate_errors.py has the whole grid


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.2, 0.5, 0.95])
@pytest.mark.parametrize(
    ("clusters", "size", "alike"), [(30, 1, 0.0), (100, 1, 0.0), (40, 5, 0.5), (40, 5, 1.0), (25, 12, 0.3)]
)
def test_coverage(rate: float, clusters: int, size: int, alike: float) -> None:
    """95 % intervals hold the truth in at least 93 % of seeded simulations."""
    random = np.random.default_rng(20)
    rounds, held = 1000, 0
    labels = np.repeat(np.arange(clusters), size)
    for _ in range(rounds):
        own = random.random((clusters, size)) < rate
        shared = random.random((clusters, 1)) < rate
        answers = np.where(random.random((clusters, 1)) < alike, shared, own).ravel()
        estimate = clustered_share(answers.astype(float).tolist(), labels.tolist(), 0.05)
        held += estimate.low <= rate <= estimate.high
    assert held / rounds >= 0.93


@pytest.mark.parametrize(("clusters", "rate"), [(40, 0.05), (80, 0.05), (160, 0.01)])
def test_coverage_where_clusters_are_seldom_alike_but_then_wholly(clusters: int, rate: float) -> None:
    """Most samples do not show it; without the imagined clusters the interval holds the truth in 76 to 91 %."""
    random = np.random.default_rng(21)
    shape = (2000, clusters)
    alike = random.random(shape) < 0.6
    hits = np.where(alike, 12 * (random.random(shape) < rate), random.binomial(12, rate, shape)).astype(float)
    low, high = share_interval(spread_of_clusters(hits, np.full(clusters, 12)), 0.05)
    assert ((low <= rate) & (rate <= high)).mean() >= 0.90
