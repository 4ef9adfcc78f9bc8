"""Changes of single letters.

Each finds the places in the chosen words where it could act and takes a share of them, as large as the strength and
at least one, in an order that only the words decide. So a weaker change is a part of a stronger one. A capital A to H
that stands alone is never touched, because it may name an option.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from hashlib import blake2b
from typing import NamedTuple

from pytest_mmsafety.perturbations.kinds import Asked, Parameters, Rewrite
from pytest_mmsafety.perturbations.words import CHINESE, Span, chosen, words_of


class Place(NamedTuple):
    """What stands where, and what it would become."""

    start: int
    end: int
    text: str


Finder = Callable[[str, Span, Parameters], Iterator[Place]]
"""The places of one word of a prompt; none overlaps another."""

_CHINESE = re.compile(f"[{CHINESE}]")

MARKS = {"comma": ",", "full-stop": ".", "hyphen": "-", "asterisk": "*"}
ACCENTS = {"acute": "\u0301", "grave": "\u0300", "diaeresis": "\u0308", "tilde": "\u0303"}

_DIGITS = dict(zip("abegiostzABEGIOSTZ", "483910572" * 2, strict=True))
#: Letters of other alphabets that look like Latin ones: Cyrillic, Armenian for n and u, Latin script g.
_LATIN_LOOKALIKES = dict(
    zip(
        "acdeghijlnopqsuvwxyABCEHIJKMOPSTXY",
        "\u0430\u0441\u0501\u0435\u0261\u04bb\u0456\u0458\u04cf\u0578\u043e\u0440\u051b\u0455\u057d\u0475\u051d\u0445\u0443"
        "\u0410\u0412\u0421\u0415\u041d\u0406\u0408\u041a\u041c\u041e\u0420\u0405\u0422\u0425\u04ae",
        strict=True,
    )
)


def change_letters(find: Finder) -> Rewrite:
    """The change that acts at the places that *find* names."""

    def rewrite(asked: Asked, strength: float, told: Parameters) -> Asked:
        places = _places(asked.prompt, find, told)
        share = max(1, round(strength * len(places)))
        return replace(asked, prompt=_changed(asked.prompt, places[:share]))

    return rewrite


def _places(prompt: str, find: Finder, told: Parameters) -> list[Place]:
    """All places, in the order in which they are changed."""
    spans, ranked = words_of(prompt), []
    for index in chosen(spans, told):
        start, end = spans[index]
        word = prompt[start:end]
        if len(word) == 1 and "A" <= word <= "H":
            continue
        of_word = blake2b(f"{index} {word} ".encode(errors="surrogatepass"), digest_size=8)
        for place in find(prompt, spans[index], told):
            rank = of_word.copy()
            rank.update(str(place.start - start).encode())
            ranked.append((rank.digest(), place))
    return [place for _, place in sorted(ranked)]


def _changed(prompt: str, places: list[Place]) -> str:
    parts, at = [], 0
    for place in sorted(places):
        parts += [prompt[at : place.start], place.text]
        at = place.end
    return "".join([*parts, prompt[at:]])


# --- finders


def lookalikes(prompt: str, word: Span, _told: Parameters) -> Iterator[Place]:
    """Latin letters, and those Chinese characters that Unicode has twice (as a radical, or for compatibility)."""
    known = _lookalikes()
    yield from (Place(at, at + 1, known[prompt[at]]) for at in range(*word) if prompt[at] in known)


@cache
def _lookalikes() -> dict[str, str]:
    twins = dict(_LATIN_LOOKALIKES)
    for code in (*range(0xF900, 0xFA6E), *range(0x2F00, 0x2FD6)):
        plain = unicodedata.normalize("NFKC", chr(code))
        if plain != chr(code):
            twins[plain] = chr(code)
    return twins


def capitals(prompt: str, word: Span, _told: Parameters) -> Iterator[Place]:
    for at in range(*word):
        letter = prompt[at]
        if letter.islower() and len(letter.upper()) == 1 and letter.upper() != letter:
            yield Place(at, at + 1, letter.upper())


def gaps(mark: Callable[[Parameters], str]) -> Finder:
    """Put *mark* between two letters of a word, or between a Chinese character and the next."""

    def find(prompt: str, word: Span, told: Parameters) -> Iterator[Place]:
        start, end = word
        for at in range(start + 1, end + 1):
            inside = at < end and prompt[at].isalnum() and prompt[at - 1].isalnum()
            between = at == end < len(prompt) and _is_chinese(prompt[at]) and _is_chinese(prompt[at - 1])
            if inside or between:
                yield Place(at, at, mark(told))

    return find


def digits(prompt: str, word: Span, _told: Parameters) -> Iterator[Place]:
    yield from (Place(at, at + 1, _DIGITS[prompt[at]]) for at in range(*word) if prompt[at] in _DIGITS)


def accents(prompt: str, word: Span, told: Parameters) -> Iterator[Place]:
    accent = ACCENTS[str(told["accent"])]
    for at in range(*word):
        if prompt[at].isascii() and prompt[at].isalpha():
            yield Place(at, at + 1, unicodedata.normalize("NFC", prompt[at] + accent))


def swaps(prompt: str, word: Span, _told: Parameters) -> Iterator[Place]:
    """Two letters inside a word, neither its first nor its last."""
    start, end = word
    at = start + 1
    while at + 2 < end:
        first, second = prompt[at], prompt[at + 1]
        if first != second and first.isalpha() and second.isalpha():
            yield Place(at, at + 2, second + first)
            at += 1
        at += 1


def _is_chinese(letter: str) -> bool:
    return _CHINESE.match(letter) is not None
