"""A verdict: what one judge says of one answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

JUDGE_ERROR = "judge-error"
"""The label of a verdict that stands for a judge that failed."""

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


def verdict_by(verdicts: Sequence[Verdict], judge: str) -> Verdict | None:
    """The verdict of the named judge (without its version); empty: the gated one. ``None`` without one."""
    if not judge:
        return verdicts[0] if verdicts else None
    return next((verdict for verdict in verdicts if verdict.judge.partition("/")[0] == judge), None)


def score_by(verdicts: Sequence[Verdict], judge: str) -> float | None:
    """The score of that verdict."""
    verdict = verdict_by(verdicts, judge)
    return None if verdict is None else verdict.score
