"""Judge errors: files of them, and those that are shipped."""

from __future__ import annotations

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
CHINESE = replace(ALL, by={"language": "zh"}, n=20)
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
        f"{path}: damaged file of judge errors: strata: expected one with an empty 'by', of all answers"
    )


def test_every_judge_that_reads_meaning_is_shipped_with_its_errors() -> None:
    assert set(shipped_errors()) == {Refusal.name, NAME}
    for errors in shipped_errors().values():
        assert errors.best({}).n > 1000
    assert shipped_errors()[NAME].strata == errors_of(shipped().card, NAME).strata
