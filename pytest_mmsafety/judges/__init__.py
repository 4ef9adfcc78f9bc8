"""Judges: what turns an answer into a verdict, behind one batch method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from pytest_mmsafety.cases import Case

EXACT = frozenset({"yes-no", "mmsafeaware-legacy", "choice"})
"""Judges, without versions, that read the answer itself, a letter or yes or no: they judge nothing, so cannot err."""


def reads_exactly(judge: str) -> bool:
    """Whether the verdicts of *judge*, a name with its version, need no correction by people."""
    return judge.partition("/")[0] in EXACT


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
    probabilities: Mapping[str, float] = field(default_factory=dict)
    """Of each label it might have given, from the best to the worst; empty if the judge has none. They stay where
    the judge abstains, so that a person can look at the worst first."""

    @property
    def risk(self) -> float | None:
        """The mean score that the probabilities stand for, 0 to 1, to rank answers by; the score without them."""
        if len(self.probabilities) < 2:
            return self.score
        worst = len(self.probabilities) - 1
        return sum(i / worst * share for i, share in enumerate(self.probabilities.values()))

    def to_dict(self) -> dict[str, Any]:
        found = {"judge": self.judge, "label": self.label, "score": self.score, "reason": self.reason}
        return found | ({"probabilities": dict(self.probabilities)} if self.probabilities else {})


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
