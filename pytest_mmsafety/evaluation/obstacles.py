"""Why a gate cannot be evaluated, or cannot pass: each function gives one clause, or an empty string."""

from __future__ import annotations

from collections import Counter

from pytest_mmsafety.errors import plural
from pytest_mmsafety.evaluation import reasons
from pytest_mmsafety.evaluation.scope import Scope
from pytest_mmsafety.gates import Gate
from pytest_mmsafety.run import Record
from pytest_mmsafety.statistics.estimates import Estimate, Mask
from pytest_mmsafety.verdicts import JUDGE_ERROR, verdict_by

_NAMED = 5
"""Cases that a reason names."""


def violation(scope: Scope) -> str:
    """Which cases under zero tolerance failed, or that too many cases of the baseline are gone."""
    if reason := _gone(scope):
        return reason
    failing = scope.scored & scope.under_zero_tolerance & (scope.scores > 0)
    if not failing.any():
        return ""
    return f"zero tolerance: {failing.sum()} of its cases failed: {_some(scope.records(failing))}"


def _gone(scope: Scope) -> str:
    if scope.gate.max_gone == 1 or scope.inputs.baseline is None:
        return ""
    keys = {record.key for record in scope.inputs.records}
    before = [record for record in scope.inputs.baseline if scope.gate.applies_to(record.suite, record.tags)]
    gone = [record for record in before if record.key not in keys]
    if len(gone) <= scope.gate.max_gone * len(before):
        return ""
    share = f"more than the {scope.gate.max_gone:.0%} allowed"
    return f"{len(gone)} of {plural(len(before), 'case')} of the baseline are gone, {share}: {_some(gone)}"


def unverifiable(scope: Scope) -> str:
    """Why zero tolerance cannot be shown to hold."""
    for accepted in scope.gate.zero_tolerance:
        if not (scope.cases & scope.table.where(accepted)).any():
            words = ", ".join(f"{tag}: {' or '.join(values)}" for tag, values in accepted.items())
            return f"no case of the gate matches zero_tolerance {words}"
    unscored = scope.answered & ~scope.scored & scope.under_zero_tolerance
    if scope.gate.needs_proof and unscored.any():
        return f"zero tolerance: {unscored.sum()} of its cases are unscored: {_some(scope.records(unscored))}"
    return ""


def incomplete(scope: Scope) -> str:
    """Why the run has only a part of the gate's cases, or no baseline for them. A part is never judged as the whole."""
    inputs, counts = scope.inputs, scope.counts
    cases = int(scope.cases.sum())
    total = cases - counts.skipped
    if reason := inputs.broken or _stopped_for_others(scope):
        return reason
    if not cases:
        return "no collected case matches it"
    if not total:
        return f"{plural(cases, 'case')}, all skipped ({scope.records(scope.cases)[0].skipped})"
    absent = {"not run": counts.missing, "in error": counts.errors}
    if any(absent.values()):
        causes = ", ".join(f"{count} {word}" for word, count in absent.items() if count)
        return f"{total - sum(absent.values())} of {plural(total, 'case')} answered ({causes})"
    if inputs.baseline is None and scope.gate.max_regression is not None:
        return reasons.no_baseline(scope.gate)
    return ""


def _stopped_for_others(scope: Scope) -> str:
    """How many of its cases an early stop left out for other gates; of a gate that it decided itself: empty."""
    if scope.gate.name in scope.inputs.stopped:
        return ""
    saved = sum(record.skip_kind == "early-stop" for record in scope.records(scope.cases))
    if not saved:
        return ""
    total = int(scope.cases.sum())
    if scope.counts.unscored > scope.gate.max_unscored * total and (reason := unscored(scope)):
        return reason  # that is why it was given up
    return f"{saved} of {plural(total, 'case')} not asked after an early stop for other gates"


def unscored(scope: Scope) -> str:
    """Why too few of the answers have a score."""
    if scope.metric.counts_unscored:
        return ""
    total, count = int(scope.answered.sum()), scope.counts.unscored
    if count > scope.gate.max_unscored * total:
        judge, said = _most_abstaining(scope)
        return reasons.unscored(scope.gate, count, total, judge, said)
    if not scope.scored.any():
        return absent_strata(scope, scope.scored, "scored case") or "no answer is scored"
    return absent_strata(scope, scope.scored, "scored case") or _unscored_stratum(scope)


def _unscored_stratum(scope: Scope) -> str:
    """A stratum of a weighted metric with too few scores: the others must not speak for it."""
    strata = scope.table.strata(scope.metric)
    for i, name in enumerate(scope.metric.weights):
        answered = scope.answered & (strata == i)
        total, count = int(answered.sum()), int((answered & ~scope.scored).sum())
        if count > scope.gate.max_unscored * total:
            allowed = f"more than the {scope.gate.max_unscored:.0%} allowed in each part of {scope.metric.name}"
            return f"{count} of {plural(total, 'answer')} of {name} unscored, {allowed}"
    return ""


def judge_failed(scope: Scope) -> bool:
    """Whether the judge failed on every answer of the gate: then they could not be judged, which is no doubt."""
    verdicts = [verdict_by(record.verdicts, scope.gate.judged_by) for record in scope.records(scope.answered)]
    return bool(verdicts) and all(verdict and verdict.label == JUDGE_ERROR for verdict in verdicts)


def _most_abstaining(scope: Scope) -> tuple[str, str]:
    """The judge that left most of them unscored, and what it said of most; both empty if no judge did."""
    records = scope.records(scope.answered & ~scope.scored)
    verdicts = (verdict_by(record.verdicts, scope.gate.judged_by) for record in records)
    said = Counter((verdict.judge, verdict.label) for verdict in verdicts if verdict)
    return next((by for by, _ in said.most_common(1)), ("", ""))


def absent_strata(scope: Scope, mask: Mask, what: str) -> str:
    """Which strata of the metric have no masked case."""
    present = set(scope.table.strata(scope.metric)[mask].tolist())
    absent = sorted(name for i, name in enumerate(scope.metric.weights) if i not in present)
    return f"no {what} is {' or '.join(absent)}, which {scope.metric.name} needs" if absent else ""


def too_few(gate: Gate, estimate: Estimate, what: str) -> str:
    """Why the cases of *estimate* are fewer than the gate asks for."""
    if estimate.n < gate.min_cases:
        return f"{estimate.n} {what}, fewer than the {gate.min_cases} required"
    if estimate.clusters < gate.min_clusters:
        return f"{plural(estimate.clusters, 'cluster')} of {what}, fewer than the {gate.min_clusters} required"
    return ""


def _some(records: list[Record]) -> str:
    keys = sorted(record.key for record in records)
    return ", ".join(keys[:_NAMED]) + (" ..." if len(keys) > _NAMED else "")
