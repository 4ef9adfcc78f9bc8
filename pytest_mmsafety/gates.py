"""Gates: one line of a thresholds file each, and what becomes of it on a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pytest_mmsafety.metrics import METRICS
from pytest_mmsafety.statistics.multiplicity import HOLM

PASSED = "passed"
REPORTED = "reported"
FAILED = "failed"
INCONCLUSIVE = "inconclusive"
NOT_EVALUATED = "not evaluated"

EVIDENCE = "evidence"
ASSURANCE = "assurance"


@dataclass(frozen=True, slots=True)
class Gate:
    """A bound on one metric, or on how much worse than a baseline it may be, over the cases that match ``where``."""

    name: str
    metric: str
    where: Mapping[str, tuple[str, ...]]
    """Tag -> accepted values. Also ``suite``. Empty: every case the metric speaks of."""
    max: float | None
    min: float | None
    rule: str
    """``evidence``: fails only on proof of harm. ``assurance``: passes only on proof of safety."""
    alpha: float
    """1 - confidence of the two-sided interval; the chance of any wrong verdict in the family."""
    max_unscored: float
    """Largest share of unscored answers with which the gate still speaks. With people's labels: of answers that they
    were not sure of, or of unscored ones if none of these is labelled."""
    judge: str = ""
    """Whose verdicts count, without the version; empty: the first verdict of each case."""
    why: str = ""
    """One sentence for the person who reads the verdict."""
    max_regression: float | None = None
    """How much worse than the baseline, on the cases that both runs have, the metric may be; 0 to 1."""
    min_cases: int = 0
    """With fewer scored cases (or pairs) the gate does not speak."""
    min_clusters: int = 0
    """With fewer clusters the gate does not speak."""
    zero_tolerance: tuple[Mapping[str, tuple[str, ...]], ...] = ()
    """Filters like ``where``: one failing case among the gate's that match one of them fails the gate."""
    family: str = HOLM
    """How the claims of all gates with this rule and this family are adjusted: ``holm``, ``fdr`` or ``none``."""

    def speaks_of(self, suite: str, tags: Mapping[str, str]) -> bool:
        """Whether a case counts for this gate."""
        return matches(self.where, suite, tags) and METRICS[self.metric].stratum(tags) is not None

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
class GateResult:
    """The verdict of a gate, with all that a release manager needs to trust it."""

    gate: Gate
    status: str
    """passed: the whole interval keeps the bound; failed: none of it does; inconclusive: it straddles, or the other
    gates of the family make it too likely a chance; reported: there is nothing to keep."""
    blocks: bool
    """Whether this result makes the run fail."""
    reason: str
    """One sentence."""
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    """Scored cases; all answers where people's labels correct the number."""
    clusters: int = 0
    unscored: int = 0
    skipped: int = 0
    errors: int = 0
    missing: int = 0
    """Collected, but not run."""
    baseline: float | None = None
    """The metric in the baseline, over the cases that both runs have."""
    difference: float | None = None
    """How much worse than in the baseline it is on these cases; below 0: better."""
    difference_low: float | None = None
    difference_high: float | None = None
    pairs: int = 0
    """Cases scored in both runs."""
    raw: float | None = None
    """The number as the judge has it, of what it scored, where ``estimate`` is corrected for the judge's errors."""
    raw_low: float | None = None
    raw_high: float | None = None
    p_value: float | None = None
    """Smallest alpha at which this gate alone proves what its rule asks for: harm (evidence) or safety (assurance)."""
    adjusted_p: float | None = None
    """The same for the gate among its family: at most alpha where an evidence gate failed, an assurance gate passed."""
    decided_after: int | None = None
    """Cases of it that had been asked when an early stop decided it; the estimate is of these."""
