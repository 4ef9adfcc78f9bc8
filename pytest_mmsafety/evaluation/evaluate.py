"""Gates evaluated on a run: measured one by one, decided as families, each with its reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from pytest_mmsafety import baselines
from pytest_mmsafety.errors import plural
from pytest_mmsafety.evaluation import reasons
from pytest_mmsafety.evaluation.checks import idle_baseline
from pytest_mmsafety.evaluation.measure import Measured, measure_gate
from pytest_mmsafety.evaluation.scope import GateInputs, Scope
from pytest_mmsafety.gates import (
    FAILED,
    INCONCLUSIVE,
    NOT_EVALUATED,
    PASSED,
    REPORTED,
    Gate,
    GateResult,
    Interval,
    Status,
)
from pytest_mmsafety.judge_errors import JudgeErrors
from pytest_mmsafety.labels import HumanLabels
from pytest_mmsafety.run import Record, Run
from pytest_mmsafety.statistics.decisions import HOLDS, VIOLATED, Decision, Stopped, decide
from pytest_mmsafety.statistics.estimates import Estimate


@dataclass(frozen=True, slots=True)
class Evidence:
    """What gates are evaluated with, besides the run."""

    baseline: Run | None = None
    allow: frozenset[str] = frozenset()
    """What may differ between the run and the baseline (:data:`pytest_mmsafety.baselines.KINDS`)."""
    judge_errors: Mapping[str, JudgeErrors] = field(default_factory=dict)
    labels: HumanLabels | None = None
    stopped: Mapping[str, Stopped] = field(default_factory=dict)


_NAMED = 5
"""Cases that a note names."""


class Evaluation(NamedTuple):
    """The results of the gates, in their order, and what a reader has to know of them."""

    results: list[GateResult]
    notes: list[str]


def evaluate_run(
    run: Run, gates: Sequence[Gate], evidence: Evidence = Evidence(), *, require: bool = False
) -> Evaluation:
    """Evaluate *gates* on *run*: the one way to a verdict, for ``pytest`` and for ``mmsafety gate``.

    A baseline that differs in more than the evidence allows is not compared with: its gates are then not evaluated,
    and a note says why. *require* makes gates that are not evaluated block.
    """
    notes: list[str] = []
    earlier = None
    if evidence.baseline is not None:
        if note := idle_baseline(gates):
            notes.append(note)
        differences = baselines.run_differences(run, evidence.baseline)
        if reason := baselines.refusal(differences, evidence.allow):
            notes.append(f"not compared with the baseline: {reason}")
        else:
            earlier, gone = _comparable(run, evidence.baseline)
            notes += gone
    results = evaluate_gates(
        run.records,
        gates,
        broken=run.broken,
        require=require,
        baseline=earlier,
        judge_errors=evidence.judge_errors,
        labels=evidence.labels,
        stopped=evidence.stopped,
    )
    return Evaluation(results, notes)


def _comparable(run: Run, baseline: Run) -> tuple[Sequence[Record], list[str]]:
    """The records of the baseline that the run should have, and a note that counts those that it has not."""
    keys = {record.key for record in run.records}
    gone = [record.key for record in baseline.own_records if record.key not in keys]
    if run.settings.subset < 1 or run.settings.samples != baseline.settings.samples:
        return [record for record in baseline.records if record.key in keys], []
    if not gone:
        return baseline.records, []
    some = ", ".join(gone[:_NAMED]) + (" ..." if len(gone) > _NAMED else "")
    return baseline.records, [f"{plural(len(gone), 'case')} of the baseline not in this run: {some}"]


def evaluate_gates(  # noqa: PLR0913 - all that a verdict depends on
    records: Sequence[Record],
    gates: Sequence[Gate],
    *,
    broken: str = "",
    require: bool = False,
    baseline: Sequence[Record] | None = None,
    judge_errors: Mapping[str, JudgeErrors] = {},
    labels: HumanLabels | None = None,
    stopped: Mapping[str, Stopped] = {},
) -> list[GateResult]:
    """Evaluate each gate on the records of all *collected* cases.

    A record with neither answer, error nor skip reason was collected but not run: its gates are not
    evaluated. *broken* says why no gate can be (a suite that could not be read), *require* makes gates
    that are not evaluated block. *baseline* holds the records that gates with ``max_regression`` compare to.
    With *judge_errors* (judge with its version -> how often it errs) bounds are held against numbers without the
    judge's errors, and with people's *labels* of a random part of these very answers, scored or not, against
    prediction-powered ones; differences to a baseline and zero tolerance stay as the judge has them. Where a number
    cannot be corrected, the judge's own may still fail the gate, never pass it. *stopped*: the gates, by name, that an
    early stop decided. Raises ``ValueError`` if there are both judge_errors and labels.
    """
    if judge_errors and labels:
        raise ValueError("judge_errors and labels correct the same numbers; expected one of them")
    inputs = GateInputs(records, baseline, broken, judge_errors, labels, stopped)
    measured = [measure_gate(Scope(inputs, gate)) for gate in gates]
    decisions: list[list[Decision]] = [[] for _ in gates]
    for key in {(gate.rule, gate.family) for gate in gates}:
        of_family = [i for i, gate in enumerate(gates) if (gate.rule, gate.family) == key]
        owners = [(i, test) for i in of_family for test in measured[i].tests]
        found = decide([test for _, test in owners], [gates[i].alpha for i, _ in owners], key[1])
        for (i, _), decision in zip(owners, found, strict=True):
            decisions[i].append(decision)
    return [_result(one, of_one, require=require) for one, of_one in zip(measured, decisions, strict=True)]


def _result(measured: Measured, decisions: Sequence[Decision], *, require: bool) -> GateResult:
    gate, estimate = measured.gate, measured.estimate
    if measured.violation:
        return GateResult(gate, FAILED, blocks=True, reason=measured.violation, counts=measured.counts)
    states = {measured.stopped.state} if measured.stopped else {decision.state for decision in decisions}
    if measured.not_evaluated and VIOLATED not in states:
        blocks = require or gate.needs_proof or measured.judge_failed
        return GateResult(gate, NOT_EVALUATED, blocks, measured.not_evaluated, measured.counts)
    assert estimate is not None
    status: Status = FAILED if VIOLATED in states else PASSED if states <= {HOLDS} else INCONCLUSIVE
    p_value, adjusted_p = (None, None) if measured.stopped else _p_values(gate, decisions)
    return GateResult(
        gate,
        REPORTED if gate.only_reports else status,
        status == FAILED or (status == INCONCLUSIVE and gate.needs_proof),
        _reason(measured, decisions, estimate),
        replace(measured.counts, n=estimate.n, clusters=estimate.clusters),
        Interval(estimate.value, estimate.low, estimate.high),
        raw=None if measured.raw is None else Interval(measured.raw.value, measured.raw.low, measured.raw.high),
        comparison=measured.comparison,
        p_value=p_value,
        adjusted_p=adjusted_p,
        decided_after=measured.stopped.asked if measured.stopped else None,
    )


def _reason(measured: Measured, decisions: Sequence[Decision], estimate: Estimate) -> str:
    gate, raw = measured.gate, measured.raw
    note = f"; {measured.note}" if measured.note else ""
    if measured.stopped:
        return reasons.stopped(gate, measured.tests[0], measured.stopped) + note
    reason = reasons.verdict(gate, decisions) if decisions else reasons.report_only(gate, estimate)
    if raw is None:
        return reason + note
    return f"{reason}{note}, raw {raw.value:.1%} [{raw.low:.1%}, {raw.high:.1%}]"


def _p_values(gate: Gate, decisions: Sequence[Decision]) -> tuple[float | None, float | None]:
    """Of what the rule asks for: harm in any of the tests, or safety in all of them."""
    if not decisions:
        return None, None
    if gate.needs_proof:
        return max(d.p_holds for d in decisions), max(d.adjusted_holds for d in decisions)
    return min(d.p_violated for d in decisions), min(d.adjusted_violated for d in decisions)
