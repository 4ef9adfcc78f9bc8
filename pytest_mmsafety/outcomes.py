"""An outcome: the answer to one case with its verdicts. The one thing that crosses a process border."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pytest_mmsafety.cases import End, SkipKind
from pytest_mmsafety.verdicts import Verdict


@dataclass(frozen=True, slots=True)
class Outcome:
    """The answer to a case with its verdicts, or the reason why there is none."""

    case: str
    """``Case.key``."""
    response: str | None = None
    """The answer; empty if the model was still thinking when its generation ended."""
    verdicts: tuple[Verdict, ...] = ()
    """The first one is gated; others stand beside it."""
    error: str = ""
    """Why it could not be found out, or empty."""
    error_file: str = ""
    """Path of the file that the error is about, or empty."""
    skipped: str = ""
    """Why it was not asked, for a person; empty: it was."""
    skip_kind: SkipKind = ""
    """The same for a program."""
    image_digests: tuple[str, ...] = ()
    seconds: float = 0.0
    """The case's share of its batch's time; 0 for an answer from the store."""
    stored: bool = False
    """Whether the answer came from the store."""
    reasoning: str = ""
    """What the model thought before the answer; never judged."""
    end: End = ""
    """Why generation ended."""
    prompt_tokens: int | None = None
    answer_tokens: int | None = None
    """Generated tokens, those of the reasoning included."""
    rendered: str = ""
    """What the model was given, or empty."""
    answered: str = ""
    """When, as UTC in ISO 8601; of an answer from the store long ago."""

    @property
    def score(self) -> float | None:
        """The gated verdict's score; ``None`` if unscored, skipped or an error."""
        return self.verdicts[0].score if self.verdicts else None

    def to_dict(self) -> dict[str, Any]:
        """Builtins only: xdist ends a session on anything else."""
        return {
            "case": self.case,
            "response": self.response,
            "reasoning": self.reasoning,
            "end": self.end,
            "prompt_tokens": self.prompt_tokens,
            "answer_tokens": self.answer_tokens,
            "rendered": self.rendered,
            "answered": self.answered,
            "verdicts": [verdict.to_dict() for verdict in self.verdicts],
            "error": self.error,
            "error_file": self.error_file,
            "skipped": self.skipped,
            "skip_kind": self.skip_kind,
            "image_digests": list(self.image_digests),
            "seconds": self.seconds,
            "stored": self.stored,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Outcome:
        return cls(
            case=data["case"],
            response=data["response"],
            reasoning=data["reasoning"],
            end=data["end"],
            prompt_tokens=data["prompt_tokens"],
            answer_tokens=data["answer_tokens"],
            rendered=data["rendered"],
            answered=data["answered"],
            verdicts=tuple(Verdict(**verdict) for verdict in data["verdicts"]),
            error=data["error"],
            error_file=data["error_file"],
            skipped=data["skipped"],
            skip_kind=data["skip_kind"],
            image_digests=tuple(data["image_digests"]),
            seconds=data["seconds"],
            stored=data["stored"],
        )
