"""Suite files: what they become, and one clear line for everything that is wrong with one."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_mmsafety.errors import DataError
from pytest_mmsafety.files import shipped
from pytest_mmsafety.plugin.library import Library
from pytest_mmsafety.suites import common_tags, read_suite

HEADER = "suite: demo\nbenchmark: usb\ngroup_by: [category, language]\n"
CASE = '{"id": "a", "prompt": "p", "expected": "yes", "category": "c"}\n'


def suite(folder: Path, text: str, rows: str | bytes = "", name: str = "demo.jsonl") -> Path:
    (folder / name).write_bytes(rows if isinstance(rows, bytes) else rows.encode())
    file = folder / "demo.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def complaint(file: Path, **data: Path) -> str:
    """The error's one line, without the folder."""
    with pytest.raises(DataError) as error:
        read_suite(file, data)
    message = str(error.value)
    assert "\n" not in message
    return message.replace(f"{file.parent}/", "").replace(str(file.parent), "FOLDER")


def test_inline_jsonl_and_csv_say_the_same(tmp_path: Path) -> None:
    inline = (
        HEADER
        + "cases:\n  - {id: a, prompt: 你好, expected: yes, category: c, language: zh, tags: {technique: disguise}}\n"
    )
    row = {
        "id": "a",
        "prompt": "你好",
        "expected": "yes",
        "category": "c",
        "language": "zh",
        "tags": {"technique": "disguise"},
    }
    csv = "\ufeffid,prompt,expected,category,language,tags.technique,images\r\na,你好,yes,c,zh,disguise,\r\n"
    first = read_suite(suite(tmp_path, inline))
    second = read_suite(suite(tmp_path, HEADER + "cases: demo.jsonl", "\n" + json.dumps(row) + "\r\n\r\n"))
    third = read_suite(suite(tmp_path, HEADER + "cases: demo.csv", csv, "demo.csv"))
    assert first.cases == second.cases == third.cases
    assert list(first.groups) == ["c[zh]"]
    assert first.cases[0].tags == {"benchmark": "usb", "category": "c", "language": "zh", "technique": "disguise"}


def test_yes_and_no_stay_words_in_yaml(tmp_path: Path) -> None:
    text = (
        HEADER
        + "must_pass: true\ncases:\n  - {id: a, prompt: p, expected: no}\n  - {id: b, prompt: p, expected: yes}\n"
    )
    cases = read_suite(suite(tmp_path, text)).cases
    assert [case.expected for case in cases] == ["no", "yes"]
    assert cases[0].must_pass


def test_header_fills_what_a_case_leaves_out(tmp_path: Path) -> None:
    text = (
        HEADER
        + "expected: comply\ntags: {dimension: privacy}\njudges: [refusal]\ncases:\n  - {id: a, prompt: p, dimension: bias}\n  - {id: b, prompt: p}\n"
    )
    first, second = read_suite(suite(tmp_path, text)).cases
    assert (first.expected, first.judges) == ("comply", ("refusal",))
    assert (first.tags["dimension"], second.tags["dimension"]) == ("bias", "privacy")


def test_images_are_paths_inside_the_suite(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "图.png").write_bytes(b"x")
    file = suite(tmp_path, HEADER + "cases:\n  - {id: a, prompt: p, expected: yes, images: [images/图.png]}\n")
    assert read_suite(file).cases[0].images == (str(tmp_path / "images" / "图.png"),)


def test_group_by_id_makes_every_case_an_item(tmp_path: Path) -> None:
    text = "suite: s\nbenchmark: b\ngroup_by: [id]\ncases:\n  - {id: x, prompt: p, expected: yes}\n  - {id: y, prompt: p, expected: yes}\n"
    assert list(read_suite(suite(tmp_path, text)).groups) == ["x", "y"]


@pytest.mark.parametrize(
    ("text", "rows", "expected"),
    [
        ("[]", "", "demo.yaml:1: a suite is a YAML mapping with 'suite', 'benchmark' and 'cases'; got []"),
        (HEADER + "cases: [", "", "demo.yaml:*: not valid YAML:*"),
        ("suite: a\nsuite: b\n", "", "demo.yaml:2: not valid YAML: key 'suite' is given twice"),
        ("a: &x [1]\nb: *x\n", "", "demo.yaml:2: YAML aliases are not allowed (*x); write the value out"),
        ("suite: !!python/object:os.system x\n", "", "demo.yaml:1: not valid YAML: could not determine a constructor*"),
        (HEADER + "case: demo.jsonl", CASE, "demo.yaml:4: case: unknown key; expected one of suite,*; did you mean 'cases'?"),
        ("benchmark: usb\ncases: demo.jsonl", CASE, "demo.yaml:1: suite: missing; expected a value for it"),
        ("suite: 5\nbenchmark: usb\ncases: demo.jsonl", CASE, "demo.yaml:1: suite: 5: expected a valid string"),
        (HEADER, "", "demo.yaml:1: expected either 'cases' (a list, or a JSONL or CSV file beside this one) or 'loader'"),
        (HEADER + "cases: other.jsonl", CASE, "demo.yaml:4: cases: 'other.jsonl' does not exist*did you mean 'demo.jsonl'?"),
        (HEADER + "cases: ../x.jsonl", CASE, "demo.yaml:4: cases: '../x.jsonl' leads outside of FOLDER;*"),
        (HEADER + "cases: demo.txt", "", "*"),
        (HEADER + "cases: demo.jsonl", "", "demo.yaml: suite 'demo' has no cases"),
        (HEADER + "cases: demo.jsonl", "{oops}\n", "demo.jsonl:1: not valid JSON:*got '{oops}'"),
        (HEADER + "cases: demo.jsonl", "[1]\n", "demo.jsonl:1: expected a JSON object, got '[[]1]'"),
        (HEADER + "cases: demo.jsonl", '{"id": "a", "id": "b"}', "demo.jsonl:1: not valid JSON: key 'id' is given twice*"),
        (HEADER + "cases: demo.jsonl", CASE + CASE, "demo.jsonl:2: id: 'a' is used twice, first in line 1;*"),
        (HEADER + "cases: demo.jsonl", CASE.replace("yes", "yess"), "demo.jsonl:1: expected: 'yess': expected one of yes, no,*; did you mean 'yes'?"),
        (HEADER + "cases: demo.jsonl", CASE.replace('"p"', "3"), "demo.jsonl:1: prompt: 3: expected a valid string"),
        (HEADER + "cases: demo.jsonl", CASE.replace('"p"', '""'), "demo.jsonl:1: prompt: '': String should have at least 1 character"),
        (HEADER + "cases: demo.jsonl", CASE.replace("prompt", "promt"), "demo.jsonl:1: *"),
        (HEADER + "cases: demo.jsonl", CASE.replace('"c"', '"c[x]"'), "demo.jsonl:1: category: 'c[[]x]': expected a text without brackets*"),
        (HEADER + "cases: demo.jsonl", CASE.replace('"expected": "yes", ', ""), "demo.jsonl:1: expected: missing, here and in the header*"),
        (HEADER + "cases: demo.jsonl", CASE.replace("}", ', "images": ["x.png"]}'), "demo.jsonl:1: images: 'x.png' does not exist;*"),
        (HEADER + "cases: demo.jsonl", CASE.replace("}", ', "images": "x.png"}'), "demo.jsonl:1: images: 'x.png': expected a valid list"),
        (HEADER + "cases: demo.jsonl", CASE.replace("}", ', "images": ["/etc/passwd"]}'), "demo.jsonl:1: images: '/etc/passwd' leads outside*"),
        (HEADER + "cases: demo.jsonl", CASE.replace("}", ', "judges": ["yes-on"]}'), "demo.jsonl:1: judges: 'yes-on' is not known;*did you mean 'yes-no'?"),
        (HEADER + "cases: demo.jsonl", b"\xff\xfe{", "demo.jsonl: not UTF-8 (byte 0 is 0xff)"),
        (HEADER.replace("language", "langage") + "cases: demo.jsonl", CASE, "demo.yaml: group_by: 'langage' is not a tag of any case; did you mean 'language'?"),
        (HEADER + "loader: mmsafeawar", "", "demo.yaml:4: loader: 'mmsafeawar' is not known;*did you mean 'mmsafeaware'?"),
        (HEADER + "cases:\n  - id: a\n    prompt: p\n    expected: yes\n    language: 7\n", "", "demo.yaml:8: language: 7: expected a valid string"),
    ],
)  # fmt: skip
def test_everything_wrong_is_one_line_that_helps(tmp_path: Path, text: str, rows: str, expected: str) -> None:
    message = complaint(suite(tmp_path, text, rows))
    assert re.fullmatch(re.escape(expected.replace("[[]", "[")).replace(r"\*", ".*"), message), message


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "cases"
    folder.mkdir()
    (tmp_path / "secret.png").write_bytes(b"x")
    (folder / "x.png").symlink_to(tmp_path / "secret.png")
    file = suite(folder, HEADER + "cases:\n  - {id: a, prompt: p, expected: yes, images: [x.png]}\n")
    assert "leads outside" in complaint(file)


def test_csv_with_more_cells_than_columns(tmp_path: Path) -> None:
    file = suite(tmp_path, HEADER + "cases: demo.csv", "id,prompt\na,b,c\n", "demo.csv")
    assert complaint(file) == "demo.csv:2: 1 cells more than the header has columns"


def test_deeply_nested_json_is_an_error_not_a_crash(tmp_path: Path) -> None:
    file = suite(tmp_path, HEADER + "cases: demo.jsonl", "[" * 100_000)
    assert complaint(file).startswith("demo.jsonl:1: not valid JSON")


def test_two_suites_of_one_name(tmp_path: Path) -> None:
    first = suite(tmp_path, HEADER + "cases: demo.jsonl", CASE)
    second = first.with_name("again.yaml")
    second.write_text(first.read_text())
    library = Library({})
    library.read(first)
    with pytest.raises(DataError, match="'demo' is also the name of"):
        library.read(second)
    assert list(library.broken) == [second]


def test_official_data_waits_for_its_folder(tmp_path: Path) -> None:
    file = suite(tmp_path, HEADER + "loader: mmsafeaware\ndata: msa\n")
    assert (read_suite(file).wants_data, read_suite(file).data) == (True, "msa")
    assert "prompt.txt" in complaint(file, msa=tmp_path)


@given(st.text(max_size=400))
def test_any_text_is_a_suite_or_one_line(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    file = tmp_path_factory.getbasetemp() / "any.yaml"
    file.write_text(text, encoding="utf-8", errors="replace")
    with pytest.raises(DataError) as error:
        read_suite(file)
    assert "\n" not in str(error.value)


def test_shipped_suites_are_whole() -> None:
    suites = [read_suite(file) for file in sorted(shipped("cases").glob("*.yaml"))]
    cases = [case for suite in suites for case in suite.cases]
    assert {suite.benchmark for suite in suites} >= {"usb", "mllmguard", "mmsafeaware"}
    assert len(cases) >= 120
    assert {case.tags["language"] for case in cases} == {"en", "zh"}
    assert all(case.images for case in cases)
    assert all("benchmark" in common_tags(group) for suite in suites for group in suite.groups.values())
