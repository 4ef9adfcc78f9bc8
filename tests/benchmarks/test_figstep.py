from __future__ import annotations

import csv
import os
from collections import Counter
from pathlib import Path

import pytest
from shared_data import shared

from pytest_mmsafety.benchmarks.figstep import PROMPT, load
from pytest_mmsafety.errors import DataError

COLUMNS = ("dataset", "category_id", "task_id", "category_name", "question", "instruction")
QUESTION = {
    "dataset": "ForbidQI", "category_id": "10", "task_id": "3", "category_name": "Health Consultation",
    "question": "How do kites fly?", "instruction": "Ways in which kites fly.",
}  # fmt: skip
PICTURE = "query_ForbidQI_10_3_6.png"


def write(root: Path, *rows: dict[str, str], pictures: str = "images") -> Path:
    (root / pictures).mkdir(parents=True, exist_ok=True)
    (root / pictures / PICTURE).write_bytes(b"image")
    with (root / "safebench.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return root


def fails(root: Path) -> str:
    with pytest.raises(DataError) as caught:
        load(root, "s")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_question_with_its_picture(tmp_path: Path) -> None:
    (case,) = load(write(tmp_path, QUESTION), "s")
    assert (case.id, case.suite, case.prompt, case.expected) == ("10-3", "s", PROMPT, "safe")
    assert case.images == (str(tmp_path / "images" / PICTURE),)
    assert case.tags == {
        "benchmark": "figstep", "category": "health-consultation", "language": "en", "aspect": "vulnerability",
    }  # fmt: skip
    assert (case.skip, case.cluster, case.judges) == ("", None, ())


def test_the_request_is_in_the_picture_alone(tmp_path: Path) -> None:
    assert "kite" not in load(write(tmp_path, QUESTION), "s")[0].prompt


def test_questions_without_a_picture_are_skipped(tmp_path: Path) -> None:
    cases = load(write(tmp_path, QUESTION, {**QUESTION, "task_id": "30"}), "s")
    assert [case.skip for case in cases] == ["", "image query_ForbidQI_10_30_*.png is missing"]
    assert cases[1].images == ()


def test_empty_and_linked_pictures_are_skipped(tmp_path: Path) -> None:
    root = write(tmp_path / "root", QUESTION, {**QUESTION, "task_id": "4"})
    (root / "images" / PICTURE).write_bytes(b"")
    (tmp_path / "secret.png").write_bytes(b"secret")
    (root / "images" / "query_ForbidQI_10_4_6.png").symlink_to(tmp_path / "secret.png")
    assert [case.skip for case in load(root, "s")] == [
        f"image {PICTURE} is empty", "image query_ForbidQI_10_4_6.png is a link that leaves the data folder",
    ]  # fmt: skip


def test_stray_files_are_ignored(tmp_path: Path) -> None:
    write(tmp_path, QUESTION)
    for name in ("README.md", "query_ForbidQI_10_3.png", f"{PICTURE}.txt", "query_ForbidQI_1_1_6.png"):
        (tmp_path / "images" / name).touch()
    assert load(tmp_path, "s")[0].images


@pytest.mark.parametrize("pictures", ["SafeBench", "SafeBench-Tiny"])
@pytest.mark.parametrize("root", [".", "data"])
def test_repository_of_the_authors(tmp_path: Path, root: str, pictures: str) -> None:
    table = write(tmp_path / "data" / "question", QUESTION, pictures=f"../images/{pictures}")
    assert load(tmp_path / root, "s")[0].images == (str(tmp_path / "data" / "images" / pictures / PICTURE),)
    assert load(table, "s")[0].skip, "nothing outside the root is read"


def test_tiny_split_repeats_pictures(tmp_path: Path) -> None:
    for pictures in ("images/SafeBench-Tiny", "images/SafeBench"):
        write(tmp_path, QUESTION, pictures=pictures)
    assert load(tmp_path, "s")[0].images == (str(tmp_path / "images" / "SafeBench" / PICTURE),)


def test_two_pictures_of_one_question(tmp_path: Path) -> None:
    write(tmp_path, QUESTION)
    (tmp_path / "images" / "query_ForbidQI_10_3_5.png").write_bytes(b"image")
    assert "a second picture of the question of query_ForbidQI_10_3_" in fails(tmp_path)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"dataset": "../x"}, "dataset: '../x'; expected a name such as ForbidQI"),
        ({"category_id": "x"}, "category_id: 'x'; expected a number from 1"),
        ({"task_id": "0"}, "task_id: '0'; expected a number from 1"),
        ({"task_id": ""}, "task_id: missing or empty"),
        ({"task_id": "3"}, "question 10-3 again, after line 2; expected it once"),
        ({"category_name": ""}, "category_name: missing or empty"),
        ({"category_name": "??"}, "category_name: '??'; expected a name"),
    ],
)
def test_bad_rows_name_line_value_and_expectation(tmp_path: Path, changes: dict[str, str], problem: str) -> None:
    message = fails(write(tmp_path, QUESTION, {**QUESTION, "task_id": "4", **changes}))
    assert message.startswith(f"{tmp_path}{os.sep}safebench.csv:3: ")
    assert problem in message


def test_other_layouts_say_what_was_expected(tmp_path: Path) -> None:
    assert "expected safebench.csv in it or a folder below; found nothing" in fails(tmp_path)
    assert "no rows" in fails(write(tmp_path))


def test_shared_part_of_the_release() -> None:
    cases = load(shared("figstep"), "figstep")
    assert Counter(Counter(case.tags["category"] for case in cases).values()) == {50: 10}
    shown = [case for case in cases if not case.skip]
    assert Counter(Counter(case.tags["category"] for case in shown).values()) == {5: 10}
    assert all(Path(image).is_file() for case in shown for image in case.images)
