"""Gates: one line of a thresholds file each, and its result on a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from pytest_mmsafety.metrics import METRICS

Status = Literal["passed", "failed", "inconclusive", "reported", "not evaluated"]
PASSED: Final = "passed"
FAILED: Final = "failed"
INCONCLUSIVE: Final = "inconclusive"
REPORTED: Final = "reported"
NOT_EVALUATED: Final = "not evaluated"

Rule = Literal["evidence", "assurance"]
EVIDENCE: Final = "evidence"
ASSURANCE: Final = "assurance"

Family = Literal["holm", "fdr", "none"]
"""How the decisions of gates that belong together are adjusted (:mod:`pytest_mmsafety.statistics.multiplicity`)."""


@dataclass(frozen=True, slots=True)
class Gate:
    """A bound on one metric, or on how much worse than a baseline it may be, over the cases that match ``where``."""

    name: str
    metric: str
    where: Mapping[str, tuple[str, ...]]
    """Tag -> accepted values. Also ``suite``. Empty: every case that counts for the metric."""
    max: float | None
    min: float | None
    rule: Rule
    """``evidence``: fails only on proof of harm. ``assurance``: passes only on proof of safety."""
    alpha: float
    """1 - confidence of the two-sided interval; the chance of any wrong verdict in the family."""
    max_unscored: float
    """Maximum share of unscored answers; above it the gate is *not evaluated*. With people's labels: of answers they
    were not sure of, or of unscored ones if none of these is labelled."""
    judge: str = ""
    """Whose verdicts count, without the version; empty: the first verdict of each case."""
    why: str = ""
    """One sentence for the person who reads the verdict."""
    max_regression: float | None = None
    """How much worse than the baseline, on the cases that both runs have, the metric may be; 0 to 1."""
    min_cases: int = 0
    """With fewer scored cases (or pairs) the gate is not evaluated."""
    min_clusters: int = 0
    """With fewer clusters the gate is not evaluated."""
    max_gone: float = 1.0
    """Maximum share of the gate's cases in the baseline that are not in the run; above it the gate fails."""
    zero_tolerance: tuple[Mapping[str, tuple[str, ...]], ...] = ()
    """Filters like ``where``: one failing case among the gate's that match one of them fails the gate."""
    family: Family = "holm"
    """How the claims of all gates with this rule and this family are adjusted: ``holm``, ``fdr`` or ``none``."""

    def applies_to(self, suite: str, tags: Mapping[str, str]) -> bool:
        """Whether a case counts for this gate."""
        return matches(self.where, suite, tags) and METRICS[self.metric].stratum(tags) is not None

    @property
    def judged_by(self) -> str:
        """Whose verdicts count, without the version; empty: the first verdict of each case.

        A run file of another version may name an unknown metric.
        """
        metric = METRICS.get(self.metric)
        return self.judge or (metric.judge if metric else "")

    @property
    def bound(self) -> float | None:
        """``max`` or ``min``, unless every value keeps it."""
        return None if self.max == 1 or self.min == 0 else self.max if self.min is None else self.min

    @property
    def only_reports(self) -> bool:
        """Whether it has no bound, margin or zero tolerance that could be broken, so that there is nothing to pass."""
        return self.bound is None and self.max_regression in (None, 1) and not self.zero_tolerance

    @property
    def needs_proof(self) -> bool:
        """Whether it passes only on proof of safety, so that doubt blocks."""
        return self.rule == ASSURANCE


def matches(accepted: Mapping[str, tuple[str, ...]], suite: str, tags: Mapping[str, str]) -> bool:
    """Whether a case has one of the accepted values of each tag."""
    return all((suite if tag == "suite" else tags.get(tag)) in values for tag, values in accepted.items())


@dataclass(frozen=True, slots=True)
class Interval:
    """A number with its confidence interval at the gate's alpha."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Counts:
    """The cases of a gate."""

    n: int = 0
    """Scored cases; all answers where people's labels correct the number."""
    clusters: int = 0
    """Clusters that these cases form; 0 for a gate that was not evaluated."""
    unscored: int = 0
    """Answered, but no judge could decide."""
    skipped: int = 0
    errors: int = 0
    missing: int = 0
    """Collected, but not run."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A gate's metric in the run and in the baseline, on the cases that are scored in both."""

    baseline: float
    """The metric in the baseline, on these cases."""
    difference: Interval
    """How much worse than the baseline the run is; below 0: better."""
    pairs: int
    """Cases scored in both runs."""


@dataclass(frozen=True, slots=True)
class GateResult:
    """The verdict of a gate, with all that a release manager needs to trust it."""

    gate: Gate
    status: Status
    """passed: the whole interval keeps the bound; failed: none of it does; inconclusive: it straddles, or the other
    gates of the family make it too likely a chance; reported: there is no bound to keep."""
    blocks: bool
    """Whether this result makes the run fail."""
    reason: str
    """One sentence."""
    counts: Counts = Counts()
    estimate: Interval | None = None
    """The metric, 0 to 1, corrected where that was asked for; ``None``: the gate was not evaluated."""
    raw: Interval | None = None
    """The metric by the judge's own verdicts, where ``estimate`` is corrected for the judge's errors."""
    comparison: Comparison | None = None
    """With the baseline, for a gate with ``max_regression``."""
    p_value: float | None = None
    """Smallest alpha at which this gate alone proves what its rule asks for: harm (evidence) or safety (assurance)."""
    adjusted_p: float | None = None
    """The same for the gate among its family: at most alpha where an evidence gate failed, an assurance gate passed."""
    decided_after: int | None = None
    """Cases of it that had been asked when an early stop decided it; the estimate is of these."""
