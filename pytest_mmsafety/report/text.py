"""Text from outside, made safe to look at; numbers, made safe to compare by eye."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

_BLANK = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0"
    "\U00013441\U00013442\U00016fe4\U0001d159\U000e0100-\U000e01ef]"
)
"""What Unicode calls a letter, mark or symbol, though nothing is seen of it: fillers and variation selectors."""
_EMOJI = "[\U0001f000-\U0001faff\u2190-\u21ff\u2300-\u23ff\u25a0-\u27bf\u2900-\u297f\u2b00-\u2bff©®‼⁉™ℹⓂ〰〽㊗㊙]"
_FLAGS = "|".join(
    "".join(chr(0xE0000 + ord(letter)) for letter in region) + "\U000e007f" for region in ("gbeng", "gbsct", "gbwls")
)
"""The tags after a black flag that make it one of England, Scotland or Wales."""
_ONE_EMOJI = f"(?:\U0001f3f4(?:{_FLAGS})|{_EMOJI}\ufe0f?)"
_JOINED = "[\u0600-\u06ff\u0750-\u077f\u0900-\u0dff]"
"""Letters of Arabic, Persian and the scripts of India."""
_NOT_PLAIN = re.compile(
    f"{_ONE_EMOJI}(?:\u200d?{_ONE_EMOJI})*|[#*0-9]\ufe0f\u20e3|{_JOINED}+(?:[\u200c\u200d]{_JOINED}+)*"
    "|[^\t\n -~\u00c0-\u024f\u0400-\u0481\u3001-\u303f\u3041-\u3096\u30a0-\u30ff\u4e00-\u9fff\uac00-\ud7a3]"
)
"""An emoji, a word of such letters, or any character but those that most texts are written with."""
_SPELLING = re.compile(f"[\u200c\u200d\ufe0f]|{_FLAGS}")
"""Unseen, but emoji and words are spelled with it."""


def visible(text: str) -> str:
    """Write out every unseen character, and all that would reorder the text: U+202E becomes ``⟨U+202E⟩``.

    Joiners and selectors stay where they are part of an emoji or a word; elsewhere text can be hidden in them.
    """
    return _NOT_PLAIN.sub(_written, text.replace("\r\n", "\n"))


def _written(found: re.Match[str]) -> str:
    letters = _SPELLING.sub("", found[0])
    if letters and all(map(_seen, letters)):
        return found[0]
    return "".join(char if _seen(char) else f"⟨U+{ord(char):04X}⟩" for char in found[0])


def _seen(char: str) -> bool:
    """No control, format, private or unassigned character, no separator but spaces, and nothing blank."""
    return (char.isprintable() or unicodedata.category(char) == "Zs") and not _BLANK.match(char)


@dataclass(frozen=True, slots=True)
class Clip:
    """The beginning of a text."""

    shown: str
    total: int
    """Characters of the whole text."""

    @property
    def clipped(self) -> int:
        return self.total - len(self.shown)


def clip(text: str, limit: int) -> Clip:
    """At most *limit* characters of *text*."""
    return Clip(text[:limit], len(text))


def shortened(text: str, limit: int) -> str:
    """At most *limit* characters of a name, and a sign where there are more."""
    return text if len(text) <= limit else f"{text[:limit]}..."


def count(number: int) -> str:
    """``20000`` as ``20,000``."""
    return f"{number:,}"


def first_upper(text: str) -> str:
    """``str.capitalize`` would make ASD ``asd``."""
    return text[:1].upper() + text[1:]


def short(fingerprint: str) -> str:
    """The beginning of a hexadecimal digest; what somebody named is not cut."""
    return fingerprint[:12] if re.fullmatch("[0-9a-f]{32,}", fingerprint) else fingerprint


def percents(*shares: float) -> list[str]:
    """*shares* as percentages with one decimal, or as many more as it takes to tell different ones apart.

    A rate of 5.04 % that breaks a bound of 5 % must not be printed as ``5.0 %`` beside ``5.0 %``.
    """
    for decimals in range(1, 5):
        printed = [_percent(share, decimals) for share in shares]
        if len(set(printed)) == len(set(shares)):
            break
    return printed


def percent(share: float) -> str:
    """One share as a percentage; only a true 0 and a true 1 are printed as 0 % and 100 %."""
    return percents(share)[0]


def whole_percent(share: float) -> str:
    """A share without decimals, for narrow cells; only a true 0 and a true 1 are printed as 0 % and 100 %."""
    return _percent(share, 0)


def _percent(share: float, decimals: int) -> str:
    exact = share in (0.0, 1.0)
    number = f"{100 * share:.{0 if exact else decimals}f}"
    step = f"{10**-decimals:.{decimals}f}"
    if not exact and float(number) == 0:
        number = f"< {step}"
    elif not exact and float(number) == 100:
        number = f"> {100 - 10**-decimals:.{decimals}f}"
    return f"{number}\N{NO-BREAK SPACE}%"
