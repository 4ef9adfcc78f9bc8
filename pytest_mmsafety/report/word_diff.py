"""What a change did to a prompt, word by word."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import groupby
from typing import Literal

from pytest_mmsafety.perturbations.words import CHINESE

AROUND = 160
"""Characters of what stayed the same that are shown beside a change."""
MAX_CHANGED = 1_000
"""Characters of one changed stretch."""
MAX_WORDS = 600
"""Beyond, what lies between the first and the last change is one change."""
MAX_PIECES = 400

_TOKEN = re.compile(rf"\s+|[{CHINESE}]|(?:(?![{CHINESE}])\w)+|.", re.DOTALL)
Kind = Literal["same", "changed"]
_Run = tuple[Kind, Sequence[str], Sequence[str]]
"""Words before, and after."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a text."""

    kind: Kind
    text: str
    left_out: int = 0
    """Characters that are not shown, in the middle of what stayed the same, or at the end of a change."""
    rest: str = ""
    """What follows those."""


@dataclass(frozen=True, slots=True)
class Diff:
    """The two texts, the changed stretches of each marked."""

    before: tuple[Piece, ...]
    after: tuple[Piece, ...]


def word_diff(before: str, after: str) -> Diff:
    """Mark what was taken out of *before*, and what was put into *after*."""
    runs = list(_joined(_runs(_TOKEN.findall(before), _TOKEN.findall(after))))
    sides = []
    for side in (1, 2):
        texts = [(kind, "".join(words)) for kind, *both in runs if (words := both[side - 1])]
        pieces = [_piece(kind, text, first=not i, last=i == len(texts) - 1) for i, (kind, text) in enumerate(texts)]
        sides.append(tuple(pieces[:MAX_PIECES]))
    return Diff(*sides)


def _runs(a: Sequence[str], b: Sequence[str]) -> Iterator[_Run]:
    """Stretches in order. Both ends are compared first: most changes only put something around the prompt."""
    head = _alike(a, b)
    tail = _alike(a[head:][::-1], b[head:][::-1])
    if head:
        yield "same", a[:head], b[:head]
    one, other = a[head : len(a) - tail], b[head : len(b) - tail]
    if max(len(one), len(other)) > MAX_WORDS:
        yield "changed", one, other
    else:
        for tag, i, j, k, m in SequenceMatcher(None, one, other, autojunk=False).get_opcodes():
            yield "same" if tag == "equal" else "changed", one[i:j], other[k:m]
    if tail:
        yield "same", a[len(a) - tail :], b[len(b) - tail :]


def _alike(a: Sequence[str], b: Sequence[str]) -> int:
    """Words with which both begin."""
    return next((i for i, (one, other) in enumerate(zip(a, b, strict=False)) if one != other), min(len(a), len(b)))


def _joined(runs: Iterable[_Run]) -> Iterator[_Run]:
    """Changes with nothing but spaces between them are one change."""
    listed = list(runs)
    inner = range(1, len(listed) - 1)
    loose = {i for i in inner if listed[i][0] == "same" and not "".join(listed[i][1]).strip()}
    for changed, group in groupby(enumerate(listed), lambda pair: pair[0] in loose or pair[1][0] == "changed"):
        parts = [run for _, run in group]
        before, after = ([word for part in parts for word in part[side]] for side in (1, 2))
        yield "changed" if changed else "same", before, after


def _piece(kind: Kind, text: str, *, first: bool, last: bool) -> Piece:
    if kind == "changed":
        return Piece(kind, text[:MAX_CHANGED], max(0, len(text) - MAX_CHANGED))
    head, tail = 0 if first and not last else AROUND, 0 if last and not first else AROUND
    if len(text) <= head + tail + AROUND:
        return Piece(kind, text)
    return Piece(kind, text[:head], len(text) - head - tail, text[len(text) - tail :] if tail else "")
