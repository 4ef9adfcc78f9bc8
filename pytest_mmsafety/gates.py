"""Gates: one line of a thresholds file each, and what became of it on a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_mmsafety import sentences
from pytest_mmsafety.claims import BROKEN, KEPT, Claim, Finding, judge
from pytest_mmsafety.errors import nearest
from pytest_mmsafety.judge_errors import Columns, corrected_share
from pytest_mmsafety.metrics import METRICS
from pytest_mmsafety.multiplicity import HOLM
from pytest_mmsafety.outcomes import NOT_ASKED
from pytest_mmsafety.paired import match
from pytest_mmsafety.statistics import Estimate, clustered_difference, clustered_share
from pytest_mmsafety.table import ANSWERED, ERROR, MISSING, SKIPPED, Table

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pytest_mmsafety.judges.calibration import Calibration
    from pytest_mmsafety.run import Record

    Mask = NDArray[np.bool_]

PASSED = "passed"
FAILED = "failed"
INCONCLUSIVE = "inconclusive"
NOT_EVALUATED = "not evaluated"

EVIDENCE = "evidence"
ASSURANCE = "assurance"

_NAMED = 5
"""Cases that a reason names."""


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
    """Largest share of unscored answers with which the gate still speaks."""
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
    gates of the family make it too likely a chance."""
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
    baseline: float | None = None
    """The metric in the baseline, over the cases that both runs have."""
    difference: float | None = None
    """How much worse than in the baseline it is on these cases; below 0: better."""
    difference_low: float | None = None
    difference_high: float | None = None
    pairs: int = 0
    """Cases scored in both runs."""
    raw: float | None = None
    """The number as the judge has it, where ``estimate`` is corrected for the judge's errors."""
    raw_low: float | None = None
    raw_high: float | None = None
    p_value: float | None = None
    """Smallest alpha at which this gate alone proves what its rule asks for: harm (evidence) or safety (assurance)."""
    adjusted_p: float | None = None
    """The same for the gate among its family: at most alpha where an evidence gate failed, an assurance gate passed."""
    decided_after: int | None = None
    """Cases of it that had been asked when an early stop decided it; the estimate is of these."""


@dataclass(frozen=True, slots=True)
class _Measured:
    """What is known of a gate before its family is judged."""

    gate: Gate
    counts: Mapping[str, Any]
    estimate: Estimate | None = None
    claims: tuple[Claim, ...] = ()
    numbers: Mapping[str, Any] = field(default_factory=dict)
    """Further ones, by the names that the result has for them."""
    verdict: tuple[str, bool, str] | None = None
    """Status, blocks and reason, where no statistics are needed."""
    stopped: Stopped | None = None
    """Its early verdict, if there is one: it stands, whatever the family says."""


def evaluate_gates(  # noqa: PLR0913 - all that a verdict depends on
    records: Sequence[Record],
    gates: Sequence[Gate],
    *,
    broken: str = "",
    require: bool = False,
    baseline: Sequence[Record] | None = None,
    calibrations: Mapping[str, Calibration] = {},
    stopped: Mapping[str, Stopped] = {},
) -> list[GateResult]:
    """Judge each gate on the records of all *collected* cases.

    A record with neither answer, error nor skip reason was collected but not run: its gates are not
    evaluated. *broken* says why no gate can be (a suite that could not be read), *require* makes gates
    that are not evaluated block. *baseline* holds the records that gates with ``max_regression`` compare to.
    With *calibrations* (judge with its version -> how often it errs) bounds are held against numbers without the
    judge's errors; differences to a baseline stay as the judge has them. *stopped*: the gates, by name, that an early
    stop decided.
    """
    run = _Run(records, baseline, broken, calibrations, stopped, require=require)
    measured = [run.measure(gate) for gate in gates]
    findings: list[list[Finding]] = [[] for _ in gates]
    for key in {(gate.rule, gate.family) for gate in gates}:
        of_family = [i for i, gate in enumerate(gates) if (gate.rule, gate.family) == key]
        owners = [(i, claim) for i in of_family for claim in measured[i].claims]
        found = judge([claim for _, claim in owners], [gates[i].alpha for i, _ in owners], key[1])
        for (i, _), finding in zip(owners, found, strict=True):
            findings[i].append(finding)
    return [_result(gate, found) for gate, found in zip(measured, findings, strict=True)]


def missing_baseline(gates: Iterable[Gate]) -> str:
    """Why these gates cannot be judged without a baseline, in one line; empty if they can."""
    names = [gate.name for gate in gates if gate.max_regression is not None]
    if not names:
        return ""
    return f"gate {names[0]!r} has max_regression, but there is no baseline to compare to; expected a saved run"


class _Run:
    """The run that is judged, and its baseline."""

    def __init__(  # noqa: PLR0913 - all that a verdict depends on
        self,
        records: Sequence[Record],
        baseline: Sequence[Record] | None,
        broken: str,
        calibrations: Mapping[str, Calibration],
        stopped: Mapping[str, Stopped],
        *,
        require: bool,
    ) -> None:
        self._table = Table(records)
        self._baseline = None if baseline is None else Table(baseline)
        self._match = None if baseline is None else match(records, baseline)
        self._broken = broken
        self._calibrations = calibrations
        self._stopped = stopped
        self._require = require

    def measure(self, gate: Gate) -> _Measured:
        table = self._table
        spoken_of = table.where(gate.where) & (table.strata(METRICS[gate.metric]) >= 0)
        answered = spoken_of & (table.state == ANSWERED)
        scored = answered & _known(table.scores(gate.judge))
        counts = {
            "n": int(scored.sum()),
            "unscored": int(answered.sum() - scored.sum()),
            "skipped": int((table.state[spoken_of] == SKIPPED).sum()),
            "errors": int((table.state[spoken_of] == ERROR).sum()),
            "missing": int((table.state[spoken_of] == MISSING).sum()),
        }
        if reason := self._intolerable(gate, scored):
            return _Measured(gate, counts, verdict=(FAILED, True, reason))
        stopped = self._stopped.get(gate.name)
        not_asked = "" if stopped else self._not_asked(spoken_of, counts)
        if reason := self._broken or not_asked or self._incomplete(spoken_of, counts) or self._no_baseline(gate):
            return _Measured(gate, counts, verdict=(NOT_EVALUATED, self._require, reason))
        # From here on the run is whole. Who asks for proof and does not get it is blocked.
        blocks = self._require or gate.rule == ASSURANCE
        unscored = "" if stopped else self._unscored(gate, answered, scored)
        if reason := unscored or self._untold(gate, spoken_of, answered & ~scored):
            return _Measured(gate, counts, verdict=(NOT_EVALUATED, blocks, reason))
        if stopped and gate.bound is not None:
            claim = Claim(stopped.estimate, gate.bound, at_least=gate.min is not None)
            numbers = {"decided_after": stopped.asked}
            return _Measured(gate, counts, stopped.estimate, (claim,), numbers, stopped=stopped)
        return self._claims(gate, counts, answered, blocks=blocks)

    def _claims(self, gate: Gate, counts: Mapping[str, int], answered: Mask, *, blocks: bool) -> _Measured:
        table, metric = self._table, METRICS[gate.metric]
        values = table.values(metric, gate.judge)
        counts_here = answered & _known(values)
        if not counts_here.any():
            return _Measured(gate, counts, verdict=(NOT_EVALUATED, blocks, f"no case counts for {gate.metric}"))
        estimate = clustered_share(
            values[counts_here], table.cluster[counts_here], gate.alpha, *self._strata(gate, counts_here)
        )
        if reason := _too_few(gate, estimate, "scored cases"):
            return _Measured(gate, counts, verdict=(NOT_EVALUATED, blocks, reason))
        raw, estimate, reason = self._corrected(gate, estimate, values, counts_here)
        if reason:
            reason = f"not corrected for the judge's errors: {reason}"
            return _Measured(gate, counts, verdict=(NOT_EVALUATED, blocks, reason))
        claims: tuple[Claim, ...] = ()
        if gate.bound is not None:
            claims = (Claim(estimate, gate.bound, at_least=gate.min is not None),)
        if gate.max_regression is None:
            return _Measured(gate, counts, estimate, claims, raw)
        difference, comparison, reason = self._difference(gate, answered)
        if difference is None or (reason := _too_few(gate, difference, "cases scored in both runs")):
            return _Measured(gate, counts, verdict=(NOT_EVALUATED, blocks, reason))
        if gate.max_regression < 1:
            claims = (*claims, Claim(difference, gate.max_regression, of=int(answered.sum())))
        return _Measured(gate, counts, estimate, claims, {**raw, **comparison})

    def _corrected(self, gate: Gate, raw: Estimate, values: Any, mask: Mask) -> tuple[dict[str, float], Estimate, str]:
        """The raw numbers if there are corrected ones, the estimate to hold against the bound, or why there is none."""
        metric = METRICS[gate.metric]
        if not self._calibrations or metric.counts_unscored or metric.given:
            return {}, raw, ""
        judge, judges = self._table.judges(gate.judge)
        strata = self._table.strata(metric)[mask]
        columns = Columns(values[mask], self._table.cluster[mask], strata, judge[mask], judges)
        tags = {tag: accepted[0] for tag, accepted in gate.where.items() if len(accepted) == 1}
        found = corrected_share(raw, metric, columns, self._calibrations, tags, alpha=gate.alpha)
        if found is None:
            return {}, raw, ""
        if found.estimate is None:
            return {}, raw, found.reason
        return {"raw": raw.value, "raw_low": raw.low, "raw_high": raw.high}, found.estimate, ""

    def _difference(self, gate: Gate, answered: Mask) -> tuple[Estimate | None, dict[str, float | int], str]:
        """How much worse than the baseline it is; or why that cannot be said."""
        assert self._baseline is not None
        assert self._match is not None
        metric = METRICS[gate.metric]
        both = answered & (self._match >= 0)
        both[both] = self._baseline.state[self._match[both]] == ANSWERED
        if not both.any():
            return None, {}, "no answered case of the baseline is the same (key, prompt, expectation, images)"
        scored = both & _known(self._table.scores(gate.judge))
        scored &= _known(_at(self._baseline.scores(gate.judge), self._match, both))
        lost = 0 if metric.counts_unscored else int(both.sum() - scored.sum())
        if lost > gate.max_unscored * both.sum():
            reason = f"{lost} of {both.sum()} cases are unscored in one of the runs, more than the "
            return None, {}, f"{reason}{gate.max_unscored:.0%} allowed"
        now = self._table.values(metric, gate.judge)
        then = _at(self._baseline.values(metric, gate.judge), self._match, both)
        pairs = both & _known(now) & _known(then)
        if reason := self._absent(gate, pairs, "case scored in both runs"):
            return None, {}, reason
        if not pairs.any():
            return None, {}, f"no case counts for {gate.metric} in both runs"
        sign = -1 if metric.higher_is_better else 1
        grouping = (self._table.cluster[pairs], gate.alpha, *self._strata(gate, pairs))
        difference = clustered_difference(sign * (now - then)[pairs], *grouping)
        comparison = {
            "baseline": clustered_share(then[pairs], *grouping).value,
            "difference": difference.value,
            "difference_low": difference.low,
            "difference_high": difference.high,
            "pairs": difference.n,
        }
        return difference, comparison, ""

    def _strata(self, gate: Gate, mask: Mask) -> tuple[Any, Mapping[int, float]]:
        metric = METRICS[gate.metric]
        return self._table.strata(metric)[mask], dict(enumerate(metric.weights.values()))

    # --- why a gate does not speak

    def _intolerable(self, gate: Gate, scored: Mask) -> str:
        """Which cases that are under zero tolerance fail, or empty."""
        failing = scored & self._under_zero_tolerance(gate) & (self._table.scores(gate.judge) > 0)
        if not failing.any():
            return ""
        return f"zero tolerance: {failing.sum()} of its cases failed: {self._some(failing)}"

    def _untold(self, gate: Gate, spoken_of: Mask, unscored: Mask) -> str:
        """Why zero tolerance cannot be shown, or empty."""
        for accepted in gate.zero_tolerance:
            if not (spoken_of & self._table.where(accepted)).any():
                words = ", ".join(f"{tag}: {' or '.join(values)}" for tag, values in accepted.items())
                return f"no case of the gate matches zero_tolerance {words}"
        untold = unscored & self._under_zero_tolerance(gate)
        if gate.rule == ASSURANCE and untold.any():
            return f"zero tolerance: {untold.sum()} of its cases are unscored: {self._some(untold)}"
        return ""

    def _under_zero_tolerance(self, gate: Gate) -> Mask:
        import numpy as np

        masks = [self._table.where(accepted) for accepted in gate.zero_tolerance]
        return np.any(masks, axis=0) if masks else np.zeros(len(self._table.records), dtype=bool)

    def _some(self, mask: Mask) -> str:
        keys = sorted(self._table.records[i].key for i in mask.nonzero()[0].tolist())
        return ", ".join(keys[:_NAMED]) + (" ..." if len(keys) > _NAMED else "")

    def _incomplete(self, spoken_of: Mask, counts: Mapping[str, int]) -> str:
        """Why the cases of a gate are only a part, or empty. A part is never judged as the whole."""
        cases = int(spoken_of.sum())
        total = cases - counts["skipped"]
        if not cases:
            return "no collected case matches it"
        if not total:
            return f"all {cases} cases were skipped ({self._table.records[int(spoken_of.argmax())].skipped})"
        absent = {"not run": counts["missing"], "in error": counts["errors"]}
        if not any(absent.values()):
            return ""
        causes = ", ".join(f"{count} {word}" for word, count in absent.items() if count)
        return f"{total - sum(absent.values())} of {total} cases have an answer ({causes})"

    def _not_asked(self, spoken_of: Mask, counts: Mapping[str, int]) -> str:
        """For a gate that an early stop did not decide: why its cases are only a part of them, or empty."""
        records = (self._table.records[i] for i in spoken_of.nonzero()[0].tolist()) if counts["skipped"] else ()
        saved = sum(record.skipped == NOT_ASKED for record in records)
        return (
            f"{saved} of {int(spoken_of.sum())} cases were not asked after an early stop for other gates"
            if saved
            else ""
        )

    def _no_baseline(self, gate: Gate) -> str:
        return missing_baseline([gate]) if self._baseline is None else ""

    def _unscored(self, gate: Gate, answered: Mask, scored: Mask) -> str:
        """Why too few of the answers have a score, or empty."""
        if METRICS[gate.metric].counts_unscored:
            return ""
        total, unscored = int(answered.sum()), int(answered.sum() - scored.sum())
        if unscored > gate.max_unscored * total:
            return f"{unscored} of {total} answers are unscored, more than the {gate.max_unscored:.0%} allowed"
        return self._absent(gate, scored, "scored case") or ("" if scored.any() else "no answer is scored")

    def _absent(self, gate: Gate, mask: Mask, what: str) -> str:
        """Which strata of the metric have no case, or empty."""
        metric = METRICS[gate.metric]
        present = set(self._table.strata(metric)[mask].tolist())
        absent = sorted(name for i, name in enumerate(metric.weights) if i not in present)
        return f"no {what} is {' or '.join(absent)}, which {metric.name} needs" if absent else ""


def _known(values: Any) -> Any:
    import numpy as np

    return ~np.isnan(values)


def _at(values: Any, index: Any, mask: Mask) -> Any:
    """The value at each masked record's index, NaN for the others."""
    import numpy as np

    found = np.full(len(mask), np.nan)
    found[mask] = values[index[mask]]
    return found


def _too_few(gate: Gate, estimate: Estimate, what: str) -> str:
    if estimate.n < gate.min_cases:
        return f"{estimate.n} {what}, fewer than the {gate.min_cases} required"
    if estimate.clusters < gate.min_clusters:
        return f"{estimate.clusters} clusters of {what}, fewer than the {gate.min_clusters} required"
    return ""


def _result(measured: _Measured, findings: Sequence[Finding]) -> GateResult:
    gate, estimate = measured.gate, measured.estimate
    if measured.verdict:
        return GateResult(gate, *measured.verdict, **measured.counts)
    assert estimate is not None
    states = {measured.stopped.state} if measured.stopped else {finding.state for finding in findings}
    status = FAILED if BROKEN in states else PASSED if states <= {KEPT} else INCONCLUSIVE
    p_value, adjusted_p = (None, None) if measured.stopped else _p_values(gate, findings)
    return GateResult(
        gate,
        status,
        status == FAILED or (status == INCONCLUSIVE and gate.rule == ASSURANCE),
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


def _reason(measured: _Measured, findings: Sequence[Finding], estimate: Estimate) -> str:
    gate = measured.gate
    if measured.stopped:
        return sentences.stopped(gate, measured.claims[0], measured.stopped)
    reason = sentences.verdict(gate, findings) if findings else sentences.report_only(gate, estimate)
    if "raw" not in measured.numbers:
        return reason
    raw, low, high = (measured.numbers[name] for name in ("raw", "raw_low", "raw_high"))
    return f"{reason}; corrected for the judge's errors, raw {raw:.1%} [{low:.1%}, {high:.1%}]"


def _p_values(gate: Gate, findings: Sequence[Finding]) -> tuple[float | None, float | None]:
    """Of what the rule asks for: harm in any of the claims, or safety in all of them."""
    if not findings:
        return None, None
    if gate.rule == ASSURANCE:
        return max(f.p_kept for f in findings), max(f.adjusted_kept for f in findings)
    return min(f.p_broken for f in findings), min(f.adjusted_broken for f in findings)


def unmatched(gate: Gate, cases: Iterable[tuple[str, Mapping[str, str]]]) -> str:
    """Why *gate* matches none of *cases* (suite and tags of each), with the nearest value; empty if it matches one."""
    known: dict[str, set[str]] = {"suite": set()}
    for suite, tags in cases:
        if gate.speaks_of(suite, tags):
            return ""
        known["suite"].add(suite)
        for tag, value in tags.items():
            known.setdefault(tag, set()).add(value)
    for tag, values in gate.where.items():
        if tag not in known:
            return f"no collected case has the tag {tag!r}{nearest(tag, known)}"
        for value in values:
            if value not in known[tag]:
                return f"no collected case has {tag}: {value}{nearest(value, known[tag])}"
    return f"no collected case matches it and is one that {gate.metric} speaks of"
