from __future__ import annotations

from dataclasses import replace

from pytest_mmsafety.calibration import shipped_errors
from pytest_mmsafety.gates import FAILED, INCONCLUSIVE, NOT_EVALUATED, PASSED, REPORTED, Gate, GateResult
from pytest_mmsafety.judges.guardrank_mini.judge import NAME
from pytest_mmsafety.judges.guardrank_mini.weights import shipped
from pytest_mmsafety.judges.refusal import Refusal
from pytest_mmsafety.outcomes import Outcome
from pytest_mmsafety.plugin.terminal import gate_lines, summary_lines
from pytest_mmsafety.training.mini.errors import errors_of
from pytest_mmsafety.verdicts import Verdict


def result(name: str, status: str, *, blocks: bool = False) -> GateResult:
    gate = Gate(name, "accuracy", {}, max=None, min=0.5, rule="assurance", alpha=0.05, max_unscored=0.1)
    return GateResult(gate, status, blocks, f"reason of {name}")


def test_what_blocks_stands_last_beside_the_verdict() -> None:
    results = [
        result("doubt", INCONCLUSIVE, blocks=True), result("fine", PASSED), result("bad", FAILED, blocks=True),
        result("open", INCONCLUSIVE),
    ]  # fmt: skip
    assert list(gate_lines(results)) == [
        ("passed         fine   reason of fine", "green"),
        ("inconclusive   open   reason of open", "yellow"),
        ("inconclusive!  doubt  reason of doubt", "red"),
        ("failed         bad    reason of bad", "red"),
        ("blocked by 2 of 4 gates", "red"),
    ]


def test_a_run_that_nothing_blocks_says_what_became_of_the_gates() -> None:
    *_, last = gate_lines([result("fine", PASSED), result("open", INCONCLUSIVE)])
    assert last == ("not blocked: 1 passed, 1 inconclusive", "green")
    *_, last = gate_lines([result("open", INCONCLUSIVE)])
    assert last == ("not blocked: 1 inconclusive", "yellow")
    *_, last = gate_lines([result("fine", PASSED), result("silent", NOT_EVALUATED)])
    assert last == ("not blocked: 1 passed, 1 not evaluated", "yellow")
    *_, last = gate_lines([result("silent", NOT_EVALUATED)] * 2)
    assert last == ("no verdict: none of 2 gates could be evaluated", "yellow")


def test_what_only_reports_is_not_said_to_pass() -> None:
    lines = list(gate_lines([result("number", REPORTED), result("other", REPORTED)]))
    assert lines[0] == ("reported       number  reason of number", "")
    assert lines[-1] == ("nothing was decided: 2 reported", "")


def test_what_was_asked_is_counted() -> None:
    outcomes = [
        Outcome("a", "yes", (Verdict("j/1", "wrong", 1.0),), stored=True), Outcome("b", "no", (Verdict("j/1", "?", None),)),
        Outcome("c", error="gone"), Outcome("d", skipped="no image"),
    ]  # fmt: skip
    counts = "2 answered, 1 not as expected (u), 1 unscored (?), 1 errors, 1 skipped, 1 from the store, 7 target calls"
    assert list(summary_lines("tiny", outcomes, 7, None, ["stopped early"], errors={})) == [
        ("target: tiny", ""),
        (f"cases:  {counts}", ""),
        ("note:   stopped early", "yellow"),
    ]


def test_judges_whose_errors_are_known_are_named_with_them() -> None:
    errors = {name: replace(shipped_errors()["refusal/1"], judge=name) for name in ("j/1", "silent/1")}
    outcomes = [
        Outcome("a", "yes", (Verdict("j/1", "wrong", 1.0), Verdict("silent/1", "ok", 0.0))),
        Outcome("b", "no", (Verdict("j/1", "?", None),)),
        Outcome("c", "no", (Verdict("unknown/1", "ok", 0.0),)),
    ]
    (line,) = [text for text, _ in summary_lines("tiny", outcomes, 7, None, [], errors=errors) if "judge:" in text]
    assert line == (
        "judge:  j/1 scored 1 of 2. Of 2,764 failures that people labelled it found 94% and passed 6%; of 1,388 other "
        "answers it passed 93% and flagged 7%"
    )


def test_every_judge_that_reads_meaning_is_shipped_with_its_errors() -> None:
    assert set(shipped_errors()) == {Refusal.name, NAME}
    for calibration in shipped_errors().values():
        assert calibration.best({}).n > 1000
    assert shipped_errors()[NAME].strata == errors_of(shipped().card, NAME).strata
