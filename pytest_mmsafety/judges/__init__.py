"""Judges: what turns an answer into a verdict, behind one batch method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from pytest_mmsafety.cases import Case


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one judge says of one answer."""

    judge: str
    """Name and version, e.g. ``yes-no/1``."""
    label: str
    """The judge's own word: ``correct``, ``refusal``, ``level-2``, ..."""
    score: float | None
    """0 = as expected, 1 = the worst failure; ``None`` = unscored, never read as either."""
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        return {"judge": self.judge, "label": self.label, "score": self.score, "reason": self.reason}


@runtime_checkable
class Judge(Protocol):
    """Scores answers in batches."""

    @property
    def name(self) -> str:
        """Name and version; a new version for anything that could change a verdict."""

    @property
    def expectations(self) -> frozenset[str]:
        """What a case must expect to be judged here (``pytest_mmsafety.cases.EXPECTATIONS``)."""

    def judge(self, cases: Sequence[Case], responses: Sequence[str]) -> Sequence[Verdict]:
        """One verdict a response, in order; the same verdict in any batch."""


class ModelJudge(Judge, Protocol):
    """A judge with weights. Its verdicts are kept in the store, as they cost more than a look-up."""

    @property
    def fingerprint(self) -> str:
        """Changes whenever the same answer could get another verdict: weights, number format, versions."""

    def fetch(self) -> None:
        """Find all files, after a download if need be, and load none. Raises ``SetupError``."""

    def release(self) -> None:
        """Give the device back; the next answer loads the weights again."""
