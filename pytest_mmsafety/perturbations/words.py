"""The words of a prompt, which a change can be restricted to."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pytest_mmsafety.perturbations.kinds import Parameters

CHINESE = "\u2f00-\u2fd5\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_INSIDE = "['’\u0300-\u036f\u200b]"
"""Belong to a word if a letter follows or stands before: accents that combine and spaces of no width stay in it."""
_WORD = re.compile(rf"[{CHINESE}]|(?:(?![{CHINESE}])[^\W_])+(?:{_INSIDE}+(?:(?![{CHINESE}])[^\W_])+)*[\u0300-\u036f]*")

Span = tuple[int, int]


def words_of(prompt: str) -> list[Span]:
    """Where each word begins and ends: a run of letters and digits, or one Chinese character."""
    return [match.span() for match in _WORD.finditer(prompt)]


def chosen(spans: Sequence[Span], told: Parameters) -> list[int]:
    """The indices of the words that a change was told to act upon, in order: all unless ``words`` says which."""
    words = told.get("words")
    if not isinstance(words, tuple):
        return list(range(len(spans)))
    return [index for index in sorted(set(words)) if index < len(spans)]
