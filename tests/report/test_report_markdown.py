"""A run in Markdown: every line of it, and that nobody's text becomes markup."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from report_builders import blocking, error, not_run, spaced

from pytest_mmsafety.gates import NOT_EVALUATED, Comparison, Counts, Interval
from pytest_mmsafety.report.markdown import MAX_GATES, MAX_TEXT, markdown_summary, plain
from pytest_mmsafety.report.text import visible
from pytest_mmsafety.run import Record, Run
from pytest_mmsafety.testing import make_record, make_result
from pytest_mmsafety.testing import make_run as made_run


def make_run(records: Sequence[Record] = (), **changes: Any) -> Run:
    """A run of one day: the colons of a time are escaped like all others."""
    return made_run(records, **{"created": "2026-01-01", **changes})


def lines(run: Run, baseline: Run | None = None) -> list[str]:
    return spaced(markdown_summary(run, baseline)).splitlines()


def since(now: list[Record], before: list[Record], **baseline: Any) -> str:
    return lines(make_run(now), make_run(before, **baseline))[-1]


def test_a_run_without_gates_is_five_lines() -> None:
    assert lines(make_run([make_record()])) == [
        "## No gates were asked for",
        "",
        "These are the answers; nothing was decided about them.",
        "",
        "Target **scripted**, 2026-01-01, policy none.",
        "1 case, 1 scored.",
    ]


def test_a_run_that_passed_has_no_detail_and_a_row_for_each_gate() -> None:
    result = make_result(where={"language": ("en",)}, max=0.2, min=0.01)
    assert lines(make_run([make_record()], gates=(result,), policy="release")) == [
        "## The only gate passed",
        "",
        "Target **scripted**, 2026-01-01, policy release.",
        "1 case, 1 scored.",
        "",
        "| result | gate | estimate | interval | bound | cases | |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        "| passed | **gate** | 10.0 % failure rate | 5.0 % to 15.0 % | at least 1.0 % and at most 20.0 % | 40 scored | reason of gate |",
    ]  # fmt: skip


def test_rate_and_change_share_a_cell() -> None:
    comparison = Comparison(0.1, Interval(0.0, -0.01, 0.01), 5)
    result = make_result(max=None, max_regression=0.02, comparison=comparison, reason="a|b")
    assert lines(make_run([make_record()], gates=(result,)))[-1] == (
        "| passed | **gate** | 10.0 % failure rate<br>no change since the baseline | 5.0 % to 15.0 %<br>-1.0 to +1.0 points "
        "| none<br>at most 2.0 points worse | 40 scored | a\\|b |"
    )


def test_a_gate_without_a_number_says_what_it_lacks() -> None:
    counts = Counts(n=1200, errors=1, missing=3)
    result = make_result(NOT_EVALUATED, blocks=True, estimate=None, counts=counts)
    assert lines(make_run([make_record()], gates=(result,)))[-1] == (
        "| **not evaluated, blocks** | **gate** | none |  |  | 1,200 scored, 1 error, 3 not run | reason of gate |"
    )


def test_every_state_is_counted_but_what_is_as_expected() -> None:
    skipped = make_record("s", response=None, skipped="never published")
    records = [make_record("a"), make_record("b", 0.5), make_record("c", None), error(), skipped, not_run()]
    counts = "6 cases, 2 scored, 1 error, 1 failing, 1 unscored, 1 skipped, 1 not run."
    assert lines(make_run(records))[-1] == counts
    assert lines(make_run())[-1] == "0 cases, 0 scored."
    assert lines(make_run([make_record(i) for i in range(1234)]))[-1] == "1,234 cases, 1,234 scored."


def test_a_note_is_a_quotation_of_one_line() -> None:
    assert lines(make_run([make_record()], notes=("The run\nwas *interrupted*.", "Second.")))[-4:] == [
        "", r"> The run was \*interrupted\*.", "", "> Second.",
    ]  # fmt: skip


def test_gates_beyond_the_limit_are_counted_and_those_that_block_are_not_among_them() -> None:
    gates = [make_result(name=f"fine{i}") for i in range(MAX_GATES + 1)] + [blocking("harm")]
    found = lines(make_run([make_record()], gates=tuple(gates)))
    rows = [line for line in found if line.startswith("| ")][2:]
    assert len(rows) == MAX_GATES
    assert rows[0].startswith("| **failed, blocks** | **harm** |")
    assert rows[-1].startswith(f"| passed | **fine{MAX_GATES - 2}** |")
    assert found[-2:] == ["", "2 more gates are in the run file."]
    assert "more gates" not in lines(make_run([make_record()], gates=tuple(gates[:MAX_GATES])))[-1]


def test_changes_are_counted_on_the_cases_that_both_runs_asked() -> None:
    before = [make_record("a"), make_record("b"), make_record("gone"), make_record("reworded", prompt="Other?")]
    now = [make_record("a", 1.0), make_record("b"), make_record("new", 1.0), make_record("reworded", 1.0)]
    start = "Since the baseline **scripted** of 2026-01-01"
    assert since(now, before) == f"{start}, on 2 cases: 1 became wrong."
    assert since(now[:1], before) == f"{start}, on 1 case: 1 became wrong."
    assert since(now[1:2], before) == f"{start}, on 1 case: no verdict changed."
    assert since(now, before, target="*old*", created="[x](y)") == (
        r"Since the baseline **\*old\*** of \[x\](y), on 2 cases: 1 became wrong."
    )


def test_a_long_text_is_cut_before_it_is_escaped() -> None:
    assert plain("*" * 1000) == r"\*" * MAX_TEXT


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("- x", r"\- x"),
        ("+ x", r"\+ x"),
        ("* x", r"\* x"),
        ("---", r"\---"),
        ("===", r"\==="),
        ("1. x", r"1\. x"),
        ("12) x", r"12\) x"),
        ("1.5 x - 2", "1.5 x - 2"),
        ("# x", r"\# x"),
        ("> x", "&gt; x"),
    ],
)
def test_the_start_of_a_line_starts_no_list_rule_heading_or_quotation(text: str, shown: str) -> None:
    assert plain(f" \n{text}") == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ask @octocat", "ask @<!-- -->octocat"),
        ("a.b@example.org", "a.b@<!-- -->example.org"),
        ("see o/r#12, GH-12", r"see o/r\#<!-- -->12, GH-<!-- -->12"),
        ("at https://example.org", "at https:<!-- -->//example.org"),
        ("mailto:a@b.c", "mailto:a@<!-- -->b.c"),
        ("WWW.example.org", "WWW<!-- -->.example.org"),
        (":+1: :heart_eyes:b:", r":<!-- -->+1: :<!-- -->heart\_eyes:<!-- -->b:"),
        ("10:00:00", "10:00:00"),
        ("$x$", "<span>$</span>x<span>$</span>"),
        ("<!-- -->", "&lt;!-- --&gt;"),
    ],
)
def test_what_github_links_after_the_escapes_are_gone_is_cut_in_two(text: str, shown: str) -> None:
    assert plain(text) == shown


def unescaped(shown: str) -> str:
    """What a reader sees."""
    return html.unescape(re.sub(r"<!-- -->|</?span>|\\(.)", r"\1", shown))


PARTS = st.sampled_from([*"\\`*_[]#|~:/w.<>&@$a1)-+= \n", "www.", "://", "GH-1", ":a_b:", "<!-- -->", "<span>"])


@given(st.text(max_size=60) | st.lists(PARTS).map("".join))
def test_a_reader_sees_the_text_as_it_was(text: str) -> None:
    shown = plain(text)
    assert "\n" not in shown
    assert unescaped(shown) == " ".join(visible(text).split())


@given(st.lists(PARTS).map("".join))
@example(":*//")
@example("www*.")
def test_every_character_with_a_meaning_is_escaped(text: str) -> None:
    shown = re.sub(r"<!-- -->|<span>\$</span>|\\.", "\N{BULLET}", plain(text))  # what stood apart must stay apart
    assert not set(shown) & set("\\`*_[]#|~<>$")
    assert not re.search(r"://|www\.|@(?!\N{BULLET})|GH-\d|:a.b:", shown)
    assert not re.match(r"[-+=]|\d+[.)]( |$)", shown)
