"""Tags of cases that look misspelt: such a case would leave the gates that filter by the tag, without a word."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches

from pytest_mmsafety.benchmarks.mllmguard.data import RED_TEAMING, SUB_TASKS
from pytest_mmsafety.benchmarks.mmsafeaware.data import CATEGORIES
from pytest_mmsafety.benchmarks.usb.data import TAXONOMY
from pytest_mmsafety.cases import Case
from pytest_mmsafety.errors import plural
from pytest_mmsafety.evaluation.checks import CaseTags
from pytest_mmsafety.gates import Gate
from pytest_mmsafety.metrics import USB_MODALITIES

_USB = [f"{group}/{leaf}" for groups in TAXONOMY.values() for group, leaves in groups.items() for leaf in leaves]
KNOWN: Mapping[str, Mapping[str, Sequence[str]]] = {
    "usb": {"category": _USB, "modality": USB_MODALITIES},
    "mllmguard": {
        "dimension": tuple(SUB_TASKS),
        "category": [name for names in SUB_TASKS.values() for name in names],
        "technique": RED_TEAMING,
    },
    "mmsafeaware": {"category": CATEGORIES, "bucket": ("typical", "attack", "over-safe")},
}
"""Benchmark -> tag -> values that it has. Other values are allowed, unless they are nearly one of these."""
COMPARED = ("dimension", "category", "modality", "language")
CLOSE = 0.8
"""From which ratio of equal letters on two values look like one."""
NEARER = 0.85
"""The same for a value that no gate accepts."""
RARE = 20
"""A value is compared with one that so many times as many cases have."""


def misspelt_tag(cases: Iterable[Case]) -> str:
    """The first case whose tag is nearly a value of its benchmark, in one line; empty: there is none."""
    seen: set[tuple[str, str, str]] = set()
    for case in cases:
        benchmark = case.tags.get("benchmark", "")
        for tag, values in KNOWN.get(benchmark, {}).items():
            value = case.tags.get(tag, "")
            if not value or value in values or (benchmark, tag, value) in seen:
                continue
            seen.add((benchmark, tag, value))
            if near := _close(value, values):
                return f"{case.key}: {tag}: {value!r} is not known in {benchmark}; did you mean {near!r}?"
    return ""


def near_miss(gates: Iterable[Gate], cases: Iterable[CaseTags]) -> str:
    """A value that no gate accepts, and that is nearly one which a gate does, in one line; empty: there is none."""
    accepted: dict[str, set[str]] = {}
    for gate in gates:
        for tag, values in gate.where.items():
            if tag != "suite":
                accepted.setdefault(tag, set()).update(values)
    found = Counter((suite, tag, tags[tag]) for suite, tags in cases for tag in accepted if tag in tags)
    for (suite, tag, value), count in found.items():
        others = [other for other in accepted[tag] if _letters(other, value)]
        if value not in accepted[tag] and (near := _close(value, others, NEARER)):
            return f"{suite}: {tag}: {value!r} ({plural(count, 'case')}) counts for no gate; did you mean {near!r}?"
    return ""


def rare_twins(cases: Iterable[Case]) -> Iterator[str]:
    """A note for each value that few cases have and that is nearly one which many have."""
    counts: dict[str, Counter[str]] = {tag: Counter() for tag in COMPARED}
    for case in cases:
        for tag in COMPARED:
            counts[tag][case.tags.get(tag, "")] += 1
    for tag, found in counts.items():
        for value, count in found.items():
            common = [other for other, more in found.items() if more >= RARE * count and _letters(other, value)]
            if value and (near := _close(value, common)):
                yield f"{tag}: {value!r} ({plural(count, 'case')}) is nearly {near!r} ({found[near]:,}); misspelt?"


def _close(value: str, known: Sequence[str], cutoff: float = CLOSE) -> str:
    lower = {one.lower(): one for one in known}
    near = get_close_matches(value.lower(), lower, n=1, cutoff=cutoff)
    return lower[near[0]] if near else ""


def _letters(one: str, other: str) -> bool:
    """Whether they differ in more than numbers."""
    return re.sub(r"\d", "", one) != re.sub(r"\d", "", other)
