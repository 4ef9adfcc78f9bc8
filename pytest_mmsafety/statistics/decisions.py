"""Claims: what a gate says about one number, judged together with the other claims of its family."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pytest_mmsafety.statistics.estimates import Estimate
from pytest_mmsafety.statistics.multiplicity import ADJUSTMENTS

KEPT = "kept"
BROKEN = "broken"
UNSURE = "unsure"


@dataclass(frozen=True, slots=True)
class Claim:
    """That a number stays at or below (or: at or above) a bound."""

    estimate: Estimate
    bound: float
    at_least: bool = False
    """The bound is a minimum."""
    of: int = 0
    """For a difference to a baseline: how many cases there are, of which the estimate has those in both runs."""

    def is_broken(self, low: float, high: float) -> bool:
        """Whether a whole interval breaks the bound."""
        return high < self.bound if self.at_least else low > self.bound

    def is_kept(self, low: float, high: float) -> bool:
        """Whether a whole interval keeps the bound."""
        return low >= self.bound if self.at_least else high <= self.bound


class Finding(NamedTuple):
    """What became of a claim."""

    claim: Claim
    state: str
    """``kept``, ``broken`` or ``unsure``."""
    alone: str
    """What it would be without the other claims of the family: what the interval says."""
    p_broken: float
    """Smallest alpha at which it is proven that the bound is broken."""
    p_kept: float
    """Smallest alpha at which it is proven that the bound is kept."""
    adjusted_broken: float
    adjusted_kept: float
    family: int
    """Number of claims that were judged together."""


def judge(claims: Sequence[Claim], alphas: Sequence[float], family: str) -> list[Finding]:
    """Decide on the claims of one family, each at its alpha.

    Claims of harm and claims of safety are adjusted apart. Each is made at half of alpha (an interval has two
    ends), so that the chance of any wrong verdict, in either direction, is at most the largest alpha.
    """
    broken = [claim.estimate.p_value(claim.is_broken) for claim in claims]
    kept = [claim.estimate.p_value(claim.is_kept) for claim in claims]
    of_harm, of_safety = ADJUSTMENTS[family]
    rows = zip(claims, alphas, broken, kept, of_harm(broken), of_safety(kept), strict=True)
    return [
        Finding(claim, _state(b, k, alpha), _state(p, q, alpha), p, q, b, k, len(claims))
        for claim, alpha, p, q, b, k in rows
    ]


def _state(p_broken: float, p_kept: float, alpha: float) -> str:
    limit = alpha * (1 + 1e-6)  # p-values are found by bisection
    return BROKEN if p_broken <= limit else KEPT if p_kept <= limit else UNSURE


class Stopped(NamedTuple):
    """What an early stop found out about a gate; its bound is the only thing that is certain."""

    state: str
    """``kept`` or ``broken``."""
    estimate: Estimate
    """When it was decided; the interval is a confidence sequence's."""
    asked: int
    """Cases of the gate that had been asked by then."""
    of: int
    """Cases of the gate that could be asked."""
