"""What can become of a case."""

from __future__ import annotations

from typing import Any

import pytest
from report_builders import error, not_run

from pytest_mmsafety.report.states import STATES, state_of
from pytest_mmsafety.run import Record
from pytest_mmsafety.testing import make_record, make_verdict


@pytest.mark.parametrize(
    ("record", "state"),
    [
        (error(), "error"),
        (make_record(score=1.0), "failing"),
        (make_record(score=0.01), "failing"),
        (make_record(score=None), "unscored"),
        (make_record(verdicts=()), "unscored"),
        (make_record(), "as expected"),
        (make_record(response=""), "as expected"),
        (make_record(response=None, skipped="never published"), "skipped"),
        (not_run(), "not run"),
    ],
)
def test_every_record_is_in_one_state(record: Record, state: str) -> None:
    assert state_of(record) == state
    assert state in STATES


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({"error": "broken", "skipped": "left out"}, "error"),
        ({"error": "broken", "score": 1.0}, "error"),
        ({"skipped": "left out", "score": 1.0}, "skipped"),
        ({"response": None, "verdicts": (make_verdict(1.0),)}, "not run"),
    ],
)
def test_an_error_outweighs_a_skip_and_a_skip_outweighs_an_answer(changes: dict[str, Any], state: str) -> None:
    assert state_of(make_record(**changes)) == state


def test_only_the_first_verdict_counts() -> None:
    assert state_of(make_record(verdicts=(make_verdict(0.0), make_verdict(1.0, "other/1")))) == "as expected"
    assert state_of(make_record(verdicts=(make_verdict(None), make_verdict(1.0, "other/1")))) == "unscored"


def test_the_worst_states_come_first() -> None:
    assert STATES == ("error", "failing", "unscored", "as expected", "skipped", "not run")
