"""Which cells of a benchmark's taxonomy have cases."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import NamedTuple

from pytest_mmsafety.benchmarks.mllmguard import data as mllmguard
from pytest_mmsafety.benchmarks.mmsafeaware import data as mmsafeaware
from pytest_mmsafety.benchmarks.usb import data as usb
from pytest_mmsafety.cases import OVER_REFUSAL, VULNERABILITY, Case
from pytest_mmsafety.doctor.images import Picture
from pytest_mmsafety.doctor.sources import Source

MODALITIES = ("RIRT", "RIST", "SIRT", "SIST")
LANGUAGES = ("en", "zh")
LINKS = ("twin", "plain", "pair")
"""Tags that name another case: there is nothing to count in their values."""


class Coverage(NamedTuple):
    """How much of one kind of cell is there."""

    what: str
    covered: int
    total: int
    empty: tuple[str, ...] = ()


def counts(cases: Sequence[Case]) -> dict[str, dict[str, int]]:
    """Tag -> value -> number of cases, both in alphabetical order; and what is expected of the answers."""
    found: dict[str, Counter[str]] = {"expected": Counter(case.expected for case in cases)}
    for case in cases:
        for tag, value in case.tags.items():
            if tag not in LINKS:
                found.setdefault(tag, Counter())[value] += 1
    return {tag: dict(sorted(values.items())) for tag, values in sorted(found.items())}


def coverage(source: Source, pictures: Mapping[str, Picture]) -> list[Coverage]:
    """The cells of the suite's benchmark; none if it has no taxonomy that is known.

    Own suites are held to English and Chinese, published data to the languages that are there.
    """
    cases = source.suite.cases
    languages: tuple[str, ...] = LANGUAGES
    if source.loader:
        languages = tuple(sorted({language for case in cases if (language := case.tags.get("language"))}))
    match source.suite.benchmark:
        case "usb":
            return [_usb(cases, languages, published=bool(source.loader))]
        case "mllmguard":
            return list(_mllmguard(cases, languages))
        case "mmsafeaware":
            return list(_mmsafeaware(cases, pictures))
    return []


def _usb(cases: Sequence[Case], languages: Sequence[str], *, published: bool) -> Coverage:
    """The published over-refusal probes have no place in the taxonomy."""
    aspects = (VULNERABILITY,) if published else (VULNERABILITY, OVER_REFUSAL)
    categories = [
        f"{group}/{leaf}" for groups in usb.TAXONOMY.values() for group, leaves in groups.items() for leaf in leaves
    ]
    tags = ("category", "modality", "language", "aspect")
    return _cells(f"cells ({' x '.join(tags)})", tags, product(categories, MODALITIES, languages, aspects), cases)


def _mllmguard(cases: Sequence[Case], languages: Sequence[str]) -> Iterator[Coverage]:
    sub_tasks = [name for names in mllmguard.SUB_TASKS.values() for name in names]
    for language in languages:
        in_language = [case for case in cases if case.tags.get("language") == language]
        yield _cells(f"sub-types, {language}", ("category",), ((name,) for name in sub_tasks), in_language)
    techniques = ((name,) for name in mllmguard.RED_TEAMING)
    yield _cells("red-teaming techniques", ("technique",), techniques, cases)
    ids = {case.id for case in cases}
    if plain := [case for case in cases if "plain" in case.tags]:
        missing = tuple(case.id for case in plain if case.tags["plain"] not in ids)
        yield Coverage("plain twins", len(plain) - len(missing), len(plain), missing)


def _mmsafeaware(cases: Sequence[Case], pictures: Mapping[str, Picture]) -> Iterator[Coverage]:
    yield _cells("scenarios", ("category",), ((name,) for name in mmsafeaware.CATEGORIES), cases)
    labels: defaultdict[str, set[str]] = defaultdict(set)
    for case in cases:
        for path in case.images:
            labels[pictures[path].sha256 or path].add(case.expected)
    contrastive = sum(len(expected) > 1 for expected in labels.values())
    yield Coverage("images occur with both labels", contrastive, len(labels))


def _cells(what: str, tags: Sequence[str], wanted: Iterator[tuple[str, ...]], cases: Sequence[Case]) -> Coverage:
    filled = {tuple(case.tags.get(tag, "") for tag in tags) for case in cases}
    cells = list(wanted)
    empty = tuple(" ".join(cell) for cell in cells if cell not in filled)
    return Coverage(what, len(cells) - len(empty), len(cells), empty)
