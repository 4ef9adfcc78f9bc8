from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_builders import page, spaced

from pytest_mmsafety.gates import Interval
from pytest_mmsafety.judge_errors import JudgeErrors, Stratum, shipped_errors
from pytest_mmsafety.report.judges import MAX_JUDGES, MAX_PARTS, JudgeRow, judge_rows, judges_of_gates, share
from pytest_mmsafety.testing import make_gate, make_record, make_result, make_run, make_verdict
from pytest_mmsafety.verdicts import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pytest_mmsafety.run import Record


def stratum(**by: str) -> Stratum:
    return Stratum(
        by=by, n=105, tp=45, fp=10, tn=40, fn=5, abstained_positive=2, abstained_negative=3, clusters=100,
        positive_clusters=50, negative_clusters=50, sources=("labelled answers",),
    )  # fmt: skip


def calibration(judge: str) -> JudgeErrors:
    strata = (stratum(), stratum(language="zh"), stratum(dimension="privacy"), stratum(dimension="a", language="zh"))
    return JudgeErrors(judge, "2026-01-01", 0.5, effective=False, files={"a.jsonl": "00"}, strata=strata)


def test_a_judge_without_measured_error_says_so(tmp_path: Path) -> None:
    verdicts = (Verdict("one/1", "x", 1.0), Verdict("two/1", "x", None))
    text = page(make_run([make_record(verdicts=verdicts), make_record("b", verdicts=verdicts)]), tmp_path).text
    assert "one/1 2 2 0 no measured error for this judge on file" in text
    assert "reads the answer exactly" not in text
    assert "two/1 beside another, not gated 0 0 2 no measured error for this judge on file" in text


def test_a_measured_error_stands_with_n_and_interval_by_dimension_and_language(tmp_path: Path) -> None:
    of = make_run([make_record(verdicts=(Verdict("one/1", "x", 1.0),))])
    shown = page(of, tmp_path, judge_errors={"one/1": calibration("one/1")})
    assert "measured on labelled answers" in shown.text
    whole = (
        "90.0 % 78.2 % to 96.7 % of 50 scored; 4 % left unscored "
        "80.0 % 66.3 % to 90.0 % of 50 scored; 6 % left unscored 85.0 % 76.5 % to 91.4 % of 100"
    )
    for part in ("All labelled answers", "dimension privacy", "language zh"):
        assert f"{part} 105 labelled, 5 without a score {whole}" in shown.text
    assert "no measured error" not in shown.text
    assert '<a class="judge" href="#judge-0">one/1</a>' in shown.html


def test_a_judge_that_only_reads_a_word_or_a_letter_needs_no_measured_error(tmp_path: Path) -> None:
    verdicts = (Verdict("yes-no/1", "x", 1.0), Verdict("choice/1", "x", None))
    shown = page(make_run([make_record(verdicts=verdicts)]), tmp_path)
    assert shown.text.count("reads the answer exactly, or not at all") == 2
    assert "no measured error" not in shown.text
    assert not shown.all("td", "trouble")


def test_a_source_outside_of_the_whole_says_so(tmp_path: Path) -> None:
    whole = replace(stratum(), sources=("asked",))
    strata = (whole, stratum(source="asked"), stratum(source="chats"))
    of = make_run([make_record(verdicts=(Verdict("one/1", "x", 1.0),))])
    text = page(of, tmp_path, judge_errors={"one/1": replace(calibration("one/1"), strata=strata)}).text
    assert "source asked 105 labelled" in text
    assert "source chats, not in the whole: unlike answers to requests 105 labelled" in text


def test_errors_on_refusals_stand_only_where_the_judge_was_asked_of_them(tmp_path: Path) -> None:
    strata = (stratum(), stratum(expected="comply"))
    beside = {"one/1": replace(calibration("one/1"), strata=strata)}
    verdicts = (Verdict("one/1", "x", 1.0),)
    text = page(make_run([make_record(expected="safe", verdicts=verdicts)]), tmp_path, judge_errors=beside).text
    assert "as a judge of refusal" not in text
    assert text.count("105 labelled") == 1
    text = page(make_run([make_record(expected="comply", verdicts=verdicts)]), tmp_path, judge_errors=beside).text
    assert "as a judge of refusal 105 labelled" in text


def test_the_failures_that_the_small_guard_leaves_unscored_are_seen(tmp_path: Path) -> None:
    of = make_run([make_record(expected="safe", verdicts=(Verdict("guardrank-mini/2", "x", 1.0),))])
    text = page(of, tmp_path).text
    for stratum in shipped_errors()["guardrank-mini/2"].strata[:3]:  # the whole, English, Chinese
        scored = stratum.tp + stratum.fn
        unscored = 100 * stratum.abstained_positive / (scored + stratum.abstained_positive)
        assert f"of {scored:,.0f} scored; {unscored:.0f} % left unscored" in text


def test_the_measured_error_of_another_version_is_not_taken(tmp_path: Path) -> None:
    of = make_run([make_record(verdicts=(Verdict("one/2", "x", 1.0),))])
    text = page(of, tmp_path, judge_errors={judge: calibration(judge) for judge in ("one/1", "other/1")}).text
    assert "no measured error for this judge on file; the one of one/1 says nothing of this version" in text


def test_a_corrected_rate_stands_beside_the_raw_one(tmp_path: Path) -> None:
    result = make_result(estimate=Interval(0.06, 0.02, 0.12), raw=Interval(0.1, 0.05, 0.16))
    shown = page(make_run([make_record()], gates=(result,)), tmp_path)
    assert (
        "6.0 % failure rate 2.0 % to 12.0 % corrected for the judge's errors; as the judge has it 10.0 %" in shown.text
    )
    assert [(rect["x"], rect["width"]) for rect in shown.all("rect", "raw")] == [("10.0", "22.0")]
    assert "before the correction" in shown.text
    assert (
        "correct"
        not in page(make_run([make_record()], gates=(make_result(),)), tmp_path)
        .html.partition("</main>")[0]
        .partition("<main>")[2]
        .partition("Judges")[0]
    )


def test_few_clusters_widen_the_interval() -> None:
    assert share(45, 50, 10).interval == "55.5\N{NO-BREAK SPACE}% to 99.7\N{NO-BREAK SPACE}%"
    assert share(45, 50, 0) == share(45, 50, 50)
    assert share(0, 0, 0).value == ""


@given(st.integers(0, 500), st.integers(0, 500), st.integers(0, 500))
def test_an_interval_of_any_counts_has_a_width(hits: int, misses: int, clusters: int) -> None:
    found = share(hits, hits + misses, clusters)
    low, _, high = found.interval.partition(" to ")
    assert low != high or not hits + misses


def test_a_gate_says_who_judged_its_cases(tmp_path: Path) -> None:
    records = [
        make_record("a", verdicts=(Verdict("one/1", "x", 1.0),), tags={"language": "en"}),
        make_record("b", verdicts=(Verdict("one/1", "x", 1.0),), tags={"language": "zh"}),
        make_record("c", verdicts=(Verdict("two/1", "x", 1.0),), tags={"language": "zh"}),
    ]
    gates = (
        make_result(),
        make_result(name="en", where={"language": ("en",)}),
        make_result(name="late", metric="of_tomorrow"),
    )
    assert judges_of_gates(records, [result.gate for result in gates]) == {0: "one/1 (2), two/1 (1)", 1: "one/1"}
    assert "Judged by one/1 (2), two/1 (1)" in page(make_run(records, gates=gates), tmp_path).text


def rows(records: Sequence[Record], *known: JudgeErrors) -> list[JudgeRow]:
    return judge_rows(make_run(records), {errors.judge: errors for errors in known})


def test_a_judge_that_spoke_more_stands_above_one_that_spoke_less() -> None:
    two = (make_verdict(1.0, "first/1"), make_verdict(None, "second/1"))
    records = [
        make_record("a", verdicts=two), make_record("b", verdicts=two), make_record("c", verdicts=(make_verdict(0.5, "second/1"),)),
        make_record("d", verdicts=(make_verdict(0.0, "third/1"),)), make_record("e", verdicts=()),
        make_record("f", None, judge="second/1"), make_record("g", None, judge="second/1"),
    ]  # fmt: skip
    assert [(row.name, row.gated, row.scored, row.failing, row.unscored) for row in rows(records)] == [
        ("second/1", True, 1, 1, 4), ("first/1", True, 2, 2, 0), ("third/1", True, 1, 0, 0),
    ]  # fmt: skip
    assert [row.gated for row in rows(records[:2])] == [True, False], "as often as another: as they came"


def test_a_verdict_counts_once_however_it_came_out() -> None:
    records = [
        make_record("a", 1.0, judge="fails/1"),
        *(make_record(i, verdicts=(make_verdict(), make_verdict(0.0, "passes/1"))) for i in range(2)),
    ]
    assert [row.name for row in rows(records)] == ["yes-no/1", "passes/1", "fails/1"]


def test_judges_and_parts_beyond_the_limit_are_left_out() -> None:
    many = tuple(make_verdict(0.0, f"j{i:02}/1") for i in range(MAX_JUDGES + 3))
    assert [row.name for row in rows([make_record(verdicts=many)])] == [f"j{i:02}/1" for i in range(MAX_JUDGES)]
    strata = (stratum(), *(stratum(language=f"l{i:02}") for i in range(MAX_PARTS + 3)))
    (row,) = rows([make_record(judge="one/1")], replace(calibration("one/1"), strata=strata))
    assert len(row.parts) == 1 + MAX_PARTS


@pytest.mark.parametrize(
    ("sources", "files", "said"),
    [
        (("people", "chats"), {"a.jsonl": "00"}, "people, chats"),
        ((), {"a.jsonl": "00", "b.jsonl": "11"}, "a.jsonl, b.jsonl"),
        ((), {}, "a file of judge errors"),
    ],
)
def test_a_measured_error_says_on_what(sources: tuple[str, ...], files: dict[str, str], said: str) -> None:
    errors = replace(calibration("one/1"), strata=(replace(stratum(), sources=sources),), files=files)
    (row,) = rows([make_record(judge="one/1")], errors)
    assert (row.sources, row.other_version, row.exact) == (said, "", False)


def test_the_measured_error_of_another_judge_is_not_named() -> None:
    (row,) = rows([make_record(judge="one/2")], calibration("other/2"), calibration("one/1"), calibration("one/3"))
    assert (row.parts, row.sources, row.other_version) == ((), "", "one/1")
    (row,) = rows([make_record(judge="one/2")], calibration("one/1"), calibration("one/2"))
    assert (len(row.parts), row.other_version) == (3, "")
    (row,) = rows([make_record(judge="one/2")], calibration("other/2"))
    assert row.other_version == ""


def test_parts_go_by_the_name_of_their_tag_and_leave_out_what_has_two() -> None:
    strata = (
        stratum(language="zh"), stratum(), stratum(source="x"), stratum(language="en"), stratum(dimension="bias"),
        stratum(dimension="bias", language="en"), stratum(expected="comply"), stratum(expected="refuse"),
    )  # fmt: skip
    errors = replace(calibration("one/1"), strata=strata)

    def labels(*expected: str) -> list[str]:
        (row,) = rows([make_record(each, judge="one/1", expected=each) for each in expected], errors)
        return [part.label for part in row.parts]

    always = ["language zh", "language en", "source x, not in the whole: unlike answers to requests"]
    assert labels("safe") == ["All labelled answers", "dimension bias", *always]
    assert labels("comply", "refuse") == [
        "All labelled answers", "dimension bias", "as a judge of refusal", "expected refuse", *always,
    ]  # fmt: skip


def test_a_part_gives_what_the_judge_finds_what_it_lets_pass_and_how_often_it_agrees() -> None:
    odd = Stratum({}, 20, 4, 3, 9, 1, 2.4, 0, 20, 5, 12, ("people",))
    (row,) = rows([make_record(judge="one/1")], replace(calibration("one/1"), strata=(odd,)))
    (part,) = row.parts
    assert (part.n, part.abstained) == (20, 2)
    found = [(spaced(each.value), each.of, spaced(each.unscored)) for each in (
        part.sensitivity, part.specificity, part.accuracy,
    )]  # fmt: skip
    assert found == [("80.0 %", "5", "32 %"), ("75.0 %", "12", ""), ("76.5 %", "17", "")]


@pytest.mark.parametrize(
    ("hits", "total", "clusters", "interval"),
    [
        (0, 10, 10, "0 % to 30.8 %"),
        (10, 10, 10, "69.2 % to 100 %"),
        (5, 10, 10, "18.7 % to 81.3 %"),
        (5, 10, 100, "18.7 % to 81.3 %"),
        (50, 100, 10, "18.7 % to 81.3 %"),
        (50, 100, 100, "39.8 % to 60.2 %"),
    ],
)
def test_an_interval_is_that_of_as_many_answers_as_there_are_clusters(
    hits: float, total: float, clusters: int, interval: str
) -> None:
    assert spaced(share(hits, total, clusters).interval) == interval


def test_a_share_of_weighted_answers_is_given_of_a_whole_number() -> None:
    assert share(600.2, 1234.4, 0).of == "1,234"


def test_at_most_three_judges_of_a_gate_are_named() -> None:
    names = ("a/1", "b/1", "b/1", "c/1", "d/1", "e/1")
    records = [make_record(i, judge=name) for i, name in enumerate(names)]
    assert judges_of_gates(records, [make_gate()]) == {0: "b/1 (2), a/1 (1), c/1 (1) and 2 more"}
    assert judges_of_gates(records[:4], [make_gate()]) == {0: "b/1 (2), a/1 (1), c/1 (1)"}
    many = [make_record(i, judge="one/1" if i else "two/1") for i in range(1201)]
    assert judges_of_gates(many, [make_gate()]) == {0: "one/1 (1,200), two/1 (1)"}


def test_only_answers_that_count_for_the_gate_say_who_judged_it() -> None:
    harm = {"aspect": "vulnerability"}
    records = [
        make_record("a", judge="one/1", tags=harm), make_record("b", judge="two/1"), make_record("c", verdicts=(), tags=harm),
        make_record("d", response=None, tags=harm, verdicts=(make_verdict(0.0, "three/1"),)),
    ]  # fmt: skip
    gates = [make_gate(metric="attack_success_rate"), make_gate(where={"suite": ("other",)})]
    assert judges_of_gates(records, gates) == {0: "one/1", 1: ""}
    assert judges_of_gates([], gates) == {}
