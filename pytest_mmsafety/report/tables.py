"""How the cases of each suite came out, tag by tag."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from pytest_mmsafety.cases import STANDARD_TAGS, VULNERABILITY
from pytest_mmsafety.report.states import ERROR, EXPECTED, FAILING, NOT_RUN, SKIPPED, UNSCORED, state_of
from pytest_mmsafety.run import Record, Run, SuiteInfo

MAX_ROWS = 30
"""Values of one tag that are listed, worst first."""
MAX_QUIET = 60
"""Values without anything to look at that are named."""
LONG = 8
"""In a group of more rows, those without anything to look at are named in one line."""
MAX_DIRECTIONS = 4
"""More values of ``aspect`` than that are no directions, and get no column each."""
FEW = 10
"""Rows with fewer scored answers come last in their group and get no colour: their shares are chance."""
_COLUMNS = (EXPECTED, FAILING, UNSCORED, ERROR, SKIPPED, NOT_RUN)
_ORDER = ("aspect", "dimension", "category", "modality", "language")


@dataclass(slots=True)
class Tally:
    """Cases counted by state, over all of them and by the direction in which they can fail."""

    states: Counter[str] = field(default_factory=Counter)
    stored: int = 0
    by_direction: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(value of ``aspect``, state) -> cases."""

    def add(self, record: Record, state: str) -> None:
        self.states[state] += 1
        self.stored += record.stored
        self.by_direction[record.tags.get("aspect", ""), state] += 1

    @property
    def cases(self) -> int:
        return self.states.total()

    @property
    def scored(self) -> int:
        return self.states[FAILING] + self.states[EXPECTED]

    @property
    def share(self) -> float:
        """Failing among the scored; 0 if nothing was scored."""
        return self.states[FAILING] / self.scored if self.scored else 0.0

    @property
    def quiet(self) -> bool:
        return not (self.states[FAILING] or self.states[UNSCORED] or self.states[ERROR])

    def cell(self, direction: str) -> Cell:
        states = {state: self.by_direction[direction, state] for state in _COLUMNS}
        return Cell(sum(states.values()), states[FAILING], states[FAILING] + states[EXPECTED])


@dataclass(frozen=True, slots=True)
class Cell:
    """The failing share of one row in one direction."""

    cases: int
    failing: int
    scored: int

    @property
    def share(self) -> float:
        return self.failing / self.scored if self.scored else 0.0

    @property
    def few(self) -> bool:
        return self.scored < FEW


@dataclass(frozen=True, slots=True)
class Row:
    """The cases of one tag value, or of a whole suite."""

    label: str
    cells: tuple[Cell, ...]
    tally: Tally


@dataclass(frozen=True, slots=True)
class TagGroup:
    """The rows of one tag."""

    tag: str
    rows: tuple[Row, ...]
    more: int
    """Values that are not listed, though something is there to look at."""
    quiet: tuple[Row, ...]
    """Values that are only named: all that was scored is as expected, and nothing else happened."""


@dataclass(frozen=True, slots=True)
class SuiteTable:
    """One suite: a row for all of it, then the rows of each tag that tells its cases apart."""

    name: str
    title: str
    benchmark: str
    directions: tuple[str, ...]
    """Headings of the share columns; one empty heading when there is only one column."""
    states: tuple[str, ...]
    """Headings of the count columns."""
    whole: Row
    groups: tuple[TagGroup, ...]
    same: tuple[tuple[str, str], ...]
    """Tags that are the same for every case."""


@dataclass(slots=True)
class Tallies:
    """Everything that is counted, in one pass over the records."""

    all: Tally = field(default_factory=Tally)
    suites: defaultdict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))
    values: defaultdict[str, defaultdict[tuple[str, str], Tally]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(Tally))
    )
    """Suite -> (tag, value) -> tally."""


def tallies(records: Iterable[Record]) -> Tallies:
    counted = Tallies()
    for record in records:
        state = state_of(record)
        counted.all.add(record, state)
        counted.suites[record.suite].add(record, state)
        values = counted.values[record.suite]
        for pair in record.tags.items():
            values[pair].add(record, state)
    return counted


def suite_tables(run: Run, counted: Tallies) -> list[SuiteTable]:
    """One table a suite that has records, in the order of the run's suites."""
    known = {suite.name: suite for suite in run.suites}
    names = [*known, *sorted(counted.suites.keys() - known.keys())]
    return [_table(name, known.get(name), counted) for name in names if name in counted.suites]


def _table(name: str, info: SuiteInfo | None, counted: Tallies) -> SuiteTable:
    whole = counted.suites[name]
    directions = tuple(sorted({direction for direction, _ in whole.by_direction}, key=_direction_order))
    if not 2 <= len(directions) <= MAX_DIRECTIONS:
        directions = ()
    by_tag: defaultdict[str, dict[str, Tally]] = defaultdict(dict)
    for (tag, value), tally in counted.values[name].items():
        by_tag[tag][value] = tally
    telling = {tag: values for tag, values in by_tag.items() if not _same(values, whole) and tag != "benchmark"}
    return SuiteTable(
        name=name,
        title=info.title if info else name,
        benchmark=info.benchmark if info else "",
        directions=directions or ("",),
        states=tuple(state for state in _COLUMNS if whole.states[state] or state not in (SKIPPED, NOT_RUN)),
        whole=_row("All cases", whole, directions),
        groups=tuple(_groups(telling, directions)),
        same=tuple((tag, next(iter(values))) for tag, values in by_tag.items() if _same(values, whole)),
    )


def _direction_order(direction: str) -> tuple[bool, str]:
    return (direction != VULNERABILITY, direction)


def _same(values: dict[str, Tally], whole: Tally) -> bool:
    return len(values) == 1 and next(iter(values.values())).cases == whole.cases


def _groups(by_tag: dict[str, dict[str, Tally]], directions: tuple[str, ...]) -> Iterator[TagGroup]:
    others = sorted(tag for tag, values in by_tag.items() if tag not in STANDARD_TAGS and _groups_cases(values))
    for tag in (*_ORDER, *others):
        rows = [_row(value, tally, directions) for value, tally in by_tag.get(tag, {}).items()]
        rows.sort(key=lambda row: (row.tally.scored < FEW, -row.tally.share, row.label))
        long = len(rows) > LONG
        quiet = [row for row in rows if long and row.tally.quiet]
        listed = [row for row in rows if not (long and row.tally.quiet)]
        if rows:
            yield TagGroup(tag, tuple(listed[:MAX_ROWS]), max(0, len(listed) - MAX_ROWS), tuple(quiet))


def _groups_cases(values: dict[str, Tally]) -> bool:
    """Whether the tag makes groups; a tag with a value for each case or pair of cases only lists them."""
    return sum(tally.cases for tally in values.values()) >= 3 * len(values)


def _row(label: str, tally: Tally, directions: tuple[str, ...]) -> Row:
    if not directions:
        return Row(label, (Cell(tally.cases, tally.states[FAILING], tally.scored),), tally)
    return Row(label, tuple(tally.cell(direction) for direction in directions), tally)
