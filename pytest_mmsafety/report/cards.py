"""The cases that the page shows, worst first."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from pytest_mmsafety.cases import EXPECTATIONS
from pytest_mmsafety.gates import Gate, GateResult
from pytest_mmsafety.report.facets import Facets, applies_to, ordered
from pytest_mmsafety.report.states import ERROR, FAILING, STATES, UNSCORED, state_of
from pytest_mmsafety.report.text import Clip, clip
from pytest_mmsafety.report.thumbnails import Gallery, Thumbnail
from pytest_mmsafety.run import Record

MAX_CARDS = 500
MAX_ERRORS = 100
"""Errors are often many and alike; beyond these they do not push failing answers off the page."""
MAX_ATTACKED = 150
"""Of the cases shown, those that an attack made, unless the suites leave more room."""
RESERVED = MAX_CARDS // 2
"""Of the cases shown, at most half for the gates that block, in equal parts: their cases are looked for first."""
MAX_TEXT = 2_000
"""Characters of a prompt, an answer or an error."""
MAX_REASON = 300
"""Characters of a verdict's reason."""
MAX_IMAGES = 12
"""Images of one case."""

_ATTACKS = {
    "search": "A search attacked this case. The prompt is the one that it began with; the answer is that to the "
    "simplest change that broke the case, if there is one.",
    "universal": "The prompt is the one without a change; the answer is that to the change that was chosen for all.",
    "sweep": "The case after one change of a fixed strength.",
}


@dataclass(frozen=True, slots=True)
class Judgement:
    """One verdict as a line."""

    judge: str
    label: str
    score: str
    reason: Clip


@dataclass(frozen=True, slots=True)
class Card:
    """One case with everything that there is to see of it."""

    record: Record
    anchor: str
    state: str
    facets: str
    """Tokens of the filter options it answers to."""
    tags: tuple[tuple[str, str], ...]
    expected: str
    """In words."""
    language: str
    """For the ``lang`` attribute, or empty."""
    prompt: Clip
    response: Clip | None
    reasoning: Clip | None
    """What the model thought before its answer; always folded."""
    folded: bool
    """Whether the answer may do harm to a reader, and opens only on request."""
    judgements: tuple[Judgement, ...]
    trouble: Clip | None
    """The error, or why the case was skipped."""
    images: tuple[Thumbnail, ...]
    more_images: int
    attack: str
    """Of a case that an attack made: what its answer is to; empty elsewhere."""
    original: str
    """Anchor of what the page says of breaking its original, or empty."""


def choose_cards(records: Sequence[Record], gates: Sequence[GateResult]) -> list[Record]:
    """At most :data:`MAX_CARDS` records: those of the suites, then those that an attack made, each worst first."""
    own = [record for record in records if not record.attacked_by]
    made = [record for record in records if record.attacked_by]
    chosen = choose(own, gates, MAX_CARDS - min(MAX_ATTACKED, len(made)))
    return [*chosen, *choose(made, gates, MAX_CARDS - len(chosen))]


def choose(records: Sequence[Record], gates: Sequence[GateResult] = (), most: int = MAX_CARDS) -> list[Record]:
    """At most *most* records: errors, failing, unscored, then the rest; worst and earliest first.

    Every gate that blocks gets its part of :data:`RESERVED`, however many records are worse than its own.
    """
    by_state: defaultdict[str, list[Record]] = defaultdict(list)
    for record in records:
        by_state[state_of(record)].append(record)
    by_state[FAILING].sort(key=lambda record: -(record.score or 0.0))
    ranked = [record for state in STATES for record in by_state[state]]
    if len(ranked) <= most:
        return ranked
    errors = len(by_state[ERROR])
    general = [*ranked[: min(errors, max(MAX_ERRORS, most - len(ranked) + errors))], *ranked[errors:]]
    blocking = [result.gate for result in gates if result.blocks]
    share = max(1, min(RESERVED, most // 2) // max(1, len(blocking)))
    reserved = [record for gate in blocking for record in _reserved(gate, ranked, share)]
    chosen = set(islice(dict.fromkeys(record.key for record in (*reserved, *general)), most))
    return [record for record in ranked if record.key in chosen]


def _reserved(gate: Gate, ranked: Sequence[Record], share: int) -> list[Record]:
    """*share* records of *gate*: half failing, half unscored, and where it lacks those, its worst.

    The unscored ones are drawn by a digest of their names: from everywhere, and the same in the next report.
    """
    of_gate = [record for record in ranked if applies_to(gate, record)]
    failing = [record for record in of_gate if state_of(record) == FAILING][: (share + 1) // 2]
    unscored = [record for record in of_gate if state_of(record) == UNSCORED]
    unscored.sort(key=lambda record: anchor_of(record, "case"))
    first = [*failing, *unscored[: share - len(failing)]]
    return list({record.key: record for record in (*first, *of_gate)}.values())[:share]


def make_card(record: Record, facets: Facets, gallery: Gallery, broken: Collection[str] = ()) -> Card:
    """*broken*: keys of the cases of which the page shows what breaks them."""
    state = state_of(record)
    trouble = record.error or record.skipped
    return Card(
        record=record,
        anchor=anchor_of(record, "case"),
        state=state,
        facets=facets.of(record, state),
        tags=ordered(record.tags),
        expected=in_words(record.expected),
        language=language_of(record),
        prompt=clip(record.prompt, MAX_TEXT),
        response=None if record.response is None else clip(record.response, MAX_TEXT),
        reasoning=clip(record.reasoning, MAX_TEXT) if record.reasoning else None,
        folded=may_harm(record) and state in (ERROR, FAILING, UNSCORED),
        judgements=tuple(_judgements(record)),
        trouble=clip(trouble, MAX_TEXT) if trouble else None,
        images=tuple(gallery.thumbnail(image) for image in record.images[:MAX_IMAGES]),
        more_images=max(0, len(record.images) - MAX_IMAGES),
        attack=_ATTACKS.get(record.attacked_by, ""),
        original=anchor_of_key(record.original, "broken") if record.attacked_by and record.original in broken else "",
    )


def in_words(expected: str) -> str:
    """``no`` as ``the answer begins with no``, ``B`` as ``option B is the right one``."""
    if expected in EXPECTATIONS:
        return EXPECTATIONS[expected]
    return f"option {expected} is the right one" if re.fullmatch("[A-H]", expected) else expected


def anchor_of(record: Record, what: str) -> str:
    """The same in every report; a key may hold anything, an anchor may not."""
    return anchor_of_key(record.key, what)


def anchor_of_key(key: str, what: str) -> str:
    return f"{what}-{hashlib.sha256(key.encode('utf-8', 'backslashreplace')).hexdigest()[:12]}"


def may_harm(record: Record) -> bool:
    """Whether an answer that fails may do harm to a reader."""
    return record.expected in ("refuse", "safe")


def language_of(record: Record) -> str:
    """The tag if it is the code of a language, else an empty string."""
    tag = record.tags.get("language", "")
    return tag if re.fullmatch(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*", tag) else ""


def _judgements(record: Record) -> Iterator[Judgement]:
    for verdict in record.verdicts:
        score = "no score" if verdict.score is None else f"{verdict.score:.3g}"
        yield Judgement(verdict.judge, verdict.label, score, clip(verdict.reason, MAX_REASON))
