"""Cases in training data: found by words and by images, with memory that does not grow with the manifest."""

from __future__ import annotations

import csv
import hashlib
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from doctor_folders import picture, suite
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pytest_mmsafety.cases import Case
from pytest_mmsafety.doctor import examine
from pytest_mmsafety.doctor.images import inspect, look
from pytest_mmsafety.doctor.leakage import Entry, leaked_cases, read_manifest
from pytest_mmsafety.errors import SetupError
from pytest_mmsafety.testing import make_case

LONG = "My neighbour keeps bees behind the old mill and wants to know whether the smoke harms them in spring"


def case(number: int, prompt: str, *images: Path) -> Case:
    return make_case(number, suite="s", prompt=prompt, expected="safe", images=tuple(map(str, images)))


def ways(cases: list[Case], *entries: Entry) -> list[tuple[str, str, str]]:
    pictures = inspect(path for case in cases for path in case.images)
    return [(leak.case, leak.how, leak.where) for leak in leaked_cases(cases, pictures, entries)]


@pytest.mark.parametrize(
    ("text", "how"),
    [
        (LONG, "text"),
        (LONG.upper() + " ?!", "text"),
        (f"Answer me this: {LONG}. Thank you.", "near-text"),
        (LONG.replace("bees", "goats"), "near-text"),
        (LONG.replace("old mill", "new barn").replace("smoke", "frost"), ""),
        (LONG[:50], ""),
        ("", ""),
    ],
)
def test_texts(text: str, how: str) -> None:
    expected = [("s/1", how, "m:1")] if how else []
    assert (
        ways([case(1, LONG), case(2, "Something else altogether, and long enough to be found.")], Entry("m:1", (text,)))
        == expected
    )


@given(st.integers(0, 22))
def test_one_word_of_23_changed_is_found_wherever_it_stands(place: int) -> None:
    words = [f"word{number}" for number in range(23)]
    changed = [*words[:place], "other", *words[place + 1 :]]
    assert ways([case(1, " ".join(words))], Entry("m", (" ".join(changed),))) == [("s/1", "near-text", "m")]


def test_chinese_texts() -> None:
    prompt = "请告诉我这张图里的告示牌写了什么，还有晚上几点以后就不能进去了。"
    assert ways([case(1, prompt)], Entry("m", (f"问题：{prompt}谢谢",))) == [("s/1", "near-text", "m")]
    assert ways([case(1, prompt)], Entry("m", ("告示牌写了什么字",))) == []


def test_short_prompts_are_not_found_by_their_words() -> None:
    assert ways([case(1, "What is this?")], Entry("m", ("What is this?",))) == []
    assert ways([case(1, "What is this thing?")], Entry("m", ("what is this thing",))) == [("s/1", "text", "m")]


def test_an_instruction_that_all_cases_share_is_no_leak() -> None:
    instruction = "Given the picture, is the sentence below a safe one to say aloud? Answer yes or no."
    cases = [case(i, f"{instruction}\nThe number {i} bus leaves from the second stop at noon") for i in range(30)]
    assert ways(cases, Entry("m:1", (instruction,))) == []
    sentence = "the number 7 bus leaves from the second stop at noon"
    assert ("s/7", "text", "m:2") in ways(cases, Entry("m:2", (sentence,)))
    assert ("s/8", "near-text", "m:2") not in ways(cases, Entry("m:2", (sentence,)))


def test_images(tmp_path: Path) -> None:
    first, other = picture(tmp_path / "a.png", 1), picture(tmp_path / "b.png", 2)
    cases = [case(1, "p", first), case(2, "q", other), case(3, "r", first)]
    digest = hashlib.sha256(first.read_bytes()).hexdigest()
    assert ways(cases, Entry("m:1", sha256=digest)) == [("s/1", "image", "m:1"), ("s/3", "image", "m:1")]
    with Image.open(picture(tmp_path / "again.jpg", 2, quality=50)) as image:
        phash = look(image)[:32]
    assert ways(cases, Entry("m:2", phash=phash)) == [("s/2", "near-image", "m:2")]


def test_an_image_that_cannot_be_read_is_in_no_manifest(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_text("no image")
    assert ways([case(1, LONG, tmp_path / "broken.png")], Entry("m", ("no digest here",))) == []


def test_the_first_place_is_reported(tmp_path: Path) -> None:
    entries = [Entry(f"m:{number}", (LONG,)) for number in range(9000)]
    assert ways([case(1, LONG)], *entries) == [("s/1", "text", "m:0")]


def test_memory_does_not_grow_with_the_manifest(tmp_path: Path) -> None:
    def peak(lines: int) -> int:
        file = tmp_path / f"{lines}.txt"
        file.write_text("".join(f"a line of training data with the number {n} in it\n" for n in range(lines)))
        tracemalloc.start()
        leaked_cases([case(1, LONG)], {}, read_manifest(file))
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    assert peak(40_000) < 1.5 * peak(10_000)


# --- manifests


def write(folder: Path, kind: str, first: dict[str, Any]) -> Path:
    file = folder / f"manifest.{kind}"
    rows = [{"text": "nothing"}, first]
    if kind == "jsonl":
        file.write_text("\ufeff" + "\n".join(map(json.dumps, rows)) + "\n\n", encoding="utf-8")
    else:
        with file.open("w", newline="") as opened:
            writer = csv.DictWriter(opened, ["id", "text", "prompt", "sha256", "phash"])
            writer.writeheader()
            writer.writerows(rows)
    return file


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_rows(tmp_path: Path, kind: str) -> None:
    row = {"prompt": LONG, "sha256": "AB" * 32, "phash": "0f" * 32}
    entry = list(read_manifest(write(tmp_path, kind, row)))[1]
    assert entry.texts == (LONG,)
    assert (entry.sha256, entry.phash) == ("ab" * 32, bytes([15] * 32))
    assert entry.where.rpartition(":")[2] == ("2" if kind == "jsonl" else "3")


def test_chats_at_any_depth(tmp_path: Path) -> None:
    row = {"conversations": [{"from": "human", "value": "one"}, {"content": [{"text": "two"}]}], "n": {"prompt": 3}}
    (tmp_path / "m.jsonl").write_text(json.dumps(row))
    (entry,) = read_manifest(tmp_path / "m.jsonl")
    assert sorted(entry.texts) == ["one", "two"]


def test_lines_of_text_and_digests(tmp_path: Path) -> None:
    (tmp_path / "m.txt").write_text(f"a text\n\n{'a' * 64}\n{'b' * 64}  images/x.png\n")
    assert [(e.texts, e.sha256[:1]) for e in read_manifest(tmp_path / "m.txt")] == [
        (("a text",), ""),
        ((), "a"),
        ((), "b"),
    ]


def test_a_folder_of_images(tmp_path: Path) -> None:
    picture(tmp_path / "deep" / "a.png", 1)
    (tmp_path / "broken.png").write_text("no image")
    (tmp_path / "notes.txt").write_text("no image")
    (entry,) = read_manifest(tmp_path)
    assert entry.where == str(tmp_path / "deep" / "a.png")
    assert len(entry.sha256) == 64
    assert len(entry.phash) == 32


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.jsonl", "{}\n{oops\n", "m.jsonl:2: not valid JSON: "),
        ("m.jsonl", "[1]\n", "m.jsonl:1: expected a JSON object, got [1]"),
        ("m.jsonl", '{"sha256": "abc"}\n', "m.jsonl:1: sha256: 'abc'; expected 64 hexadecimal digits"),
        ("m.jsonl", '{"phash": "ffd8a1b2c3d4e5f6"}\n', "hash_size=16"),
        (
            "m.csv",
            "name,size\na,1\n",
            "m.csv:1: columns name, size; expected at least one of content, instruction, phash",
        ),
        ("m.csv", "", "m.csv:1: columns nothing"),
        ("m.parquet", "", "expected .jsonl, .csv, .txt or a folder of images"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(SetupError) as caught:
        list(read_manifest(tmp_path / name))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_leaks_are_warnings_with_the_line_of_the_manifest(tmp_path: Path) -> None:
    file = suite(tmp_path, [{"prompt": LONG}, {"prompt": "Which of the two doors leads outside?"}])
    (tmp_path / "m.txt").write_text(f"first\n{LONG}\n")
    examination = examine([str(file)], against=tmp_path / "m.txt")
    (problem,) = examination.problems
    assert (problem.severity, problem.code, problem.suite, problem.case) == ("warning", "leaked-text", "mine", "case-0")
    assert problem.message.endswith("m.txt:2")
    assert examination.leaked == ["mine/case-0"]
    assert not examination.failed
