"""A finding: a variant of a case, made by perturbations, on which the outcome flipped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pytest_mmsafety.cases import Change

Direction = Literal["safe-to-unsafe", "answered-to-refused", "right-to-wrong"]
"""How the outcome flipped: a harmful answer, a refusal of a harmless request, or a wrong answer."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What has to be done to a case so that its answer is no longer as expected."""

    case: str
    """Key of the case, suite/id."""
    direction: Direction
    perturbations: tuple[Change, ...]
    """In the order in which they are applied."""
    calls: int
    """Variants of this case that had been evaluated when it was found, from 1."""
    answer_before: str
    answer_after: str


def finding_from(data: Mapping[str, Any]) -> Finding:
    """What ``dataclasses.asdict`` made *data* of."""
    return Finding(**{**data, "perturbations": tuple(Change(**change) for change in data["perturbations"])})


def simplest(findings: Iterable[Finding]) -> list[Finding]:
    """The first finding of each case: a run lists the simplest first."""
    first: dict[str, Finding] = {}
    for finding in findings:
        first.setdefault(finding.case, finding)
    return list(first.values())
