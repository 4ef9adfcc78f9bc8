"""Early stop: expected capital by enumeration, properties of order and rounds, and seeded simulation of errors."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_mmsafety.statistics.sequential import (
    SequentialTest,
    cluster_strata,
    confidence_sequence,
    decide,
    plan_rounds,
    serving_order,
)

CLUSTERS = st.lists(st.tuples(st.integers(1, 6), st.floats(0, 1)), min_size=1, max_size=40)
CASES = st.lists(st.tuples(st.integers(0, 12), st.sampled_from("abc")), min_size=1, max_size=60)


def run(bound: float, totals, sizes, strata=None) -> SequentialTest:  # type: ignore[no-untyped-def]
    test = SequentialTest(bound, plan_rounds(sizes, strata))
    test.update(totals, sizes)
    return test


# --- order


@given(CASES, st.integers(0, 3), st.integers(1, 5), st.randoms())
def test_the_order_is_a_function_of_keys_and_keeps_clusters_whole(cases, seed: int, rare: int, random) -> None:  # type: ignore[no-untyped-def]
    rows = [(f"k{i:02}", f"c{cluster}", stratum) for i, (cluster, stratum) in enumerate(cases)]
    shuffled = random.sample(rows, len(rows))
    orders = []
    for these in (rows, shuffled):
        keys, clusters, strata = zip(*these, strict=True)
        order = serving_order(keys, clusters, strata, seed, rare)
        assert sorted(order) == list(range(len(rows)))
        orders.append([these[i] for i in order])
    assert orders[0] == orders[1]
    blocks = [cluster for cluster, _ in itertools.groupby(row[1] for row in orders[0])]
    assert len(blocks) == len(set(blocks))


@given(st.lists(st.integers(2, 30), min_size=1, max_size=4), st.integers(0, 3))
def test_every_prefix_has_about_its_share_of_each_stratum(counts: list[int], seed: int) -> None:
    strata = [f"s{i}" for i, count in enumerate(counts) for _ in range(count)]
    keys = [str(i) for i in range(len(strata))]
    served = [strata[i] for i in serving_order(keys, keys, strata, seed, rare=2)]
    here: Counter[str] = Counter()
    for length, stratum in enumerate(served, 1):
        here[stratum] += 1
        for i, count in enumerate(counts):
            share = count / len(strata)
            assert abs(here[f"s{i}"] - length * share) <= 0.5 + share * len(counts) / 2 + 1e-9


def test_another_seed_is_another_order() -> None:
    keys = [str(i) for i in range(50)]
    orders = {tuple(serving_order(keys, keys, ["s"] * 50, seed)) for seed in range(5)}
    assert len(orders) == 5


def test_rare_strata_are_pooled_and_a_cluster_of_several_has_a_stratum_of_its_own() -> None:
    clusters = [*range(10), *range(10), *range(10, 30), 30, 31]
    strata = ["harmful"] * 10 + ["harmless"] * 10 + ["harmful"] * 20 + ["rare", "rarer"]
    found = cluster_strata(clusters, strata, rare=5)
    assert found[0] == ()  # rare and rarer are too few even together: the smallest stratum joins them
    assert found[30] == found[31] == ()
    assert found[29] == ("harmful",)
    assert cluster_strata(clusters, strata, rare=2)[0] == ("harmful", "harmless")


# --- rounds


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=60))
def test_every_round_weighs_strata_as_the_suite_does(strata: list[str]) -> None:
    rounds = plan_rounds([1] * len(strata), strata)
    total, start = Counter(strata), 0
    for stop in (np.flatnonzero(rounds.ends) + 1).tolist():
        weight: Counter[str] = Counter()
        for stratum, factor in zip(strata[start:stop], rounds.factor[start:stop], strict=True):
            weight[stratum] += factor
        for stratum, count in total.items():
            assert weight[stratum] / (stop - start) == pytest.approx(count / len(strata))
        start = stop
    assert not rounds.factor[start:].any()


@pytest.mark.parametrize("strata", ["aaaaaa", "ababab", "aabaab", "abbabb", "aaabab"])
@pytest.mark.parametrize("contrast", [0.0, 0.5, 1.0])
def test_expected_capital_never_grows_under_the_null(strata: str, contrast: float) -> None:
    """Exact, over all outcomes: the strata's rates differ, their mean over the suite lies on the bound."""
    bound = 0.3
    share = strata.count("a") / len(strata)
    low = bound if share == 1 else bound * (1 - contrast)
    rate = {"a": low, "b": (bound - share * low) / max(1 - share, 0.1)}
    sizes = [2.0, 1.0, 1.0, 2.0, 1.0, 1.0] if set(strata) == {"a"} else [1.0] * 6
    rounds = plan_rounds(sizes, strata)
    expected = np.zeros((2, int(rounds.ends.sum())))
    for outcome in itertools.product((0, 1), repeat=6):
        chance = math.prod(rate[s] if hit else 1 - rate[s] for s, hit in zip(strata, outcome, strict=True))
        test, looks = SequentialTest(bound, rounds), []
        for hit, size, end in zip(outcome, sizes, rounds.ends, strict=True):
            test.update([hit * size], [size])
            if end:
                looks.append([np.exp(side).mean() for side in test._capital])
        expected += chance * np.array(looks).T
    assert expected.max() <= 1 + 1e-9
    if low == bound:
        assert expected == pytest.approx(1)


# --- the test


@given(CLUSTERS, st.floats(0, 1), st.integers(1, 7))
def test_looking_often_says_what_looking_once_says(clusters, bound: float, step: int) -> None:  # type: ignore[no-untyped-def]
    sizes = np.array([size for size, _ in clusters])
    totals = np.array([size * share for size, share in clusters])
    once, often, last = run(bound, totals, sizes), SequentialTest(bound, plan_rounds(sizes)), (1.0, 1.0)
    for start in range(0, len(sizes), step):
        often.update(totals[start : start + step], sizes[start : start + step])
        now = (often.p_above, often.p_below)
        assert now[0] <= last[0]
        assert now[1] <= last[1]
        last = now
    assert last == pytest.approx((once.p_above, once.p_below))


@given(CLUSTERS, st.floats(0.01, 0.99), st.data())
def test_one_more_failure_is_never_evidence_of_safety(clusters, bound: float, data) -> None:  # type: ignore[no-untyped-def]
    sizes = np.array([size for size, _ in clusters])
    totals = np.array([math.floor(size * share) for size, share in clusters], dtype=float)
    worse = totals.copy()
    i = data.draw(st.integers(0, len(sizes) - 1))
    worse[i] = min(worse[i] + 1, sizes[i])
    before, after = run(bound, totals, sizes), run(bound, worse, sizes)
    assert after.p_above <= before.p_above + 1e-12
    assert after.p_below >= before.p_below - 1e-12


@given(CLUSTERS, st.floats(0, 1))
def test_above_and_below_mirror_each_other(clusters, bound: float) -> None:  # type: ignore[no-untyped-def]
    sizes = np.array([size for size, _ in clusters])
    totals = np.array([size * share for size, share in clusters])
    one, other = run(bound, totals, sizes), run(1 - bound, sizes - totals, sizes)
    assert (one.p_above, one.p_below) == pytest.approx((other.p_below, other.p_above), rel=1e-6)


@given(CLUSTERS, st.floats(0.01, 0.99), st.floats(1e-4, 1e4))
def test_units_of_weight_do_not_matter(clusters, bound: float, unit: float) -> None:  # type: ignore[no-untyped-def]
    sizes = np.array([float(size) for size, _ in clusters])
    totals = np.array([size * share for size, share in clusters])
    one, other = run(bound, totals, sizes), run(bound, totals * unit, sizes * unit)
    assert (one.p_above, one.p_below) == pytest.approx((other.p_above, other.p_below))


def test_a_bound_of_zero_breaks_at_the_first_failure() -> None:
    assert run(0.0, [0, 0, 1], [1, 1, 1]).p_above < 0.001
    assert run(0.0, [0] * 1000, [1] * 1000).p_above == 1


def test_no_cluster_and_clusters_without_scored_cases_say_nothing() -> None:
    test = SequentialTest(0.05, plan_rounds([1, 1, 1]))
    test.update([], [])
    test.update([0, 0], [0, 0])
    assert (test.seen, test.p_above, test.p_below) == (2, 1, 1)


@pytest.mark.parametrize(
    ("totals", "sizes"), [([0, 0, 0], [1, 1, 1]), ([3], [2]), ([-1], [1]), ([0], [9])], ids=["more", "over", "-", "big"]
)
def test_clusters_that_were_not_planned_are_refused(totals: list[float], sizes: list[float]) -> None:
    with pytest.raises(ValueError, match="planned"):
        SequentialTest(0.05, plan_rounds([2, 2])).update(totals, sizes)


def test_decisions_are_those_of_holm_in_each_direction() -> None:
    tests = [SequentialTest(0.05, plan_rounds([1])) for _ in range(4)]
    for test, above, below in zip(tests, (0.012, 0.016, 1, 1), (1, 1, 0.012, 0.02), strict=True):
        test.p_above, test.p_below = above, below
    assert decide(tests, 0.05) == ["violated", "violated", "holds", "undecided"]
    assert decide(tests, 0.05, [True] * 4) == ["holds", "holds", "violated", "undecided"]
    assert decide(tests[:1], 0.011) == ["undecided"]
    assert decide([], 0.05) == []


@pytest.mark.parametrize(("size", "alike"), [(1, 0.0), (5, 0.6)])
@pytest.mark.parametrize("bound", [0.05, 0.3])
def test_wrong_verdicts_on_the_bound(size: int, alike: float, bound: float) -> None:
    """One look after every cluster, the truth on the bound: at most 5 % wrong, in at most 1.5 standard errors."""
    random, rounds, wrong = np.random.default_rng(5), 600, 0
    sizes = np.full(200, size)
    for _ in range(rounds):
        whole = sizes * (random.random(200) < bound)
        totals = np.where(random.random(200) < alike, whole, random.binomial(sizes, bound))
        test = run(bound, totals, sizes)
        wrong += min(test.p_above, test.p_below) <= 0.05
    assert wrong / rounds <= 0.05 + 1.5 * math.sqrt(0.05 * 0.95 / rounds)


def test_a_test_without_the_factors_of_its_rounds_would_be_wrong() -> None:
    """Nine safe clusters to one that always fails, in rounds that serve them one to one: the factors repair it."""
    strata = ["safe", "bad"] * 20 + ["safe"] * 160
    totals = np.array([float(s == "bad") for s in strata])
    rounds = plan_rounds([1] * 200, strata)
    test = SequentialTest(0.1, rounds)
    test.update(totals, [1] * 200)
    assert test.p_above == 1
    assert run(0.1, totals, [1] * 200).p_above < 1e-6


@pytest.mark.parametrize(("rate", "bound", "n", "verdict"), [(0.15, 0.05, 300, "violated"), (0.05, 0.15, 400, "holds")])
def test_it_ends_with_half_of_the_cases(rate: float, bound: float, n: int, verdict: str) -> None:
    """The true rate is three times the bound, or a third of it."""
    half = 0
    for seed in range(100):
        totals = (np.random.default_rng(seed).random(n) < rate).astype(float)
        test = SequentialTest(bound, plan_rounds([1] * n))
        test.update(totals[: n // 2], [1] * (n // 2))
        half += decide([test], 0.01) == [verdict]
    assert half >= 75


# --- the confidence sequence


@settings(max_examples=25)
@given(CLUSTERS, st.floats(0.02, 0.98))
def test_the_sequence_agrees_with_the_test(clusters, bound: float) -> None:  # type: ignore[no-untyped-def]
    sizes = np.array([size for size, _ in clusters])
    totals = np.array([size * share for size, share in clusters])
    test = run(bound, totals, sizes)
    estimate = confidence_sequence(test, totals, sizes, 0.05, int(sizes.sum()))
    assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1
    assert estimate.value == pytest.approx(totals.sum() / sizes.sum())
    assert (estimate.low > bound) <= (test.p_above <= 0.05)
    assert (estimate.high < bound) <= (test.p_below <= 0.05)
    wide, narrow = estimate.interval(0.01), estimate.interval(0.2)
    assert wide[0] <= narrow[0]
    assert wide[1] >= narrow[1]


def test_the_sequence_holds_the_truth_at_every_look() -> None:
    missed, bound = 0, 0.1
    for seed in range(40):
        totals = (np.random.default_rng(seed).random(100) < bound).astype(float)
        for stop in (20, 100):
            test = SequentialTest(bound, plan_rounds(np.ones(100)))
            ends = confidence_sequence(test, totals[:stop], np.ones(stop), 0.2, stop)
            if not ends.low <= bound <= ends.high:
                missed += 1
                break
    assert missed <= 0.2 * 40
