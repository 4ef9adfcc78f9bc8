"""Regressions: findings that are kept as cases, a row each. The format is described in ``docs/regressions.md``."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from pytest_mmsafety.cases import Case, Change
from pytest_mmsafety.documents import Label, Row, first_problem
from pytest_mmsafety.errors import DataError, nearest
from pytest_mmsafety.findings import Direction
from pytest_mmsafety.perturbations import perturb
from pytest_mmsafety.perturbations.composition import change_of

BENCHMARK = "regressions"
REGRESSION = "regression"
"""The value of the tag ``attack``."""
_LINKS = ("twin", "plain", "pair", "variant")
"""Tags that name another case of the original suite, or are about such a pair."""
_AGAIN = "remove the row and make it again: pytest --model=... --attack=N --save-run=RUN, then mmsafety promote RUN"


def today() -> date:
    """The day by which known-unsafe cases are still known, in UTC."""
    return datetime.now(UTC).date()


def parse_day(text: str) -> date:
    """``2026-01-31`` as a date. Raises ``ValueError``."""
    if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        with suppress(ValueError):  # the month has no such day
            return date.fromisoformat(text)
    raise ValueError("expected a day as YYYY-MM-DD")


def _day(value: Any) -> Any:
    if isinstance(value, str):
        parse_day(value)
    return value


_Day = Annotated[str, BeforeValidator(_day)]
_Text = Annotated[str, StringConstraints(min_length=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _ChangeRow(_Strict):
    """A perturbation as it is written down."""

    name: _Text
    strength: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
    parameters: dict[str, str | int | list[int]] = {}


class RegressionRow(_Strict):
    """A regression as it is written down."""

    id: Label
    of: _Text
    perturbations: Annotated[list[_ChangeRow], Field(min_length=1)]
    prompt: _Text | None = None
    prompt_sha256: Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")] | None = None
    direction: Direction
    found: _Day
    target: str = ""
    answer: str = ""
    must_pass: Literal[True] | None = None
    known_unsafe_until: _Day | None = None
    why: str = ""

    @model_validator(mode="after")
    def _one_of_each(self) -> RegressionRow:
        if (self.prompt is None) == (self.prompt_sha256 is None):
            raise ValueError("expected either 'prompt' or 'prompt_sha256', the prompt after the change")
        if (self.must_pass is None) == (self.known_unsafe_until is None):
            raise ValueError("expected either 'must_pass: true' or 'known_unsafe_until: YYYY-MM-DD'")
        return self


@dataclass(frozen=True, slots=True)
class Regression:
    """A row that was read, and where it stands."""

    row: RegressionRow
    changes: tuple[Change, ...]
    source: Row

    @property
    def known_unsafe(self) -> bool:
        """Whether a failing answer is still expected."""
        until = self.row.known_unsafe_until
        return until is not None and today() <= parse_day(until)


def read_regressions(rows: Iterable[Row]) -> list[Regression]:
    """The rows of a regression suite. Raises :class:`DataError`."""
    first_seen: dict[str, Row] = {}
    regressions = []
    for source in rows:
        try:
            row = RegressionRow.model_validate(source.values)
        except ValidationError as error:
            where, problem = first_problem(error, source.values, RegressionRow)
            raise DataError(source.at(where), problem) from None
        if (earlier := first_seen.setdefault(row.id, source)) is not source:
            problem = f"id: {row.id!r} is used twice, first in line {earlier.line}"
            raise DataError(source.at(["id"]), f"{problem}; expected ids that are unique in the suite")
        changes = tuple(_change(change, source, i) for i, change in enumerate(row.perturbations))
        regressions.append(Regression(row, changes, source))
    return regressions


def _change(change: _ChangeRow, source: Row, number: int) -> Change:
    try:
        return change_of(change.model_dump())
    except ValueError as error:
        raise DataError(source.at(["perturbations", number]), f"perturbations.{number}: {error}") from None


def regression_case(regression: Regression, suite: str, benchmark: str, originals: Mapping[str, Case]) -> Case:
    """The case that the row makes of its original. Raises :class:`DataError` if the original is not what it was."""
    row, source = regression.row, regression.source
    original = originals.get(row.of)
    if original is None:
        problem = f"of: {row.of!r} is no case of the original suite; expected the id of one"
        raise DataError(source.at(["of"]), problem, nearest(row.of, originals))
    changed = perturb(original, regression.changes)
    _check_prompt(regression, changed.prompt, original.key)
    return replace(
        changed,
        id=row.id,
        suite=suite,
        tags=_tags(original, benchmark, regression.changes),
        cluster=original.cluster or original.key,  # all variants of one case depend on each other
        must_pass=not regression.known_unsafe,
        known_unsafe_until=row.known_unsafe_until or "",
    )


def _tags(original: Case, benchmark: str, changes: Iterable[Change]) -> dict[str, str]:
    own = {tag: value for tag, value in original.tags.items() if tag not in _LINKS}
    names = "+".join(change.name for change in changes)
    return {**own, "benchmark": benchmark, "attack": REGRESSION, "original": original.key, "perturbation": names}


def _check_prompt(regression: Regression, prompt: str, original: str) -> None:
    """Raise :class:`DataError` if the change does not make the prompt that was found."""
    row = regression.row
    if row.prompt is not None:
        key, expected, found = "prompt", row.prompt, prompt
    else:
        key, expected, found = "prompt_sha256", row.prompt_sha256 or "", digest(prompt)
    if expected != found:
        at = _first_difference(expected, found)
        difference = f"{expected[at : at + 40]!r} at character {at}, the perturbations of {original} now make "
        changed = f"the original or a perturbation has changed since {row.found}"
        raise DataError(regression.source.at([key]), f"{key}: {difference}{found[at : at + 40]!r}: {changed}; {_AGAIN}")


def _first_difference(one: str, other: str) -> int:
    pairs = enumerate(zip(one, other, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(one), len(other)))


def digest(prompt: str) -> str:
    """What stands for a prompt whose text is not to be copied."""
    return hashlib.sha256(prompt.encode("utf-8", "backslashreplace")).hexdigest()
