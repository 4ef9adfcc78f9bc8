"""What a report says of two runs, of leaked cases, and in Markdown."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from report_builders import Read, blocking, error, page, picture

from pytest_mmsafety.gates import NOT_EVALUATED, Counts, Interval
from pytest_mmsafety.report.changes import MAX_FLIPS, kind_of
from pytest_mmsafety.report.markdown import markdown_summary, plain
from pytest_mmsafety.run import RunSettings
from pytest_mmsafety.testing import make_record, make_result, make_run
from pytest_mmsafety.verdicts import Verdict

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_mmsafety.run import Record, Run

HARM, HARMLESS = {"aspect": "vulnerability"}, {"aspect": "over-refusal"}


def scored(id_: str, score: float | None, tags: dict[str, str], **changes: Any) -> Record:
    return make_record(id_, score=score, tags=tags, response=f"answer of {id_} at {score}", **changes)


def two() -> tuple[Run, Run]:
    """A run and its baseline in which everything happens once."""
    turns = {
        "harm": (1.0, 0.0, HARM), "mended": (0.0, 1.0, HARM), "refused": (1.0, 0.0, HARMLESS),
        "answered": (0.0, 1.0, HARMLESS), "wrong": (1.0, 0.0, {}), "right": (0.0, 1.0, {}),
        "graver": (1.0, 1 / 3, HARM), "milder": (1 / 3, 1.0, HARM), "silent": (None, 0.0, HARM), "same": (1.0, 1.0, HARM),
        "spoke": (1.0, None, HARM),
    }  # fmt: skip
    now = [scored(id_, after, tags) for id_, (after, _, tags) in turns.items()]
    then = [scored(id_, before, tags) for id_, (_, before, tags) in turns.items()]
    asked = {"prompt": "something else"}
    return (
        make_run(
            [*now, scored("new", 1.0, HARM), scored("reworded", 1.0, HARM)],
            settings=RunSettings("scripted", {"temperature": "0"}),
        ),
        make_run(
            [*then, scored("gone", 0.0, HARM), scored("reworded", 0.0, HARM, **asked)], target="before", fingerprint=""
        ),
    )


def test_every_way_to_change_is_counted_and_the_turned_are_shown(tmp_path: Path) -> None:
    now, before = two()
    shown = page(now, tmp_path, baseline=before)
    changed = shown.html[shown.html.index('id="changes"') : shown.html.index('id="judges"')]
    text = Read(changed).text
    assert "On the 11 cases that both runs asked in the same words, 4 answers got worse and 4 better ." in text
    assert "1 case is new. 1 case of the baseline is not in this run. 1 case asked something else" in text
    heads = "Became unsafe Newly refused Became wrong Became safe Newly answered Became right Fails worse Fails less"
    assert f"Suite In both {heads} No longer scored All suites 11 1 1 1 1 1 1 1 1 1" in text
    assert "4 worse, 4 better" in shown.text
    for id_ in ("harm", "mended", "refused", "answered", "wrong", "right"):
        assert f"answer of {id_} at 0.0" in text
        assert f"answer of {id_} at 1.0" in text
    for id_ in ("graver", "silent", "same", "new", "reworded"):
        assert f"<bdi>{id_}</bdi>" not in changed
    assert "1 case with another prompt, image or expectation: demo/reworded" in text
    assert "model_args.temperature is 0, was not set" in text


def test_bad_turns_are_open_and_good_ones_folded(tmp_path: Path) -> None:
    shown = page(two()[0], tmp_path, baseline=two()[1])
    assert ["open" in details for details in shown.all("details", "turned")] == [True] * 3 + [False] * 3


def test_a_run_against_itself_shows_no_turn(tmp_path: Path) -> None:
    of = two()[0]
    shown = page(of, tmp_path, baseline=of)
    assert "0 answers got worse and 0 better" in shown.text
    assert "the same model asked again" in shown.text
    assert not shown.all("article", "turn")
    assert not shown.all("div", "note")


@pytest.mark.parametrize(("expected", "folded"), [("safe", True), ("refuse", True), ("comply", False), ("A", False)])
def test_turned_answers_that_may_do_harm_are_folded(tmp_path: Path, expected: str, *, folded: bool) -> None:
    now, before = (make_run([make_record(score=score, expected=expected)]) for score in (1.0, 0.0))
    changed = page(now, tmp_path, baseline=before).html.partition('id="changes"')[2].partition('id="judges"')[0]
    assert ('<details class="answer">' in changed) is folded


def test_at_most_so_many_turns_are_shown_and_no_kind_is_crowded_out(tmp_path: Path) -> None:
    def many(score: float) -> Run:
        harm = [make_record(f"h{i}", score=score, tags=HARM) for i in range(300)]
        return make_run([*harm, *(make_record(f"r{i}", score=1 - score, tags=HARM) for i in range(20))])

    shown = page(many(1.0), tmp_path, baseline=many(0.0))
    assert len(shown.all("article", "turn")) == MAX_FLIPS
    assert "60 of 320 cases whose verdict turned are shown; all are in the run files." in shown.text
    assert "300 cases, 56 shown" in shown.text
    assert "20 cases, 4 shown" in shown.text


def test_images_of_turned_cases_are_blurred_and_embedded_once(tmp_path: Path) -> None:
    image, paths = picture(tmp_path / "a.png")
    now, before = (make_run([make_record(score=score, images=(image,))]) for score in (1.0, 0.0))
    shown = page(now, tmp_path, paths, baseline=before)
    assert len(shown.all("span", "p0")) == 2
    assert shown.html.count("data:image/webp") == 1
    assert ".pic { display: block" in shown.html


def test_a_verdict_that_turned_on_the_same_answer_says_so(tmp_path: Path) -> None:
    now, before = (
        make_run([make_record(verdicts=(Verdict(judge, "x", score),))]) for judge, score in (("a/2", 1.0), ("a/1", 0.0))
    )
    shown = page(now, tmp_path, baseline=before)
    assert "same answer, other verdict" in shown.text
    assert "judged by a/2, was a/1" in shown.text


def test_what_was_never_answered_never_turned() -> None:
    assert kind_of(error(), error()) is None
    assert kind_of(make_record(score=1.0), error()) is None


# --- leaks


def test_numbers_stand_with_and_without_leaked_cases(tmp_path: Path) -> None:
    bad = [make_record(f"bad{i}", score=1.0, tags=HARM) for i in range(20)]
    good = [make_record(f"good{i}", score=0.0, tags=HARM) for i in range(60)]
    result = make_result(
        name="harm",
        metric="attack_success_rate",
        max=0.5,
        estimate=Interval(0.25, 0.1, 0.4),
        counts=Counts(n=80, clusters=80),
    )
    of = make_run([*bad, *good], gates=(result,))
    shown = page(of, tmp_path, leaked={*(each.key for each in good), "other/one"})
    text = shown.text[shown.text.index("Cases found in training data") :]
    assert "60 of 80 cases of this run were found in training data: demo 60 of 80." in text
    for words in ("demo attack success rate 25.0 %", "of 80 100 %", "of 20 0 %", "of 60"):
        assert words in text
    assert "harm another verdict passed 25.0 % 10.0 % to 40.0 % of 80 failed 100 %" in text
    assert "in training data" in shown.html.partition('id="cases"')[2]


def test_a_gate_without_its_baseline_is_not_judged_again(tmp_path: Path) -> None:
    records = [make_record(str(i), score=float(i < 2)) for i in range(9)]
    of = make_run(records, gates=(make_result(name="harm", max_regression=0.1),))
    text = page(of, tmp_path, leaked={records[0].key}).text
    assert "1 gate is not judged again" in text
    assert "Gates that rest on leaked cases" not in text
    assert "Gates that rest on leaked cases" in page(of, tmp_path, leaked={records[0].key}, baseline=of).text


def test_no_leak_is_said_and_nobody_looked_says_nothing(tmp_path: Path) -> None:
    assert (
        "None of the 1 listed key is a case of this run."
        in page(make_run([make_record()]), tmp_path, leaked={"a/b"}).text
    )
    assert "training data" not in page(make_run([make_record()]), tmp_path).text


# --- Markdown


def test_markdown_says_the_verdict_first_and_blocking_gates_on_top() -> None:
    now, before = two()
    of = replace(
        now,
        gates=(
            make_result(name="fine"),
            blocking("harm"),
            make_result(NOT_EVALUATED, name="late", estimate=None, counts=Counts()),
        ),
    )
    lines = markdown_summary(of, before).splitlines()
    assert lines[0] == "## Blocked by 1 of 3 gates"
    rows = [line for line in lines if line.startswith("| ")][2:]
    assert rows[0].startswith("| **failed, blocks** | **harm** | 40.0\N{NO-BREAK SPACE}% failure rate |")
    assert rows[1].startswith("| not evaluated | **late** | none |")
    assert rows[2].startswith("| passed | **fine** |")
    assert "13 cases, 12 scored, 9 failing, 1 unscored." in lines
    assert lines[-1].endswith(
        "on 11 cases: 1 became unsafe, 1 newly refused, 1 became wrong, 1 became safe, 1 newly answered, "
        "1 became right, 1 fails worse, 1 fails less, 1 no longer scored."
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a|b\nc", r"a\|b c"),
        ("<img src=x>&", "&lt;img src=x&gt;&amp;"),
        ("[x](http://y.z) ![](a) www.y.z", r"\[x\](http:<!-- -->//y.z) !\[\](a) www<!-- -->.y.z"),
        ("`a` *b* _c_ ~d~ :tada:", r"\`a\` \*b\* \_c\_ \~d\~ :<!-- -->tada:"),
        ("5.6% [1.0%, 2.0%]: above", r"5.6% \[1.0%, 2.0%\]: above"),
        ("a\u202eb", "a⟨U+202E⟩b"),
    ],
)
def test_text_cannot_become_markup(text: str, expected: str) -> None:
    assert plain(text) == expected
