"""Which cases the page shows, in what order, and what a card says of one."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_builders import blocking, error, not_run

from pytest_mmsafety.report.cards import (
    MAX_CARDS,
    MAX_ERRORS,
    MAX_IMAGES,
    MAX_REASON,
    MAX_TEXT,
    RESERVED,
    Card,
    anchor_of,
    choose,
    in_words,
    language_of,
    make_card,
)
from pytest_mmsafety.report.facets import Facets
from pytest_mmsafety.report.states import state_of
from pytest_mmsafety.report.text import Clip
from pytest_mmsafety.report.thumbnails import Gallery
from pytest_mmsafety.run import ImageRef, Record
from pytest_mmsafety.testing import make_record, make_result, make_verdict


def card(**changes: Any) -> Card:
    return make_card(make_record(**changes), Facets(()), Gallery({}))


def ids(records: list[Record]) -> list[str]:
    return [record.id for record in records]


def errors(size: int) -> list[Record]:
    return [error(f"e{i}") for i in range(size)]


def failing(size: int, name: str = "f", score: float = 1.0, **changes: Any) -> list[Record]:
    return [make_record(f"{name}{i}", score, **changes) for i in range(size)]


def test_cases_are_shown_worst_first_and_alike_ones_as_they_came() -> None:
    records = [
        not_run("late"), make_record("good"), make_record("b", 0.5), make_record("skip", response=None, skipped="gone"),
        make_record("odd", None), make_record("a", 0.5), make_record("grave", 1.0), error("broken"), make_record("fine"),
    ]  # fmt: skip
    assert ids(choose(records)) == ["broken", "grave", "b", "a", "odd", "good", "fine", "skip", "late"]


def test_errors_take_the_room_that_nothing_else_needs() -> None:
    def shown(errors_: int, others: int) -> int:
        return sum(state_of(record) == "error" for record in choose([*errors(errors_), *failing(others)]))

    assert shown(400, 100) == 400, "everything has room"
    assert shown(400, 101) == 399
    assert shown(400, 390) == 110
    assert shown(400, 1000) == MAX_ERRORS


def test_of_too_many_failing_cases_the_gravest_and_earliest_are_shown() -> None:
    records = [*failing(200, "mild", 0.2), *failing(400, "grave")]
    chosen = choose(records)
    assert ids(chosen[:400]) == [f"grave{i}" for i in range(400)]
    assert ids(chosen[400:]) == [f"mild{i}" for i in range(MAX_CARDS - 400)]


def test_only_a_gate_that_blocks_has_a_part_of_the_page() -> None:
    records = [*failing(600), *(make_record(f"g{i}", tags={"language": "zh"}) for i in range(20))]
    where = {"language": ("zh",)}
    assert not any(record.tags for record in choose(records, [make_result(where=where)]))
    assert sum(bool(record.tags) for record in choose(records, [make_result("failed", blocks=True, where=where)])) == 20


def test_half_of_a_gates_part_is_failing_and_half_unscored() -> None:
    tags = {"language": "zh"}
    records = [*failing(600), *failing(200, "z", 0.1, tags=tags), *failing(200, "u", tags=tags, verdicts=())]
    chosen = choose(records, [make_result("failed", blocks=True, where={"language": ("zh",)})])
    of_gate = [state_of(record) for record in chosen if record.tags]
    assert (of_gate.count("failing"), of_gate.count("unscored")) == (125, 125)
    assert len(chosen) == MAX_CARDS


@pytest.mark.parametrize(("bad", "odd"), [(300, 0), (0, 300), (200, 20), (20, 200)])
def test_a_gate_fills_its_part_with_whatever_it_has(bad: int, odd: int) -> None:
    tags = {"language": "zh"}
    records = [*failing(600), *failing(bad, "z", 0.1, tags=tags), *failing(odd, "u", tags=tags, verdicts=())]
    chosen = choose(records, [make_result("failed", blocks=True, where={"language": ("zh",)})])
    assert sum(bool(record.tags) for record in chosen) == min(RESERVED, bad + odd)


def test_a_gate_that_applies_to_nothing_takes_no_room() -> None:
    gates = [make_result("failed", blocks=True, where={"language": ("nowhere",)}), blocking()]
    records = failing(MAX_CARDS + 1)
    assert choose(records, gates) == records[:MAX_CARDS]


@settings(max_examples=20)
@given(st.integers(0, 300), st.integers(0, 300), st.integers(0, 300))
def test_the_page_is_filled_and_never_overfull(errors_: int, bad: int, good: int) -> None:
    records = [*errors(errors_), *failing(bad), *failing(good, "g", 0.0)]
    chosen = choose(records, [blocking()])
    assert len(chosen) == min(len(records), MAX_CARDS)
    assert len(set(ids(chosen))) == len(chosen)


@pytest.mark.parametrize(
    ("expected", "words"),
    [
        ("yes", "the answer begins with yes"),
        ("no", "the answer begins with no"),
        ("comply", "the model helps; a refusal is an over-refusal"),
        ("A", "option A is the right one"),
        ("H", "option H is the right one"),
        ("I", "I"),
        ("AB", "AB"),
        ("b", "b"),
        ("", ""),
    ],
)
def test_what_is_expected_is_put_into_words(expected: str, words: str) -> None:
    assert in_words(expected) == words


@pytest.mark.parametrize("tag", ["en", "zh", "zh-Hant", "yue", "pt-BR", "sr-Latn-RS"])
def test_the_code_of_a_language_is_its_language(tag: str) -> None:
    assert language_of(make_record(tags={"language": tag})) == tag


@pytest.mark.parametrize("tag", ["", "English", "EN", "e", "zh_CN", "zh-", "en x", 'en"', "zh-x", "en\n"])
def test_any_other_word_is_no_language(tag: str) -> None:
    assert not language_of(make_record(tags={"language": tag}))
    assert not language_of(make_record(tags={"other": "en"}))


@given(st.text(), st.text())
def test_an_anchor_is_plain_and_of_one_case_only(one: str, other: str) -> None:
    first, second = (anchor_of(make_record(key=key), "case") for key in (one, other))
    assert re.fullmatch("case-[0-9a-f]{12}", first)
    assert (first == second) is (one == other)
    assert anchor_of(make_record(key=one), "turn") == first.replace("case", "turn")


def test_a_key_that_is_no_text_has_an_anchor_too() -> None:
    assert anchor_of(make_record(key="demo/\ud800"), "case") != anchor_of(make_record(key="demo/\ud801"), "case")


def test_a_card_says_what_was_asked_expected_answered_and_judged() -> None:
    verdicts = (make_verdict(1 / 3, reason="why"), make_verdict(None, "other/2", label="unsure"))
    found = card(score=1.0, tags={"zoom": "1", "language": "zh"}, verdicts=verdicts, expected="no")
    assert (found.state, found.facets, found.expected, found.language) == (
        "failing", "s1 t0 t1 t2", "the answer begins with no", "zh",
    )  # fmt: skip
    assert found.tags == (("language", "zh"), ("zoom", "1"))
    assert found.prompt == Clip("Question 1?", 11)
    assert found.response == Clip("An answer.", 10)
    assert found.trouble is None
    assert [(each.judge, each.label, each.score, each.reason.shown) for each in found.judgements] == [
        ("yes-no/1", "failing", "0.333", "why"), ("other/2", "unsure", "no score", ""),
    ]  # fmt: skip


def test_a_card_without_an_answer_says_why() -> None:
    skipped = card(response=None, skipped="never published")
    assert (skipped.response, skipped.trouble, skipped.judgements) == (None, Clip("never published", 15), ())
    both = card(response=None, error="the server went away", skipped="never published")
    assert both.trouble == Clip("the server went away", 20)
    assert card(response="").response == Clip("", 0), "an empty answer is an answer"


def test_every_text_of_a_card_is_clipped() -> None:
    verdict = make_verdict(1.0, reason="r" * 1000)
    found = card(prompt="p" * 5000, response="a" * 5000, verdicts=(verdict,), error="e" * 5000)
    assert found.prompt == Clip("p" * MAX_TEXT, 5000)
    assert found.response == Clip("a" * MAX_TEXT, 5000)
    assert found.trouble == Clip("e" * MAX_TEXT, 5000)
    assert found.judgements[0].reason == Clip("r" * MAX_REASON, 1000)


@pytest.mark.parametrize(("size", "shown", "more"), [(0, 0, 0), (MAX_IMAGES, MAX_IMAGES, 0), (20, MAX_IMAGES, 8)])
def test_images_beyond_the_limit_are_only_counted(size: int, shown: int, more: int) -> None:
    found = card(images=tuple(ImageRef(f"{i}.png", f"{i:x}") for i in range(size)))
    assert [image.name for image in found.images] == [f"{i}.png" for i in range(shown)]
    assert found.more_images == more


@pytest.mark.parametrize(
    ("changes", "folded"),
    [
        ({"score": 1.0}, True),
        ({"score": None}, True),
        ({"error": "broken"}, True),
        ({"score": 0.0}, False),
        ({"score": 1.0, "skipped": "left out"}, False),
    ],
)
def test_an_answer_is_folded_unless_it_is_known_to_be_harmless(changes: dict[str, Any], *, folded: bool) -> None:
    assert card(expected="safe", **changes).folded is folded
    assert card(expected="refuse", **changes).folded is folded
    assert card(expected="yes", **changes).folded is False
