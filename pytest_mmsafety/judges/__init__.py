"""Judges: what turns an answer into a verdict, behind one batch method."""

from __future__ import annotations

from collections.abc import Sequence
from inspect import getattr_static
from typing import Protocol, TypeGuard, runtime_checkable

from pytest_mmsafety.cases import Case
from pytest_mmsafety.verdicts import Verdict


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
    """A judge with weights. Its verdicts are kept in the store, as they cost more than a look-up.

    It may also have ``fetch()`` and ``release()``, as a target may.
    """

    @property
    def fingerprint(self) -> str:
        """Changes whenever the same answer could get another verdict: weights, number format, versions."""


def has_weights(judge: Judge) -> TypeGuard[ModelJudge]:
    """Whether it has a fingerprint, which is looked for and not computed: that may take reading all weights."""
    return getattr_static(judge, "fingerprint", None) is not None


@runtime_checkable
class GivesUp(Protocol):
    """A judge that can find out that it cannot go on."""

    problem: str
    """Why, or empty."""
