"""Repeated sampling: at temperature > 0 the answer to a case varies from draw to draw."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pytest_mmsafety.errors import plural
from pytest_mmsafety.run import Record
from pytest_mmsafety.suites import MARK


def flicker(records: Iterable[Record]) -> list[tuple[str, int, int]]:
    """Cases whose samples were scored differently: key, failing samples, scored samples; the most even ones first."""
    scores: dict[str, list[float]] = {}
    for record in records:
        if "sample" in record.tags and record.score is not None:
            key = record.key if record.tags["sample"] == "1" else record.key.rpartition(MARK)[0]
            scores.setdefault(key, []).append(record.score)
    mixed = ((key, found) for key, found in scores.items() if len(set(found)) > 1)
    counts = [(key, sum(score > 0 for score in found), len(found)) for key, found in mixed]
    return sorted(counts, key=lambda case: (abs(2 * case[1] - case[2]), case[0]))


def flicker_note(records: Sequence[Record], named: int = 5) -> str:
    """One line on :func:`flicker`, or empty."""
    found = flicker(records)
    if not found:
        return ""
    some = ", ".join(f"{key} ({failing} of {n} fail)" for key, failing, n in found[:named])
    more = " ..." if len(found) > named else ""
    return f"{plural(len(found), 'case')} scored differently from sample to sample: {some}{more}"
