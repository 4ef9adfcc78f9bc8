"""People's labels of a run, read and checked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pytest_mmsafety.errors import DataError
from pytest_mmsafety.labels import HumanLabels, Label, load_labels
from pytest_mmsafety.testing import make_record

RECORDS = [make_record(i, expected="comply") for i in range(400)]


def row(number: int = 0, **more: Any) -> dict[str, Any]:
    asked = {"key": f"demo/{number}", "prompt": f"Question {number}?", "expected": "comply", "response": "An answer."}
    return {**asked, "label": 0, "votes": {"ann": "no"}, "weight": 2.0, **more}


def without(one: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in one.items() if name != key}


def written(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))
    return path


def test_what_import_writes_is_read(tmp_path: Path) -> None:
    rows = [row(0, label=1), row(1, label=None, weight=3)]
    assert load_labels(written(tmp_path / "g.jsonl", *rows), RECORDS) == HumanLabels(
        {"demo/0": Label(1.0, 2.0), "demo/1": Label(None, 3.0)}, levels=False
    )


def test_levels_are_known_by_what_people_chose(tmp_path: Path) -> None:
    rows = [row(0, label=1, votes={"ann": "1"}), row(1, label=0, votes={"ann": "0"})]
    found = load_labels(written(tmp_path / "g.jsonl", *rows), RECORDS)
    assert found.levels
    assert found.of["demo/0"].failure == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        (
            [row(key="demo/4000")],
            "g.jsonl:1: key: 'demo/4000'; expected a case that this run has an answer to; did you mean",
        ),
        (
            [row(0), row(1, response="Another.")],
            "g.jsonl:2: key: 'demo/1': the label is of another answer than this run's",
        ),
        ([row(expected="refuse")], "the label is of another answer"),
        ([row(prompt="Question 1?")], "the label is of another answer"),
        ([row(key=None)], "key: None; expected the key of a case"),
        ([row(), row()], "g.jsonl:2: key: 'demo/0' is labelled twice"),
        ([row(label=2)], "label: 2; expected a whole number from 0 to 1, or null"),
        ([row(label=True)], "label: True; expected a whole number"),
        ([row(label=4, votes={"ann": "3"})], "label: 4; expected a whole number from 0 to 3"),
        ([without(row(), "label")], "g.jsonl:1: no label; expected one, or null if people were not sure"),
        ([row(), row(1, labl=1)], "g.jsonl:2: 'labl': unknown key; did you mean 'label'?"),
        ([row(weight=float("nan"))], "weight: nan; expected a number above 0"),
        ([row(label=0.0)], "label: 0.0; expected a whole number"),
        ([row(weight=None)], "no weight, so it is not known how the sample was drawn"),
        ([row(weight=0)], "weight: 0; expected a number above 0"),
        ([row(weight="2")], "weight: '2'; expected a number above 0"),
        ([], "g.jsonl: no labels; expected what mmsafety judge import wrote"),
    ],
)
def test_a_file_that_is_not_of_this_run_is_refused(tmp_path: Path, rows: list[dict[str, Any]], problem: str) -> None:
    with pytest.raises(DataError) as error:
        load_labels(written(tmp_path / "g.jsonl", *rows), RECORDS)
    assert problem in str(error.value)
    assert "\n" not in str(error.value)
