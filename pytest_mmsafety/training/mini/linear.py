"""Linear factors: what one is, how it is fitted to labels, and how several become one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, log_expit

from pytest_mmsafety.judges.guardrank_mini.features import BUCKETS, EMBEDDED
from pytest_mmsafety.statistics.estimates import Floats

STEPS = 200
"""Of L-BFGS at most."""


class Linear(NamedTuple):
    """One factor: a sum over the features of an answer and its request."""

    ngrams: Floats
    meaning: Floats
    request: Floats
    usual_request: float
    """What the request adds on average, and is measured from: 0 where the request is not known."""
    declines: float
    intercept: float


def linear(ngrams: Floats | None = None, meaning: Floats | None = None, intercept: float = 0.0) -> Linear:
    return Linear(
        np.zeros(BUCKETS) if ngrams is None else ngrams,
        np.zeros(2 * EMBEDDED) if meaning is None else meaning,
        np.zeros(EMBEDDED),
        0.0,
        0.0,
        intercept,
    )


def total(*parts: Linear) -> Linear:
    columns: list[Any] = [sum(column) for column in zip(*parts, strict=True)]
    return Linear(*columns)


def times(part: Linear, factor: float) -> Linear:
    columns: list[Any] = [factor * column for column in part]
    return Linear(*columns)


def mean(parts: Iterable[Linear]) -> Linear:
    several = list(parts)
    return times(total(linear(), *several), 1 / max(len(several), 1))


def fit(rows: Any, targets: Floats, weights: Floats, penalty: float) -> tuple[Floats, float]:
    """Logistic regression with soft *targets* in 0..1: weights of the columns, and the intercept.

    The weights of the rows are brought to a mean of 1; the loss is their sum, plus ``penalty / 2 * |w|**2``.
    """
    sparse = hasattr(rows, "indices")
    used = np.unique(rows.indices[rows.data != 0]) if sparse else np.arange(rows.shape[1])
    matrix = rows[:, used] if sparse else rows
    columns = matrix.T.tocsr() if sparse else matrix.T
    weights = weights / weights.mean()

    def loss(point: Floats) -> tuple[float, Floats]:
        margin = matrix @ point[:-1] + point[-1]
        value = -(weights * (targets * log_expit(margin) + (1 - targets) * log_expit(-margin))).sum()
        slope = weights * (expit(margin) - targets)
        gradient = np.append(columns @ slope + penalty * point[:-1], slope.sum())
        return float(value + penalty / 2 * (point[:-1] @ point[:-1])), gradient

    found = minimize(loss, np.zeros(len(used) + 1), jac=True, method="L-BFGS-B", options={"maxiter": STEPS}).x
    whole = np.zeros(rows.shape[1])
    whole[used] = found[:-1]
    return whole, float(found[-1])


def scaled(rows: Any, columns: Floats, intercept: float) -> tuple[Floats, float]:
    """To scores with a standard deviation of 1 over *rows*: no expert weighs more than another."""
    spread = max(float((rows @ columns).std()), 1e-9)
    return columns / spread, intercept / spread
