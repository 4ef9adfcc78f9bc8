"""The terminal section: what was asked, and a line a gate."""

from __future__ import annotations

from dataclasses import replace

from pytest_mmsafety.gates import FAILED, INCONCLUSIVE, NOT_EVALUATED, PASSED, REPORTED
from pytest_mmsafety.judge_errors import shipped_errors
from pytest_mmsafety.outcomes import Outcome
from pytest_mmsafety.plugin.terminal import gate_lines, summary_lines
from pytest_mmsafety.testing import make_result, make_verdict


def test_what_blocks_stands_last_beside_the_verdict() -> None:
    results = [
        make_result(INCONCLUSIVE, name="doubt", blocks=True),
        make_result(PASSED, name="fine"),
        make_result(FAILED, name="bad", blocks=True),
        make_result(INCONCLUSIVE, name="open"),
    ]
    assert list(gate_lines(results)) == [
        ("passed         fine   reason of fine", "green"),
        ("inconclusive   open   reason of open", "yellow"),
        ("inconclusive!  doubt  reason of doubt", "red"),
        ("failed         bad    reason of bad", "red"),
        ("blocked by 2 of 4 gates", "red"),
    ]


def test_a_run_that_nothing_blocks_says_what_became_of_the_gates() -> None:
    *_, last = gate_lines([make_result(PASSED, name="fine"), make_result(INCONCLUSIVE, name="open")])
    assert last == ("not blocked: 1 passed, 1 inconclusive", "green")
    *_, last = gate_lines([make_result(INCONCLUSIVE, name="open")])
    assert last == ("not blocked: 1 inconclusive", "yellow")
    *_, last = gate_lines([make_result(PASSED, name="fine"), make_result(NOT_EVALUATED, name="empty")])
    assert last == ("not blocked: 1 passed, 1 not evaluated", "yellow")
    *_, last = gate_lines([make_result(NOT_EVALUATED, name="empty")] * 2)
    assert last == ("no verdict: none of 2 gates was evaluated", "yellow")


def test_what_only_reports_is_not_said_to_pass() -> None:
    lines = list(gate_lines([make_result(REPORTED, name="number"), make_result(REPORTED, name="other")]))
    assert lines[0] == ("reported       number  reason of number", "")
    assert lines[-1] == ("nothing was decided: 2 reported", "")


def test_what_was_asked_is_counted() -> None:
    outcomes = [
        Outcome("a", "yes", (make_verdict(1.0, "j/1", "wrong"),), stored=True),
        Outcome("b", "no", (make_verdict(None, "j/1", "?"),)),
        Outcome("c", error="gone"),
        Outcome("d", skipped="no image"),
    ]
    counts = "2 answered, 1 not as expected (u), 1 unscored (?), 1 error, 1 skipped, 1 from the store, 7 target calls"
    assert list(summary_lines("tiny", outcomes, 7, None, ["stopped early"], errors={})) == [
        ("target: tiny", ""),
        (f"cases:  {counts}", ""),
        ("note:   stopped early", "yellow"),
    ]


def test_judges_whose_errors_are_known_are_named_with_them() -> None:
    errors = {name: replace(shipped_errors()["refusal/2"], judge=name) for name in ("j/1", "unheard/1")}
    outcomes = [
        Outcome("a", "yes", (make_verdict(1.0, "j/1", "wrong"), make_verdict(0.0, "unheard/1", "ok"))),
        Outcome("b", "no", (make_verdict(None, "j/1", "?"),)),
        Outcome("c", "no", (make_verdict(0.0, "unknown/1", "ok"),)),
    ]
    (line,) = [text for text, _ in summary_lines("tiny", outcomes, 7, None, [], errors=errors) if "judge:" in text]
    assert line == (
        "judge:  j/1 scored 1 of 2; measured on human labels: detects 94%, misses 6% and abstains on 0% of 2,764 "
        "failures; false alarms on 6% of 1,388 good answers"
    )
