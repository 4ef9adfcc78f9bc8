"""Linear factors: fits against closed forms and another solver, and sums of factors against sums of scores."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import root
from scipy.sparse import csr_array
from scipy.special import expit, logit

from pytest_mmsafety.judges.guardrank_mini.features import BUCKETS, EMBEDDED
from pytest_mmsafety.training.mini.linear import Linear, fit, linear, mean, scaled, times, total


def drawn(seed: int, rows: int = 24, columns: int = 3) -> tuple[Any, Any, Any]:
    """A small matrix, soft targets and weights of the rows."""
    generator = np.random.default_rng(seed)
    return generator.normal(size=(rows, columns)), generator.random(rows), generator.random(rows) + 0.1


def slope_at(rows: Any, targets: Any, weights: Any, penalty: float, point: Any) -> Any:
    """The gradient of the loss that the docstring of ``fit`` gives, written out."""
    weights = weights / weights.mean()
    residual = weights * (expit(rows @ point[:-1] + point[-1]) - targets)
    return np.append(rows.T @ residual + penalty * point[:-1], residual.sum())


# --- the fit


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.sampled_from([0.1, 1.0, 30.0]))
def test_at_the_solution_the_loss_has_no_slope(seed: int, penalty: float) -> None:
    rows, targets, weights = drawn(seed)
    columns, intercept = fit(rows, targets, weights, penalty)
    slope = slope_at(rows, targets, weights, penalty, np.append(columns, intercept))
    assert np.abs(slope).max() < 2e-3


@pytest.mark.parametrize("penalty", [0.05, 1.0, 20.0])
def test_the_solution_is_that_of_a_root_finder(penalty: float) -> None:
    rows, targets, weights = drawn(3)
    columns, intercept = fit(rows, targets, weights, penalty)
    wanted = root(lambda point: slope_at(rows, targets, weights, penalty, point), np.zeros(4), tol=1e-12).x
    assert np.append(columns, intercept) == pytest.approx(wanted, abs=1e-3)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
def test_with_nothing_to_tell_them_apart_the_intercept_is_the_log_odds_of_the_mean(share: float) -> None:
    targets = np.array([share, share + 0.05, share - 0.05])
    columns, intercept = fit(np.zeros((3, 2)), targets, np.ones(3), 1.0)
    assert columns.tolist() == [0.0, 0.0]
    assert intercept == pytest.approx(logit(share), abs=1e-3)


def test_weights_of_rows_count_as_so_many_copies() -> None:
    rows, targets = np.array([[0.0], [0.0], [1.0], [1.0]]), np.array([0.0, 1.0, 0.0, 1.0])
    times_ = np.array([3, 1, 1, 3])
    weighted = fit(rows, targets, times_.astype(float), 1e-9)
    copied = fit(np.repeat(rows, times_, axis=0), np.repeat(targets, times_), np.ones(8), 1e-9)
    assert weighted[0] == pytest.approx(copied[0], abs=1e-3)
    assert weighted[1] == pytest.approx(copied[1], abs=1e-3)
    assert weighted[1] == pytest.approx(logit(1 / 4), abs=1e-3)


def test_a_soft_target_is_as_good_as_two_hard_ones() -> None:
    soft = fit(np.array([[0.0], [1.0]]), np.array([0.25, 0.75]), np.ones(2), 1e-9)
    assert soft[1] == pytest.approx(logit(0.25), abs=1e-3)
    assert soft[0][0] == pytest.approx(logit(0.75) - logit(0.25), abs=2e-3)


def test_a_larger_penalty_makes_smaller_weights_and_leaves_the_intercept_free() -> None:
    rows = np.array([[-1.0], [-1.0], [1.0], [1.0]])
    targets = np.array([0.5, 0.9, 0.9, 1.0])
    sizes = [abs(fit(rows, targets, np.ones(4), penalty)[0][0]) for penalty in (0.01, 1.0, 100.0, 1e6)]
    assert sizes == sorted(sizes, reverse=True)
    columns, intercept = fit(rows, targets, np.ones(4), 1e6)
    assert columns[0] == pytest.approx(0, abs=1e-5)
    assert intercept == pytest.approx(logit(targets.mean()), abs=1e-3)


def test_a_perfect_split_stays_finite() -> None:
    columns, intercept = fit(np.array([[0.0], [1.0]]), np.array([0.0, 1.0]), np.ones(2), 0.01)
    assert np.isfinite(columns).all()
    assert np.isfinite(intercept)
    assert columns[0] > 5
    assert intercept == pytest.approx(-columns[0] / 2, abs=0.05), "the border lies in the middle"


@settings(max_examples=20)
@given(st.integers(0, 1000))
def test_a_sparse_matrix_is_fitted_as_the_dense_one(seed: int) -> None:
    generator = np.random.default_rng(seed)
    rows = generator.normal(size=(12, 9)) * (generator.random((12, 9)) < 0.3)
    targets, weights = (generator.random(12) < 0.5).astype(float), np.ones(12)
    dense, sparse = fit(rows, targets, weights, 0.5), fit(csr_array(rows), targets, weights, 0.5)
    assert sparse[0] == pytest.approx(dense[0], abs=1e-3)
    assert sparse[1] == pytest.approx(dense[1], abs=1e-3)


def test_a_column_without_an_entry_gets_no_weight() -> None:
    dense = np.array([[0.0, 2.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]])
    rows = csr_array(dense)
    rows.data[:] = [2.0, 1.0]
    columns, _ = fit(rows, np.array([1.0, 0.0]), np.ones(2), 0.1)
    assert np.flatnonzero(columns).tolist() == [1, 3]
    assert columns[1] > 0 > columns[3]


def test_an_entry_that_is_written_and_zero_is_no_entry() -> None:
    """Buckets of rare n-grams have an idf of 0: they are stored, and must not be searched over."""
    rows = csr_array((np.array([1.0, 0.0, 1.0]), np.array([0, 5, 2]), np.array([0, 2, 3])), shape=(2, 8))
    columns, _ = fit(rows, np.array([1.0, 0.0]), np.ones(2), 0.1)
    assert columns.shape == (8,)
    assert np.flatnonzero(columns).tolist() == [0, 2]


# --- to one scale


@given(st.integers(0, 1000), st.floats(0.01, 100), st.floats(-5, 5))
def test_scaled_scores_have_a_spread_of_one_and_their_order(seed: int, factor: float, intercept: float) -> None:
    rows, _, _ = drawn(seed)
    columns = factor * np.random.default_rng(seed + 1).normal(size=3)
    one, moved = scaled(rows, columns, intercept)
    before, after = rows @ columns + intercept, rows @ one + moved
    assert (rows @ one).std() == pytest.approx(1)
    assert after * before.std() == pytest.approx(before, rel=1e-6, abs=1e-9)


def test_scores_that_are_all_alike_stay_finite() -> None:
    columns, intercept = scaled(np.ones((4, 2)), np.zeros(2), 0.0)
    assert columns.tolist() == [0.0, 0.0]
    assert intercept == 0.0


# --- sums of factors


def factor(seed: int) -> Linear:
    generator = np.random.default_rng(seed)
    return Linear(
        generator.normal(size=BUCKETS),
        generator.normal(size=2 * EMBEDDED),
        generator.normal(size=EMBEDDED),
        *map(float, generator.normal(size=3)),
    )


def score(part: Linear, seed: int) -> float:
    """Of one answer that is drawn, with a request and a refusal phrase."""
    generator = np.random.default_rng(seed)
    ngrams, meaning, request = (generator.normal(size=size) for size in (BUCKETS, 2 * EMBEDDED, EMBEDDED))
    of_answer = part.ngrams @ ngrams + part.meaning @ meaning + part.declines + part.intercept
    return float(of_answer + part.request @ request - part.usual_request)


def test_the_score_of_a_sum_is_the_sum_of_the_scores() -> None:
    one, two = factor(1), factor(2)
    assert score(total(one, two), 9) == pytest.approx(score(one, 9) + score(two, 9))
    assert score(times(one, -0.5), 9) == pytest.approx(-0.5 * score(one, 9))
    assert score(mean([one, two]), 9) == pytest.approx((score(one, 9) + score(two, 9)) / 2)


def test_a_mean_takes_a_generator_and_of_nothing_is_nothing() -> None:
    assert score(mean(factor(seed) for seed in (3, 4)), 9) == pytest.approx(
        (score(factor(3), 9) + score(factor(4), 9)) / 2
    )
    assert score(mean([]), 9) == 0.0
    assert score(mean([factor(3)]), 9) == pytest.approx(score(factor(3), 9))


def test_a_factor_is_nothing_but_what_it_is_given() -> None:
    empty = linear()
    assert [np.shape(column) for column in empty] == [(BUCKETS,), (2 * EMBEDDED,), (EMBEDDED,), (), (), ()]
    assert not any(np.any(column) for column in empty)
    given_ = linear(np.arange(BUCKETS), np.arange(2 * EMBEDDED), 3.0)
    assert given_.ngrams[7] == given_.meaning[7] == 7
    assert (given_.intercept, given_.declines, given_.usual_request) == (3.0, 0.0, 0.0)
    assert not given_.request.any()


def test_a_sum_leaves_its_parts_as_they_were() -> None:
    one = linear(np.ones(BUCKETS), intercept=1.0)
    total(one, one)
    times(one, 5.0)
    assert one.ngrams.sum() == BUCKETS
    assert one.intercept == 1.0
