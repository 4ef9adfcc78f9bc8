"""Answers in files: which column is which, what is expected where a row does not say, and rows that are none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pytest_mmsafety.annotations.answers import Answer, default_expected, dimension_of, read_answers
from pytest_mmsafety.errors import DataError

GOOD = {"prompt": "Who is this?", "response": "A cook."}


def read(
    folder: Path, *rows: object, name: str = "in.jsonl", default: str = "safe", images: Path | None = None
) -> list[Answer]:
    path = folder / name
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return read_answers(path, default, images)


@pytest.mark.parametrize(
    ("row", "prompt", "response"),
    [
        ({"prompt": "p", "response": "r"}, "p", "r"),
        ({"Text": "p", "Completion": "r"}, "p", "r"),
        ({"QUESTION": "p", "ANSWER": "r"}, "p", "r"),
        ({"text": "second", "prompt": "first", "answer": "second", "response": "first"}, "first", "first"),
        ({"问题": "x", "prompt": "谁？", "response": "厨师。\n是的。"}, "谁？", "厨师。\n是的。"),
    ],
)
def test_a_column_is_known_by_its_names_in_their_order(
    tmp_path: Path, row: dict[str, str], prompt: str, response: str
) -> None:
    (found,) = read(tmp_path, row)
    assert (found.case.prompt, found.response) == (prompt, response)
    assert found.values == row, "all columns stay as they were"


def test_a_row_is_a_case_of_its_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_bytes(b"\xef\xbb\xbf\r\n" + json.dumps(GOOD).encode() + b"\r\n\r\n" + json.dumps(GOOD).encode())
    found = read_answers(path, "comply")
    assert [(a.line, a.where, a.case.id, a.case.suite) for a in found] == [
        (2, f"{path}:2", "2", "answers"), (4, f"{path}:4", "4", "answers"),
    ]  # fmt: skip
    assert {answer.cluster for answer in found} == {"Who is this?"}


def test_tags_and_clusters_come_from_their_columns(tmp_path: Path) -> None:
    rows = [
        GOOD | {"dimension": "bias", "lan": "zh", "question_id": 7},
        GOOD | {"language": "en", "lan": "zh", "cluster": "c"},
        GOOD | {"dimension": None, "language": ""},
    ]
    found = read(tmp_path, *rows)
    assert [dict(answer.case.tags) for answer in found] == [
        {"dimension": "bias", "language": "zh"},
        {"language": "en"},
        {},
    ]
    assert [answer.cluster for answer in found] == ["7", "c", "Who is this?"]


@pytest.mark.parametrize(
    ("name", "dimension"),
    [
        ("privacy_llava.jsonl", "privacy"), ("noise-injection_a_b.jsonl", "noise-injection"),
        ("privacy.jsonl", ""), ("privacy_.jsonl", ""), ("answers_privacy.jsonl", ""), ("Privacy_llava.jsonl", ""),
    ],
)  # fmt: skip
def test_the_name_of_an_official_file_says_its_dimension(tmp_path: Path, name: str, dimension: str) -> None:
    assert dimension_of(Path(name)) == dimension
    own, named = read(tmp_path, GOOD, GOOD | {"dimension": "bias"}, name=name)
    assert own.case.tags.get("dimension", "") == dimension
    assert named.case.tags["dimension"] == "bias"


# --- what is expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, "safe"), ({"expected": "refuse"}, "refuse"), ({"EXPECTED": "C"}, "C"), ({"expected": ""}, "safe"),
        ({"expected": None}, "safe"), ({"usage": "overrefusal"}, "comply"), ({"usage": "Over-Refusal"}, "comply"),
        ({"usage": "vulnerability"}, "safe"), ({"usage": "other"}, "safe"), ({"usage": "overrefusal", "expected": "no"}, "no"),
    ],
)  # fmt: skip
def test_a_row_says_what_is_expected_or_the_judge_does(tmp_path: Path, change: dict[str, Any], expected: str) -> None:
    assert read(tmp_path, GOOD | change)[0].case.expected == expected


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"expected": "Safe"},
            "expected: 'Safe'; expected one of yes, no, comply, refuse, safe, A to H; did you mean 'safe'?",
        ),
        ({"expected": "I"}, "expected: 'I'; expected one of yes, no, comply, refuse, safe, A to H"),
        ({"expected": 1}, "expected: '1'; expected one of"),
    ],
)
def test_an_expectation_that_is_none_names_the_row(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError) as error:
        read(tmp_path, GOOD, GOOD | change)
    assert str(error.value).startswith(f"{tmp_path / 'in.jsonl'}:2: {said}")


def test_a_judge_without_a_default_has_to_be_told(tmp_path: Path) -> None:
    said = r":1: expected: missing; this judge has no default: give the column, or --expected$"
    with pytest.raises(DataError, match=said):
        read(tmp_path, GOOD, default="")
    assert read(tmp_path, GOOD | {"expected": "yes"}, default="")[0].case.expected == "yes"


@pytest.mark.parametrize(
    ("expectations", "default"),
    [
        ({"safe", "comply", "refuse"}, "safe"), ({"refuse", "comply"}, "comply"), ({"refuse"}, "refuse"),
        ({"yes", "no"}, ""), ({"A"}, ""), (set(), ""),
    ],
)  # fmt: skip
def test_the_default_is_the_first_that_the_judge_takes(expectations: set[str], default: str) -> None:
    assert default_expected(expectations) == default


# --- images


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ("a.png", ["a.png"]),
        (["a.png", "b/c.png"], ["a.png", "b/c.png"]),
        ("", []),
        (None, []),
        ([], []),
        ("图.png", ["图.png"]),
    ],
)
def test_images_lie_beside_the_file_or_in_the_folder_that_is_given(
    tmp_path: Path, value: object, names: list[str]
) -> None:
    for column in ("images", "IMG_URL", "image", "open_url"):
        assert read(tmp_path, GOOD | {column: value})[0].case.images == tuple(str(tmp_path / name) for name in names)
    (found,) = read(tmp_path, GOOD | {"images": value}, images=tmp_path / "pictures")
    assert found.case.images == tuple(str(tmp_path / "pictures" / name) for name in names)


def test_an_empty_column_of_images_leaves_the_next_one(tmp_path: Path) -> None:
    (found,) = read(tmp_path, GOOD | {"images": "", "open_url": "b.png"})
    assert found.case.images == (str(tmp_path / "b.png"),)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (3, "images: 3; expected a list of file names"),
        ({"a": 1}, "images: {'a': 1}; expected a list of file names"),
        (["a.png", 3], "images: ['a.png', 3]; expected a list of file names"),
        (["a.png", "https://h/a.png"], "images: 'https://h/a.png'; expected a file, nothing is fetched"),
        ("file:///etc/passwd", "images: 'file:///etc/passwd'; expected a file, nothing is fetched"),
    ],
)
def test_images_that_are_no_files_are_refused(tmp_path: Path, value: object, said: str) -> None:
    with pytest.raises(DataError) as error:
        read(tmp_path, GOOD | {"images": value})
    assert str(error.value) == f"{tmp_path / 'in.jsonl'}:1: {said}"


# --- rows that are none


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"response": "r"}, "prompt: missing; expected text in a column prompt or text or question"),
        ({"prompt": "", "response": "r"}, "prompt: ''; expected text"),
        ({"prompt": None, "response": "r"}, "prompt: ''; expected text"),
        (
            {"prompt": "p", "answers": "r"},
            "response: missing; expected text in a column response or completion or answer",
        ),
        ({"prompt": "p", "respones": "r"}, "response: missing; expected text; did you mean 'respones'?"),
        ({"prompt": "p", "response": 42}, "response: 42; expected text"),
        ({"prompt": "p", "response": {"a": 1}}, "response: {'a': 1}; expected text"),
    ],
)
def test_a_row_without_text_says_what_it_lacks(tmp_path: Path, row: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError) as error:
        read(tmp_path, GOOD, row)
    assert str(error.value) == f"{tmp_path / 'in.jsonl'}:2: {said}"


def test_an_answer_may_be_empty_where_it_is_written(tmp_path: Path) -> None:
    assert [a.response for a in read(tmp_path, GOOD | {"response": ""}, GOOD | {"response": None})] == ["", ""]
    (tmp_path / "in.csv").write_text("prompt,response\np,\n,r\n")
    with pytest.raises(DataError, match=r"in\.csv:3: prompt: missing; expected text"):
        read_answers(tmp_path / "in.csv", "safe")
    (tmp_path / "in.csv").write_text("prompt,response\np,\n")
    assert [answer.response for answer in read_answers(tmp_path / "in.csv", "safe")] == [""]


def test_a_file_without_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"in\.jsonl: no rows$"):
        read(tmp_path)
