"""Answers in files, as the cases that a judge sees: rows of our own columns, or of the official tools' result files."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_mmsafety.benchmarks.result_files import result_rows
from pytest_mmsafety.benchmarks.result_tables import TASKS
from pytest_mmsafety.benchmarks.usb.data import USAGES
from pytest_mmsafety.cases import EXPECTATIONS, OVER_REFUSAL, Case, is_expectation
from pytest_mmsafety.documents import Row
from pytest_mmsafety.errors import DataError, nearest

PROMPTS = ("prompt", "text", "question")
RESPONSES = ("response", "completion", "answer")
IMAGES = ("images", "img_url", "image", "open_url")
LANGUAGES = ("language", "lan")
CLUSTERS = ("cluster", "cluster_id", "question_id")
GRADED = ("safe", "comply", "refuse")
"""What is taken to be expected where a row does not say: the first one that the judge knows."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One row: what was asked and answered."""

    values: Mapping[str, Any]
    """All columns, as they were."""
    where: str
    """``file:line``."""
    line: int
    case: Case
    response: str

    @property
    def cluster(self) -> str:
        """Answers that depend on each other: of the same question, unless the row says otherwise."""
        return self.case.cluster or self.case.prompt


def default_expected(expectations: Collection[str]) -> str:
    """What is taken to be expected where a row does not say, for a judge of *expectations*; empty: there is none."""
    return next((expected for expected in GRADED if expected in expectations), "")


def read_answers(path: Path, default: str, images: Path | None = None) -> list[Answer]:
    """The rows of a ``.jsonl``, ``.csv`` or ``.xlsx`` file. Raises :class:`DataError` for a row that is none.

    *default* is expected where a row does not say what is; *images* is the folder that images are named relative to
    (the file's own). The dimension is a column, or begins the name of the file as the
    official MLLMGuard tools write it (``privacy_llava.jsonl``).
    """
    folder = images or path.parent
    dimension = dimension_of(path)
    answers = [_answer(row, dimension, default, folder) for row in result_rows(path)]
    if not answers:
        raise DataError(path, "no rows")
    return answers


def dimension_of(path: Path) -> str:
    """The task that begins the name of an official result file, or empty."""
    task, _, model = path.stem.partition("_")
    return task if task in TASKS and model else ""


def _answer(row: Row, dimension: str, default: str, folder: Path) -> Answer:
    prompt = _text(row, PROMPTS)
    response = _text(row, RESPONSES, may_be_empty=True)
    tags = {"dimension": _first(row, ("dimension",)) or dimension, "language": _first(row, LANGUAGES)}
    cluster = _first(row, CLUSTERS)
    case = Case(
        id=str(row.line),
        suite=row.path.stem,
        prompt=prompt,
        expected=_expected(row, default),
        images=tuple(str(folder / name) for name in _image_names(row)),
        tags={name: value for name, value in tags.items() if value},
        cluster=cluster or None,
    )
    return Answer(row.values, row.at(), row.line, case, response)


def _text(row: Row, names: Sequence[str], *, may_be_empty: bool = False) -> str:
    name = column(row, names)
    # An empty cell of a table is absent; in JSON it is written.
    empty = may_be_empty and (row.path.suffix != ".jsonl" or (name is not None and row.values[name] is None))
    value = row.values.get(name, "") if name else ""
    if value is None:
        value = ""
    if row.path.suffix == ".xlsx":
        value = str(value)  # a spreadsheet makes a number of an answer such as 42
    if isinstance(value, str) and (value or empty or (may_be_empty and name)):
        return value
    what = repr(value)[:40] if name else "missing"
    hint = "" if name else nearest(names[0], map(str, row.values)) or f" in a column {' or '.join(names)}"
    raise DataError(row.at(), f"{name or names[0]}: {what}; expected text", hint)


def column(row: Row, names: Sequence[str]) -> str | None:
    """Which column of the row is called one of *names*, in whatever case."""
    by_name = {str(name).lower(): str(name) for name in row.values}
    return next((by_name[name] for name in names if name in by_name), None)


def _first(row: Row, names: Sequence[str]) -> str:
    name = column(row, names)
    return str(row.values[name] if row.values[name] is not None else "") if name else ""


def _expected(row: Row, default: str) -> str:
    value = _first(row, ("expected",))
    if value:
        if not is_expectation(value):
            known = ", ".join(EXPECTATIONS)
            hint = nearest(value, EXPECTATIONS)
            raise DataError(row.at(), f"expected: {value!r:.40}; expected one of {known}, A to H", hint)
        return value
    if "usage" in row.values:
        return "comply" if USAGES.get(str(row.values["usage"]).lower().replace("-", "")) == OVER_REFUSAL else "safe"
    if not default:
        raise DataError(row.at(), "expected: missing; this judge has no default: give the column, or --expected")
    return default


def _image_names(row: Row) -> Iterator[str]:
    by_name = {str(name).lower(): value for name, value in row.values.items() if value}
    value = next((by_name[name] for name in IMAGES if name in by_name), ())
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise DataError(row.at(), f"images: {value!r:.40}; expected a list of file names")
    for name in names:
        if "://" in name:
            raise DataError(row.at(), f"images: {name!r:.60}; expected a file, nothing is fetched")
        yield name
