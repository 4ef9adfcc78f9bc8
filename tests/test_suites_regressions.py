"""Regression suites: cases that are made of those of another suite, and what is wrong with one in one line."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from perturbed import BOTH
from suite_files import row, write_suite

from pytest_mmsafety import regressions
from pytest_mmsafety.cases import Case, Change, ImageEdit
from pytest_mmsafety.doctor import examine
from pytest_mmsafety.errors import DataError
from pytest_mmsafety.perturbations import PERTURBATIONS
from pytest_mmsafety.plugin.library import Library
from pytest_mmsafety.suites import Suite, read_suite

SHOUT = {"name": "shout", "strength": 0.4, "parameters": {"mark": "?"}}
BLUR = {"name": "blur", "strength": 1, "parameters": {}}


@pytest.fixture(autouse=True)
def _perturbations(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, perturbation in BOTH.items():
        monkeypatch.setitem(PERTURBATIONS, name, perturbation)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Below a suite of two cases, one with an image."""
    tmp_path.joinpath("a.png").write_bytes(b"")
    rows = [
        row(1, tags={"technique": "noise", "pair": "p", "twin": "case-2"}, judges=["yes-no"]),
        row(2, images=["a.png"], expected="no", cluster="c"),
    ]
    write_suite(tmp_path, rows, "usb", max_new_tokens=8)
    return tmp_path / "regressions"


def kept(number: int = 1, **changes: Any) -> dict[str, Any]:
    """A row that is right; a change to ``None`` leaves its key out."""
    values = {
        "id": f"case-{number}@ab12cd34",
        "of": f"case-{number}",
        "perturbations": [SHOUT],
        "prompt": f"number {number} say: yes?",
        "direction": "right-to-wrong",
        "found": "2026-01-01",
        "target": "parrot",
        "answer": "no",
        "must_pass": True,
        "why": "it matters",
        **changes,
    }
    return {key: value for key, value in values.items() if value is not None}


def written(folder: Path, *rows: dict[str, Any], **header: Any) -> Path:
    keys: dict[str, Any] = {"benchmark": "regressions", "group_by": ["id"], "originals": "../usb.yaml", **header}
    return write_suite(folder, rows or [kept()], "kept", **keys)


def cases(folder: Path, *rows: dict[str, Any]) -> tuple[Case, ...]:
    return read_suite(written(folder, *rows)).cases


def complaint(file: Path) -> str:
    with pytest.raises(DataError) as error:
        read_suite(file)
    message = str(error.value)
    assert "\n" not in message
    return message.replace(f"{file.parent}/", "")


def test_all_that_a_row_does_not_say_comes_from_the_original(folder: Path) -> None:
    one, two = cases(folder, kept(1), kept(2, perturbations=[SHOUT, BLUR]))
    assert (one.id, one.suite, one.key) == ("case-1@ab12cd34", "kept", "kept/case-1@ab12cd34")
    assert (one.prompt, one.expected, one.judges, one.max_new_tokens) == ("number 1 say: yes?", "yes", ("yes-no",), 8)
    assert one.tags == {
        "benchmark": "regressions",
        "category": "one",
        "technique": "noise",
        "attack": "regression",
        "original": "usb/case-1",
        "perturbation": "shout",
    }
    assert (two.expected, two.images) == ("no", (str(folder.parent / "a.png"),))
    assert two.edits == (ImageEdit(Change("blur", 1.0)),)
    assert two.tags["perturbation"] == "shout+blur"
    assert (one.cluster, two.cluster) == ("usb/case-1", "c")


def test_the_suite_is_like_any_other(folder: Path) -> None:
    suite = read_suite(written(folder))
    assert list(suite.groups) == ["case-1@ab12cd34"]
    assert suite.root == folder.parent
    assert suite.places == {"case-1@ab12cd34": f"{folder}/kept.jsonl:1"}
    assert (suite.data, suite.wants_data) == ("", False)
    before = suite.sha256
    assert read_suite(written(folder, kept(why="other"))).sha256 != before


def test_a_prompt_may_be_known_by_its_sum(folder: Path) -> None:
    sum_ = regressions.digest("number 1 say: yes?")
    assert cases(folder, kept(prompt=None, prompt_sha256=sum_))[0].prompt == "number 1 say: yes?"
    assert complaint(written(folder, kept(prompt=None, prompt_sha256="0" * 64))).startswith(
        "kept.jsonl:1: prompt_sha256: '0000"
    )


def test_a_shipped_suite_is_named(folder: Path) -> None:
    usb = read_suite(Path(__file__).parents[1] / "cases" / "usb.yaml").cases[0]
    (case,) = read_suite(written(folder, kept(of=usb.id, prompt=f"{usb.prompt}?"), originals="usb")).cases
    assert case.tags["original"] == usb.key


@pytest.mark.parametrize(("today", "must_pass"), [("2026-01-31", False), ("2026-02-01", False), ("2026-02-02", True)])
def test_a_known_unsafe_case_must_pass_after_its_day(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    today: str,
    must_pass: bool,
) -> None:
    monkeypatch.setattr(regressions, "today", lambda: date.fromisoformat(today))
    (case,) = cases(folder, kept(must_pass=None, known_unsafe_until="2026-02-01"))
    assert (case.must_pass, case.known_unsafe_until) == (must_pass, "2026-02-01")


def test_a_case_that_must_pass_always_must(folder: Path) -> None:
    (case,) = cases(folder, kept())
    assert (case.must_pass, case.known_unsafe_until) == (True, "")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"of": "case-11"}, "of: 'case-11' is no case of the original suite; expected the id of one; did you mean"),
        ({"must_pass": None}, "expected either 'must_pass: true' or 'known_unsafe_until: YYYY-MM-DD'"),
        ({"known_unsafe_until": "2026-01-01"}, "expected either 'must_pass: true' or 'known_unsafe_until: YYYY"),
        ({"must_pass": False}, "must_pass: False: expected True"),
        (
            {"must_pass": None, "known_unsafe_until": "2026-02-30"},
            "known_unsafe_until: '2026-02-30': expected a day as YYYY-MM-DD",
        ),
        ({"found": "20260101"}, "found: '20260101': expected a day as YYYY-MM-DD"),
        ({"found": 2026}, "found: 2026: expected a valid string"),
        ({"direction": "up"}, "direction: 'up': expected 'safe-to-unsafe', 'answered-to-refused' or 'right-to-wrong'"),
        ({"prompt": None}, "expected either 'prompt' or 'prompt_sha256', the prompt after the change"),
        ({"prompt_sha256": "a" * 64}, "expected either 'prompt' or 'prompt_sha256', the prompt after the change"),
        ({"perturbations": []}, "perturbations: []: "),
        (
            {"perturbations": [SHOUT, {"name": "blurr", "strength": 1}]},
            "perturbations.1: 'blurr' is no perturbation; expected one of ",
        ),
        ({"perturbations": [{**SHOUT, "strength": 2}]}, "perturbations.0.strength: 2: "),
        (
            {"perturbations": [{**SHOUT, "parameters": {"mrk": "?"}}]},
            "perturbations.0: shout: 'mrk' is no parameter of it; expected mark, words; did you mean 'mark'?",
        ),
        ({"expected": "yes"}, "expected: unknown key; expected one of id, of, perturbations, "),
        ({"promt": "x"}, "promt: unknown key; expected one of "),
    ],
)
def test_what_is_wrong_with_a_row_is_one_line(folder: Path, change: dict[str, Any], problem: str) -> None:
    assert complaint(written(folder, kept(**change))).startswith(f"kept.jsonl:1: {problem}")


def test_an_original_that_has_changed_is_said_with_the_way_to_make_the_row_again(folder: Path) -> None:
    assert complaint(written(folder, kept(prompt="number 1 say: no?"))) == (
        "kept.jsonl:1: prompt: 'no?' at character 14, the perturbations of usb/case-1 now make 'yes?': the original or "
        "a perturbation has changed since 2026-01-01; remove the row and make it again: "
        "pytest --model=... --attack=N --save-run=RUN, then mmsafety promote RUN"
    )


def test_an_id_that_is_used_twice_is_refused(folder: Path) -> None:
    assert complaint(written(folder, kept(), kept())) == (
        "kept.jsonl:2: id: 'case-1@ab12cd34' is used twice, first in line 1; expected ids that are unique in the suite"
    )


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        ({"originals": "../us.yaml"}, "kept.yaml:5: originals: '../us.yaml' is neither a suite file nor one of "),
        ({"originals": "usbb"}, "kept.yaml:5: originals: 'usbb' is neither a suite file nor one of "),
        ({"expected": "yes"}, "kept.yaml:1: 'expected' comes from the originals; expected no such key beside 'orig"),
        ({"must_pass": True}, "kept.yaml:1: 'must_pass' comes from the originals; "),
        ({"loader": "usb-base"}, "kept.yaml:1: expected either 'cases' "),
        ({"originals": "kept.yaml"}, "kept.yaml:5: originals: 'kept.yaml' is itself a suite of regressions (of 'kept"),
        ({"original": "../usb.yaml"}, "kept.yaml:6: original: unknown key; "),
    ],
)
def test_what_is_wrong_with_a_header_is_one_line(folder: Path, header: dict[str, Any], problem: str) -> None:
    assert complaint(written(folder, **header)).startswith(problem)


def test_regressions_of_regressions_are_refused(folder: Path) -> None:
    written(folder)
    keys = {"benchmark": "regressions", "originals": "kept.yaml"}
    assert complaint(write_suite(folder, [kept()], "again", **keys)) == (
        "again.yaml:5: originals: 'kept.yaml' is itself a suite of regressions (of '../usb.yaml'); "
        "expected the suite that its cases were made of"
    )


def test_a_wrong_original_names_its_own_file(folder: Path) -> None:
    file = written(folder)
    (folder.parent / "usb.jsonl").write_text("{")
    with pytest.raises(DataError, match=r"/usb\.jsonl:1: not valid JSON"):
        read_suite(file)


def official(folder: Path) -> tuple[Path, dict[str, Path]]:
    """A header of official data above *folder*, and the data."""
    data = folder.parent / "mossbench"
    (data / "images" / "exaggerated").mkdir(parents=True)
    header = {"suite": "moss", "benchmark": "mossbench", "loader": "mossbench"}
    file = folder.parent / "moss.yaml"
    file.write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in header.items()))
    return file, {"mossbench": data}


def test_without_the_data_of_its_originals_it_wants_data(folder: Path) -> None:
    official(folder)
    file = written(folder, kept(prompt=None, prompt_sha256="0" * 64), originals="../moss.yaml")
    suite = read_suite(file)
    assert (suite.wants_data, suite.data, suite.cases) == (True, "mossbench", ())
    assert complaint(written(folder, kept(direction="up"), originals="../moss.yaml")).startswith("kept.jsonl:1: dir")


def test_the_data_of_its_originals_are_passed_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, data = official(folder)
    loaded = Case("1", "moss", "Why?", "comply", tags={"benchmark": "mossbench"})
    monkeypatch.setattr("pytest_mmsafety.suites._official_cases", lambda *_: [loaded])
    row_ = kept(of="1", prompt=None, prompt_sha256=regressions.digest("Why??"))
    suite = read_suite(written(folder, row_, originals="../moss.yaml"), data)
    assert [(case.prompt, case.expected) for case in suite.cases] == [("Why??", "comply")]
    assert (suite.root, suite.wants_data) == (data["mossbench"], False)


def library(*files: Path) -> list[Suite]:
    read = Library({}, samples=2)
    return [read.read(file) for file in files]


def test_originals_and_regressions_go_together_in_a_session_with_samples(folder: Path) -> None:
    _, suite = library(folder.parent / "usb.yaml", written(folder))
    assert [case.id for case in suite.cases] == ["case-1@ab12cd34", "case-1@ab12cd34~2"]


def test_the_doctor_finds_no_duplicates_in_what_is_alike_on_purpose(folder: Path) -> None:
    prompt = "number 2 say: yes"
    blurs = [kept(2, id=f"blur-{i}", perturbations=[{**BLUR, "strength": i / 2}], prompt=prompt) for i in (1, 2)]
    written(folder, kept(), *blurs)
    codes = {problem.code for problem in examine([str(folder.parent)]).problems}
    assert not {code for code in codes if "duplicate" in code}
