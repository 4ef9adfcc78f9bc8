"""Lettered options, whose texts change places."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

from pytest_mmsafety.perturbations.kinds import Asked, Parameters

#: "A. cat", "(A) cat", "A、猫", one on each line.
_LINE = re.compile(
    r"^[^\S\n]*[(（\[【]?(?P<letter>[A-H])(?:[)）\]】]|[.:、,．：，][)）]?)[^\S\n]*(?P<text>\S.*)$", re.MULTILINE
)
#: The same in a sentence. A comma marks no label there, and a full stop only before a space.
_INLINE = re.compile(
    r"(?<![0-9A-Za-z'’])(?:[(（\[【](?P<a>[A-H])[)）\]】]|(?P<b>[A-H])(?:[)）:：、．]|\.(?=\s)))[^\S\n]*"
)
_SEPARATOR = re.compile(r"[\s,;，；、/]*(?:\b(?:or|and)|或者?|还是|和)?[^\S\n]*$")
_SENTENCE_END = re.compile(r"[?？。！!；;\n\r]|\.(?!\w)")
#: Words that point at other options by letter or by place: such options cannot change places.
_POINTS = re.compile(
    r"(?<=.)(?<![A-Za-z])[A-H](?![A-Za-z])|\b(?:all|both|none|neither) of\b|\babove\b|\bbelow\b"
    r"|以上|上述|以下|前[者两]|都[是对]"
)


class _Option(NamedTuple):
    letter: str
    start: int
    end: int


def swap_positions(asked: Asked, _strength: float, told: Parameters) -> Asked:
    """Move the texts of the options ``by`` letters on, and the expected letter with its text.

    Nothing changes where no letter is expected, the options cannot be told apart, or one points at another.
    """
    spans = _options(asked.prompt)
    letters = [option.letter for option in spans]
    texts = [asked.prompt[option.start : option.end] for option in spans]
    by = told["by"]
    if asked.expected not in letters or not isinstance(by, int) or not by % len(letters):
        return asked
    if len({text.casefold() for text in texts}) < len(texts) or any(_POINTS.search(text) for text in texts):
        return asked
    moved = texts[-(by % len(texts)) :] + texts[: -(by % len(texts))]
    parts, at = [], 0
    for option, text in zip(spans, moved, strict=True):
        parts += [asked.prompt[at : option.start], text]
        at = option.end
    expected = letters[(letters.index(asked.expected) + by) % len(letters)]
    return replace(asked, prompt="".join([*parts, asked.prompt[at:]]), expected=expected)


def _options(prompt: str) -> list[_Option]:
    """The options, A first, each letter once; none where the prompt has no clear list of them."""
    for found in (_on_lines(prompt), _in_sentence(prompt)):
        letters = "".join(option.letter for option in found)
        if len(letters) > 1 and "ABCDEFGH".startswith(letters) and all(start < end for _, start, end in found):
            return found
    return []


def _on_lines(prompt: str) -> list[_Option]:
    found = list(_LINE.finditer(prompt))
    if any(prompt[one.end() : other.start()].strip() for one, other in pairwise(found)):
        return []
    return [_Option(match["letter"], match.start("text"), len(prompt[: match.end()].rstrip())) for match in found]


def _in_sentence(prompt: str) -> list[_Option]:
    labels = list(_INLINE.finditer(prompt))
    if not labels or "\n" in prompt[labels[0].start() : labels[-1].start()]:
        return []
    following = [*(label.start() for label in labels), len(prompt)][1:]
    found = []
    for label, limit in zip(labels, following, strict=True):
        end = limit
        if stop := _SENTENCE_END.search(prompt, label.end(), limit):
            end = stop.start()
        text = prompt[label.end() : end]
        kept = _SEPARATOR.sub("", text) if end == limit and limit < len(prompt) else text.rstrip()
        found.append(_Option(label["a"] or label["b"], label.end(), label.end() + len(kept)))
    return found
