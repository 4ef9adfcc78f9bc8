"""Decisions: the bounds that gates put on numbers, decided together with the other bounds of their family."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from pytest_mmsafety.statistics.estimates import Estimate
from pytest_mmsafety.statistics.multiplicity import ADJUSTMENTS

State = Literal["holds", "violated", "undecided"]
HOLDS: Final = "holds"
VIOLATED: Final = "violated"
UNDECIDED: Final = "undecided"


@dataclass(frozen=True, slots=True)
class BoundTest:
    """The test of a bound: that a number is at most (or at least) so much."""

    estimate: Estimate
    bound: float
    at_least: bool = False
    """The bound is a minimum."""
    of: int = 0
    """For a difference to a baseline: how many cases there are, of which the estimate has those in both runs."""

    def is_violated(self, low: float, high: float) -> bool:
        """Whether a whole interval lies beyond the bound."""
        return high < self.bound if self.at_least else low > self.bound

    def holds(self, low: float, high: float) -> bool:
        """Whether a whole interval lies within the bound."""
        return low >= self.bound if self.at_least else high <= self.bound


class Decision(NamedTuple):
    """The decision on a bound."""

    test: BoundTest
    state: State
    alone: State
    """What it would be without the other tests of the family: what the interval says."""
    p_violated: float
    """Smallest alpha at which it is proven that the bound is violated."""
    p_holds: float
    """Smallest alpha at which it is proven that the bound holds."""
    adjusted_violated: float
    adjusted_holds: float
    family: int
    """Number of tests that were decided together."""


def decide(tests: Sequence[BoundTest], alphas: Sequence[float], family: str) -> list[Decision]:
    """Decide the tests of one family, each at its alpha.

    Violations and holding bounds are adjusted apart. Each is decided at half of alpha (an interval has two ends), so
    that the chance of any wrong decision, in either direction, is at most the largest alpha.
    """
    violated = [test.estimate.p_value(test.is_violated) for test in tests]
    holds = [test.estimate.p_value(test.holds) for test in tests]
    of_harm, of_safety = ADJUSTMENTS[family]
    rows = zip(tests, alphas, violated, holds, of_harm(violated), of_safety(holds), strict=True)
    return [
        Decision(test, _state(v, h, alpha), _state(p, q, alpha), p, q, v, h, len(tests))
        for test, alpha, p, q, v, h in rows
    ]


def _state(p_violated: float, p_holds: float, alpha: float) -> State:
    limit = alpha * (1 + 1e-6)  # p-values are found by bisection
    return VIOLATED if p_violated <= limit else HOLDS if p_holds <= limit else UNDECIDED


class Stopped(NamedTuple):
    """What an early stop found out about a gate; its bound is the only thing that is certain."""

    state: State
    """``holds`` or ``violated``."""
    estimate: Estimate
    """When it was decided; the interval is a confidence sequence's."""
    asked: int
    """Cases of the gate that had been asked by then."""
    of: int
    """Cases of the gate that could be asked."""
