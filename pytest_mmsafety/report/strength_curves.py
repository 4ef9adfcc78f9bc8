"""How strong a change it takes: shares over strength, drawn as lines."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil

from pytest_mmsafety.attacks.results import JUDGE, STRENGTH
from pytest_mmsafety.attacks.settings import SEARCH
from pytest_mmsafety.report.ablation import MAX_NAME, Twins
from pytest_mmsafety.report.text import percent, percents, shortened
from pytest_mmsafety.report.variants import DIRECTIONS, direction
from pytest_mmsafety.run import Record
from pytest_mmsafety.statistics.estimates import Estimate, clustered_share
from pytest_mmsafety.verdicts import verdict_by

MAX_MULTIPLES = 12
STEPS = 100
"""Into which strengths are divided."""
_ALPHA = 0.05
_HALF = 0.5


@dataclass(frozen=True, slots=True)
class Drawn:
    """A line with its band, in a box of 100 by 100 whose origin is at the lower left."""

    line: str
    """Points of a polyline."""
    band: str
    """Points of a polygon."""
    dots: tuple[tuple[float, float], ...]
    label: str
    """The picture in words."""


@dataclass(frozen=True, slots=True)
class StepCurve:
    """The share of cases that changes up to a strength break, in one direction."""

    direction: str
    cases: int
    unsure: int
    """Cases of which it is not known whether they held."""
    drawn: Drawn
    median: str
    """The strength that breaks half of the cases, in words."""
    interval: str


@dataclass(frozen=True, slots=True)
class Multiple:
    """The failing share of one technique over its strength."""

    name: str
    drawn: Drawn
    start: str
    end: str
    """Shares at the first and the last strength."""


def step_curves(records: Iterable[Record]) -> list[StepCurve]:
    """One a direction, of the cases that were searched."""
    by_direction: defaultdict[str, list[Record]] = defaultdict(list)
    for record in records:
        if record.attacked_by == SEARCH and verdict_by(record.verdicts, "strength"):
            by_direction[DIRECTIONS[direction(record)]].append(record)
    return [curve for name, found in sorted(by_direction.items()) if (curve := _curve(name, found))]


def _curve(name: str, records: Sequence[Record]) -> StepCurve | None:
    known = [(strength, record.cluster) for record in records if (strength := _strength(record)) is not None]
    if not known:
        return None
    steps = sorted({strength for strength, _ in known if strength <= 1} | {0.0})
    clusters = [cluster for _, cluster in known]
    shares = [clustered_share([float(s <= step) for s, _ in known], clusters, _ALPHA) for step in steps]
    median = _crossing(steps, [share.value for share in shares])
    between = [_crossing(steps, [share.high for share in shares]), _crossing(steps, [share.low for share in shares])]
    last = percents(shares[-1].value, shares[-1].low, shares[-1].high)
    label = f"{name}: {last[0]} of the cases broken at strength 1, 95 % interval {last[1]} to {last[2]}"
    return StepCurve(
        direction=name,
        cases=len(known),
        unsure=len(records) - len(known),
        drawn=_stepped(steps, shares, label),
        median=_reached(median),
        interval=f"{_reached(between[0])} to {_reached(between[1])}",
    )


def _strength(record: Record) -> float | None:
    """Of the weakest change that broke the case, rounded up; above 1 where it held, ``None`` where it is not known."""
    strength, attack = (verdict_by(record.verdicts, judge.partition("/")[0]) for judge in (STRENGTH, JUDGE))
    if strength is None or strength.score is None or attack is None or attack.score is None:
        return None
    return ceil(round((1 - strength.score) * STEPS, 6)) / STEPS if attack.score else 2.0


def _crossing(steps: Sequence[float], shares: Sequence[float]) -> float | None:
    return next((step for step, share in zip(steps, shares, strict=True) if share >= _HALF), None)


def _reached(strength: float | None) -> str:
    return "not reached" if strength is None else f"{strength:.2g}"


def _stepped(steps: Sequence[float], shares: Sequence[Estimate], label: str) -> Drawn:
    """Each share holds up to the next step, the last one to strength 1."""
    ends = [*steps[1:], 1.0]
    parts = list(zip(steps, ends, shares, strict=True))

    def line(values: Sequence[float]) -> list[tuple[float, float]]:
        return [point for (a, b, _), v in zip(parts, values, strict=True) for point in (_at(a, v), _at(b, v))]

    high, low = line([share.high for share in shares]), line([share.low for share in shares])
    return Drawn(_points(line([share.value for share in shares])), _points([*high, *reversed(low)]), (), label)


# --- sweeps


def multiples(by_technique: dict[str, Twins]) -> list[Multiple]:
    """At most :data:`MAX_MULTIPLES` perturbations that were swept at several strengths, the largest change first."""
    swept: defaultdict[str, dict[float, Twins]] = defaultdict(dict)
    for technique, twins in by_technique.items():
        name, _, strength = technique.rpartition(" ")
        if (number := _number(strength)) is not None:
            swept[name][number] = twins
    several = {name: dict(sorted(found.items())) for name, found in swept.items() if len(found) > 1}
    drawn = [(_change(found), name) for name, found in several.items()]
    shown = sorted(drawn, key=lambda pair: (-pair[0], pair[1]))[:MAX_MULTIPLES]
    return [_multiple(name, several[name]) for _, name in shown]


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if 0 < number <= 1 else None


def _change(swept: dict[float, Twins]) -> float:
    return max(sum(after - before for _, before, after in twins) / len(twins) for twins in swept.values())


def _multiple(name: str, swept: dict[float, Twins]) -> Multiple:
    first = next(iter(swept.values()))
    samples = {0.0: [(plain.cluster, before) for plain, before, _ in first]}
    samples |= {strength: [(plain.cluster, after) for plain, _, after in twins] for strength, twins in swept.items()}
    shares = {s: clustered_share([v for _, v in pairs], [c for c, _ in pairs], _ALPHA) for s, pairs in samples.items()}
    line = [_at(strength, share.value) for strength, share in shares.items()]
    high = [_at(strength, share.high) for strength, share in shares.items()]
    low = [_at(strength, share.low) for strength, share in shares.items()]
    words = ", ".join(f"{percent(share.value)} at {strength:g}" for strength, share in shares.items())
    estimates = list(shares.values())
    drawn = Drawn(
        _points(line), _points([*high, *reversed(low)]), tuple(line), f"{shortened(name, MAX_NAME)}: failing {words}"
    )
    return Multiple(shortened(name, MAX_NAME), drawn, percent(estimates[0].value), percent(estimates[-1].value))


def _at(strength: float, share: float) -> tuple[float, float]:
    return round(100 * strength, 2), round(100 - 100 * share, 2)


def _points(points: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{x:g},{y:g}" for x, y in points)
