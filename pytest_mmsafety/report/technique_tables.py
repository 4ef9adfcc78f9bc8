"""Which techniques break which cases: of sweeps the change in points, of searches how often a technique was enough."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from pytest_mmsafety.findings import Finding, simplest
from pytest_mmsafety.report.ablation import Twins, mean_change
from pytest_mmsafety.report.interval_plot import points
from pytest_mmsafety.report.text import shortened
from pytest_mmsafety.run import Record

MAX_ROWS = 40
MAX_COLUMNS = 20
MAX_NAME = 60
"""Characters of a heading."""
FEW = 5
"""Fewer pairs give no number: it would be chance."""
_TAGS = ("dimension", "modality", "language")


@dataclass(frozen=True, slots=True)
class Column:
    """One value of a tag; of neither: all cases."""

    tag: str = ""
    value: str = ""

    @property
    def label(self) -> str:
        return shortened(self.value, MAX_NAME) if self.tag else "all"

    def holds(self, tags: Mapping[str, str]) -> bool:
        return not self.tag or tags.get(self.tag) == self.value


@dataclass(frozen=True, slots=True)
class MatrixCell:
    """A number in words, and how strong its colour is, 0 to 1."""

    text: str
    share: float = 0.0


@dataclass(frozen=True, slots=True)
class Matrix:
    """Techniques in rows, kinds of cases in columns."""

    columns: tuple[Column, ...]
    more_columns: int
    rows: tuple[tuple[str, tuple[MatrixCell, ...]], ...]
    more_rows: int

    @property
    def groups(self) -> list[tuple[str, int]]:
        """Tags, each with how many columns it has."""
        return [(tag, len(list(columns))) for tag, columns in groupby(self.columns, lambda column: column.tag)]


def sweep_matrix(by_technique: Mapping[str, Twins]) -> Matrix | None:
    """What each technique of a sweep changes for each kind of case; ``None`` where there is only one kind."""
    tags = [plain.tags for twins in by_technique.values() for plain, _, _ in twins]
    order = sorted(by_technique, key=lambda name: -mean_change(by_technique[name]))

    def cell(name: str, column: Column) -> MatrixCell:
        twins = [twin for twin in by_technique[name] if column.holds(twin[0].tags)]
        if len(twins) < FEW:
            return MatrixCell("-")
        change = mean_change(twins)
        return MatrixCell(points(change, signed=True).removesuffix("points").strip(), max(0.0, change))

    return _matrix(_columns(tags), order, cell)


def search_matrix(findings: Iterable[Finding], records: Iterable[Record]) -> Matrix | None:
    """In how many simplest findings each perturbation is, for each kind of case; ``None`` without a finding."""
    by_key = {record.key: record.tags for record in records}
    found: defaultdict[str, list[Mapping[str, str]]] = defaultdict(list)
    for finding in simplest(findings):
        for name in dict.fromkeys(change.name for change in finding.perturbations):
            found[name].append(by_key.get(finding.case, {}))
    most = max(map(len, found.values()), default=1)

    def cell(name: str, column: Column) -> MatrixCell:
        number = sum(map(column.holds, found[name]))
        return MatrixCell(f"{number:,}" if number else "", number / most)

    tags = [tags for listed in found.values() for tags in listed]
    order = sorted(found, key=lambda name: (-len(found[name]), name))
    return _matrix(_columns(tags) or [Column()], order, cell)


def frequent(findings: Iterable[Finding]) -> list[tuple[str, int]]:
    """Perturbations by the number of cases whose simplest finding has them, the most frequent first."""
    counts = Counter(
        name for finding in simplest(findings) for name in {change.name for change in finding.perturbations}
    )
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))


def _columns(tags: Sequence[Mapping[str, str]]) -> list[Column]:
    """All cases, then the values of each tag that has several; empty if none has."""
    values = {tag: sorted({each[tag] for each in tags if tag in each}) for tag in _TAGS}
    several = [Column(tag, value) for tag in _TAGS if len(values[tag]) > 1 for value in values[tag]]
    return [Column(), *several] if several else []


def _matrix(
    columns: Sequence[Column], names: Sequence[str], cell: Callable[[str, Column], MatrixCell]
) -> Matrix | None:
    if not columns or not names:
        return None
    shown = columns[:MAX_COLUMNS]
    rows = tuple(
        (shortened(name, MAX_NAME), tuple(cell(name, column) for column in shown)) for name in names[:MAX_ROWS]
    )
    return Matrix(tuple(shown), len(columns) - len(shown), rows, max(0, len(names) - MAX_ROWS))
