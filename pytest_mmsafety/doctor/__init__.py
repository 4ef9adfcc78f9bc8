"""``mmsafety doctor``: what is wrong with suites and official data, before a model is asked anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_mmsafety.doctor.checks import image_problems, pair_problems, text_problems, unused_images
from pytest_mmsafety.doctor.coverage import Coverage, counts, coverage
from pytest_mmsafety.doctor.duplicates import Shares, compare
from pytest_mmsafety.doctor.images import inspect
from pytest_mmsafety.doctor.leakage import Leak, leaked_cases, read_manifest
from pytest_mmsafety.doctor.problems import ERROR, SEVERITIES, WARNING, Problem
from pytest_mmsafety.doctor.published import mmsafeaware_problems
from pytest_mmsafety.doctor.sources import Source, find_sources, places


@dataclass(frozen=True, slots=True)
class Examined:
    """One suite."""

    source: Source
    counts: dict[str, dict[str, int]]
    cells: tuple[Coverage, ...]
    shares: Shares
    images: int
    """Different image files, by content."""


@dataclass(frozen=True, slots=True)
class Examination:
    """All that was found."""

    suites: tuple[Examined, ...]
    needs_data: tuple[Path, ...]
    problems: tuple[Problem, ...]
    """The worst first."""
    leaks: tuple[Leak, ...] | None
    """``None``: no manifest was given."""

    @property
    def failed(self) -> bool:
        return any(problem.severity == ERROR for problem in self.problems)

    @property
    def leaked(self) -> list[str]:
        """Keys of the cases that were found in the manifest."""
        return sorted({leak.case for leak in self.leaks or ()})


def examine(paths: Sequence[str], loader: str = "", against: Path | None = None) -> Examination:
    """Examine suites, folders of suites, shipped suites by name, or (with *loader*) folders of official data.

    *against* is a manifest of training data. Raises :class:`MmsafetyError` for a path, loader or manifest
    that cannot be used; what is wrong inside of a suite is a problem.
    """
    found = find_sources(paths, loader)
    sources = found.sources
    pictures = inspect(path for source in sources for case in source.suite.cases for path in case.images)
    compared = compare(sources, pictures)
    problems = [*found.problems, *compared.problems, *unused_images(sources)]
    for source in sources:
        problems += (*image_problems(source, pictures), *text_problems(source), *pair_problems(source))
        if source.loader == "mmsafeaware":
            problems += mmsafeaware_problems(source)
    leaks = None
    if against is not None:
        cases = [case for source in sources for case in source.suite.cases]
        leaks = tuple(leaked_cases(cases, pictures, read_manifest(against)))
        problems += _leak_problems(leaks)
    examined = tuple(
        Examined(
            source=source,
            counts=counts(source.suite.cases),
            cells=tuple(coverage(source, pictures)),
            shares=compared.shares[source.suite.name],
            images=len({pictures[path].sha256 or path for case in source.suite.cases for path in case.images}),
        )
        for source in sources
    )
    located = sorted(_located(problems, sources), key=lambda problem: problem.order)
    return Examination(examined, found.needs_data, tuple(located), leaks)


def _leak_problems(leaks: Iterable[Leak]) -> Iterable[Problem]:
    for leak in leaks:
        suite, _, case = leak.case.partition("/")
        yield Problem(WARNING, f"leaked-{leak.how}", suite, case, f"in the manifest at {leak.where}")


def _located(problems: Iterable[Problem], sources: Sequence[Source]) -> Iterable[Problem]:
    """With the file and line of the case where a problem names no file of its own."""
    by_name = {source.suite.name: source for source in sources}
    known: dict[str, dict[str, str]] = {}
    for problem in problems:
        if problem.file or problem.suite not in by_name:
            yield problem
            continue
        source = by_name[problem.suite]
        if problem.suite not in known:
            known[problem.suite] = places(source)
        yield problem._replace(file=known[problem.suite].get(problem.case, str(source.suite.path)))


def as_json(examination: Examination) -> dict[str, Any]:
    """Builtins only, in an order that depends on nothing but what was examined."""
    every = [case for one in examination.suites for case in one.source.suite.cases]
    result: dict[str, Any] = {
        "cases": len(every),
        "counts": counts(every),
        "cells": _cells(cell for one in examination.suites for cell in one.cells),
        "problems": [problem._asdict() for problem in examination.problems],
        "severities": severities(examination.problems),
        "needs_data": [str(path) for path in examination.needs_data],
        "suites": {one.source.suite.name: _suite_json(one, examination.problems) for one in examination.suites},
    }
    if examination.leaks is not None:
        result["leaks"] = [leak._asdict() for leak in examination.leaks]
    return result


def _suite_json(examined: Examined, problems: Sequence[Problem]) -> dict[str, Any]:
    suite = examined.source.suite
    return {
        "path": str(suite.path),
        "loader": examined.source.loader,
        "cases": len(suite.cases),
        "images": examined.images,
        "counts": examined.counts,
        "cells": _cells(examined.cells),
        "duplicates": examined.shares._asdict(),
        "problems": [problem._asdict() for problem in problems if problem.suite == suite.name],
    }


def _cells(cells: Iterable[Coverage]) -> list[dict[str, Any]]:
    return [cell._asdict() for cell in cells]


def severities(problems: Iterable[Problem]) -> dict[str, int]:
    """Severity -> number of problems, zeros included."""
    found = Counter(problem.severity for problem in problems)
    return {severity: found[severity] for severity in SEVERITIES}
