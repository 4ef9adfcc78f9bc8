"""A case: one prompt with its images, what is expected of the answer, and its tags."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

#: Tags with a name of their own; a suite adds others (technique, bucket, ...) under ``tags:``.
STANDARD_TAGS = ("benchmark", "dimension", "category", "modality", "language", "aspect")

PLAIN = "plain"
"""The tag that names the same case without a technique, by its id in the same suite."""

#: The two directions in which a model can fail, as values of the tag ``aspect``.
VULNERABILITY = "vulnerability"
OVER_REFUSAL = "over-refusal"
ASPECTS = (VULNERABILITY, OVER_REFUSAL)

#: What ``expected`` may say besides a single option letter (A to H).
EXPECTATIONS = {
    "yes": "the answer begins with yes",
    "no": "the answer begins with no",
    "comply": "the model helps; a refusal is an over-refusal",
    "refuse": "the model declines",
    "safe": "the answer does no harm, whether by declining or by answering well",
}


SkipKind = Literal["", "unpublished", "no-image", "early-stop"]
"""Why a case is not asked: its image was never published, or is not there; or no gate needs its answer any more."""


End = Literal["", "stop", "length", "thinking"]
"""Why an answer ended: the model stopped, at the limit of tokens, or in a thought that never ended, so that there is no
answer; empty: not known."""


@dataclass(frozen=True, slots=True)
class Response:
    """What a target gave back for one request. Judges see the answer alone."""

    answer: str
    """The final answer; thoughts by the known marks are taken out of it (:mod:`.targets.reasoning`)."""
    reasoning: str = ""
    """What the model thought before it; kept and shown, never judged."""
    end: End = ""
    """Why generation ended. ``thinking``: in a thought, so there is no answer, and it is unscored."""
    prompt_tokens: int | None = None
    answer_tokens: int | None = None
    """Generated tokens, those of the thoughts included."""
    rendered: str = ""
    """What the model was given: the request in its chat template; empty: not known."""


Parameter = str | int | tuple[int, ...]
"""A value that a perturbation is told besides its strength."""


@dataclass(frozen=True, slots=True)
class Change:
    """One perturbation with all that it was told: printable, and enough to do it again."""

    name: str
    """One of :data:`pytest_mmsafety.perturbations.PERTURBATIONS`."""
    strength: float
    """0 to 1; 0 changes nothing."""
    parameters: Mapping[str, Parameter] = field(default_factory=dict)

    def __str__(self) -> str:
        """``role-play 0.35 (voice=actor)``."""
        told = ", ".join(f"{name}={_short(value)}" for name, value in sorted(self.parameters.items()))
        return f"{self.name} {self.strength:g}" + (f" ({told})" if told else "")


def _short(value: Parameter) -> str:
    return "+".join(map(str, value)) if isinstance(value, tuple) else str(value)


@dataclass(frozen=True, slots=True)
class ImageEdit:
    """What a change does to the images of a case."""

    change: Change
    text: str = ""
    """What is drawn; known once the prompt that it comes from is."""


def is_expectation(value: str) -> bool:
    """Whether *value* is one of :data:`EXPECTATIONS` or an option letter."""
    return value in EXPECTATIONS or re.fullmatch("[A-H]", value) is not None


@dataclass(frozen=True, slots=True)
class Case:
    """One thing to ask the target."""

    id: str
    """Unique inside its suite; the key by which runs are compared."""
    suite: str
    """Name of the suite, not its file: files move, names stay."""
    prompt: str
    expected: str
    """One of :data:`EXPECTATIONS`, or the letter of the right option."""
    images: tuple[str, ...] = ()
    """Absolute paths. Nothing is read before the batch that needs it."""
    tags: Mapping[str, str] = field(default_factory=dict)
    cluster: str | None = None
    """What makes cases depend on one another; ``None`` means the content of the images."""
    judges: tuple[str, ...] = ()
    """Names of judges; the first one's verdict is gated. Empty: chosen by what is expected."""
    must_pass: bool = False
    """A failing answer fails the test itself, not only a gate."""
    known_unsafe_until: str = ""
    """The last day, as YYYY-MM-DD, on which a failing answer was expected; after it the case must pass."""
    sample: int = 1
    """Which of several answers to the same case this is about, from 1."""
    max_new_tokens: int | None = None
    """Limit of its answer, where the target was given none; ``None``: the target's own."""
    edits: tuple[ImageEdit, ...] = ()
    """Changes of the images, in order, that are made when they are decoded."""
    skip: str = ""
    """Why the case cannot be asked, for a person; empty: it can."""
    skip_kind: SkipKind = ""
    """The same for a program."""

    @property
    def key(self) -> str:
        """Name of the case in a run: unique over all suites."""
        return f"{self.suite}/{self.id}"


def cluster_of(case: Case, image_digests: tuple[str, ...]) -> str:
    """The cluster by which intervals are widened: the case's own, else its images, else itself."""
    if case.cluster is not None:
        return case.cluster
    return "+".join(digest[:16] for digest in image_digests) or case.key
