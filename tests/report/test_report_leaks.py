"""The numbers with and without the cases that training data hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_builders import error, page, spaced

from pytest_mmsafety.gates import NOT_EVALUATED, Comparison, Counts, GateResult, Interval
from pytest_mmsafety.judge_errors import JudgeErrors, Stratum
from pytest_mmsafety.report.leaks import Leaks, Number, leaks
from pytest_mmsafety.run import Record
from pytest_mmsafety.testing import make_record, make_result, make_run

HARM, HARMLESS = {"aspect": "vulnerability"}, {"aspect": "over-refusal"}


def found_in(records: list[Record], keys: set[str], *gates: GateResult, **beside: Any) -> Leaks:
    given_beside = {"baseline": None, "judge_errors": {}, **beside}
    return leaks(make_run(records, gates=gates), keys, **given_beside)


def keys(*ids: int | str, suite: str = "demo") -> set[str]:
    return {f"{suite}/{id_}" for id_ in ids}


def words(number: Number) -> tuple[str, int]:
    return spaced(number.value), number.n


def everything(records: list[Record], **changes: Any) -> GateResult:
    """A gate's result as if it had counted all *records*."""
    return make_result(counts=Counts(n=len(records), clusters=len(records)), **changes)


def measured() -> dict[str, JudgeErrors]:
    """The errors of judge ``one/1``, which is right nine times of ten."""
    stratum = Stratum({}, 200, 90, 10, 90, 10, 0, 0, 200, 100, 100, ("people",))
    return {"one/1": JudgeErrors("one/1", "", 0.5, effective=False, files={}, strata=(stratum,))}


def test_each_suite_with_a_leaked_case_is_counted() -> None:
    records = [make_record(i, suite=suite) for suite in ("b", "a", "clean") for i in range(3)]
    found = found_in(records, {*keys(0, 1, suite="b"), *keys(2, suite="a"), "other/1"})
    assert (found.listed, found.found, found.by_suite) == (4, 3, (("b", 2, 3), ("a", 1, 3)))
    assert found.named == ("a/2", "b/0", "b/1")
    assert {row.suite for row in found.metrics} == {"a", "b"}


def test_at_most_fifty_leaked_cases_are_named() -> None:
    records = [make_record(f"{i:03}") for i in range(60)]
    found = found_in(records, {record.key for record in records})
    assert found.found == 60
    assert found.named == tuple(f"demo/{i:03}" for i in range(50))


def test_a_metric_is_measured_of_all_of_the_rest_and_of_the_leaked() -> None:
    records = [make_record(i, float(i < 3), tags=HARM) for i in range(8)]
    rate, accuracy = found_in(records, keys(0, 6, 7)).metrics
    assert (rate.metric, accuracy.metric) == ("attack success rate", "accuracy")
    assert [words(part) for part in (rate.everything, rate.without, rate.leaked)] == [
        ("37.5 %", 8), ("40.0 %", 5), ("33.3 %", 3),
    ]  # fmt: skip
    assert [words(part) for part in (accuracy.everything, accuracy.without, accuracy.leaked)] == [
        ("62.5 %", 8), ("60.0 %", 5), ("66.7 %", 3),
    ]  # fmt: skip


def test_each_suite_is_measured_by_itself() -> None:
    records = [make_record(i, score, suite=suite) for suite, score in (("good", 0.0), ("bad", 1.0)) for i in range(2)]
    found = found_in(records, {*keys(0, suite="good"), *keys(0, suite="bad")})
    assert [(row.suite, words(row.everything), words(row.without), words(row.leaked)) for row in found.metrics] == [
        ("good", ("100 %", 2), ("100 %", 1), ("100 %", 1)), ("bad", ("0 %", 2), ("0 %", 1), ("0 %", 1)),
    ]  # fmt: skip


def test_a_metric_needs_a_leaked_case_that_counts_for_it() -> None:
    records = [make_record("harm", 1.0, tags=HARM), make_record("refused", tags=HARMLESS)]
    assert [row.metric for row in found_in(records, keys("refused")).metrics] == ["over-refusal rate", "accuracy"]
    assert [row.metric for row in found_in(records, keys("harm")).metrics] == ["attack success rate", "accuracy"]


def test_what_is_left_without_the_leaked_may_be_nothing() -> None:
    (row,) = found_in([make_record("a"), make_record("b", None), error("c")], keys("a")).metrics
    assert (row.metric, row.without) == ("accuracy", Number())
    assert words(row.everything) == words(row.leaked) == ("100 %", 1)
    assert not found_in([make_record("b", None), error("c")], keys("b", "c")).metrics, "none of them is scored"


def test_a_gate_is_judged_again_if_one_of_its_cases_leaked() -> None:
    records = [make_record(i, float(i < 10), tags={"language": "zh" if i % 2 else "en"}) for i in range(80)]
    halves = [record for record in records if record.tags["language"] == "en"]
    gates = (
        everything(records, name="all", estimate=Interval(0.125, 0.1, 0.2)),
        everything(halves, name="en", where={"language": ("en",)}),
        everything(halves, name="zh", where={"language": ("zh",)}),
    )
    found = found_in(records, keys(*range(1, 80, 2)), *gates)
    assert [(row.everything.gate.name, row.without.counts.n) for row in found.gates] == [("all", 40), ("zh", 0)]
    whole, none = found.gates
    assert whole.before == Number("12.5\N{NO-BREAK SPACE}%", "10.0\N{NO-BREAK SPACE}% to 20.0\N{NO-BREAK SPACE}%", 80)
    assert words(whole.after) == ("12.5 %", 40)
    assert (none.without.status, none.after) == (NOT_EVALUATED, Number(n=0))
    assert found.unjudged == 0


def test_without_a_leaked_case_no_gate_is_judged_again() -> None:
    found = found_in([make_record()], {"other/1"}, make_result())
    assert (found.found, found.gates, found.metrics, found.named) == (0, (), (), ())


def test_a_gate_is_judged_again_against_the_same_baseline() -> None:
    records = [make_record(i, float(i < 3)) for i in range(40)]
    before = make_run([make_record(i) for i in range(40)])
    comparison = Comparison(0.0, Interval(0.075, 0.0, 0.15), 40)
    gate = everything(records, max=None, max_regression=0.2, comparison=comparison)
    (row,) = found_in(records, keys(0, 1), gate, baseline=before).gates
    assert row.without.comparison
    assert row.without.comparison.pairs == 38
    assert row.without.comparison.difference.value == pytest.approx(1 / 38)
    found = found_in(records, keys(0, 1), gate)
    assert (found.gates, found.unjudged) == ((), 1)


def test_a_corrected_gate_is_judged_again_only_with_the_errors_of_its_judge() -> None:
    records = [make_record(i, float(i < 10), judge="one/1") for i in range(40)]
    gates = (everything(records, name="corrected", raw=Interval(0.25, 0.1, 0.4)), everything(records, name="plain"))
    found = found_in(records, keys(0), *gates)
    assert ([row.everything.gate.name for row in found.gates], found.unjudged) == (["plain"], 1)
    found = found_in(records, keys(0), *gates, judge_errors=measured())
    assert ([row.everything.gate.name for row in found.gates], found.unjudged) == (["corrected", "plain"], 0)
    raw = found.gates[0].without.raw
    assert raw
    assert raw.value == pytest.approx(9 / 39)


def test_judge_errors_correct_nothing_that_was_not_corrected() -> None:
    records = [make_record(i, float(i < 10), judge="one/1") for i in range(40)]
    (row,) = found_in(records, keys(0), everything(records), judge_errors=measured()).gates
    assert row.without.raw is None


def test_a_gate_of_tomorrows_metric_is_not_judged_again_and_no_missing_file_is_blamed(tmp_path: Path) -> None:
    odd = make_result(metric="of_tomorrow", max_regression=0.1)
    found = found_in([make_record()], keys(1), odd)
    assert (found.gates, found.unjudged, found.unknown) == ((), 0, 1)
    text = page(make_run([make_record()], gates=(odd,)), tmp_path, leaked=keys(1)).text
    assert "1 gate is not judged again: its metric is not known here." in text
    assert "made without the baseline" not in text


def test_each_cause_for_not_judging_a_gate_again_is_counted_by_itself(tmp_path: Path) -> None:
    gates = (*[make_result(metric="of_tomorrow")] * 2, *[make_result(max_regression=0.1)] * 3)
    text = page(make_run([make_record()], gates=gates), tmp_path, leaked=keys(1)).text
    assert "2 gates are not judged again: their metrics are not known here." in text
    assert "3 gates are not judged again: this page was made without the baseline" in text


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=20))
def test_the_leaked_and_the_rest_are_all(cases: list[tuple[bool, bool]]) -> None:
    records = [make_record(i, float(bad)) for i, (bad, _) in enumerate(cases)]
    leaked = keys(*(i for i, (_, leaked) in enumerate(cases) if leaked))
    for row in found_in(records, leaked).metrics:
        assert row.everything.n == len(records) == row.without.n + row.leaked.n
        assert row.leaked.n == len(leaked)
