"""The examination as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from pytest_mmsafety.doctor import Examination, Examined, severities
from pytest_mmsafety.doctor.coverage import Coverage
from pytest_mmsafety.doctor.problems import some
from pytest_mmsafety.errors import plural

MOST = 10
"""Problems of one code, and empty cells, that are listed."""


def render(examination: Examination) -> str:
    """Plain text, one finding a line."""
    lines = [line for examined in examination.suites for line in (*_suite(examined), "")]
    if examination.needs_data:
        lines += [
            f"{_path(str(path))}: needs --data; to examine that data: mmsafety doctor FOLDER"
            for path in examination.needs_data
        ]
        lines.append("")
    lines += (*_problems(examination), *_leaks(examination), _total(examination))
    return "".join(f"{_printable(line)}\n" for line in lines)


def _suite(examined: Examined) -> Iterator[str]:
    suite, shares = examined.source.suite, examined.shares
    reader = f", read by {examined.source.loader}" if examined.source.loader else ""
    size = f"{plural(len(suite.cases), 'case')}, {plural(examined.images, 'image')}"
    yield f"{suite.name}  {size}  ({_path(str(suite.path))}{reader})"
    for tag, values in examined.counts.items():
        yield f"  {tag:<12} {_values(values)}"
    for cell in examined.cells:
        yield f"  {_coverage(cell)}"
    cases = len(suite.cases)
    yield (
        f"  duplicates   exact {_share(shares.exact, cases)}; near: prompt {_share(shares.near_prompt, cases)}, "
        f"image {_share(shares.near_image, cases)}, both {_share(shares.near_both, cases)} of the cases"
    )


def _values(values: dict[str, int]) -> str:
    if len(values) <= 12:
        return ", ".join(f"{value} {count}" for value, count in values.items())
    return f"{len(values)} values, {min(values.values())} to {max(values.values())} cases each"


def _coverage(cell: Coverage) -> str:
    empty = f"; empty: {some(cell.empty, MOST)}" if cell.empty else ""
    return f"{cell.covered}/{cell.total} {cell.what}{empty}"


def _share(count: int, of: int) -> str:
    return f"{count} ({100 * count / of:.1f} %)" if of else "0"


def _problems(examination: Examination) -> Iterator[str]:
    for (severity, code), group in groupby(examination.problems, key=lambda problem: (problem.severity, problem.code)):
        problems = list(group)
        yield f"{severity}: {code} ({len(problems)})"
        for problem in problems[:MOST]:
            parts = (_path(problem.file), problem.case, problem.message)
            yield f"  {': '.join(part for part in parts if part)}"
        if len(problems) > MOST:
            yield f"  and {len(problems) - MOST} more (--json lists all)"
        yield ""


def _leaks(examination: Examination) -> Iterator[str]:
    if examination.leaks is None:
        return
    leaked = set(examination.leaked)
    for examined in examination.suites:
        cases = examined.source.suite.cases
        found = sum(case.key in leaked for case in cases)
        yield f"{examined.source.suite.name}: {_share(found, len(cases))} of its cases are in the manifest"
    yield ""


def _total(examination: Examination) -> str:
    cases = sum(len(examined.source.suite.cases) for examined in examination.suites)
    found = severities(examination.problems)
    return f"{plural(cases, 'case')}: " + ", ".join(plural(found[name], name) for name in ("error", "warning", "info"))


def _path(path: str) -> str:
    """Relative to where the command runs, if it is below."""
    return path.removeprefix(f"{Path.cwd()}/")


def _printable(line: str) -> str:
    """Names come from outside: no control characters reach the terminal."""
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in line)
