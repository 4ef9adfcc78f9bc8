"""Published results of the three benchmarks, to set beside one's own. Read from files when asked for.

``tables.json`` says what each table is; ``BENCHMARK-TABLE.csv`` holds its figures as they were printed.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from pytest_mmsafety.errors import SetupError, nearest

_FOLDER = Path(__file__).parent / "published"


@dataclass(frozen=True, slots=True)
class PublishedRow:
    """The figures of one model in one table."""

    benchmark: str
    """``mllmguard``, ``mmsafeaware`` or ``usb``."""
    table: str
    """Unique within the benchmark."""
    model: str
    """As the table spells it; tables spell the same model differently."""
    values: Mapping[str, float]
    """Percent, by column; what the table leaves out is absent. A total is the printed one, never computed."""
    metric: str
    """What the values measure, but for ``refusal...``: benign questions refused, lower is better."""
    direction: Literal["higher", "lower"]
    """Which values of the metric are better."""
    subset: str
    """``base`` or ``hard`` for USB, else empty."""
    vintage: str
    """Year, or year and month. Two vintages of USB are two cuts of the data."""
    source: str
    caveat: str
    """What to know before comparing: that of the table, then that of the row."""


def published(benchmark: str, table: str | None = None) -> tuple[PublishedRow, ...]:
    """All rows of the benchmark, or of one of its tables, in published order.

    Raises :class:`SetupError` when there is no such benchmark or table.
    """
    tables = _tables()
    benchmarks = sorted({known.benchmark for known in tables})
    if benchmark not in benchmarks:
        raise _unknown("benchmark", benchmark, benchmarks)
    tables = [known for known in tables if known.benchmark == benchmark]
    names = [known.table for known in tables]
    if table is not None and table not in names:
        raise _unknown(f"table of {benchmark}", table, names)
    return tuple(row for known in tables if table in (None, known.table) for row in known.rows())


@dataclass(frozen=True, slots=True)
class _Table:
    """An entry of ``tables.json``; the fields are those of :class:`PublishedRow`."""

    benchmark: str
    table: str
    metric: str
    direction: Literal["higher", "lower"]
    subset: str
    vintage: str
    source: str
    caveat: str
    models: Mapping[str, str]
    """Caveats of single rows."""

    def rows(self) -> list[PublishedRow]:
        with (_FOLDER / f"{self.benchmark}-{self.table}.csv").open(encoding="utf-8", newline="") as file:
            return [self._row(cells.pop("model"), cells) for cells in csv.DictReader(file)]

    def _row(self, model: str, cells: Mapping[str, str]) -> PublishedRow:
        return PublishedRow(
            benchmark=self.benchmark,
            table=self.table,
            model=model,
            values=MappingProxyType({column: float(cell) for column, cell in cells.items() if cell}),
            metric=self.metric,
            direction=self.direction,
            subset=self.subset,
            vintage=self.vintage,
            source=self.source,
            caveat=f"{self.caveat} {self.models.get(model, '')}".rstrip(),
        )


def _tables() -> list[_Table]:
    text = (_FOLDER / "tables.json").read_text(encoding="utf-8")
    return [_Table(**entry) for entry in json.loads(text)]


def _unknown(what: str, name: str, known: list[str]) -> SetupError:
    return SetupError(
        f"published results: {name!r} is no {what}; expected one of {', '.join(known)}{nearest(name, known)}"
    )
