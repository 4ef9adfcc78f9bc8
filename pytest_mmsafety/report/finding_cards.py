"""The findings of an attack, side by side with the cases that they broke."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pytest_mmsafety.findings import Finding
from pytest_mmsafety.report.cards import anchor_of_key, in_words, language_of, may_harm
from pytest_mmsafety.report.text import Clip, clip, shortened
from pytest_mmsafety.report.thumbnails import Gallery, Thumbnail
from pytest_mmsafety.report.variants import DIRECTIONS, meaning_of, variant_of
from pytest_mmsafety.report.word_diff import Diff, word_diff
from pytest_mmsafety.run import Record

MAX_FINDINGS = 60
MAX_FAULTS = 20
MAX_CHANGES = 12
"""Changes of one finding that are named."""
MAX_CHANGE = 200
"""Characters of a change in words."""
MAX_ANSWER = 1_000
MAX_PROMPT = 1_000
"""Characters, where the change cannot be marked in it."""
MAX_IMAGES = 4


@dataclass(frozen=True, slots=True)
class ChangeLine:
    """One perturbation in words."""

    text: str
    meaning: str


@dataclass(frozen=True, slots=True)
class FindingCard:
    """One finding beside its case."""

    direction: str
    calls: int
    changes: tuple[ChangeLine, ...]
    more_changes: int
    prompt: Diff | None
    """``None``: what the changes make of the prompt is not known here."""
    same_prompt: bool
    expected: str
    """Of the variant, where the change moved the right option; else empty."""
    images: tuple[tuple[Thumbnail, Thumbnail | None], ...]
    """Each before and after; ``None``: it was not changed."""
    more_images: int
    before: Clip
    after: Clip


@dataclass(frozen=True, slots=True)
class BrokenCase:
    """A case with its findings, the simplest first."""

    record: Record
    anchor: str
    language: str
    expected: str
    prompt: Clip
    folded: bool
    """Whether an answer may do harm to a reader, and opens only on request."""
    findings: tuple[FindingCard, ...]
    more: int
    """Findings of this case that are not shown."""


def simplicity(finding: Finding) -> tuple[float, int]:
    """Less for a simpler change: the strengths together, then how many there are."""
    strength = sum(change.strength for change in finding.perturbations)
    return min(1.0, strength), len(finding.perturbations)


def broken_cases(
    findings: Sequence[Finding], records: Iterable[Record], gallery: Gallery, most: int = MAX_FINDINGS
) -> list[BrokenCase]:
    """At most *most* findings by case, the simplest first; no case is crowded out by the second finding of another."""
    by_key = {record.key: record for record in records}
    by_case: defaultdict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        if finding.case in by_key:
            by_case[finding.case].append(finding)
    order = sorted(by_case, key=lambda key: simplicity(by_case[key][0]))
    places = sorted((place, rank) for rank, key in enumerate(order) for place in range(len(by_case[key])))
    shown: defaultdict[str, int] = defaultdict(int)
    for _, rank in places[:most]:
        shown[order[rank]] += 1
    return [_case(by_key[key], by_case[key], shown[key], gallery) for key in order if shown[key]]


def _case(record: Record, findings: Sequence[Finding], shown: int, gallery: Gallery) -> BrokenCase:
    return BrokenCase(
        record=record,
        anchor=anchor_of_key(record.key, "broken"),
        language=language_of(record),
        expected=in_words(record.expected),
        prompt=clip(record.prompt, MAX_PROMPT),
        folded=may_harm(record),
        findings=tuple(_card(finding, record, gallery) for finding in findings[:shown]),
        more=len(findings) - shown,
    )


def _card(finding: Finding, record: Record, gallery: Gallery) -> FindingCard:
    variant = variant_of(record, finding.perturbations)
    edits = variant.edits if variant else ()
    images = record.images[:MAX_IMAGES]
    moved = variant is not None and variant.expected != record.expected
    return FindingCard(
        direction=DIRECTIONS.get(finding.direction, ""),
        calls=finding.calls,
        changes=change_lines(finding),
        more_changes=max(0, len(finding.perturbations) - MAX_CHANGES),
        prompt=word_diff(record.prompt, variant.prompt) if variant else None,
        same_prompt=variant is not None and variant.prompt == record.prompt,
        expected=in_words(variant.expected) if variant and moved else "",
        images=tuple((gallery.thumbnail(one), gallery.thumbnail(one, edits) if edits else None) for one in images),
        more_images=len(record.images) - len(images),
        before=clip(finding.answer_before, MAX_ANSWER),
        after=clip(finding.answer_after, MAX_ANSWER),
    )


def change_lines(finding: Finding) -> tuple[ChangeLine, ...]:
    """What was done, in order; at most :data:`MAX_CHANGES`."""
    return tuple(
        ChangeLine(shortened(str(change), MAX_CHANGE), meaning_of(change))
        for change in finding.perturbations[:MAX_CHANGES]
    )
