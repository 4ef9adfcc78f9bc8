"""What two runs must have in common to be compared."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_mmsafety.baselines import (
    FOLDER,
    Difference,
    load_baseline,
    parse_allowed,
    promote,
    refusal,
    setting_differences,
)
from pytest_mmsafety.errors import SetupError
from pytest_mmsafety.run import RunSettings, save_run
from pytest_mmsafety.testing import make_record, make_run


def test_kinds_of_differences() -> None:
    found = setting_differences(
        RunSettings("a", model_args={"seed": "1"}),
        RunSettings("b", model_args={"dtype": "float32"}, judge="x:y", batch_size=16, target_calls=3),
    )
    assert [(difference.kind, difference.text) for difference in found] == [
        ("decoding", "model_args.dtype is not set, was float32"),
        ("judge", "judge is not set, was x:y"),
    ]
    assert refusal(found, frozenset({"decoding", "judge"})) == ""
    assert refusal([Difference("cases", "c")], frozenset({"judge"})).endswith("--baseline-allow=cases)")
    with pytest.raises(SetupError, match="'judges'; expected some of decoding, judge, cases; did you mean 'judge'"):
        parse_allowed("judges")
    assert parse_allowed(" decoding,,judge ") == {"decoding", "judge"}


def test_arguments_of_the_judge_are_compared() -> None:
    now = RunSettings("a", judge="llm", judge_args={"model": "m", "rubric": "harm"})
    then = replace(now, judge_args={"model": "m"})
    assert setting_differences(now, then) == [Difference("judge", "judge_args.rubric is harm, was not set")]


def test_what_changes_no_answer_is_no_difference() -> None:
    now = RunSettings("a", batch_size=1, samples=3, subset=0.5, early_stop=True, target_calls=9)
    assert setting_differences(now, RunSettings("a")) == []


def test_secrets_are_not_compared_by_value() -> None:
    settings = RunSettings("a", model_args={"api_key": "***"})
    assert setting_differences(settings, settings) == []


# --- promotions that were killed


@pytest.fixture
def dead() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def run_file(folder: Path, target: str) -> Path:
    save_run(make_run([make_record()], target=target), folder / f"{target}.json")
    return folder / f"{target}.json"


def target_of(root: Path) -> str:
    return load_baseline("rc", root, root).target


@pytest.mark.parametrize("first", [True, False], ids=["first", "second"])
def test_a_promotion_that_was_noted_is_finished(tmp_path: Path, dead: int, first: bool) -> None:
    if not first:
        promote(run_file(tmp_path, "old"), "rc", tmp_path, why="a")
        before = (tmp_path / FOLDER / "rc.json").read_bytes()
    placed = promote(run_file(tmp_path, "new"), "rc", tmp_path, why="b")
    placed.rename(placed.with_name(f".rc.json.{dead}.mmsafety"))  # killed before it was put in place
    if not first:
        placed.write_bytes(before)
    assert target_of(tmp_path) == "new"
    assert sorted(path.name for path in placed.parent.iterdir()) == ["history.jsonl", "rc.json"]


def test_a_promotion_that_was_not_noted_never_was(tmp_path: Path, dead: int) -> None:
    placed = promote(run_file(tmp_path, "old"), "rc", tmp_path, why="a")
    half = placed.with_name(f".rc.json.{dead}.mmsafety")
    half.write_bytes(run_file(tmp_path, "new").read_bytes()[:100])
    assert target_of(tmp_path) == "old"
    assert not half.exists()


def test_a_promotion_that_goes_on_is_left_alone(tmp_path: Path) -> None:
    placed = promote(run_file(tmp_path, "old"), "rc", tmp_path, why="a")
    other = placed.with_name(f".rc.json.{os.getppid()}.mmsafety")
    other.touch()
    promote(run_file(tmp_path, "new"), "rc", tmp_path, why="b")
    assert other.exists()
    assert target_of(tmp_path) == "new"
