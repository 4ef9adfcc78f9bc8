"""What targets may give back: text or a Response; thoughts are kept and never judged."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from pytest_mmsafety.cases import Response
from pytest_mmsafety.engine.engine import Engine
from pytest_mmsafety.judges.panel import Panel
from pytest_mmsafety.outcomes import Outcome
from pytest_mmsafety.store import Store
from pytest_mmsafety.targets import Request
from pytest_mmsafety.testing import ScriptedJudge, ScriptedTarget, make_case


def asked(
    answer: Any, *, store: Path | None = None, judge: ScriptedJudge | None = None, count: int = 1
) -> list[Outcome]:
    """The outcomes of *count* cases, of a target that gives *answer* for each."""
    target = ScriptedTarget(lambda requests: [answer] * len(requests))
    return of_target(target, store=store, judge=judge, count=count)


def of_target(
    target: Any, *, store: Path | None = None, judge: ScriptedJudge | None = None, count: int = 1
) -> list[Outcome]:
    engine = Engine(lambda: target, Panel([judge] if judge else []), Store(store), 4)
    cases = [make_case(i) for i in range(count)]
    try:
        engine.submit(cases)
        return engine.collect(cases, lambda: None, 0.05)
    finally:
        engine.close()


def test_a_judge_sees_the_answer_and_never_the_thought() -> None:
    judge = ScriptedJudge()
    (outcome,) = asked("<think>No, or is it?</think>Yes.", judge=judge)
    assert [response for _, response in judge.judged] == ["Yes."]
    assert (outcome.response, outcome.reasoning) == ("Yes.", "No, or is it?")


def test_a_thought_that_never_ended_is_unscored_and_no_judge_is_asked() -> None:
    judge = ScriptedJudge()
    (outcome,) = asked("<think>No, or", judge=judge)
    assert judge.judged == []
    assert (outcome.response, outcome.reasoning, outcome.end) == ("", "No, or", "thinking")
    assert [(verdict.label, verdict.score) for verdict in outcome.verdicts] == [("cut-off", None)]


def test_a_response_keeps_why_it_ended_and_what_it_cost() -> None:
    (outcome,) = asked(Response("Yes.", "Hm.", "length", prompt_tokens=12, answer_tokens=34))
    assert (outcome.response, outcome.reasoning, outcome.end) == ("Yes.", "Hm.", "length")
    assert (outcome.prompt_tokens, outcome.answer_tokens) == (12, 34)


def test_thoughts_in_the_answer_of_a_response_join_its_reasoning() -> None:
    (outcome,) = asked(Response("<think>b</think>Yes.", "a"))
    assert (outcome.response, outcome.reasoning) == ("Yes.", "a\nb")


def test_a_response_that_says_it_was_still_thinking_has_no_answer() -> None:
    (outcome,) = asked(Response("Yes", "a", "thinking"))
    assert (outcome.response, outcome.end) == ("", "thinking")


def test_everything_comes_back_from_the_store(tmp_path: Path) -> None:
    response = Response("Yes.", "Hm.", "length", 12, 34, "<user>Is it?<assistant>")
    (first,) = asked(response, store=tmp_path / "s")
    (again,) = asked(Response("never asked"), store=tmp_path / "s")
    assert again.stored
    for name in ("response", "reasoning", "end", "prompt_tokens", "answer_tokens", "rendered", "answered", "verdicts"):
        assert getattr(again, name) == getattr(first, name)


def test_an_answer_that_was_stored_with_its_thought_is_taken_apart(tmp_path: Path) -> None:
    asked("Yes.", store=tmp_path / "s")
    with sqlite3.connect(tmp_path / "s") as database:  # as it was kept before thoughts were known
        for column in ("reasoning", "ended", "prompt_tokens", "answer_tokens", "rendered", "checksum"):
            database.execute(f"ALTER TABLE responses DROP COLUMN {column}")
        database.execute("UPDATE responses SET response = '<think>No.</think>Yes.'")
    database.close()
    (outcome,) = asked("never asked", store=tmp_path / "s")
    assert (outcome.response, outcome.reasoning, outcome.stored) == ("Yes.", "No.", True)


@pytest.mark.parametrize("change", ["response = 'No.'", "ended = 'stop'", "response = X'00ff'", "checksum = ''"])
def test_an_answer_that_another_program_changed_is_asked_anew(tmp_path: Path, change: str) -> None:
    asked("Yes.", store=tmp_path / "s")
    with sqlite3.connect(tmp_path / "s") as database:
        database.execute(f"UPDATE responses SET {change}")
    database.close()
    (outcome,) = asked("Asked anew.", store=tmp_path / "s")
    assert (outcome.response, outcome.stored) == ("Asked anew.", False)


class Raw:
    """A target that gives back what it likes for the whole batch."""

    name = fingerprint = "raw"

    def __init__(self, answers: Any) -> None:
        self._answers = answers

    def generate(self, requests: Sequence[Request]) -> Any:
        return self._answers(requests)


def endless(_: Sequence[Request]) -> Iterator[str]:
    while True:
        yield "yes"


@pytest.mark.parametrize(
    ("answers", "error"),
    [
        (lambda requests: {r.prompt: "yes" for r in requests}, "a dict; expected a list"),
        (lambda requests: {r.prompt for r in requests}, "a set; expected a list"),
        (lambda _: b"yes", "a bytes; expected a list"),
        (lambda _: "yes", "one string; expected a list"),
        (endless, "more than 1 answers to 1 requests"),
        (lambda _: [Response(b"yes")], "expected strings for answer and reasoning"),  # type: ignore[arg-type]
        (lambda _: [3], "expected a string or a Response"),
    ],
)
def test_what_is_no_list_of_answers_is_an_error(answers: Any, error: str) -> None:
    (outcome,) = of_target(Raw(answers))
    assert error in outcome.error
    assert outcome.response is None
