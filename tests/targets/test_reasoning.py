"""A thought is taken out of an answer by its marks, and one that never ended leaves no answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_mmsafety.targets.reasoning import ANSWER_MARKS, THOUGHT_MARKS, opens_thought, split_reasoning


@pytest.mark.parametrize(("begin", "end"), THOUGHT_MARKS)
def test_every_pair_of_marks_is_known(begin: str, end: str) -> None:
    assert split_reasoning(f"{begin}\nNo?\n{end}\n\nYes.") == ("Yes.", "No?", True)
    assert split_reasoning(f"No?\n{end}\nYes.") == ("Yes.", "No?", True), "the template began it"
    assert split_reasoning(f"{begin}No, since") == ("", "No, since", False), "it never ended"
    assert split_reasoning(f"{begin}\n\n{end}\n\n是的") == ("是的", "", True), "an empty one"


@pytest.mark.parametrize(
    ("text", "answer", "reasoning"),
    [
        ("Yes.", "Yes.", ""),
        ("  Yes. ", "  Yes. ", ""),
        ("", "", ""),
        ("<THINK>no</Think>Yes.", "Yes.", "no"),
        ("<think>a<think>b</think>c</think>Yes.", "Yes.", "a\nb\nc"),
        ("<think>a</think>Yes, <think>b</think>surely.", "Yes, surely.", "a\nb"),
        ("<think>a</think>Maybe. </think>Yes.", "Yes.", "a\nMaybe."),
        ("<think>a</think>", "", "a"),
        ("a < b > c think", "a < b > c think", ""),
        ("I think so. </thinker>", "I think so. </thinker>", ""),
    ],
)
def test_an_answer_is_what_stands_outside_of_thoughts(text: str, answer: str, reasoning: str) -> None:
    assert split_reasoning(text) == (answer, reasoning, True)


@pytest.mark.parametrize("text", ["Yes. <think>but", "<think>a</think>Yes.<think>", "<think>"])
def test_a_last_thought_without_an_end_leaves_no_answer(text: str) -> None:
    answer, _, finished = split_reasoning(text)
    assert (answer, finished) == ("", False)


def test_a_thought_that_the_prompt_began() -> None:
    assert split_reasoning("so far</think>Yes.", opened=True) == ("Yes.", "so far", True)
    assert split_reasoning("so far", opened=True) == ("", "so far", False)


def test_marks_around_an_answer_are_no_part_of_it() -> None:
    assert split_reasoning("<think>x</think><|begin_of_box|>B<|end_of_box|>") == ("B", "x", True)
    assert split_reasoning("<|begin_of_box|>B<|end_of_box|>").answer == "B"


@pytest.mark.parametrize(
    ("prompt", "opens"),
    [
        ("USER: hi ASSISTANT: <think>\n", True),
        ("USER: hi ASSISTANT:◁think▷", True),
        ("USER: hi ASSISTANT: <think>\n\n</think>\n\n", False),
        ("USER: what does <think> mean? ASSISTANT:", False),
        ("USER: hi ASSISTANT:", False),
    ],
)
def test_a_prompt_opens_a_thought_only_at_its_end(prompt: str, opens: bool) -> None:
    assert opens_thought(prompt) is opens


_PIECES = st.sampled_from(
    [*(mark for pair in THOUGHT_MARKS[:3] for mark in pair), *ANSWER_MARKS[:2], "Yes", " ", "否\n"]
)


@given(st.lists(_PIECES, max_size=12).map("".join))
def test_no_mark_is_left_and_an_answer_is_taken_apart_once(text: str) -> None:
    answer, reasoning, finished = split_reasoning(text)
    for part in (answer, reasoning):
        assert not any(mark in part for pair in THOUGHT_MARKS for mark in pair)
    if finished:
        assert split_reasoning(answer).answer.strip() == answer.strip()
    else:
        assert answer == ""
