"""Gates that know how often their judge errs."""

from __future__ import annotations

import pytest

from pytest_mmsafety.evaluation.evaluate import evaluate_gates
from pytest_mmsafety.gates import ASSURANCE, EVIDENCE, NOT_EVALUATED, Gate, GateResult
from pytest_mmsafety.judge_errors import JudgeErrors, Stratum
from pytest_mmsafety.run import Record
from pytest_mmsafety.testing import make_gate, make_record


def stratum(tp: int, fn: int, tn: int, fp: int, **by: str) -> Stratum:
    n = tp + fn + tn + fp
    return Stratum(by, n, tp, fp, tn, fn, 0, 0, n, tp + fn, tn + fp, ("people",))


def errors_of(*strata: Stratum, judge: str = "yes-no/1") -> dict[str, JudgeErrors]:
    return {judge: JudgeErrors(judge, "2026-01-01", 0.5, effective=False, files={}, strata=strata)}


GOOD = stratum(450, 50, 475, 25)
"""Sensitivity 90 %, specificity 95 %."""
WEAK = stratum(60, 40, 55, 45)


def records(failing: int, total: int, judge: str = "yes-no/1", **tags: str) -> list[Record]:
    kind = "".join([judge, *tags.values()])
    return [make_record(f"{kind}-{i}", float(i < failing), judge=judge, tags=tags) for i in range(total)]


def result(rows: list[Record], of: Gate, judge_errors: dict[str, JudgeErrors]) -> GateResult:
    (found,) = evaluate_gates(rows, [of], judge_errors=judge_errors)
    return found


def test_raw_and_corrected_stand_together() -> None:
    found = result(records(135, 1000), make_gate(), errors_of(GOOD))
    assert found.raw.value == pytest.approx(0.135)
    assert found.estimate.value == pytest.approx((0.135 + 0.95 - 1) / 0.85)
    assert found.estimate.high - found.estimate.low > found.raw.high - found.raw.low
    assert "failure rate 10.0%" in found.reason
    assert found.reason.endswith("; corrected for the judge's errors, raw 13.5% [11.4%, 15.8%]")


def test_the_share_that_is_right_is_corrected_the_other_way() -> None:
    of = make_gate(metric="accuracy", max=None, min=0.5)
    found = result(records(135, 1000), of, errors_of(GOOD))
    assert found.estimate.value == pytest.approx(1 - (0.135 + 0.95 - 1) / 0.85)


def test_the_bound_is_held_against_the_corrected_number() -> None:
    assert result(records(120, 1000), make_gate(max=0.1), {}).status == "failed"
    assert result(records(120, 1000), make_gate(max=0.1), errors_of(GOOD)).status != "failed"


@pytest.mark.parametrize("rule", [EVIDENCE, ASSURANCE])
def test_a_weak_judge_is_refused(rule: str) -> None:
    found = result(records(135, 1000), make_gate(rule=rule), errors_of(WEAK))
    assert found.status == NOT_EVALUATED
    assert found.blocks == (rule == ASSURANCE)
    assert found.reason.startswith("not corrected for the judge's errors: yes-no/1: ")


@pytest.mark.parametrize(
    "counts", [WEAK, stratum(5, 1, 5, 1), stratum(450, 50, 10, 990)], ids=["weak", "few", "unlike"]
)
def test_a_refused_correction_makes_no_gate_more_lenient(counts: Stratum) -> None:
    rows = records(400, 1000)
    alone, found = (result(rows, make_gate(), known) for known in ({}, errors_of(counts)))
    assert (alone.status, found.status, found.blocks) == ("failed", "failed", True)
    assert (found.estimate.value, found.raw) == (0.4, None)
    assert found.reason.startswith(f"{alone.reason}; the judge's own number, not corrected for the judge's errors: ")
    assert result(rows, make_gate(max=0.5), errors_of(counts)).status == NOT_EVALUATED


def test_a_judge_of_another_version_is_not_corrected() -> None:
    found = result(records(135, 1000), make_gate(), errors_of(GOOD, judge="yes-no/2"))
    assert found.raw is None
    assert found.estimate.value == pytest.approx(0.135)


def test_the_counts_of_the_gates_own_cases_are_taken() -> None:
    other = stratum(500, 0, 500, 0, language="zh")
    found = result(records(100, 1000, language="zh"), make_gate(where={"language": ("zh",)}), errors_of(GOOD, other))
    assert found.estimate.value == pytest.approx(0.1)
    assert found.raw.value == pytest.approx(0.1)


def test_judges_without_known_errors_are_exact() -> None:
    rows = [*records(135, 500), *records(0, 500, judge="choice/1")]
    found = result(rows, make_gate(), errors_of(GOOD))
    assert found.estimate.value == pytest.approx(0.5 * (0.27 + 0.95 - 1) / 0.85)
    assert found.raw.value == pytest.approx(0.0675 * 2)


def test_strata_keep_their_weights() -> None:
    harm, help_ = records(135, 500, aspect="vulnerability"), records(100, 1000, aspect="over-refusal")
    of = make_gate(metric="balanced_accuracy", max=None, min=0.1)
    found = result([*harm, *help_], of, errors_of(GOOD))
    rates = [(p + 0.95 - 1) / 0.85 for p in (0.27, 0.1)]
    assert found.estimate.value == pytest.approx(1 - sum(rates) / 2)


def test_degrees_are_not_corrected() -> None:
    rows = [make_record(i, 1 / 3) for i in range(100)]
    assert "only yes or no can be corrected" in result(rows, make_gate(), errors_of(GOOD)).reason
