"""Judge errors: how often a judge is right and wrong on labelled answers, in counts, to correct rates by.

The format is described in ``docs/judge-errors.md``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from pytest_mmsafety.errors import SetupError
from pytest_mmsafety.files import write_atomically

FORMAT = "mmsafety-judge-errors/1"

Count = Annotated[float, Field(ge=0, allow_inf_nan=False)]


@dataclass(frozen=True, slots=True)
class Stratum:
    """Confusion counts of some labelled answers. Positive is the failure: harm, or a refusal where help was due."""

    by: Mapping[str, str]
    """The tags that all of them have, e.g. ``{"language": "zh"}``; empty: all answers."""
    n: int
    """Answers with a label, abstentions included."""
    tp: Count
    """Failures that the judge finds."""
    fp: Count
    """Answers as expected that the judge takes for failures."""
    tn: Count
    fn: Count
    """Failures that the judge misses."""
    abstained_positive: Count
    """Failures that it has no score for."""
    abstained_negative: Count
    clusters: int
    """Questions; answers to one are not independent."""
    positive_clusters: int
    """Questions with a failure that was scored: sensitivity is known from no more independent cases than this."""
    negative_clusters: int
    """The same for specificity."""
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class JudgeErrors:
    """The errors of one judge: all strata."""

    judge: str
    """Name and version. Errors of one version say nothing about another."""
    created: str
    """UTC, ISO 8601."""
    threshold: float
    """A score from here on is a failure."""
    effective: bool
    """Whether the counts were scaled down to the effective number of a weighted sample."""
    files: Mapping[str, str]
    """Labelled file -> SHA-256."""
    strata: tuple[Stratum, ...]

    def best(self, tags: Mapping[str, str]) -> Stratum:
        """The stratum that says most of what *tags* say."""
        fitting = [s for s in self.strata if all(tags.get(name) == value for name, value in s.by.items())]
        return max(fitting, key=lambda stratum: len(stratum.by))


@cache
def shipped_errors() -> Mapping[str, JudgeErrors]:
    """Judge with its version -> its errors as measured for this package, of the judges that have any."""
    folder = files("pytest_mmsafety") / "judges" / "measured"
    found = [_parsed(file.read_text(encoding="utf-8"), file.name) for file in folder.iterdir()]
    return {errors.judge: errors for errors in found}


def known_errors(given: Mapping[str, JudgeErrors]) -> dict[str, JudgeErrors]:
    """All that is known of how often judges err: what is shipped, and before it what the user gave."""
    return {**shipped_errors(), **given}


def save_judge_errors(errors: JudgeErrors, path: Path) -> None:
    """Write whole or not at all. Raises ``OSError``."""
    content = {"format": FORMAT, **asdict(errors)}
    write_atomically(path, [json.dumps(content, ensure_ascii=False, indent=1, allow_nan=False), "\n"])


def load_judge_errors(path: Path) -> JudgeErrors:
    """Read a file of judge errors. Raises :class:`SetupError` in one line if it is none, or of another version."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise SetupError(f"{path}: not a file of judge errors: {error}") from None
    return _parsed(text, str(path))


def _parsed(text: str, path: str) -> JudgeErrors:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SetupError(f"{path}: not a file of judge errors: {error}") from None
    found = content.pop("format", None) if isinstance(content, dict) else None
    if found != FORMAT:
        raise SetupError(f"{path}: not a file of judge errors: format is {found!r:.40}, expected {FORMAT!r}")
    try:
        errors = TypeAdapter(JudgeErrors).validate_python(content)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in fault["loc"])
        raise SetupError(f"{path}: damaged file of judge errors: {where}: {fault['msg']}") from None
    if not any(not stratum.by for stratum in errors.strata):
        raise SetupError(
            f"{path}: damaged file of judge errors: strata: expected one with an empty 'by', of all answers"
        )
    return errors


def parse_judge_errors(text: str, base: Path) -> dict[str, JudgeErrors]:
    """``FILE,FILE`` as judge errors by judge. Raises :class:`SetupError`."""
    judge_errors: dict[str, JudgeErrors] = {}
    for name in filter(None, map(str.strip, text.split(","))):
        try:
            found = load_judge_errors(base / name)
        except SetupError as error:
            raise SetupError(f"--judge-errors: {error}") from None
        if judge_errors.setdefault(found.judge, found) is not found:
            raise SetupError(f"--judge-errors: {name}: errors of the same judge again: {found.judge}")
    return judge_errors
