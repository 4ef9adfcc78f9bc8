"""Text from outside, made safe to look at; numbers, made safe to compare by eye."""

from __future__ import annotations

import re
from dataclasses import dataclass

#: What a reader cannot see, or what would reorder the text around it: C0 (but tab and line feed), DEL and C1,
#: zero-width and bidirectional controls, separators, the byte order mark, surrogates, and the tags and
#: variation selectors in which text can be hidden. U+200C and U+200D stay: Persian and emoji are spelled with them.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u115f\u1160\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164"
    "\ud800-\udfff\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e007f\U000e0100-\U000e01ef]"
)


def visible(text: str) -> str:
    """Write out every unseen character: U+202E becomes ``⟨U+202E⟩``."""
    return _UNSEEN.sub(lambda unseen: f"⟨U+{ord(unseen[0]):04X}⟩", text.replace("\r\n", "\n"))


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
