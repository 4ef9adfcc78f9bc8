"""Answers with labels that people gave: the published layouts that the judge is trained and tested on."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pytest_mmsafety.errors import SetupError, nearest

REFUSALS = ("none", "partial", "full")
FIELDS = ("source", "prompt", "response", "harm", "refusal", "language")
LARGEST_FIELD = 1_000_000
"""Characters of one field of a table; longer is taken for a broken file."""
_DNA_MODELS = ("GPT4", "ChatGPT", "Claude", "ChatGLM2", "llama2-7b-chat", "vicuna-7b")
"""Prefixes of the columns of Do-Not-Answer."""


class LabelledAnswer(NamedTuple):
    """One answer and what is known of it; ``None`` = no label."""

    source: str
    question: str
    """Answers to one question are alike: it is the cluster of every interval."""
    response: str
    harm: bool | None
    refusal: str | None
    """One of :data:`REFUSALS`."""
    language: str = "en"


@dataclass(frozen=True, slots=True)
class Source:
    """A published set of labelled answers."""

    name: str
    licence: str
    trains: bool
    """Otherwise it only tests: its licence does not allow more, or its answers are of another kind."""
    labels: str
    """How its labels came about, for the model card."""
    read: Callable[[Path], Iterator[LabelledAnswer]]
    alike: bool = True
    """Whether its answers are, as those of a run are, answers of an assistant to a request."""


def read_labels(path: Path) -> list[LabelledAnswer]:
    """Read a folder of published sources (one sub-folder each) or a JSON-lines file, without duplicates.

    Raises :class:`SetupError` that names the file, and the line where there is one.
    """
    if path.is_file():
        answers = list(_json_lines(path))
    else:
        folders = [source for source in SOURCES if (path / source.name).is_dir()]
        if not folders:
            known = ", ".join(source.name for source in SOURCES)
            raise SetupError(f"{path}: no labelled answers; expected a JSON-lines file or a folder with {known}")
        answers = [answer for source in folders for answer in _published(source, path / source.name)]
    found = list(dict.fromkeys(answer for answer in answers if answer.response.strip()))
    if not found:
        raise SetupError(f"{path}: no answers with a word in them")
    return found


def sources_of(answers: Sequence[LabelledAnswer]) -> list[str]:
    """Names of the sources in *answers*, in the order of :data:`SOURCES`, then others by name."""
    order = {source.name: i for i, source in enumerate(SOURCES)}
    return sorted({answer.source for answer in answers}, key=lambda name: (order.get(name, len(order)), name))


def trains(source: str) -> bool:
    """Whether to train on it; a source of the user's own file is the user's to judge."""
    return next((known.trains for known in SOURCES if known.name == source), True)


def _published(source: Source, folder: Path) -> Iterator[LabelledAnswer]:
    try:
        yield from source.read(folder)
    except (OSError, UnicodeDecodeError, KeyError, ValueError, csv.Error) as error:
        raise SetupError(f"{folder}: not {source.name} as published: {type(error).__name__}: {error}") from error


def _gptfuzz(folder: Path) -> Iterator[LabelledAnswer]:
    questions = {row["index"]: row["text"] for row in _table(folder / "question_list.csv")}
    for name in ("train.csv", "evaluate.csv"):
        for row in _table(folder / name):
            yield LabelledAnswer("gptfuzz", questions[row["question"]], row["Response"], row["label"] == "1", None)


def _jade(folder: Path) -> Iterator[LabelledAnswer]:
    for path in sorted(folder.glob("jade_alignment_*_zh.csv")):
        for row in _table(path, "gb18030"):
            yield LabelledAnswer("jade", row["问题"], row["违规回答"], harm=True, refusal="none", language="zh")
            yield LabelledAnswer("jade", row["问题"], row["安全有用回答"], harm=False, refusal="full", language="zh")


def _xstest(folder: Path) -> Iterator[LabelledAnswer]:
    """Harm is not labelled, it follows: full compliance with an unsafe prompt ("contrast") and nothing else."""
    refusals = {"1_full_compliance": "none", "2_full_refusal": "full", "3_partial_refusal": "partial"}
    for path in sorted(folder.glob("xstest_v2_completions_*.csv")):
        for row in _table(path):
            refusal = refusals[row["final_label"]]
            harm = refusal == "none" and row["type"].startswith("contrast")
            yield LabelledAnswer("xstest", row["prompt"], row["completion"], harm, refusal)


def _do_not_answer(folder: Path) -> Iterator[LabelledAnswer]:
    """Actions 0 (cannot assist) and 5 (follows) are read as refusal and compliance, those between as neither."""
    refusals = {"0": "full", "5": "none"}
    for row in _table(folder / "data_en.csv"):
        for model in _DNA_MODELS:
            harm = row[f"{model}_harmful"] == "1"
            refusal = refusals.get(row[f"{model}_action"])
            yield LabelledAnswer("do_not_answer", row["question"], row[f"{model}_response"], harm, refusal)


def _diasafety(folder: Path) -> Iterator[LabelledAnswer]:
    for name in ("train.json", "val.json", "test.json"):
        for row in json.loads((folder / name).read_text("utf-8")):
            yield LabelledAnswer("diasafety", row["context"], row["response"], row["label"] == "Unsafe", None)


def _table(path: Path, encoding: str = "utf-8-sig") -> Iterator[dict[str, str]]:
    csv.field_size_limit(LARGEST_FIELD)
    with path.open(encoding=encoding, newline="") as file:
        yield from csv.DictReader(file)


def _json_lines(path: Path) -> Iterator[LabelledAnswer]:
    try:
        lines = path.read_text("utf-8-sig").split("\n")  # splitlines() also cuts within texts
    except (OSError, UnicodeDecodeError) as error:
        raise SetupError(f"{path}: cannot be read: {error}") from error
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield _from_json(line, f"{path}:{number}")


def _from_json(line: str, where: str) -> LabelledAnswer:
    try:
        row = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        raise SetupError(f"{where}: not JSON: {error}") from error
    if not isinstance(row, dict):
        raise SetupError(f"{where}: {row!r:.40} is no object; expected the fields {', '.join(FIELDS)}")
    for name in row:
        if name not in FIELDS:
            raise SetupError(f"{where}: unknown field {name!r}{nearest(name, FIELDS)}")
    for name in ("source", "prompt", "response"):
        if not isinstance(row.get(name), str) or not row[name]:
            raise SetupError(f"{where}: {name} is {row.get(name)!r:.40}; expected text")
    return LabelledAnswer(
        row["source"],
        row["prompt"],
        row["response"],
        _one_of(row, "harm", (True, False, None), where),
        _one_of(row, "refusal", (*REFUSALS, None), where),
        _one_of(row, "language", ("en", "zh"), where, "en"),
    )


def _one_of(row: dict[str, Any], name: str, known: Sequence[Any], where: str, default: Any = None) -> Any:
    value = row.get(name, default)
    # By identity of type too: 1 == True, and a list is not hashable.
    if not any(type(value) is type(one) and value == one for one in known):
        expected = ", ".join(json.dumps(one) for one in known)
        raise SetupError(f"{where}: {name} is {value!r:.40}; expected one of {expected}")
    return value


SOURCES = (
    Source("gptfuzz", "MIT", trains=True, labels="people: jailbroken or not; errors admitted", read=_gptfuzz),
    Source(
        "xstest",
        "CC BY 4.0 (prompts; Röttger et al. 2024, arXiv:2308.01263)",
        trains=True,
        labels="two annotators: full compliance, partial or full refusal; harm derived: full compliance with an unsafe "
        "prompt",
        read=_xstest,
    ),
    Source("jade", "MIT", trains=True, labels="the authors wrote one violating and one safe answer", read=_jade),
    Source(
        "diasafety",
        "Apache-2.0",
        trains=False,
        labels="people: chat reply safe or unsafe",
        read=_diasafety,
        alike=False,
    ),
    Source(
        "do_not_answer",
        "terms unclear",
        trains=False,
        labels="people: harmful or not, and six kinds of action",
        read=_do_not_answer,
    ),
)
