"""What a red-teaming technique adds: cases against their plain twins."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pytest_mmsafety.attacks.settings import SWEEP
from pytest_mmsafety.cases import PLAIN
from pytest_mmsafety.report.interval_plot import Picture, change_axis, draw, point_interval, points
from pytest_mmsafety.report.text import percent, shortened
from pytest_mmsafety.run import Record, Run
from pytest_mmsafety.statistics.estimates import clustered_difference

MAX_ROWS = 40
MAX_NAME = 100
"""Characters of a technique's name."""
ALL = "all techniques"
"""The row of all of them."""
_ALPHA = 0.05


@dataclass(frozen=True, slots=True)
class AblationRow:
    """One technique; shares are of failing answers (mean scores)."""

    technique: str
    pairs: int
    clusters: int
    plain: str
    with_it: str
    change: str
    interval: str
    picture: Picture


@dataclass(frozen=True, slots=True)
class Ablation:
    """The table of one suite."""

    rows: tuple[AblationRow, ...]
    unscored: int
    """Pairs in which one of the answers has no score."""
    more: int
    """Techniques that have no row of their own."""


Twins = list[tuple["Record", float, float]]
"""The plain record, its score, and the score with the technique."""


MAX_SWEPT = 100
"""Techniques of a sweep that are listed, each with its strength."""


def sweep_ablation(records: Sequence[Record]) -> Ablation | None:
    """The table of all sweeps, what changes most first; ``None`` without a sweep."""
    twins = sweep_twins(records)
    if not twins.by_technique and not twins.unscored:
        return None
    changed = sorted(twins.by_technique, key=lambda name: -mean_change(twins.by_technique[name]))
    return _ablation(twins.by_technique, twins.unscored, changed[:MAX_SWEPT])


class SweepTwins(NamedTuple):
    """What a sweep asked, beside the same cases as they stand."""

    by_technique: dict[str, Twins]
    unscored: int


def sweep_twins(records: Sequence[Record]) -> SweepTwins:
    """Technique with its strength -> the cases before and after it, of all suites."""
    plain = {record.key: record for record in records if not record.attacked_by}
    found: defaultdict[str, Twins] = defaultdict(list)
    unscored = 0
    for record in records:
        original = plain.get(record.original) if record.attacked_by == SWEEP else None
        if original is None:
            continue
        if record.score is None or original.score is None:
            unscored += 1
        else:
            found[record.tags.get("technique", "")].append((original, original.score, record.score))
    return SweepTwins(dict(found), unscored)


def mean_change(twins: Twins) -> float:
    return _mean([after - before for _, before, after in twins])


def ablations(run: Run) -> dict[str, Ablation]:
    """Suite -> its table, for suites with plain twins."""
    twins: defaultdict[str, defaultdict[str, Twins]] = defaultdict(lambda: defaultdict(list))
    unscored: defaultdict[str, int] = defaultdict(int)
    by_key = {(record.suite, record.id): record for record in run.records}
    for record in run.records:
        plain = by_key.get((record.suite, record.tags.get(PLAIN, "")))
        if plain is None or plain is record:
            continue
        if record.score is None or plain.score is None:
            unscored[record.suite] += 1
        else:
            technique = record.tags.get("technique") or record.tags.get("bucket") or "with a technique"
            twins[record.suite][technique].append((plain, plain.score, record.score))
    return {
        suite: _ablation(twins[suite], unscored[suite], sorted(twins[suite])[:MAX_ROWS])
        for suite in {*twins, *unscored}
    }


def _ablation(by_technique: Mapping[str, Twins], unscored: int, names: Sequence[str]) -> Ablation:
    """With a row for each of *names*, and one for all techniques."""
    listed = {name: by_technique[name] for name in names}
    if len(listed) > 1:
        listed[ALL] = [pair for pairs in by_technique.values() for pair in pairs]
    estimates = {
        name: clustered_difference([b - a for _, a, b in pairs], [plain.cluster for plain, _, _ in pairs], _ALPHA)
        for name, pairs in listed.items()
    }
    ends = [end for estimate in estimates.values() for end in (estimate.low, estimate.high)]
    rows = []
    for name, estimate in estimates.items():
        value = "no change" if not estimate.value else f"{points(estimate.value, signed=True)}"
        interval = point_interval(estimate.low, estimate.high)
        rows.append(
            AblationRow(
                technique=shortened(name, MAX_NAME),
                pairs=estimate.n,
                clusters=estimate.clusters,
                plain=percent(_mean([a for _, a, _ in listed[name]])),
                with_it=percent(_mean([b for _, _, b in listed[name]])),
                change=value,
                interval=interval,
                picture=draw(
                    change_axis(ends),
                    estimate.value,
                    (estimate.low, estimate.high),
                    f"{shortened(name, MAX_NAME)}: {value}, {interval}",
                ),
            )
        )
    return Ablation(tuple(rows), unscored, len(by_technique) - len(names))


def _mean(numbers: list[float]) -> float:
    return sum(numbers) / len(numbers)
