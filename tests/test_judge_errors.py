"""Judge errors: files of them, and those that are shipped."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_mmsafety.errors import SetupError
from pytest_mmsafety.judge_errors import (
    JudgeErrors,
    Stratum,
    known_errors,
    load_judge_errors,
    parse_judge_errors,
    save_judge_errors,
    shipped_errors,
)
from pytest_mmsafety.judges.guardrank_mini.judge import NAME
from pytest_mmsafety.judges.guardrank_mini.weights import shipped
from pytest_mmsafety.judges.refusal import Refusal
from pytest_mmsafety.training.mini.errors import errors_of

ALL = Stratum({}, 200, 90, 5, 95, 10, 0, 0, 200, 100, 100, ("people",))
CHINESE = Stratum({"language": "zh"}, 20, 9, 0, 10, 1, 0, 0, 20, 10, 10, ("people",))
ERRORS = JudgeErrors("mine/1", "2026-01-01", 0.5, effective=False, files={"a.csv": "0a"}, strata=(ALL, CHINESE))


def test_what_is_saved_is_read_again(tmp_path: Path) -> None:
    save_judge_errors(ERRORS, tmp_path / "e.json")
    assert load_judge_errors(tmp_path / "e.json") == ERRORS
    assert parse_judge_errors("e.json", tmp_path) == {"mine/1": ERRORS}


def test_the_stratum_that_says_most_of_a_gates_cases_is_taken() -> None:
    assert ERRORS.best({"language": "zh", "category": "one"}) == CHINESE
    assert ERRORS.best({"language": "en"}) == ERRORS.best({}) == ALL


def test_errors_that_were_given_come_before_the_shipped_ones() -> None:
    own = replace(ERRORS, judge=NAME)
    assert known_errors({NAME: own}) == {**shipped_errors(), NAME: own}


def test_a_file_without_counts_of_all_answers_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "e.json"
    save_judge_errors(replace(ERRORS, strata=(CHINESE,)), path)
    with pytest.raises(SetupError) as error:
        load_judge_errors(path)
    assert str(error.value) == (
        f"{path}: damaged file of judge errors: strata: expected one with an empty 'by', of all answers; found 0"
    )


def test_every_judge_that_reads_meaning_is_shipped_with_its_errors() -> None:
    assert set(shipped_errors()) == {Refusal.name, NAME}
    for errors in shipped_errors().values():
        assert errors.best({}).n > 1000
    assert shipped_errors()[NAME].strata == errors_of(shipped().card, NAME).strata


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (("n", "200"), "strata.0.n: Input should be a valid integer"),
        (("n", 200.5), "strata.0.n: Input should be a valid integer"),
        (("n", -1), "strata.0.n: -1; expected at least 0"),
        (("n", 199), "strata.0.n: 199 answers, but counts of 200"),
        (("tp", -1), "strata.0.tp: -1.0; expected at least 0"),
        (("tp", "90"), "strata.0.tp: Input should be a valid number"),
        (("tp", True), "strata.0.tp: Input should be a valid number"),
        (("clusters", 201), "strata.0.clusters: 201; expected at least those of one kind, at most n"),
        (("positive_clusters", 300), "strata.0.clusters: 200; expected at least those of one kind, at most n"),
        (("tpp", 1), "strata.0.tpp: unknown key; did you mean 'tp'?"),
        (("by", {"language": "zh"}), "strata: expected one with an empty 'by', of all answers; found 0"),
        (("sources", "people"), "strata.0.sources: Input should be a valid array"),
    ],
)
def test_a_stratum_that_cannot_be_is_refused(tmp_path: Path, change: tuple[str, object], problem: str) -> None:
    path = saved(tmp_path)
    content = json.loads(path.read_text())
    content["strata"][0][change[0]] = change[1]
    path.write_text(json.dumps(content))
    assert refused(path).startswith(f"damaged file of judge errors: {problem}")


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('"threshold": 0.5', '"threshold": 5', "damaged file of judge errors: threshold: 5.0; expected a score from 0"),
        ('"threshold": 0.5', '"threshold": NaN', "not a file of judge errors: NaN is not a finite number"),
        ('"threshold": 0.5', '"threshold": 1e999', "not a file of judge errors: 1e999 is not a finite number"),
        ('"threshold": 0.5', '"threshold": "0.5"', "damaged file of judge errors: threshold: Input should be"),
        ('"threshold": 0.5', '"threshhold": 0.5', "damaged file of judge errors: threshold: Field required"),
        ('"judge": "mine/1"', '"judge": ""', "damaged file of judge errors: judge: it is empty"),
        ('"judge": "mine/1"', '"judge": "mine/1", "judge": "mine/1"', "not a file of judge errors: key 'judge' is"),
        ('"language": "zh"', "", "damaged file of judge errors: strata: expected one with an empty 'by', of all ans"),
        ('"judge": "mine/1"', '"judge": "mine/1", "note": "x"', "damaged file of judge errors: note: unknown key"),
    ],
)
def test_a_file_that_cannot_be_is_refused(tmp_path: Path, old: str, new: str, problem: str) -> None:
    path = saved(tmp_path)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    assert refused(path).startswith(problem)


def test_a_stratum_is_there_only_once(tmp_path: Path) -> None:
    save_judge_errors(replace(ERRORS, strata=(ALL, CHINESE, CHINESE)), tmp_path / "e.json")
    assert refused(tmp_path / "e.json").endswith("strata.2.by: {'language': 'zh'} is there twice")


def saved(folder: Path) -> Path:
    save_judge_errors(ERRORS, folder / "e.json")
    return folder / "e.json"


def refused(path: Path) -> str:
    with pytest.raises(SetupError) as error:
        load_judge_errors(path)
    assert "\n" not in str(error.value)
    return str(error.value).removeprefix(f"{path}: ")
