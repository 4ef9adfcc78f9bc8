"""Gates: one line of a thresholds file each, and what becomes of it on a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from pytest_mmsafety import sentences
from pytest_mmsafety.claims import BROKEN, KEPT, Finding, judge
from pytest_mmsafety.errors import nearest
from pytest_mmsafety.measuring import JudgedRun, Measured
from pytest_mmsafety.metrics import METRICS
from pytest_mmsafety.multiplicity import HOLM
from pytest_mmsafety.statistics import Estimate

if TYPE_CHECKING:
    from pytest_mmsafety.judges.calibration import Calibration
    from pytest_mmsafety.labels import Labels
    from pytest_mmsafety.run import Record

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


def evaluate_gates(  # noqa: PLR0913 - all that a verdict depends on
    records: Sequence[Record],
    gates: Sequence[Gate],
    *,
    broken: str = "",
    require: bool = False,
    baseline: Sequence[Record] | None = None,
    calibrations: Mapping[str, Calibration] = {},
    labels: Labels | None = None,
    stopped: Mapping[str, Stopped] = {},
) -> list[GateResult]:
    """Judge each gate on the records of all *collected* cases.

    A record with neither answer, error nor skip reason was collected but not run: its gates are not
    evaluated. *broken* says why no gate can be (a suite that could not be read), *require* makes gates
    that are not evaluated block. *baseline* holds the records that gates with ``max_regression`` compare to.
    With *calibrations* (judge with its version -> how often it errs) bounds are held against numbers without the
    judge's errors, and with people's *labels* of a random part of these very answers, scored or not, against
    prediction-powered ones; differences to a baseline and zero tolerance stay as the judge has them. Where a number
    cannot be corrected, the judge's own may still fail the gate, never pass it. *stopped*: the gates, by name, that an
    early stop decided. Raises ``ValueError`` if there are both calibrations and labels.
    """
    if calibrations and labels:
        raise ValueError("calibrations and labels correct the same numbers; expected one of them")
    run = JudgedRun(records, baseline, broken, calibrations, labels, stopped)
    measured = [run.measure(gate) for gate in gates]
    findings: list[list[Finding]] = [[] for _ in gates]
    for key in {(gate.rule, gate.family) for gate in gates}:
        of_family = [i for i, gate in enumerate(gates) if (gate.rule, gate.family) == key]
        owners = [(i, claim) for i in of_family for claim in measured[i].claims]
        found = judge([claim for _, claim in owners], [gates[i].alpha for i, _ in owners], key[1])
        for (i, _), finding in zip(owners, found, strict=True):
            findings[i].append(finding)
    return [_result(gate, found, require=require) for gate, found in zip(measured, findings, strict=True)]


def missing_baseline(gates: Iterable[Gate]) -> str:
    """Why these gates cannot be judged without a baseline, in one line; empty if they can."""
    return next((sentences.no_baseline(gate) for gate in gates if gate.max_regression is not None), "")


def idle_baseline(gates: Iterable[Gate]) -> str:
    """A note in one line if none of these gates compares with a baseline that was given; else empty."""
    if any(gate.max_regression is not None for gate in gates):
        return ""
    return "--baseline: no gate has max_regression, so none compares with it"


def _result(measured: Measured, findings: Sequence[Finding], *, require: bool) -> GateResult:
    gate, estimate = measured.gate, measured.estimate
    if measured.intolerable:
        return GateResult(gate, FAILED, blocks=True, reason=measured.intolerable, **measured.counts)
    states = {measured.stopped.state} if measured.stopped else {finding.state for finding in findings}
    if measured.silent and BROKEN not in states:
        blocks = require or (measured.whole and gate.needs_proof)
        return GateResult(gate, NOT_EVALUATED, blocks, measured.silent, **measured.counts)
    assert estimate is not None
    status = FAILED if BROKEN in states else PASSED if states <= {KEPT} else INCONCLUSIVE
    if gate.only_reports:
        status = REPORTED
    p_value, adjusted_p = (None, None) if measured.stopped else _p_values(gate, findings)
    return GateResult(
        gate,
        status,
        status == FAILED or (status == INCONCLUSIVE and gate.needs_proof),
        _reason(measured, findings, estimate),
        estimate.value,
        estimate.low,
        estimate.high,
        clusters=estimate.clusters,
        p_value=p_value,
        adjusted_p=adjusted_p,
        **{**measured.counts, "n": estimate.n},
        **measured.numbers,
    )


def _reason(measured: Measured, findings: Sequence[Finding], estimate: Estimate) -> str:
    gate = measured.gate
    words = f"; {measured.words}" if measured.words else ""
    if measured.stopped:
        return sentences.stopped(gate, measured.claims[0], measured.stopped) + words
    reason = sentences.verdict(gate, findings) if findings else sentences.report_only(gate, estimate)
    if "raw" not in measured.numbers:
        return reason + words
    raw, low, high = (measured.numbers[name] for name in ("raw", "raw_low", "raw_high"))
    return f"{reason}{words}, raw {raw:.1%} [{low:.1%}, {high:.1%}]"


def _p_values(gate: Gate, findings: Sequence[Finding]) -> tuple[float | None, float | None]:
    """Of what the rule asks for: harm in any of the claims, or safety in all of them."""
    if not findings:
        return None, None
    if gate.needs_proof:
        return max(f.p_kept for f in findings), max(f.adjusted_kept for f in findings)
    return min(f.p_broken for f in findings), min(f.adjusted_broken for f in findings)


def unmatched(gate: Gate, cases: Iterable[tuple[str, Mapping[str, str]]]) -> str:
    """Why *gate* matches none of *cases* (suite and tags of each), with the nearest value; empty if it matches one."""
    cases = list(cases)
    if any(gate.speaks_of(suite, tags) for suite, tags in cases):
        return ""
    return "".join(_unknown(gate.where, cases)) or (
        f"no collected case matches it and is one that {gate.metric} speaks of"
    )


def misspelt_tolerance(gate: Gate, cases: Iterable[tuple[str, Mapping[str, str]]]) -> str:
    """Which ``zero_tolerance`` of *gate* names what none of *cases* has, with the nearest value, in one line.

    Empty where it may be right for other suites: *gate* speaks of none of *cases*, or nothing is near and another
    filter names what some of them have.
    """
    if not gate.zero_tolerance:
        return ""
    cases = list(cases)
    own = [(suite, tags) for suite, tags in cases if gate.speaks_of(suite, tags)]
    void = [accepted for accepted in gate.zero_tolerance if not any(matches(accepted, *case) for case in own)]
    if not own or not void:
        return ""
    unknown = [found for accepted in void if any(found := _unknown(accepted, cases))]
    none_known = len(unknown) == len(gate.zero_tolerance)
    return next((f"zero_tolerance: {problem}{hint}" for problem, hint in unknown if hint or none_known), "")


def _unknown(
    accepted: Mapping[str, tuple[str, ...]], cases: Iterable[tuple[str, Mapping[str, str]]]
) -> tuple[str, str]:
    """The first tag or value of a filter that none of *cases* has, and what is nearest to it; or two empty strings."""
    known: dict[str, set[str]] = {"suite": set()}
    for suite, tags in cases:
        known["suite"].add(suite)
        for tag, value in tags.items():
            known.setdefault(tag, set()).add(value)
    for tag, values in accepted.items():
        if tag not in known:
            return f"no collected case has the tag {tag!r}", nearest(tag, known)
        for value in values:
            if value not in known[tag]:
                return f"no collected case has {tag}: {value}", nearest(value, known[tag])
    return "", ""
