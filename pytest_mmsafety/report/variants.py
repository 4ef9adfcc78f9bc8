"""What a finding asked: its case again, and what its changes make of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pytest_mmsafety.attacks.attempts import direction_of
from pytest_mmsafety.attacks.settings import SWEEP
from pytest_mmsafety.cases import Case, Change
from pytest_mmsafety.findings import Direction
from pytest_mmsafety.perturbations import PERTURBATIONS, edit_digest, perturb
from pytest_mmsafety.report.thumbnails import ChangedImage
from pytest_mmsafety.run import Record

MAX_PROMPT = 10_000
"""Characters of a prompt that is changed again."""

DIRECTIONS: dict[Direction, str] = {
    "safe-to-unsafe": "safe to unsafe",
    "answered-to-refused": "answered to refused",
    "right-to-wrong": "right to wrong",
}


def case_of(record: Record) -> Case:
    """The case as far as a record remembers it; its images are names."""
    names = tuple(image.name for image in record.images)
    return Case(record.id, record.suite, record.prompt, record.expected, names, record.tags)


def variant_of(record: Record, changes: Sequence[Change]) -> Case | None:
    """The case of *record* after *changes*; ``None`` if that is not known here, as in a run of a later version."""
    if len(record.prompt) > MAX_PROMPT:
        return None
    try:
        return perturb(case_of(record), changes)
    except ValueError:
        return None


def changed_images(chosen: Iterable[Record], records: Iterable[Record]) -> dict[str, ChangedImage]:
    """What the images of the *chosen* cases of a sweep were made of, by what stands for their content."""
    by_key = {record.key: record for record in records if not record.attacked_by}
    found: dict[str, ChangedImage] = {}
    for record in chosen:
        plain = by_key.get(record.original) if record.attacked_by == SWEEP else None
        change = _swept_with(record)
        variant = variant_of(plain, [change]) if plain and change else None
        if plain and variant and variant.edits:
            for image in plain.images:
                found[edit_digest(image.sha256, variant.edits)] = ChangedImage(image, variant.edits)
    return found


def _swept_with(record: Record) -> Change | None:
    try:
        return Change(record.tags["perturbation"], float(record.tags["strength"]))
    except (KeyError, ValueError):
        return None


def meaning_of(change: Change) -> str:
    """What the perturbation does, in words; empty for an unknown one."""
    known = PERTURBATIONS.get(change.name)
    return known.meaning if known else ""


def direction(record: Record) -> Direction:
    """How the record's case would flip."""
    return direction_of(case_of(record))
