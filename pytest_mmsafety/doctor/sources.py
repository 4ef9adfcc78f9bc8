"""What to examine: suites and folders of suites, shipped suites by name, and folders of official data."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import NamedTuple

from pytest_mmsafety.benchmarks.mllmguard import data as mllmguard
from pytest_mmsafety.benchmarks.mmsafeaware import data as mmsafeaware
from pytest_mmsafety.doctor.problems import ERROR, Problem
from pytest_mmsafety.errors import DataError, SetupError, nearest
from pytest_mmsafety.suites import SUITE_SUFFIXES, Loader, Suite, read_suite, suite_file, suite_files

LAYOUTS = {
    "figstep": ("safebench.csv", "data/question/safebench.csv"),
    "mllmguard": tuple(
        f"{parent}/{task}/{name}.csv".lstrip("/")
        for parent in mllmguard.PARENTS
        for task in mllmguard.DIMENSIONS
        for name in ("prompt", "en", "zh")
    ),
    "mmsafeaware": ("data/prompt.txt", "prompt.txt"),
    "mossbench": ("information.csv", "*/information.csv"),
    "usb-base": ("USB_base_final.csv", "*/USB_base_final.csv"),
    "usb-hard": ("USB_hard_final.csv", "*/USB_hard_final.csv"),
}
"""Loader -> files by which its data are recognised."""


class Source(NamedTuple):
    """One suite, or one official data set read as a suite."""

    suite: Suite
    loader: str = ""
    """What read the official data; empty for a suite of cases of one's own."""
    alone: bool = False
    """Other suites may use the same folder of images."""


class Found(NamedTuple):
    """All that the given paths led to."""

    sources: tuple[Source, ...]
    needs_data: tuple[Path, ...]
    """Headers of official data, which is not here."""
    problems: tuple[Problem, ...]


def find_sources(paths: Sequence[str], loader: str = "") -> Found:
    """Read everything that *paths* name; with *loader*, each is a folder of official data.

    Raises :class:`SetupError` for a path or a loader that is none. A suite that is wrong is a problem.
    """
    sources: dict[str, Source] = {}
    needs_data: list[Path] = []
    problems: list[Problem] = []
    for target in dict.fromkeys(target for path in paths for target in _targets(path, loader)):
        try:
            source = _read(*target)
        except DataError as error:
            problems.append(Problem(ERROR, "suite-unreadable", "", "", error.problem + error.hint, error.where))
            continue
        name = source.suite.name
        if source.suite.wants_data:
            needs_data.append(source.suite.path)
        elif name in sources:
            message = f"suite {name!r} is also the name of {sources[name].suite.path}; expected another"
            problems.append(Problem(ERROR, "suite-name-twice", name, "", message, str(source.suite.path)))
        else:
            sources[name] = source
    return Found(tuple(sources.values()), tuple(needs_data), tuple(problems))


def _targets(given: str, loader: str) -> list[tuple[Path, str, bool]]:
    """Files of suites, or folders with the loader that reads them; and whether it is a suite by itself."""
    known = sorted(entry_points(group="mmsafety.loaders").names)
    if loader and loader not in known:
        raise SetupError(
            f"--loader: {loader!r} is not known; expected one of {', '.join(known)}{nearest(loader, known)}"
        )
    path = Path(given)
    if not path.exists():
        if loader or path.suffix or len(path.parts) != 1:
            raise SetupError(f"{given}: no such file or folder")
        return [(suite_file(given), "", True)]
    if path.is_file():
        if loader:
            raise SetupError(f"{given}: --loader reads a folder of official data; this is a file")
        if path.suffix not in SUITE_SUFFIXES:
            raise SetupError(f"{given}: expected a suite ({' or '.join(SUITE_SUFFIXES)}) or a folder")
        return [(path, "", True)]
    if loader:
        return [(path, loader, False)]
    if suites := suite_files(path):
        return [(file, "", False) for file in suites]
    if loaders := [name for name, files in LAYOUTS.items() if any(any(path.glob(file)) for file in files)]:
        return [(path, name, False) for name in loaders]
    raise SetupError(
        f"{given}: no suite in it, and no official data that is known; give --loader, one of {', '.join(known)}"
    )


def _read(path: Path, loader: str, alone: bool) -> Source:  # noqa: FBT001
    if not loader:
        return Source(read_suite(path), alone=alone)
    load: Loader = entry_points(group="mmsafety.loaders")[loader].load()
    name = f"{loader}-official"  # as the shipped headers call it: keys of cases are those of a run
    cases = tuple(load(path, name))
    if not cases:
        raise DataError(path, f"no cases that the loader {loader} can read")
    benchmark = cases[0].tags.get("benchmark", loader)
    return Source(Suite(name, path, benchmark, "", cases, {}, "", path.resolve()), loader)


def places(source: Source) -> dict[str, str]:
    """Id of a case -> ``path:line``, as far as lines are known."""
    suite = source.suite
    if source.loader == "mmsafeaware":
        return mmsafeaware.places(suite.path)
    if source.loader:
        return {}
    return dict(suite.places)
