"""What two runs must have in common to be compared."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_mmsafety.baselines import Difference, parse_allowed, refusal, setting_differences
from pytest_mmsafety.errors import SetupError
from pytest_mmsafety.run import RunSettings


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
