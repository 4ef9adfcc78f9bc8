"""Where a model's thinking ends and its answer begins, by the marks that are in use.

A thought may be opened by the chat template, so that the text has only its end; it may never end, because the limit of
length came first; and it may be empty.
"""

from __future__ import annotations

import re
from typing import NamedTuple

THOUGHT_MARKS: tuple[tuple[str, str], ...] = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("<seed:think>", "</seed:think>"),
    ("◁think▷", "◁/think▷"),
    ("[THINK]", "[/THINK]"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|channel>thought", "<channel|>"),
)
"""Begin and end of a thought, as the templates and tokenizers of open models write them."""

ANSWER_MARKS: tuple[str, ...] = (
    "<|begin_of_box|>",
    "<|end_of_box|>",
    "<|begin_of_solution|>",
    "<|end_of_solution|>",
    "<|START_RESPONSE|>",
    "<|END_RESPONSE|>",
)
"""Marks around an answer, which are no part of it."""

_BEGINS = frozenset(begin.lower() for begin, _ in THOUGHT_MARKS)
_MARK = re.compile("|".join(re.escape(mark) for pair in THOUGHT_MARKS for mark in pair), re.IGNORECASE)
_AROUND = re.compile("|".join(map(re.escape, ANSWER_MARKS)))


class Parts(NamedTuple):
    """A text of a model, taken apart."""

    answer: str
    reasoning: str
    """Empty: the model did not think aloud."""
    finished: bool
    """Whether the last thought ended; if not, there is no answer."""


def split_reasoning(text: str, *, opened: bool = False) -> Parts:
    """Take thoughts out of *text*; *opened*: the prompt has begun one already.

    What stands before an end without a beginning is a thought too. A text whose last thought never ended has no
    answer. Nested thoughts are one.
    """
    if not opened and not _MARK.search(text):
        return Parts(_AROUND.sub("", text).strip() if _AROUND.search(text) else text, "", finished=True)
    answer: list[str] = []
    thoughts: list[str] = []
    depth, here = int(opened), 0
    for mark in _MARK.finditer(text):
        piece, here = text[here : mark.start()], mark.end()
        (thoughts if depth else answer).append(piece)
        if mark[0].lower() in _BEGINS:
            depth += 1
        elif depth:
            depth -= 1
        else:
            thoughts, answer = [*thoughts, *answer], []
    (thoughts if depth else answer).append(text[here:])
    reasoning = "\n".join(filter(None, map(str.strip, thoughts)))
    if depth:
        return Parts("", "\n".join(filter(None, (*map(str.strip, answer), reasoning))), finished=False)
    return Parts(_AROUND.sub("", "".join(answer)).strip(), reasoning, finished=True)


def opens_thought(prompt: str) -> bool:
    """Whether a rendered prompt ends in the beginning of a thought that the model is to continue."""
    marks = list(_MARK.finditer(prompt))
    return bool(marks) and marks[-1][0].lower() in _BEGINS and not prompt[marks[-1].end() :].strip()
