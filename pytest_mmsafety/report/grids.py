"""The cells of a benchmark as a table: a category a row, and every cell visible, also those without cases."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from pytest_mmsafety.benchmarks.mllmguard.data import RED_TEAMING, SUB_TASKS
from pytest_mmsafety.benchmarks.mmsafeaware.data import CATEGORIES, SCENARIOS
from pytest_mmsafety.benchmarks.mmsafeaware.scores import BUCKETS
from pytest_mmsafety.benchmarks.usb.data import TAXONOMY
from pytest_mmsafety.cases import OVER_REFUSAL, VULNERABILITY
from pytest_mmsafety.report.states import EXPECTED, FAILING, state_of
from pytest_mmsafety.report.tables import Cell
from pytest_mmsafety.run import Record, Run

MODALITIES = ("RIRT", "RIST", "SIRT", "SIST")
MAX_LANGUAGES = 4
MAX_OTHERS = 40
"""Rows of values that are not in the taxonomy."""
_HEADINGS = {VULNERABILITY: "Unsafe answers", OVER_REFUSAL: "Over-refusals"}

Place = tuple[str, ...]
"""(row, column, column, ...)."""


@dataclass(frozen=True, slots=True)
class Heading:
    """One cell of the head."""

    label: str
    span: int
    first: bool
    """Whether a new group of columns begins here."""


@dataclass(frozen=True, slots=True)
class GridRow:
    """A row of cells; ``None`` is a cell that the benchmark does not have. Without cells: a heading."""

    label: str
    cells: tuple[Cell | None, ...]


@dataclass(frozen=True, slots=True)
class GridPart:
    """Rows that are folded together."""

    label: str
    rows: tuple[GridRow, ...]
    covered: int
    total: int


@dataclass(frozen=True, slots=True)
class Grid:
    """One table, or several with the same head."""

    title: str
    lead: str
    corner: str
    noun: str
    """What a row of the parts is, in the plural."""
    head: tuple[tuple[Heading, ...], ...]
    starts: tuple[bool, ...]
    """For each column, whether a group begins with it."""
    summary: tuple[GridRow, ...]
    """Always seen; the parts are folded."""
    parts: tuple[GridPart, ...]
    covered: int
    total: int
    """Cells that the benchmark has; 0 if that is not known."""
    outside: int
    """Cases that no cell counts."""


def suite_grids(run: Run) -> dict[str, list[Grid]]:
    """Suite -> its grids, for the benchmarks whose cells are known."""
    records: defaultdict[str, list[Record]] = defaultdict(list)
    for record in run.records:
        records[record.suite].append(record)
    makers: Mapping[str, Callable[[Sequence[Record]], Iterator[Grid]]] = {
        "usb": _usb,
        "mllmguard": _mllmguard,
        "mmsafeaware": _mmsafeaware,
    }
    return {
        suite.name: list(makers[suite.benchmark](records[suite.name]))
        for suite in run.suites
        if suite.benchmark in makers and records[suite.name]
    }


# --- the three benchmarks


def _usb(records: Sequence[Record]) -> Iterator[Grid]:
    places = {record.tags.get("category", "") for record in records}
    known = {f"{group}/{leaf}" for groups in TAXONOMY.values() for group, leaves in groups.items() for leaf in leaves}
    aspects = [aspect for aspect in (VULNERABILITY, OVER_REFUSAL) if aspect in _values(records, "aspect")]
    if not aspects or not places & known:
        return
    languages = _languages(records)
    columns = [(aspect, language, modality) for aspect in aspects for language in languages for modality in MODALITIES]
    counted = _Counts(records, ("category", "aspect", "language", "modality"))
    groups = [(level, group, leaves) for level, groups in TAXONOMY.items() for group, leaves in groups.items()]
    summary = [
        _sum(f"{_words(group)} ({len(leaves)})", [f"{group}/{leaf}" for leaf in leaves], columns, counted)
        for _, group, leaves in groups
    ]
    parts = []
    for level in TAXONOMY:
        rows = []
        for group, leaves in TAXONOMY[level].items():
            rows.append(GridRow(_words(group), ()))
            rows += [_row(f"{group}/{leaf}", columns, counted, label=_words(leaf)) for leaf in leaves]
        parts.append(_folded(_words(level), rows))
    yield _grid(
        counted,
        "Cells: category, modality, language, aspect",
        "R and S say whether image (I) and text (T) are risky or safe: RIST is a risky image with a safe text.",
        ("Level 2 (categories)", "categories"),
        columns=columns,
        summary=summary,
        parts=[*parts, *_others(places - known, columns, counted)],
        titles={aspect: _HEADINGS[aspect] for aspect in aspects},
    )


def _mllmguard(records: Sequence[Record]) -> Iterator[Grid]:
    languages = _languages(records)
    columns = [(dimension, language) for dimension in SUB_TASKS for language in languages]
    found = _values(records, "technique")
    if not _values(records, "dimension") & set(SUB_TASKS):
        return
    counted = _Counts(records, ("technique", "dimension", "language"))
    names = [*RED_TEAMING, *sorted(found - set(RED_TEAMING) - {""})[:MAX_OTHERS]]
    rows = [_row(name, columns, counted) for name in names]
    if "" in found:
        rows.append(_row("", columns, counted, label="no technique"))
    rows = [_only([False] * len(columns), row) for row in rows]
    lead = "The failing share. Blank: there is no such case, nor need there be one."
    names_of_rows = ("Technique", "")
    yield replace(
        _grid(counted, "Technique by dimension", lead, names_of_rows, columns=columns, summary=rows, parts=[]), total=0
    )
    counted = _Counts(records, ("category", "language"))
    singles = [(language,) for language in languages]
    rows = [_sum(_words(dimension), names, singles, counted) for dimension, names in SUB_TASKS.items()]
    part = _part("Sub-types", [name for names in SUB_TASKS.values() for name in names], singles, counted)
    yield _grid(
        counted,
        "Sub-type by language",
        "The failing share.",
        ("Dimension", "sub-types"),
        columns=singles,
        summary=rows,
        parts=[part],
    )


def _mmsafeaware(records: Sequence[Record]) -> Iterator[Grid]:
    if not _values(records, "category") & set(CATEGORIES):
        return
    languages = _languages(records)
    columns = [(bucket, language) for bucket in BUCKETS for language in languages]
    counted = _Counts(records, ("category", "bucket", "language"))
    buckets = defaultdict(set)
    for scenario in SCENARIOS:
        buckets[scenario.category].add(scenario.bucket)
    harmless = [name for name in CATEGORIES if buckets[name] == {"over-safe"}]
    kinds = (
        ("Unsafe scenarios", [name for name in CATEGORIES if name not in harmless]),
        ("Harmless scenarios", harmless),
    )
    rows, parts = [], []
    for label, names in kinds:
        fits = [(bucket == "over-safe") == (names is harmless) for bucket, _ in columns]
        rows.append(_only(fits, _sum(f"{label} ({len(names)})", names, columns, counted)))
        listed = [_only(fits, _row(name, columns, counted)) for name in names]
        parts.append(_folded(label, listed))
    others = _values(records, "category") - set(CATEGORIES)
    yield _grid(
        counted,
        "Scenario by kind of item",
        "The share of wrong answers.",
        ("Scenarios", "scenarios"),
        columns=columns,
        summary=rows,
        parts=[*parts, *_others(others, columns, counted)],
    )


# --- how a grid is made


class _Counts:
    """Cases, scored and failing ones at each place."""

    def __init__(self, records: Iterable[Record], tags: Sequence[str]) -> None:
        self._cases: Counter[Place] = Counter()
        self._scored: Counter[Place] = Counter()
        self._failing: Counter[Place] = Counter()
        for record in records:
            place = tuple(record.tags.get(tag, "") for tag in tags)
            state = state_of(record)
            self._cases[place] += 1
            self._scored[place] += state in (EXPECTED, FAILING)
            self._failing[place] += state == FAILING

    @property
    def cases(self) -> int:
        return self._cases.total()

    def cell(self, places: Iterable[Place]) -> Cell:
        listed = list(places)
        return Cell(*(sum(of[place] for place in listed) for of in (self._cases, self._failing, self._scored)))


def _values(records: Iterable[Record], tag: str) -> set[str]:
    return {record.tags.get(tag, "") for record in records}


def _languages(records: Iterable[Record]) -> list[str]:
    counts = Counter(record.tags.get("language", "") for record in records)
    return sorted(language for language, _ in counts.most_common(MAX_LANGUAGES))


def _row(name: str, columns: Sequence[Place], counted: _Counts, label: str = "") -> GridRow:
    cells = tuple(counted.cell([(name, *column)]) for column in columns)
    return GridRow(label or " / ".join(map(_words, name.split("/"))), cells)


def _sum(label: str, names: Sequence[str], columns: Sequence[Place], counted: _Counts) -> GridRow:
    return GridRow(label, tuple(counted.cell((name, *column) for name in names) for column in columns))


def _only(fits: Sequence[bool], row: GridRow) -> GridRow:
    """Leave out the cells that the benchmark does not have, unless there is a case."""
    return GridRow(
        row.label, tuple(c if c and (fit or c.cases) else None for c, fit in zip(row.cells, fits, strict=True))
    )


def _part(label: str, names: Sequence[str], columns: Sequence[Place], counted: _Counts) -> GridPart:
    return _folded(label, [_row(name, columns, counted) for name in names])


def _others(names: set[str], columns: Sequence[Place], counted: _Counts) -> Iterator[GridPart]:
    if names:
        listed = sorted(names)[:MAX_OTHERS]
        yield _folded("Others", [_row(name, columns, counted, label=name or "no category") for name in listed])


def _folded(label: str, rows: Sequence[GridRow]) -> GridPart:
    cells = [cell for row in rows for cell in row.cells if cell is not None]
    return GridPart(label, tuple(rows), sum(cell.cases > 0 for cell in cells), len(cells))


def _grid(  # noqa: PLR0913 - the parts of a table
    counted: _Counts,
    title: str,
    lead: str,
    names: tuple[str, str],
    *,
    columns: Sequence[Place],
    summary: Sequence[GridRow],
    parts: Sequence[GridPart],
    titles: Mapping[str, str] | None = None,
) -> Grid:
    """*names* are those of the rows: of the summary, and of the parts."""
    every = parts or [_folded("", summary)]
    whole = [part for part in every if part.label != "Others"]
    shown = sum(cell.cases for part in every for row in part.rows for cell in row.cells if cell)
    return Grid(
        title=title,
        lead=lead,
        corner=names[0],
        noun=names[1],
        head=tuple(_head(columns, titles or {})),
        starts=tuple(column[:-1] != columns[i - 1][:-1] if i else True for i, column in enumerate(columns)),
        summary=tuple(summary),
        parts=tuple(parts),
        covered=sum(part.covered for part in whole),
        total=sum(part.total for part in whole),
        outside=counted.cases - shown,
    )


def _head(columns: Sequence[Place], titles: Mapping[str, str]) -> Iterator[tuple[Heading, ...]]:
    """One line of headings for each part of a column's place; equal neighbours are joined."""
    for depth in range(len(columns[0])):
        line: list[Heading] = []
        for i, column in enumerate(columns):
            if i and depth < len(column) - 1 and column[: depth + 1] == columns[i - 1][: depth + 1]:
                last = line.pop()
                line.append(Heading(last.label, last.span + 1, last.first))
            else:
                first = not i or column[:-1] != columns[i - 1][:-1]
                line.append(Heading(titles.get(column[depth], _words(column[depth]) or "none"), 1, first))
        yield tuple(line)


def _words(slug: str) -> str:
    return slug.replace("-", " ") if slug != "over-safe" else slug
