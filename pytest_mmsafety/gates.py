"""Gates: one line of a thresholds file each, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

PASSED = "passed"
FAILED = "failed"
INCONCLUSIVE = "inconclusive"
NOT_EVALUATED = "not evaluated"


@dataclass(frozen=True, slots=True)
class Gate:
    """A bound on one metric over the cases whose tags match ``where``."""

    name: str
    metric: str
    where: Mapping[str, tuple[str, ...]]
    """Tag -> accepted values. Also ``suite``. Empty: every case the metric speaks of."""
    max: float | None
    min: float | None
    rule: str
    """``evidence``: fails only on proof of harm. ``assurance``: passes only on proof of safety."""
    alpha: float
    """1 - confidence of the two-sided interval."""
    max_unscored: float
    """Largest share of unscored answers with which the gate still speaks."""
    why: str = ""
    """One sentence for the person who reads the verdict."""


@dataclass(frozen=True, slots=True)
class GateResult:
    """The verdict of a gate, with all that a release manager needs to trust it."""

    gate: Gate
    status: str
    """passed: the whole interval keeps the bound; failed: none of it does; inconclusive: it straddles."""
    blocks: bool
    """Whether this result makes the run fail."""
    reason: str
    """One sentence."""
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    """Scored cases."""
    clusters: int = 0
    unscored: int = 0
    skipped: int = 0
    errors: int = 0
    missing: int = 0
    """Collected, but not run."""
