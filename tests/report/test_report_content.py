from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_builders import Read, blocking, error, not_run, page

from pytest_mmsafety.gates import INCONCLUSIVE, NOT_EVALUATED, REPORTED, Comparison, Counts, GateResult, Interval
from pytest_mmsafety.report import write_report
from pytest_mmsafety.report.cards import MAX_CARDS, MAX_ERRORS, MAX_TEXT, choose
from pytest_mmsafety.report.interval_plot import rate_axis
from pytest_mmsafety.report.states import STATES, state_of
from pytest_mmsafety.report.text import percents
from pytest_mmsafety.run import Record, RunSettings, SuiteInfo
from pytest_mmsafety.testing import make_record, make_result, make_run, make_verdict

if TYPE_CHECKING:
    from pathlib import Path


def unevaluated(*, blocks: bool = False) -> GateResult:
    return make_result(NOT_EVALUATED, name="late", blocks=blocks, estimate=None, counts=Counts(missing=7))


@pytest.mark.parametrize(
    ("gates", "headline", "tone"),
    [
        ((), "No gates were asked for", "none"),
        ((make_result(), make_result(name="other")), "All 2 gates passed", "pass"),
        ((make_result(),), "The only gate passed", "pass"),
        ((make_result(), blocking("other")), "Blocked by 1 of 2 gates", "fail"),
        ((blocking(),), "Blocked by 1 of 1 gate", "fail"),
        ((make_result(INCONCLUSIVE, name="doubt", blocks=True, rule="assurance"),), "Blocked by 1 of 1 gate", "fail"),
        (
            (make_result(), make_result(INCONCLUSIVE, name="doubt")),
            "Not blocked, but only 1 of 2 gates passed",
            "unsure",
        ),
        ((unevaluated(),), "No verdict: none of 1 gate could be evaluated", "unsure"),
        ((make_result(REPORTED, name="number"),), "Nothing was decided: the only gate reports a number", "none"),
        (
            (make_result(REPORTED, name="number"), make_result(REPORTED, name="n")),
            "Nothing was decided: all 2 gates only report numbers",
            "none",
        ),
        ((make_result(REPORTED, name="number"), make_result()), "The only gate with a bound passed", "pass"),
        (
            (make_result(REPORTED, name="number"), make_result(), make_result(name="o")),
            "All 2 gates with a bound passed",
            "pass",
        ),
        (
            (make_result(REPORTED, name="number"), unevaluated()),
            "No verdict: none of 1 gate with a bound could be evaluated",
            "unsure",
        ),
        (
            (make_result(REPORTED, name="number"), make_result(), make_result(INCONCLUSIVE, name="doubt")),
            "Not blocked, but only 1 of 2 gates with a bound passed",
            "unsure",
        ),
        ((unevaluated(blocks=True),), "Blocked by 1 of 1 gate", "fail"),
    ],
)
def test_the_headline_says_whether_to_ship(
    tmp_path: Path, gates: tuple[GateResult, ...], headline: str, tone: str
) -> None:
    shown = page(make_run([make_record()], gates=gates), tmp_path)
    found = re.search("<h1>.*<span>(.*)</span></h1>", shown.html)
    assert found
    assert found[1] == headline
    assert shown.all("header", "verdict")[0]["class"] == f"verdict {tone}"


def test_what_blocks_is_named_in_the_banner_and_comes_first_in_the_table(tmp_path: Path) -> None:
    shown = page(
        make_run(
            [make_record()], gates=(make_result(name="fine"), make_result(INCONCLUSIVE, name="doubt"), blocking("harm"))
        ),
        tmp_path,
    )
    banner, _, table = shown.html.partition("<main>")
    assert "reason of harm" in banner
    assert "reason of fine" not in banner
    assert table.index("reason of harm") < table.index("reason of doubt") < table.index("reason of fine")


def test_a_gate_shows_number_interval_bound_rule_and_what_it_rests_on(tmp_path: Path) -> None:
    result = make_result(
        INCONCLUSIVE, name="harm", estimate=Interval(0.123, 0.08, 0.2), max=0.1,
        counts=Counts(n=40, clusters=10, unscored=3, errors=1), why="Because of last time.",
        where={"suite": ("suite",), "language": ("en", "zh")},
    )  # fmt: skip
    shown = page(make_run([make_record()], gates=(result,)), tmp_path)
    for text in (
        "12.3 % failure rate 8.0 % to 20.0 %", "at most 10.0 %", "Rule evidence: fails only on proof of harm",
        "Confidence 95 %", "inconclusive", "does not block", "40 scored", "in 10 clusters", "3 unscored, 1 error", "Because of last time.", "en, zh",
        "mean score of all cases",
    ):  # fmt: skip
        assert text in shown.text
    bar = shown.all("svg", "bar")[0]
    assert (bar["aria-label"] or "").replace("\N{NO-BREAK SPACE}", " ") == ("12.3 %, 8.0 % to 20.0 %, at most 10.0 %")
    assert "at most 10.0 % 0 % 50 % 12.3 %" in shown.text
    interval = shown.all("rect", "interval")[0]
    assert (interval["x"], interval["width"]) == ("16.0", "24.0")
    bound = shown.all("line", "bound")[0]
    assert bound["x1"] == "20.0"
    beyond = shown.all("rect", "beyond")[0]
    assert (beyond["x"], beyond["width"]) == ("20.0", "80.0")


def test_a_gate_without_an_estimate_has_no_bar(tmp_path: Path) -> None:
    shown = page(make_run([not_run()], gates=(unevaluated(),)), tmp_path)
    assert "no estimate" in shown.text
    assert "7 not run" in shown.text
    assert not shown.all("svg", "bar")


def test_a_regression_is_drawn_around_zero_with_its_margin(tmp_path: Path) -> None:
    result = make_result(
        max=None, max_regression=0.02, comparison=Comparison(0.08, Interval(0.021, -0.01, 0.04), pairs=38), p_value=0.012, adjusted_p=0.00001,
    )  # fmt: skip
    shown = page(make_run([make_record()], gates=(result,)), tmp_path)
    _rate, change = shown.all("svg", "bar")
    assert (change["aria-label"] or "").replace("\N{NO-BREAK SPACE}", " ") == (
        "2.1 points worse than the baseline, \N{MINUS SIGN}1.0 to +4.0 points, at most 2.0 points worse"
    )
    interval = shown.all("rect", "interval")[1]
    assert (interval["x"], interval["width"]) == ("40.0", "50.0")
    assert [line["x1"] for line in shown.all("line", "bound")] == ["70.0"]
    assert [line["x1"] for line in shown.all("line", "zero-line")] == ["50.0"]
    for text in (
        "2.1 points worse than the baseline", "In the baseline 8.0 %", "Compared 38 cases scored in both runs", "38 pairs",
        "p-value 0.012", "p-value among its family under 0.0001", "better 0 worse", "\N{MINUS SIGN}5 points",
    ):  # fmt: skip
        assert text in shown.text


def test_a_bound_that_every_value_keeps_is_not_drawn(tmp_path: Path) -> None:
    shown = page(
        make_run([make_record()], gates=(make_result(max=1.0), make_result(name="other", max=None, min=0.0))), tmp_path
    )
    assert len(shown.all("svg", "bar")) == 2
    assert not shown.all("line", "bound")


@given(st.lists(st.floats(0, 1), min_size=1, max_size=5))
def test_every_number_lies_on_its_axis(numbers: list[float]) -> None:
    axis = rate_axis(numbers)
    assert 0 <= axis.start < axis.end <= 1
    assert all(axis.start <= number <= axis.end for number in numbers)


def test_numbers_that_differ_are_printed_differently() -> None:
    plain = [text.replace("\N{NO-BREAK SPACE}", "") for text in percents(0.0504, 0.05, 0.0, 1.0)]
    assert plain == ["5.04%", "5.00%", "0%", "100%"]
    assert percents(0.99996, 0.0003) == ["> 99.9\N{NO-BREAK SPACE}%", "< 0.1\N{NO-BREAK SPACE}%"]


def test_counts_and_notes_stand_in_the_banner(tmp_path: Path) -> None:
    records = (
        make_record(),
        make_record("bad", score=1.0, stored=True),
        make_record("odd", score=None),
        error(),
        not_run(),
    )
    shown = page(make_run(records, notes=("The run was interrupted.",)), tmp_path)
    assert "Cases 5 Scored 2 Failing 1 Unscored 1 Errors 1 Skipped 0 Not run 1 From the store 1" in shown.text
    assert "The run was interrupted." in shown.html.partition("<main>")[0]


def test_tables_count_by_tag_and_part_the_directions(tmp_path: Path) -> None:
    def tagged(id_: str, aspect: str, score: float | None) -> None:
        tags = {"benchmark": "usb", "category": "a" if id_ < "m" else "b", "language": "en", "aspect": aspect}
        records.append(make_record(id_, score=score, tags=tags))

    records: list[Record] = []
    for id_ in ("a1", "a2", "z3"):
        tagged(id_, "vulnerability", 1.0)
    tagged("z4", "over-refusal", 0.0)
    tagged("z5", "over-refusal", None)
    shown = page(make_run(records), tmp_path)
    assert "All cases 100 % of 3 0 % of 1 5 1 3 1 0" in shown.text
    assert "category a 100 % of 2 – 2 0 2 0 0 b 100 % of 1 0 % of 1 3 1 1 1 0" in shown.text
    assert "The same for every case: benchmark usb , language en ." in shown.text


def test_rows_are_worst_first_but_few_cases_come_last(tmp_path: Path) -> None:
    def many(category: str, failing: int, cases: int) -> list[Record]:
        return [
            make_record(f"{category}{i}", score=float(i < failing), tags={"category": category}) for i in range(cases)
        ]

    shown = page(make_run([*many("mild", 1, 20), *many("tiny", 2, 2), *many("grave", 10, 20)]), tmp_path)
    rows = shown.text[shown.text.index("All cases") :]
    assert rows.index("grave") < rows.index("mild") < rows.index("tiny")
    assert len(shown.all("td", "few")) == 1


def test_a_long_list_names_the_values_without_trouble_in_one_line(tmp_path: Path) -> None:
    records = [make_record(str(i), score=float(i == 3), tags={"category": f"c{i}"}) for i in range(100)]
    shown = page(make_run(records), tmp_path)
    assert "category c3 100 % of 1" in shown.text
    assert "case in 99 values (number of cases in brackets): c0 (1), c1 (1)," in shown.text.replace(" (1) ,", " (1),")
    assert "and 39 more." in shown.text


def test_a_tag_that_only_names_cases_gets_no_rows(tmp_path: Path) -> None:
    records = [make_record(str(i), tags={"twin": str(i // 2), "variant": str(i % 2)}) for i in range(8)]
    table = page(make_run(records), tmp_path).html.partition('id="cases"')[0]
    assert "<bdi>variant</bdi>" in table
    assert "<bdi>twin</bdi>" not in table


def test_cases_are_worst_first_and_say_everything(tmp_path: Path) -> None:
    mild = make_verdict(1 / 3, reason="because")
    records = (
        make_record("fine", seconds=0.25), make_record("skipped", response=None, skipped="never published"),
        make_record("odd", score=None), make_record("mild", verdicts=(mild,)), make_record("grave", score=1.0), error(),
    )  # fmt: skip
    shown = page(make_run(records), tmp_path)
    cards = shown.html[shown.html.index('class="cards"') :]
    places = [cards.index(f"<bdi>{id_}</bdi>") for id_ in ("broken", "grave", "mild", "odd", "fine", "skipped")]
    assert places == sorted(places)
    for text in (
        "the answer begins with yes", "An answer.", "yes-no/1", "score 0.333", "no score", "because", "0.25 s",
        "the server went away", "never published",
    ):  # fmt: skip
        assert text in shown.text


@pytest.mark.parametrize(
    ("expected", "score", "folded"),
    [("refuse", 1.0, True), ("safe", None, True), ("refuse", 0.0, False), ("comply", 1.0, False), ("no", 1.0, False)],
)
def test_an_answer_that_may_do_harm_is_folded(
    tmp_path: Path, expected: str, score: float | None, *, folded: bool
) -> None:
    shown = page(make_run([make_record(score=score, expected=expected)]), tmp_path)
    assert bool(shown.all("details", "answer")) is folded
    assert all("open" not in details for details in shown.all("details", "answer"))


def test_an_option_letter_is_put_into_words(tmp_path: Path) -> None:
    assert "option B is the right one" in page(make_run([make_record(expected="B")]), tmp_path).text


def test_long_texts_are_clipped_and_the_count_is_said(tmp_path: Path) -> None:
    shown = page(make_run([make_record(response="x" * 100_000, prompt="y" * 100_000)]), tmp_path)
    assert shown.html.count("x" * 80) == MAX_TEXT // 80
    assert shown.text.count("98,000 of 100,000 characters clipped; the full text is in the run file.") == 2
    assert len(shown.html) < 60_000


def test_at_most_500_cases_are_shown_and_the_page_says_so(tmp_path: Path) -> None:
    shown = page(make_run([make_record(str(i)) for i in range(20_000)]), tmp_path)
    assert len(shown.all("article")) == MAX_CARDS
    assert "500 of 20,000 cases shown, the rest is in the run file." in shown.text


def test_many_errors_leave_room_for_failing_answers() -> None:
    errors = [error(str(i)) for i in range(1000)]
    failing = [make_record(f"f{i}", score=1.0) for i in range(450)]
    chosen = choose([*errors, *failing])
    assert sum(bool(each.error) for each in chosen) == MAX_ERRORS
    assert len(chosen) == MAX_CARDS
    assert len(choose(errors)) == MAX_CARDS


def test_every_gate_that_blocks_has_cases_on_the_page(tmp_path: Path) -> None:
    def part(name: str, size: int, **changes: Any) -> list[Record]:
        return [make_record(f"{name}{i}", tags={"category": name}, **changes) for i in range(size)]

    records = [
        *part("failing", 700, score=1.0),
        *part("unscored", 600, score=None),
        *part("good", 600),
        *part("missing", 600, response=None),
    ]
    gates = [blocking("harm")] + [
        make_result(NOT_EVALUATED, name=name, blocks=name != "good", where={"category": (name,)})
        for name in ("unscored", "missing", "good")
    ]
    chosen = choose(records, gates)
    of = Counter(each.tags["category"] for each in chosen)
    assert len(chosen) == MAX_CARDS
    assert of["failing"] > of["unscored"] > 50
    assert of["missing"] > 50, "cases that were not run, if the gate has no others"
    assert not of["good"]
    assert [state_of(each) for each in chosen] == sorted(map(state_of, chosen), key=STATES.index)
    assert choose(records, gates) == chosen
    assert choose(records[:MAX_CARDS], gates) == records[:MAX_CARDS]
    shown = page(make_run(records, gates=tuple(gates)), tmp_path)
    assert shown.text.count("Show its cases") == 3
    assert "500 of 2,500 cases shown, some of every gate that blocks among them; the rest is in" in shown.text


def test_the_unscored_cases_of_a_gate_are_a_sample_of_all() -> None:
    records = [
        *(make_record(f"f{i}", score=1.0) for i in range(500)),
        *(make_record(f"u{i}", score=None) for i in range(1000)),
    ]
    places = [int(each.id[1:]) for each in choose(records, [blocking()]) if each.score is None]
    assert min(places) < 100
    assert max(places) >= 900


def test_more_gates_than_room_still_keep_the_page_small() -> None:
    records = [make_record(str(i), tags={"category": str(i)}) for i in range(600)]
    gates = [make_result(NOT_EVALUATED, name=str(i), blocks=True, where={"category": (str(i),)}) for i in range(510)]
    assert len(choose(records, gates)) == MAX_CARDS


@pytest.mark.parametrize(
    ("fingerprint", "shown"),
    [("0123456789abcdef" * 4, "0123456789ab"), ("stand-in rc-1 v1", "stand-in rc-1 v1"), ("", "none")],
)
def test_only_a_digest_is_cut(tmp_path: Path, fingerprint: str, shown: str) -> None:
    header = page(make_run([make_record()], fingerprint=fingerprint), tmp_path).html.partition("</header>")[0]
    assert f">{shown}</code>" in header


def test_filters_offer_only_what_tells_the_shown_cases_apart(tmp_path: Path) -> None:
    records = [make_record(str(i), tags={"language": "en", "category": f"c{i % 2}", "id": str(i)}) for i in range(300)]
    shown = page(make_run(records, gates=(make_result(name="unsafe", where={"category": ("c0",)}),)), tmp_path)
    labels = shown.html[shown.html.index('id="filters"') : shown.html.index('type="reset"')]
    for label in ("State", "Gate", "Category", "unsafe (150)", "c1 (150)", "as expected (300)"):
        assert label in labels
    for label in ("Language", "Suite", "Id<"):
        assert label not in labels


def test_a_gate_of_an_unknown_metric_breaks_nothing(tmp_path: Path) -> None:
    shown = page(make_run([make_record()], gates=(make_result(metric="of_tomorrow"),)), tmp_path)
    assert "of_tomorrow" in shown.text
    assert "Show its cases" not in shown.text


def test_how_it_was_made(tmp_path: Path) -> None:
    suites = (SuiteInfo("demo", "usb", "A suite", "ab" * 32, 9), SuiteInfo("unused", "usb", "Another", "cd" * 32, 3))
    shown = page(
        make_run([make_record(), not_run()], suites=suites, settings=RunSettings("scripted", batch_size=16)), tmp_path
    )
    for text in (
        "python 3.11.9",
        "batch size 16",
        "scripted-1",
        "A suite demo usb 9 1 partial abab",
        "unused usb 3 0",
    ):
        assert text in shown.text
    for word in ("Scored, unscored", "Cluster", "Estimate, interval", "assurance", "Not evaluated"):
        assert word in shown.text


def test_an_empty_run_has_a_page(tmp_path: Path) -> None:
    shown = page(make_run(suites=(), environment={}, policy="", fingerprint=""), tmp_path)
    assert "No gates were asked for" in shown.text
    assert "The run has no cases." in shown.text
    assert not shown.all("article")


def test_a_run_of_errors_only_has_a_page(tmp_path: Path) -> None:
    shown = page(make_run([error("a"), error("b")], gates=(unevaluated(),)), tmp_path)
    assert len(shown.all("article", "error")) == 2
    assert "none scored" in shown.text


def test_chinese_stays_chinese(tmp_path: Path) -> None:
    tags = {"language": "zh", "category": "隐私保护"}
    shown = page(
        make_run([make_record("图-1", prompt="图片里是什么？", response="对不起，我无法回答。", tags=tags)]), tmp_path
    )
    for text in ("图片里是什么？", "对不起，我无法回答。", "隐私保护", "图-1"):
        assert text in shown.text
    assert {"class": "text", "dir": "auto", "lang": "zh"} in shown.all("div", "text")


def test_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    of = make_run([make_record("a", score=1.0), make_record("b"), error()], gates=(make_result(), blocking("harm")))
    first, second = tmp_path / "first.html", tmp_path / "second.html"
    write_report(of, first)
    write_report(replace(of), second)
    assert first.read_bytes() == second.read_bytes()


def test_folders_are_made_and_nothing_is_left_beside_the_file(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "report.html"
    write_report(make_run([make_record()]), path)
    assert [entry.name for entry in path.parent.iterdir()] == ["report.html"]


def test_a_page_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    (tmp_path / "report.html").mkdir()
    with pytest.raises(OSError, match=r"report\.html"):
        write_report(make_run([make_record()]), tmp_path / "report.html")
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]


def test_every_id_is_there_once_and_every_link_leads_somewhere(tmp_path: Path) -> None:
    shown: Read = page(
        make_run([make_record("a", score=1.0), make_record("b")], gates=(make_result(), blocking())), tmp_path
    )
    ids = [attrs["id"] for _, attrs in shown.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    for _, attrs in shown.elements:
        for name in ("href", "aria-labelledby"):
            if name in attrs:
                assert (attrs[name] or "").removeprefix("#") in ids
