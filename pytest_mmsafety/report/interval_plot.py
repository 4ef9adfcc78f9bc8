"""Intervals drawn to scale."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_ENDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Where an axis may end: a few, so that pictures of one table can be compared."""
_SPACE = "\N{NO-BREAK SPACE}"
_ROOM = 1.2
"""A bound is drawn with at least a fifth of its value beyond it."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A bound: where it is drawn, and what it says."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Picture:
    """Positions along the axis, 0 to 100."""

    low: float
    width: float
    estimate: float
    marks: tuple[Mark, ...]
    beyond: tuple[tuple[float, float], ...]
    """Start and width of what no estimate should reach."""
    zero: float | None
    """Where nothing changes, if a change is drawn."""
    start: str
    end: str
    """The ends of the axis in words."""
    label: str
    """The picture in words."""
    raw: tuple[float, float] | None = None
    """Start and width of the interval before a correction."""


@dataclass(frozen=True, slots=True)
class Axis:
    """Shares from *start* to *end*."""

    start: float
    end: float

    def position(self, share: float) -> float:
        """0 to 100; what lies outside is drawn at the end."""
        return round(100 * min(1.0, max(0.0, (share - self.start) / (self.end - self.start))), 2)


def rate_axis(numbers: Sequence[float]) -> Axis:
    """From 0 up for small shares, down from 1 for large ones; around 0 if one is negative."""
    if min(numbers) < 0:
        return change_axis(numbers)
    if max(numbers) * _ROOM <= _ENDS[-2]:
        return Axis(0.0, _end(numbers))
    if min(numbers) >= 1 - _ENDS[-2]:
        return Axis(round(1 - _end(1 - number for number in numbers), 4), 1.0)
    return Axis(0.0, 1.0)


def change_axis(numbers: Iterable[float]) -> Axis:
    """As far to one side of 0 as to the other."""
    end = _end(abs(number) for number in numbers)
    return Axis(-end, end)


def _end(numbers: Iterable[float]) -> float:
    most = _ROOM * max(numbers)
    return next((end for end in _ENDS if most <= end), _ENDS[-1])


def draw(  # noqa: PLR0913 - what is drawn, and its bounds
    axis: Axis,
    estimate: float,
    interval: tuple[float, float],
    label: str,
    *,
    at_most: tuple[float, str] | None = None,
    at_least: tuple[float, str] | None = None,
    raw: tuple[float, float] | None = None,
) -> Picture:
    """Draw an estimate between the ends of its *interval*; *at_most* and *at_least* are bounds with their words.

    *raw* is the interval before a correction.
    """
    low, high = (axis.position(end) for end in interval)
    marks, beyond = [], []
    if at_least is not None:
        marks.append(Mark(axis.position(at_least[0]), at_least[1]))
        beyond.append((0.0, marks[-1].at))
    if at_most is not None:
        marks.append(Mark(axis.position(at_most[0]), at_most[1]))
        beyond.append((marks[-1].at, round(100 - marks[-1].at, 2)))
    change = axis.start < 0
    ends = [_end_in_words(end, change=change) for end in (axis.start, axis.end)]
    return Picture(
        low=low,
        width=round(high - low, 2),
        estimate=axis.position(estimate),
        marks=tuple(marks),
        beyond=tuple(beyond),
        zero=axis.position(0.0) if change else None,
        start=ends[0],
        end=ends[1],
        label=label,
        raw=None if raw is None else (axis.position(raw[0]), round(axis.position(raw[1]) - axis.position(raw[0]), 2)),
    )


def _end_in_words(end: float, *, change: bool) -> str:
    number = f"{100 * end:{'+' if change else ''}.4g}".replace("-", "\N{MINUS SIGN}")
    return f"{number}{_SPACE}{'points' if change else '%'}"


def point_interval(low: float, high: float) -> str:
    """``-2.0 to +1.1 points``."""
    return f"{points(low, signed=True).partition(_SPACE)[0]} to {points(high, signed=True)}"


def points(share: float, *, signed: bool = False) -> str:
    """``0.021`` as ``2.1 points``: differences of percentages are no percentages."""
    sign = "\N{MINUS SIGN}" if share < 0 else "+" if signed and share else ""
    number = f"{sign}{100 * abs(share):.1f}"
    if share and not float(f"{100 * share:.1f}"):
        number = "under 0.1" if share > 0 else "above \N{MINUS SIGN}0.1"
    return f"{number}{_SPACE}points"
