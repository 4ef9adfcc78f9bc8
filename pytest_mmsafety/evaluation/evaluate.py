"""Gates evaluated on a run: measured one by one, decided as families, each with its reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pytest_mmsafety.evaluation import reasons as sentences
from pytest_mmsafety.evaluation.measure import JudgedRun, Measured
from pytest_mmsafety.gates import FAILED, INCONCLUSIVE, NOT_EVALUATED, PASSED, REPORTED, Gate, GateResult
from pytest_mmsafety.statistics.decisions import BROKEN, KEPT, Finding, Stopped, judge
from pytest_mmsafety.statistics.estimates import Estimate

if TYPE_CHECKING:
    from pytest_mmsafety.calibration import Calibration
    from pytest_mmsafety.labels import Labels
    from pytest_mmsafety.run import Record


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
