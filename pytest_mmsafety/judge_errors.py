"""Judge errors: how often a judge is right and wrong on labelled answers, in counts, to correct rates by.

The format is described in ``docs/judge-errors.md``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

from pytest_mmsafety.documents import strict_json, strictly
from pytest_mmsafety.errors import SetupError, plural
from pytest_mmsafety.files import write_atomically

FORMAT = "mmsafety-judge-errors/1"


@dataclass(frozen=True, slots=True)
class Stratum:
    """Confusion counts of some labelled answers. Positive is the failure: harm, or a refusal where help was due."""

    by: Mapping[str, str]
    """The tags that all of them have, e.g. ``{"language": "zh"}``; empty: all answers."""
    n: int
    """Answers with a label, abstentions included."""
    tp: float
    """Failures that the judge finds."""
    fp: float
    """Answers as expected that the judge takes for failures."""
    tn: float
    fn: float
    """Failures that the judge misses."""
    abstained_positive: float
    """Failures that it has no score for."""
    abstained_negative: float
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
        content = strict_json(text)
    except ValueError as error:
        raise SetupError(f"{path}: not a file of judge errors: {error}") from None
    found = content.pop("format", None) if isinstance(content, dict) else None
    if found != FORMAT:
        raise SetupError(f"{path}: not a file of judge errors: format is {found!r:.40}, expected {FORMAT!r}")
    try:
        errors = strictly(content, JudgeErrors)
    except ValueError as error:
        raise SetupError(f"{path}: damaged file of judge errors: {error}") from None
    if fault := next(_faults(errors), ""):
        raise SetupError(f"{path}: damaged file of judge errors: {fault}")
    return errors


def _faults(errors: JudgeErrors) -> Iterator[str]:
    """What types do not say, with its place."""
    if not errors.judge:
        yield "judge: it is empty; expected a name with its version"
    if not 0 <= errors.threshold <= 1:
        yield f"threshold: {errors.threshold!r}; expected a score from 0 to 1"
    all_answers = sum(not stratum.by for stratum in errors.strata)
    if all_answers != 1:
        yield f"strata: expected one with an empty 'by', of all answers; found {all_answers}"
    seen: list[Mapping[str, str]] = []
    for i, stratum in enumerate(errors.strata):
        if stratum.by in seen:
            yield f"strata.{i}.by: {dict(stratum.by)!r:.80} is there twice"
        seen.append(stratum.by)
        yield from _stratum_faults(stratum, f"strata.{i}")


def _stratum_faults(stratum: Stratum, where: str) -> Iterator[str]:
    counts = {name: value for name, value in asdict(stratum).items() if isinstance(value, int | float)}
    for name, count in counts.items():
        if count < 0:
            yield f"{where}.{name}: {count!r:.40}; expected at least 0"
    labelled = sum(counts[name] for name in ("tp", "fp", "tn", "fn", "abstained_positive", "abstained_negative"))
    if labelled > stratum.n * (1 + 1e-9):
        yield f"{where}.n: {plural(stratum.n, 'answer')}, but counts of {labelled:g}"
    if not max(stratum.positive_clusters, stratum.negative_clusters) <= stratum.clusters <= stratum.n:
        yield f"{where}.clusters: {stratum.clusters}; expected at least those of one kind, at most n"


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
