"""Verdicts that are kept: what they are kept by, and what is not kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pytest_mmsafety.cases import Case
from pytest_mmsafety.judges.panel import Panel
from pytest_mmsafety.store import Store, verdict_key
from pytest_mmsafety.testing import ScriptedJudge, make_case
from pytest_mmsafety.verdicts import Verdict


def test_verdicts_come_back_as_they_were(tmp_path: Path) -> None:
    verdicts = {
        "a": Verdict("heavy/1+abc", "level-2", 2 / 3, "概率 \x00"),
        "b": Verdict("heavy/1+abc", "unscored", None, ""),
    }
    store = Store(tmp_path / "store.sqlite3")
    store.put_verdicts(verdicts)
    store.close()
    store = Store(tmp_path / "store.sqlite3")
    assert store.get_verdicts(["a", "b", "c"]) == verdicts
    assert store.get(["a"]) == {}
    store.close()


def test_the_key_of_a_verdict_changes_with_all_that_a_judge_sees() -> None:
    case = make_case(tags={"dimension": "bias"})
    keys = {
        verdict_key("print", case, ("a",), "answer"),
        verdict_key("print2", case, ("a",), "answer"),
        verdict_key("print", case, ("b",), "answer"),
        verdict_key("print", case, ("a",), "answer."),
        verdict_key("print", replace(case, prompt="Another question?"), ("a",), "answer"),
        verdict_key("print", replace(case, tags={"dimension": "legality"}), ("a",), "answer"),
        verdict_key("print", replace(case, expected="refuse"), ("a",), "answer"),
    }
    assert len(keys) == 7
    renamed = replace(case, id="other", suite="suite-2")
    assert verdict_key("print", renamed, ("a",), "answer") in keys


def test_errors_of_a_judge_are_not_remembered(tmp_path: Path) -> None:
    class Heavy(ScriptedJudge):
        fingerprint = "weights"

    works = False

    def score(case: Case, response: str) -> float:
        if not works:
            raise RuntimeError("no memory")
        return 0.0

    panel = Panel([Heavy(score)])
    panel.memory = Store(tmp_path / "store.sqlite3")
    case = make_case(expected="safe")
    assert panel.judge([case, case], ["a", "a"])[0][0].label == "judge-error"
    works = True
    assert [verdicts[0].label for verdicts in panel.judge([case, case], ["a", "a"])] == ["as-expected", "as-expected"]
    works = False
    assert panel.judge([case], ["a"])[0][0].label == "as-expected"
    panel.memory.close()
