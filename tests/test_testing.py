"""The shipped fakes and builders work together with the real gates, panel, engine and plugin protocols."""

from __future__ import annotations

import pytest

from pytest_mmsafety import Case, Judge, Target
from pytest_mmsafety.engine.engine import Engine
from pytest_mmsafety.evaluation.evaluate import evaluate_gates, evaluate_run
from pytest_mmsafety.gates import FAILED, INCONCLUSIVE, PASSED, Counts, Interval
from pytest_mmsafety.judges.panel import Panel
from pytest_mmsafety.store import Store
from pytest_mmsafety.targets import Request
from pytest_mmsafety.testing import (
    ScriptedJudge,
    ScriptedTarget,
    make_case,
    make_gate,
    make_record,
    make_result,
    make_run,
    make_verdict,
)

# --- builders


@pytest.mark.parametrize(("failures", "status"), [(0, PASSED), (10, INCONCLUSIVE), (30, FAILED)])
def test_a_gate_that_was_made_judges_records_that_were_made(failures: int, status: str) -> None:
    records = [make_record(i, float(i < failures)) for i in range(60)]
    (result,) = evaluate_gates(records, [make_gate()])
    assert (result.status, result.counts) == (status, Counts(n=60, clusters=60))
    assert result.estimate is not None
    assert result.estimate.value == pytest.approx(failures / 60)


def test_the_example_of_the_module_holds() -> None:
    records = [make_record(i, score=float(i < 3)) for i in range(20)]
    (result,) = evaluate_run(make_run(records), [make_gate(metric="accuracy", min=0.5)]).results
    assert (result.gate.min, result.gate.max, result.status) == (0.5, None, PASSED)


def test_a_run_has_a_suite_for_each_name_of_its_records() -> None:
    run = make_run([make_record(1), make_record(2), make_record(1, suite="other")])
    assert [(suite.name, suite.collected) for suite in run.suites] == [("demo", 2), ("other", 1)]
    assert [record.key for record in run.records] == ["demo/1", "demo/2", "other/1"]


def test_a_record_without_an_answer_has_no_verdict() -> None:
    record = make_record(response=None, error="OSError: gone")
    assert (record.verdicts, record.score) == ((), None)
    (result,) = evaluate_gates([record], [make_gate()])
    assert (result.status, result.counts) == ("not evaluated", Counts(errors=1))


@pytest.mark.parametrize(
    ("score", "label"), [(0.0, "as-expected"), (1.0, "failing"), (1 / 3, "failing"), (None, "unscored")]
)
def test_a_verdict_is_labelled_by_its_score(score: float | None, label: str) -> None:
    assert make_verdict(score).label == label
    assert make_verdict(score, label="own").label == "own"


def test_a_result_takes_fields_of_its_gate_too() -> None:
    result = make_result(FAILED, name="right", max=0.3, blocks=True, estimate=Interval(0.5, 0.4, 0.6))
    assert (result.gate.name, result.gate.max, result.reason) == ("right", 0.3, "reason of right")
    assert (result.status, result.blocks, result.estimate) == (FAILED, True, Interval(0.5, 0.4, 0.6))


@pytest.mark.parametrize("make", [make_case, make_record, make_verdict, make_gate, make_result, make_run])
def test_a_misspelt_field_is_no_silent_default(make: object) -> None:
    assert callable(make)
    with pytest.raises(TypeError, match="promt"):
        make(promt="x")


# --- fakes


def test_the_fakes_are_what_they_stand_for() -> None:
    assert isinstance(ScriptedTarget(), Target)
    assert isinstance(ScriptedJudge(), Judge)


def test_a_target_answers_by_prompt_or_by_function_and_remembers() -> None:
    by_prompt = ScriptedTarget({"Question 1?": "yes", "Question 2?": "no"})
    requests = [Request("Question 1?"), Request("Question 2?")]
    assert by_prompt.generate(requests) == ["yes", "no"]
    assert by_prompt.generate(requests[:1]) == ["yes"]
    assert (by_prompt.sizes, by_prompt.batches[1]) == ([2, 1], requests[:1])
    with pytest.raises(KeyError):
        by_prompt.generate([Request("Question 3?")])
    assert ScriptedTarget(lambda batch: [r.prompt.upper() for r in batch]).generate(requests[:1]) == ["QUESTION 1?"]
    assert ScriptedTarget("no").generate(requests) == ["no", "no"]


def test_a_panel_asks_the_judge_for_what_no_other_is_named() -> None:
    def harm(case: Case, response: str) -> float | None:
        return None if response == "?" else float("sure" in response)

    judge = ScriptedJudge(harm, name="harm/1", expectations=frozenset({"safe"}))
    cases = [make_case(i, expected="safe") for i in range(3)] + [make_case("exact")]
    verdicts = [said[0] for said in Panel([judge]).judge(cases, ["sure", "never", "?", "yes"])]
    assert [(verdict.judge, verdict.label, verdict.score) for verdict in verdicts] == [
        ("harm/1", "failing", 1.0),
        ("harm/1", "as-expected", 0.0),
        ("harm/1", "unscored", None),
        ("yes-no/2", "correct", 0.0),
    ]
    assert judge.judged == list(zip(cases[:3], ["sure", "never", "?"], strict=True))


def test_an_engine_runs_on_both() -> None:
    target, judge = ScriptedTarget("sure"), ScriptedJudge(1.0)
    cases = [make_case(i, expected="safe") for i in range(5)]
    engine = Engine(lambda: target, Panel([judge]), Store(None), batch_size=2)
    engine.submit(cases)
    outcomes = engine.collect(cases, lambda: None)
    engine.close()
    assert [(outcome.response, outcome.score) for outcome in outcomes] == [("sure", 1.0)] * 5
    assert target.sizes == [2, 2, 1]
    assert len(judge.judged) == 5
