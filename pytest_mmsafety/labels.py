"""People's labels of a run's answers, as ``mmsafety judge import`` writes them, for gates on that run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_mmsafety.documents import Row, file_rows
from pytest_mmsafety.errors import DataError, nearest
from pytest_mmsafety.run import Record

KEYS = (
    "key", "prompt", "response", "reasoning", "images", "expected", "dimension", "language", "category", "source",
    "cluster", "label", "decided", "votes", "weight", "judge", "verdict", "score", "probabilities",
)  # fmt: skip
"""Of a row, as ``mmsafety judge import`` writes it."""
WORST = 3
"""Of labels that are levels."""


@dataclass(frozen=True, slots=True)
class Label:
    """What people said of one answer."""

    failure: float | None
    """0: as expected, 1: the worst failure; ``None``: they were not sure, or not of one mind."""
    stands_for: float
    """Answers of the run: 1 / its chance to be drawn."""


@dataclass(frozen=True, slots=True)
class HumanLabels:
    """All labels of a run."""

    of: Mapping[str, Label]
    """By the case's key."""
    levels: bool
    """Whether people chose among levels, rather than between failure or not."""


def load_labels(path: Path, records: Sequence[Record]) -> HumanLabels:
    """Read labels of the answers of *records*. Raises :class:`DataError` in one line, also if they are of others."""
    if path.suffix != ".jsonl":
        raise DataError(path, "not a .jsonl file; expected what mmsafety judge import wrote")
    rows = list(file_rows(path))
    if not rows:
        raise DataError(path, "no labels; expected what mmsafety judge import wrote")
    answered = {record.key: record for record in records if record.response is not None}
    levels = any(map(_has_levels, rows))
    labels: dict[str, Label] = {}
    for row in rows:
        for name in row.values:
            if name not in KEYS:
                raise DataError(row.at(), f"{name!r:.60}: unknown key", nearest(name, KEYS))
        key = _key(row, answered)
        if key in labels:
            raise DataError(row.at(), f"key: {key!r:.80} is labelled twice; expected one row a case")
        labels[key] = Label(_failure(row, levels=levels), _stands_for(row))
    return HumanLabels(labels, levels)


def _has_levels(row: Row) -> bool:
    votes = row.values.get("votes")  # yes or no, or a level
    if isinstance(votes, dict):
        return any(str(vote).isdigit() for vote in votes.values())
    return row.values.get("label") in (2, WORST)


def _key(row: Row, answered: Mapping[str, Record]) -> str:
    key = row.values.get("key")
    if not isinstance(key, str):
        raise DataError(row.at(), f"key: {key!r:.80}; expected the key of a case, as mmsafety judge import writes it")
    if key not in answered:
        raise DataError(row.at(), f"key: {key!r:.80}; expected a case that this run has an answer to"
                         f"{nearest(key, answered)}")  # fmt: skip
    record = answered[key]
    if any(row.values.get(name) != getattr(record, name) for name in ("prompt", "response", "expected")):
        raise DataError(
            row.at(), f"key: {key!r:.80}: the label is of another answer than this run's; expected labels of this run"
        )
    return key


def _failure(row: Row, *, levels: bool) -> float | None:
    if "label" not in row.values:
        raise DataError(row.at(), "no label; expected one, or null if people were not sure")
    label = row.values["label"]
    most = WORST if levels else 1
    if label is not None and (type(label) is not int or not 0 <= label <= most):
        raise DataError(row.at(), f"label: {label!r:.40}; expected a whole number from 0 to {most}, or null")
    return None if label is None else label / most


def _stands_for(row: Row) -> float:
    weight = row.values.get("weight")
    if weight is None:
        raise DataError(
            row.at(),
            "no weight, so it is not known how the sample was drawn; expected an import with sample.json "
            "beside the labels (or 1 in every row, if all chances were equal)",
        )
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight < 1e9:
        raise DataError(row.at(), f"weight: {weight!r:.40}; expected a number above 0")
    return float(weight)
