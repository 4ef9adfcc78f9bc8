"""The numbers of a run as its benchmarks define them, beside published ones where these are comparable."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from os.path import commonprefix

from pytest_mmsafety.benchmarks.published import published
from pytest_mmsafety.benchmarks.result_tables import Number, Table
from pytest_mmsafety.benchmarks.saved_runs import saved_run_tables
from pytest_mmsafety.errors import MmsafetyError
from pytest_mmsafety.run import Run, SuiteInfo

LONG = 16
"""A table with more rows is folded."""
_LEVELS = {"national-safety": "NS", "public-safety": "PS", "ethical-safety": "ES"}
_FIRST = ("total", "refusal", "overall", "overall_before", "overall_after")
"""Columns that are read first stand first."""
Numbers = dict[str, float]
"""Published column -> percent."""


@dataclass(frozen=True, slots=True)
class Own:
    """A table of the run, as ``mmsafety score`` prints it."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PublishedBeside:
    """A published table; the rows of this run come first."""

    title: str
    metric: str
    """With its direction."""
    columns: tuple[str, ...]
    mine: tuple[tuple[str, tuple[str, ...]], ...]
    rows: tuple[tuple[str, tuple[str, ...], bool], ...]
    """Model, numbers, and whether there is a note on it."""
    notes: tuple[tuple[tuple[str, ...], str], ...]
    """Models, and the caveat that only they have."""
    source: str
    caveat: str


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One suite."""

    suite: str
    title: str
    tables: tuple[Own, ...]
    published: tuple[PublishedBeside, ...]
    official: bool
    asked: int
    """Cases with an answer."""
    collected: int
    problem: str
    """Why there is no table, or empty."""


def benchmarks(run: Run) -> list[Benchmark]:
    """One entry a suite of a benchmark with published formulas."""
    asked = Counter(record.suite for record in run.own_records if record.response is not None)
    return [
        _benchmark(run, suite, asked[suite.name])
        for suite in run.suites
        if asked[suite.name] and suite.benchmark in _PUBLISHED
    ]


def _benchmark(run: Run, suite: SuiteInfo, asked: int) -> Benchmark:
    official = suite.name in _OFFICIAL
    try:
        tables = saved_run_tables(replace(run, suites=(suite,)), "released")
    except (MmsafetyError, ValueError, KeyError) as error:  # a suite of the user's, with tags of his own
        problem = f"not in the form of the benchmark ({type(error).__name__}: {error})"
        return Benchmark(suite.name, suite.title, (), (), official, asked, suite.collected, problem)
    beside = tuple(_PUBLISHED[suite.benchmark](suite, tables)) if official else ()
    prefix = f"{run.target}, {suite.name}"
    own = tuple(_own(table, prefix) for table in tables)
    return Benchmark(suite.name, suite.title, own, beside, official, asked, suite.collected, "")


def _own(table: Table, prefix: str) -> Own:
    rows = tuple((name, tuple(map(_cell, numbers))) for name, numbers in table.rows.items())
    title = table.title.replace(f", {prefix}", "")
    return Own(title, table.columns, rows, table.notes)


def _cell(number: Number) -> str:
    if number is None:
        return ""
    return f"{number:,}" if isinstance(number, int) else f"{number:.1f}"


# --- beside the published rows


def _usb(suite: SuiteInfo, tables: Sequence[Table]) -> Iterator[PublishedBeside]:
    by_kind = {table.title.rpartition(": ")[2]: table.rows for table in tables}
    levels, totals, refusal = (by_kind.get(kind, {}) for kind in ("safety rate", "totals", "refusal rate"))
    columns = next((table.columns for table in tables if table.title.endswith(": safety rate")), ())
    safe: Numbers = {}
    for level, short in _LEVELS.items():
        for modality, number in zip(columns, levels.get(level, ()), strict=False):
            if number is not None:
                safe[f"{short}-{modality}"] = number
    unsafe = {name: 100 - number for name, number in safe.items()}
    _put(safe, "total", totals.get("macro"), 0)
    _put(unsafe, "total", totals.get("pooled"), 1)
    for numbers in (safe, unsafe):
        _put(numbers, "refusal", refusal.get("RR"), 1)
    subset = "hard" if "hard" in suite.name else "base"
    newest, older = ("base-v3", "base-v1") if subset == "base" else ("hard-v2", "hard-v1")
    yield _beside("usb", newest, {"this run": safe})
    yield _beside("usb", older, {"this run": unsafe})


def _mmsafeaware(_: SuiteInfo, tables: Sequence[Table]) -> Iterator[PublishedBeside]:
    table = tables[0]
    readings: dict[str, Numbers] = {}
    for name in ("legacy", "strict"):
        numbers = zip(table.columns, table.rows.get(name, ()), strict=False)
        readings[f"this run, {name}"] = {column: number for column, number in numbers if number is not None}

    def renamed(names: Mapping[str, str]) -> dict[str, Numbers]:
        return {
            row: {theirs: numbers[ours] for ours, theirs in names.items() if ours in numbers}
            for row, numbers in readings.items()
        }

    first = {"typical": "typical", "attack": "attack", "over-safe": "over_safety", "macro": "overall"}
    yield _beside("mmsafeaware", "table-1", renamed(first))
    before = {"unsafe": "unsafe_before", "over-safe": "over_safety_before", "micro": "overall_before"}
    yield _beside("mmsafeaware", "table-2", renamed(before))
    yield _beside("mmsafeaware", "table-3", renamed({"unsafe": "unsafe", "over-safe": "over_safety"}))


def _mllmguard(_: SuiteInfo, tables: Sequence[Table]) -> Iterator[PublishedBeside]:
    average = tables[0].rows.get("average")
    for name, place in (("sdeval-asd", 2), ("sdeval-par", 3)):
        numbers: Numbers = {}
        _put(numbers, "original", average, place)
        yield _beside("mllmguard", name, {"this run, average": numbers})


_PUBLISHED: Mapping[str, Callable[[SuiteInfo, Sequence[Table]], Iterator[PublishedBeside]]] = {
    "usb": _usb,
    "mmsafeaware": _mmsafeaware,
    "mllmguard": _mllmguard,
}
_OFFICIAL = frozenset({"usb-base-official", "usb-hard-official", "mllmguard-official", "mmsafeaware-official"})
"""Suites that hold the published items: elsewhere a published number would stand beside another exam."""


def _put(numbers: Numbers, name: str, row: Sequence[Number] | None, place: int) -> None:
    if row is not None and (number := row[place]) is not None:
        numbers[name] = number


def _beside(benchmark: str, name: str, mine: Mapping[str, Numbers]) -> PublishedBeside:
    rows = published(benchmark, name)
    columns = sorted(
        dict.fromkeys(column for row in rows for column in row.values), key=lambda name: name not in _FIRST
    )
    common = _common([row.caveat for row in rows])
    decimals = 1 if all(round(value, 1) == value for row in rows for value in row.values.values()) else 2

    def printed(values: Mapping[str, float]) -> tuple[str, ...]:
        return tuple(f"{values[column]:.{decimals}f}" if column in values else "" for column in columns)

    notes: defaultdict[str, list[str]] = defaultdict(list)
    for row in rows:
        notes[row.caveat.removeprefix(common).strip()].append(row.model)
    unnoted = notes.pop("", [])
    return PublishedBeside(
        title=f"{name}, {rows[0].vintage}",
        metric=f"{rows[0].metric}, {rows[0].direction} is better; percent",
        columns=tuple(column.replace("_", " ") for column in columns),
        mine=tuple((label, printed(numbers)) for label, numbers in mine.items()),
        rows=tuple((row.model, printed(row.values), row.model not in unnoted) for row in rows),
        notes=tuple((tuple(models), note) for note, models in notes.items()),
        source=rows[0].source,
        caveat=common,
    )


def _common(caveats: Sequence[str]) -> str:
    """The caveat of the table, with which that of each row begins."""
    shared = commonprefix(list(caveats))  # noqa: RUF071 - sentences, not paths
    return shared if shared in caveats else f"{shared.rpartition('. ')[0]}."
