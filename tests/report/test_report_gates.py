"""Gates as rows of a table: their order, their numbers in words and their pictures; and the detail of the verdict."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest
from report_builders import blocking, spaced

from pytest_mmsafety.gates import (
    FAILED,
    INCONCLUSIVE,
    NOT_EVALUATED,
    PASSED,
    REPORTED,
    Comparison,
    Counts,
    GateResult,
    Interval,
    Status,
)
from pytest_mmsafety.report.gates import GateRow, Measure, gate_rows, metrics_of, trouble, verdict
from pytest_mmsafety.testing import make_result, make_run


def row_of(result: GateResult, judge: str = "") -> GateRow:
    (row,) = gate_rows([result], {0: judge})
    return row


def measure_of(**changes: Any) -> Measure:
    (measure,) = row_of(make_result(**changes)).measures
    return measure


def change(difference: float, low: float, high: float, **changes: Any) -> Measure:
    comparison = Comparison(0.1, Interval(difference, low, high), 40)
    return measure_of(estimate=None, max=None, comparison=comparison, **changes)


def numbers(result: GateResult, judge: str = "") -> dict[str, str]:
    return {name: spaced(value) for name, value in row_of(result, judge).numbers}


@pytest.mark.parametrize(
    ("results", "detail"),
    [
        ([], "These are the answers; nothing was decided about them."),
        ([make_result(), make_result()], ""),
        ([make_result(), blocking(), make_result(INCONCLUSIVE), blocking()], "2 failed, 1 inconclusive, 1 passed"),
        ([make_result(REPORTED), make_result(REPORTED)], ""),
        ([make_result(REPORTED), make_result()], "1 passed, 1 reported"),
        ([make_result(NOT_EVALUATED), make_result(NOT_EVALUATED)], ""),
        ([make_result(NOT_EVALUATED), make_result(INCONCLUSIVE)], "1 inconclusive, 1 not evaluated"),
        ([make_result(FAILED), make_result()], "1 failed, 1 passed"),
    ],
)
def test_the_detail_counts_what_the_headline_does_not_say(results: list[GateResult], detail: str) -> None:
    assert verdict(make_run(gates=tuple(results))).detail == detail


def test_a_run_that_failed_is_no_pass_whatever_its_gates_say() -> None:
    passed = make_run(gates=(make_result(), make_result()), failures=("2 cases without an answer: a, b",))
    assert verdict(passed).tone == "fail"
    assert verdict(passed).headline == "The run failed"
    assert verdict(passed).detail == "2 cases without an answer: a, b. Gates: 2 passed"
    assert verdict(make_run(failures=("x",))).detail == "x. Gates: none"
    stopped = make_run(complete=False, failures=("the run was stopped before its end: no gate was evaluated",))
    assert verdict(stopped).headline == "Stopped before its end: nothing was decided"
    blocked = make_run(gates=(blocking(),), failures=("x",))
    assert verdict(blocked).headline == "Blocked by 1 of 1 gate"


@pytest.mark.parametrize(
    ("results", "headline"),
    [
        ([make_result(NOT_EVALUATED)] * 2, "No verdict: none of 2 gates could be evaluated"),
        ([make_result(FAILED)], "Not blocked, but only 0 of 1 gate passed"),
        ([make_result(INCONCLUSIVE)] * 2, "Not blocked, but only 0 of 2 gates passed"),
        ([make_result(NOT_EVALUATED), make_result()], "Not blocked, but only 1 of 2 gates passed"),
        ([blocking()] * 1200, "Blocked by 1200 of 1,200 gates"),
    ],
)
def test_without_a_block_only_a_full_pass_is_a_pass(results: list[GateResult], headline: str) -> None:
    assert verdict(make_run(gates=tuple(results))).headline == headline
    assert verdict(make_run(gates=tuple(results))).tone == ("fail" if results[0].blocks else "unsure")


def test_what_blocks_stands_above_and_the_rest_by_status_in_the_order_of_the_policy() -> None:
    statuses: tuple[Status, ...] = (REPORTED, PASSED, NOT_EVALUATED, INCONCLUSIVE, FAILED)
    calm = [make_result(status, name=f"{status} {i}") for i in (1, 2) for status in statuses]
    blocks = [make_result(status, name=f"{status} blocks", blocks=True) for status in (NOT_EVALUATED, FAILED)]
    assert [row.result.gate.name for row in gate_rows([*calm, *blocks], {})] == [
        "failed blocks", "not evaluated blocks", "failed 1", "failed 2", "inconclusive 1", "inconclusive 2",
        "not evaluated 1", "not evaluated 2", "passed 1", "passed 2", "reported 1", "reported 2",
    ]  # fmt: skip


def test_a_row_keeps_the_token_of_the_gates_place_in_the_policy() -> None:
    rows = gate_rows([make_result(), blocking()], {})
    assert [(row.facet, row.icon) for row in rows] == [("g1", "fail"), ("g0", "pass")]


def test_a_status_of_tomorrow_is_shown_before_all_that_do_not_block() -> None:
    odd = replace(make_result(), status=cast("Status", "postponed"))
    rows = gate_rows([make_result(FAILED), odd, blocking()], {})
    assert [(row.result.status, row.icon) for row in rows] == [
        ("failed", "fail"), ("postponed", "none"), ("failed", "fail"),
    ]  # fmt: skip
    assert [row.result.blocks for row in rows] == [True, False, False]


def test_metric_and_filter_are_put_into_words() -> None:
    row = row_of(make_result(metric="over_refusal_rate", where={"suite": ("a", "b"), "language": ("en",)}))
    assert row.metric == "over-refusal rate"
    assert row.where == (("suite", "a, b"), ("language", "en"))


def test_estimate_bounds_and_raw_number_are_printed_with_the_same_decimals() -> None:
    raw = Interval(0.4, 0.3, 0.6)
    found = measure_of(min=0.3, max=0.5, estimate=Interval(0.45, 0.4, 0.4999), raw=raw)
    assert (found.what, spaced(found.value), spaced(found.interval)) == (
        "failure rate", "45.00 %", "40.00 % to 49.99 %",
    )  # fmt: skip
    assert spaced(found.bound) == "at least 30.00 % and at most 50.00 %"
    assert spaced(found.raw) == "40.00 % [30.00 % to 60.00 %]"
    assert spaced(found.picture.label) == "45.00 %, 40.00 % to 49.99 %, at least 30.00 %, at most 50.00 %"
    assert [(mark.at, spaced(mark.label)) for mark in found.picture.marks] == [
        (30.0, "at least 30.00 %"), (50.0, "at most 50.00 %"),
    ]  # fmt: skip
    assert found.picture.raw == (30.0, 30.0)


def test_the_axis_has_room_for_bound_and_raw_interval() -> None:
    near = Interval(0.01, 0.0, 0.02)
    assert spaced(measure_of(max=0.03, estimate=near).picture.end) == "5 %"
    assert spaced(measure_of(max=0.3, estimate=near).picture.end) == "50 %"
    assert spaced(measure_of(max=0.03, estimate=near, raw=Interval(0.1, 0.05, 0.15)).picture.end) == "20 %"


@pytest.mark.parametrize("bound", [{"max": 1.0}, {"max": None, "min": 0.0}, {"max": None}])
def test_a_bound_that_nothing_can_break_is_not_named(bound: dict[str, float | None]) -> None:
    found = measure_of(**bound)
    assert (found.bound, found.raw, found.picture.marks) == ("", "", ())


@pytest.mark.parametrize(
    ("difference", "value", "what"),
    [
        (0.021, "2.1 points worse", "than the baseline"),
        (-0.03, "3.0 points better", "than the baseline"),
        (0.0, "no change", "since the baseline"),
        (-0.0001, "under 0.1 points better", "than the baseline"),
    ],
)
def test_a_change_is_said_to_be_for_the_better_or_the_worse(difference: float, value: str, what: str) -> None:
    found = change(difference, -0.05, 0.04, max_regression=0.02)
    assert (spaced(found.value), found.what) == (value, what)
    assert spaced(found.interval) == "-5.0 to +4.0 points"
    assert spaced(found.bound) == "at most 2.0 points worse"
    assert found.picture.zero == 50.0
    assert [mark.at for mark in found.picture.marks] == [60.0]
    label = f"{value} {what}, -5.0 to +4.0 points, at most 2.0 points worse"
    assert spaced(found.picture.label) == label


def test_a_picture_of_a_change_without_a_bound_says_nothing_of_one() -> None:
    label = "no change since the baseline, -5.0 to +4.0 points"
    assert spaced(change(0.0, -0.05, 0.04, max_regression=1.0).picture.label) == label


def test_only_a_certain_interval_has_a_confidence_of_100_percent() -> None:
    assert numbers(make_result(alpha=0.00001))["Confidence"] == "99.999 %"


def test_the_picture_of_a_change_reaches_as_far_as_its_margin() -> None:
    assert spaced(change(0.0, -0.001, 0.001, max_regression=0.3).picture.end) == "+50 points"
    assert spaced(change(0.0, -0.001, 0.001, max_regression=0.0).picture.end) == "+1 points"
    assert spaced(change(0.0, -0.3, 0.001, max_regression=0.0).picture.start) == "-50 points"


def test_no_regression_allowed_is_a_bound_and_any_regression_allowed_is_none() -> None:
    assert spaced(change(0.01, 0.0, 0.02, max_regression=0.0).bound) == "at most 0.0 points worse"
    for margin in (None, 1.0):
        found = change(0.01, 0.0, 0.02, max_regression=margin)
        assert (found.bound, found.picture.marks) == ("", ())


def test_the_rate_is_shown_before_the_change() -> None:
    comparison = Comparison(0.08, Interval(0.0, -0.01, 0.01), pairs=3)
    measures = row_of(make_result(max_regression=0.1, comparison=comparison)).measures
    assert [measure.what for measure in measures] == ["failure rate", "since the baseline"]
    assert row_of(make_result(NOT_EVALUATED, estimate=None)).measures == ()


def test_the_folded_part_holds_all_that_the_verdict_rests_on() -> None:
    result = make_result(
        max=None, max_regression=0.02, alpha=0.001, rule="assurance", min_cases=1, min_clusters=200, max_unscored=0.05,
        zero_tolerance=({"category": ("x", "y"), "suite": ("s",)}, {"language": ("zh",)}), p_value=0.5,
        adjusted_p=0.00009, comparison=Comparison(0.08, Interval(0.0, -0.1, 0.1), pairs=1), family="fdr",
        counts=Counts(n=1200, clusters=1, skipped=1),
    )  # fmt: skip
    assert numbers(result, "one/1") == {
        "Metric": "failure_rate",
        "Scored cases": "1,200 in 1 cluster",
        "Left out": "1 skipped",
        "In the baseline": "8.0 %",
        "Compared": "1 case scored in both runs",
        "p-value": "0.5",
        "p-value among its family": "under 0.0001",
        "Rule": "assurance: passes only on proof of safety",
        "Confidence": "99.9 %",
        "Family": "fdr, over all gates with the rule assurance",
        "Judged by": "one/1",
        "Needs": "1 case, 200 clusters, at most 5.0 % unscored",
        "Zero tolerance": "category x or y, suite s; language zh",
    }


def test_numbers_that_a_gate_does_not_have_are_left_out() -> None:
    assert numbers(make_result(NOT_EVALUATED, estimate=None, counts=Counts())) == {
        "Metric": "failure_rate",
        "Rule": "evidence: fails only on proof of harm",
        "Confidence": "95 %",
        "Needs": "at most 10.0 % unscored",
    }


def test_the_judge_that_a_gate_names_is_the_one_that_judged_it() -> None:
    assert numbers(make_result(judge="llm"), "one/1")["Judged by"] == "llm"
    assert [dict(row.numbers).get("Judged by") for row in gate_rows([make_result(), make_result()], {1: "two/1"})] == [
        None, "two/1",
    ]  # fmt: skip


def test_a_rule_of_tomorrow_is_named_without_a_meaning() -> None:
    odd = make_result()
    assert numbers(replace(odd, gate=replace(odd.gate, rule=cast("Any", "vote"))))["Rule"] == "vote"


@pytest.mark.parametrize(("p", "shown"), [(0.0, "under 0.0001"), (0.0001, "0.0001"), (0.01234, "0.012"), (1.0, "1")])
def test_a_p_value_has_two_digits(p: float, shown: str) -> None:
    assert numbers(make_result(p_value=p))["p-value"] == shown


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        (Counts(n=40, clusters=10), ""),
        (Counts(unscored=1), "1 unscored"),
        (Counts(errors=1), "1 error"),
        (Counts(errors=2000, missing=1), "2,000 errors, 1 not run"),
        (Counts(unscored=3000, skipped=4000, errors=5, missing=6000), "3,000 unscored, 5 errors, 4,000 skipped, 6,000 not run"),
    ],
)  # fmt: skip
def test_what_a_gate_could_not_use_is_counted(counts: Counts, words: str) -> None:
    assert trouble(make_result(counts=counts)) == words


def test_a_metric_is_explained_once_and_one_of_tomorrow_not_at_all() -> None:
    names = ("over_refusal_rate", "accuracy", "of_tomorrow", "over_refusal_rate")
    assert [metric.name for metric in metrics_of([make_result(metric=name) for name in names])] == [
        "over_refusal_rate", "accuracy",
    ]  # fmt: skip
