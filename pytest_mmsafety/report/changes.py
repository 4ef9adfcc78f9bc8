"""What changed since the baseline, case by case."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pytest_mmsafety.baselines import judge_differences, record_differences, same_content, setting_differences
from pytest_mmsafety.cases import OVER_REFUSAL, VULNERABILITY
from pytest_mmsafety.report.cards import MAX_IMAGES, anchor_of, in_words, language_of, may_harm
from pytest_mmsafety.report.text import Clip, clip
from pytest_mmsafety.report.thumbnails import Gallery, Thumbnail
from pytest_mmsafety.run import Record, Run

MAX_FLIPS = 60
"""Changed cases that are shown with both answers."""
MAX_TEXT = 1_000
"""Characters of a prompt or an answer."""
MAX_DIFFERENCES = 30


class Kind(NamedTuple):
    """One way to change; there are two for each aspect."""

    name: str
    icon: str


UNSAFE, REFUSED, WRONG = Kind("became unsafe", "fail"), Kind("newly refused", "fail"), Kind("became wrong", "fail")
SAFE, ANSWERED, RIGHT = Kind("became safe", "pass"), Kind("newly answered", "pass"), Kind("became right", "pass")
KINDS = (UNSAFE, REFUSED, WRONG, SAFE, ANSWERED, RIGHT)
WORSE, BETTER, SILENT = (
    Kind("fails worse", "fail"),
    Kind("fails less", "pass"),
    Kind("no longer scored", "unsure"),
)
OTHERS = (WORSE, BETTER, SILENT)
"""Counted, but not shown with their answers."""
_BY_ASPECT = {VULNERABILITY: (UNSAFE, SAFE), OVER_REFUSAL: (REFUSED, ANSWERED)}


class Pair(NamedTuple):
    """One case in both runs."""

    kind: Kind
    now: Record
    before: Record


@dataclass(frozen=True, slots=True)
class Side:
    """What one of the two runs answered."""

    response: Clip
    judge: str
    label: str


@dataclass(frozen=True, slots=True)
class Flip:
    """A case whose verdict turned."""

    record: Record
    anchor: str
    prompt: Clip
    expected: str
    language: str
    folded: bool
    before: Side
    now: Side
    images: tuple[Thumbnail, ...]
    more_images: int

    @property
    def same_answer(self) -> bool:
        """Only the verdict turned."""
        return self.before.response == self.now.response


@dataclass(frozen=True, slots=True)
class Row:
    """Changes of one suite, or of all."""

    label: str
    pairs: int
    counts: Mapping[Kind, int]


@dataclass(frozen=True, slots=True)
class Changes:
    """The section of the page."""

    baseline: Run
    same_target: bool
    differences: tuple[str, ...]
    """What else is not the same: settings, judges, contents of cases."""
    more_differences: int
    kinds: tuple[Kind, ...]
    """Those that occur: the columns."""
    whole: Row
    rows: tuple[Row, ...]
    only_now: int
    only_before: int
    other_content: int
    groups: tuple[tuple[Kind, int, tuple[Flip, ...]], ...]
    """Kind, how many there are, and those that are shown."""

    @property
    def worse(self) -> int:
        return sum(self.whole.counts.get(kind, 0) for kind in (*KINDS[:3], WORSE))

    @property
    def better(self) -> int:
        return sum(self.whole.counts.get(kind, 0) for kind in (*KINDS[3:], BETTER))

    @property
    def flips(self) -> int:
        return sum(total for _, total, _ in self.groups)

    @property
    def shown(self) -> int:
        return sum(len(flips) for _, _, flips in self.groups)


def changes(run: Run, baseline: Run, gallery: Gallery) -> Changes:
    """Pair the cases of both runs by key, prompt, expectation and images."""
    before = {record.key: record for record in baseline.records}
    shared = [(record, before[record.key]) for record in run.records if record.key in before]
    pairs = [(now, then) for now, then in shared if same_content(now, then)]
    turned = [Pair(kind, now, then) for now, then in pairs if (kind := kind_of(now, then))]
    counts = Counter(pair.kind for pair in turned)
    differences = [
        *setting_differences(run.settings, baseline.settings),
        *judge_differences(run.records, baseline.records),
        *record_differences(run.records, baseline.records),
    ]
    return Changes(
        baseline=baseline,
        same_target=run.fingerprint == baseline.fingerprint != "",
        differences=tuple(difference.text for difference in differences[:MAX_DIFFERENCES]),
        more_differences=max(0, len(differences) - MAX_DIFFERENCES),
        kinds=tuple(kind for kind in (*KINDS, *OTHERS) if counts[kind]),
        whole=Row("All suites", len(pairs), counts),
        rows=tuple(_rows(pairs, turned)),
        only_now=len(run.records) - len(shared),
        only_before=len(baseline.records) - len(shared),
        other_content=len(shared) - len(pairs),
        groups=tuple(_groups(turned, gallery)),
    )


def kind_of(now: Record, before: Record) -> Kind | None:
    """How the verdict turned, or ``None`` if it did not. Without a score in the baseline nothing turned."""
    if before.score is None or before.response is None:
        return None
    if now.score is None or now.response is None:
        return SILENT
    bad, good = _BY_ASPECT.get(now.tags.get("aspect", ""), (WRONG, RIGHT))
    if bool(now.score) != bool(before.score):
        return bad if now.score else good
    return None if now.score == before.score else WORSE if now.score > before.score else BETTER


def _rows(pairs: Sequence[tuple[Record, Record]], turned: Iterable[Pair]) -> list[Row]:
    totals = Counter(now.suite for now, _ in pairs)
    counts: defaultdict[str, Counter[Kind]] = defaultdict(Counter)
    for pair in turned:
        counts[pair.now.suite][pair.kind] += 1
    return [Row(suite, total, counts[suite]) for suite, total in totals.items()] if len(totals) > 1 else []


def _groups(turned: Sequence[Pair], gallery: Gallery) -> list[tuple[Kind, int, tuple[Flip, ...]]]:
    """Worst kinds first; in each the largest turns first, and no kind takes all the room from the others."""
    groups, room = [], MAX_FLIPS
    by_kind = {kind: [pair for pair in turned if pair.kind == kind] for kind in KINDS}
    left = sum(bool(found) for found in by_kind.values())
    for kind, found in by_kind.items():
        if not found:
            continue
        found.sort(key=lambda pair: -abs((pair.now.score or 0.0) - (pair.before.score or 0.0)))
        least = 4 * (left - 1)
        shown = found[: max(4, room - least)]
        groups.append((kind, len(found), tuple(_flip(pair, gallery) for pair in shown)))
        room, left = room - len(shown), left - 1
    return groups


def _flip(pair: Pair, gallery: Gallery) -> Flip:
    record = pair.now
    return Flip(
        record=record,
        anchor=anchor_of(record, "turn"),
        prompt=clip(record.prompt, MAX_TEXT),
        expected=in_words(record.expected),
        language=language_of(record),
        folded=may_harm(record),
        before=_side(pair.before),
        now=_side(record),
        images=tuple(gallery.thumbnail(image) for image in record.images[:MAX_IMAGES]),
        more_images=max(0, len(record.images) - MAX_IMAGES),
    )


def _side(record: Record) -> Side:
    verdict = record.verdicts[0]  # it has a score
    return Side(clip(record.response or "", MAX_TEXT), verdict.judge, verdict.label)
