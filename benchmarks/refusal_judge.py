"""How often the refusal judge agrees with people: accuracy and macro-F1 on labelled answers.

    python benchmarks/refusal_judge.py [--labels DIR]

Prints the table of docs/judges.md. Intervals are percentile intervals of a bootstrap over questions, since
answers to one question are alike. The English phrases were written looking at one half of the questions of
XSTest, chosen by hash; every other line is of answers that nobody had looked at.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_mmsafety.cases import Case
from pytest_mmsafety.judges.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Iterator

    Array = np.ndarray[Any, np.dtype[np.float64]]

LABELS = Path(__file__).parents[2] / "shared" / "data" / "labels"
REPLICATES = 2000
MODELS_ASKED = ("GPT4", "ChatGPT", "Claude", "ChatGLM2", "llama2-7b-chat", "vicuna-7b")
"""Prefixes of the columns of Do-Not-Answer."""


@dataclass(frozen=True, slots=True)
class Row:
    """One answer and what people said of it."""

    question: str
    answer: str
    refused: bool


@dataclass(frozen=True, slots=True)
class Agreement:
    """One line of the table; each measure with the ends of its 95 % interval."""

    questions: int
    refusals: int
    missed: int
    """Refusals that the judge took for compliance."""
    others: int
    flagged: int
    """Compliant answers that the judge took for refusals."""
    unscored: int
    accuracy: tuple[float, float, float]
    macro_f1: tuple[float, float, float]


def xstest(folder: Path) -> Iterator[Row]:
    """Roettger et al. 2024: 450 questions, five models; a partial refusal counts as a refusal."""
    for path in sorted(folder.glob("xstest_v2_completions_*.csv")):
        for row in _rows(path):
            yield Row(row["prompt"], row["completion"], not row["final_label"].startswith("1_"))


def do_not_answer(folder: Path) -> Iterator[Row]:
    """Wang et al. 2023: action 0 (cannot assist) against 5 (follows); the actions between are neither."""
    for row in _rows(folder / "data_en.csv"):
        for model in MODELS_ASKED:
            if row[f"{model}_action"] in ("0", "5"):
                yield Row(row["question"], row[f"{model}_response"], row[f"{model}_action"] == "0")


def jade(folder: Path) -> Iterator[Row]:
    """JADE: to each Chinese question one violating answer and one safe one, both written by its authors."""
    for path in sorted(folder.glob("jade_alignment_*_zh.csv")):
        for row in _rows(path, "gb18030"):
            yield Row(row["问题"], row["违规回答"], refused=False)
            yield Row(row["问题"], row["安全有用回答"], refused=True)


def agreement(rows: list[Row]) -> Agreement:
    cases = [Case(id=str(i), suite="labels", prompt=row.question, expected="comply") for i, row in enumerate(rows)]
    verdicts = Refusal().judge(cases, [row.answer for row in rows])
    scored = [
        (row, verdict.label == "refusal")
        for row, verdict in zip(rows, verdicts, strict=True)
        if verdict.score is not None
    ]
    questions = {question: i for i, question in enumerate(dict.fromkeys(row.question for row, _ in scored))}
    tables = np.zeros((len(questions), 2, 2))
    for row, said in scored:
        tables[questions[row.question], int(row.refused), int(said)] += 1
    generator = np.random.default_rng(0)
    draws = generator.multinomial(len(questions), np.full(len(questions), 1 / len(questions)), REPLICATES)
    replicates = np.tensordot(draws, tables, axes=1)
    whole = tables.sum(axis=0, keepdims=True)
    return Agreement(
        questions=len(questions),
        refusals=int(whole[0, 1].sum()),
        missed=int(whole[0, 1, 0]),
        others=int(whole[0, 0].sum()),
        flagged=int(whole[0, 0, 1]),
        unscored=len(rows) - len(scored),
        accuracy=_with_interval(_accuracy(whole), _accuracy(replicates)),
        macro_f1=_with_interval(_macro_f1(whole), _macro_f1(replicates)),
    )


def _accuracy(tables: Array) -> Array:
    accuracy: Array = np.trace(tables, axis1=1, axis2=2) / tables.sum(axis=(1, 2))
    return accuracy


def _macro_f1(tables: Array) -> Array:
    """Mean of the F1 of the two classes; rows are what people said, columns what the judge said."""
    hits = np.diagonal(tables, axis1=1, axis2=2)
    macro: Array = (2 * hits / (tables.sum(axis=1) + tables.sum(axis=2))).mean(axis=1)
    return macro


def _with_interval(value: Array, replicates: Array) -> tuple[float, float, float]:
    low, high = np.quantile(replicates, [0.025, 0.975])
    return float(value[0]), float(low), float(high)


def _rows(path: Path, encoding: str = "utf-8") -> Iterator[dict[str, str]]:
    with path.open(encoding=encoding, newline="") as file:
        yield from csv.DictReader(file)


def _looked_at(row: Row) -> bool:
    return hashlib.sha256(row.question.encode()).digest()[-1] % 2 == 0


def _table(labels: Path) -> Iterator[str]:
    yield "| answers of | questions | refusals | missed | others | flagged | unscored | accuracy | macro-F1 |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- | --- |"
    english = list(xstest(labels / "xstest"))
    sources = {
        "XSTest, the half looked at": [row for row in english if _looked_at(row)],
        "XSTest, the other half": [row for row in english if not _looked_at(row)],
        "Do-Not-Answer, action 0 or 5": list(do_not_answer(labels / "do_not_answer")),
        "JADE, Chinese": list(jade(labels / "jade")),
    }
    for name, rows in sources.items():
        found = agreement(rows)
        counts = (found.questions, found.refusals, found.missed, found.others, found.flagged, found.unscored)
        measures = ("{:.3f} [{:.3f}, {:.3f}]".format(*measure) for measure in (found.accuracy, found.macro_f1))
        yield f"| {' | '.join([name, *map(str, counts), *measures])} |"


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the refusal judge on labelled answers.")
    parser.add_argument("--labels", type=Path, default=LABELS, help="folder with xstest, do_not_answer and jade")
    labels = parser.parse_args().labels
    missing = [name for name in ("xstest", "do_not_answer", "jade") if not (labels / name).is_dir()]
    if missing:
        print(f"skipped: no {', '.join(missing)} in {labels}; name the folder with --labels")
        return
    print("\n".join(_table(labels)))


if __name__ == "__main__":
    main()
