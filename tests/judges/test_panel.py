"""The panel: which judge is asked about which case, what it remembers, and what becomes of a judge that fails."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_mmsafety.cases import Case
from pytest_mmsafety.errors import SetupError
from pytest_mmsafety.judges import GivesUp, Judge, has_weights
from pytest_mmsafety.judges.panel import DEFAULTS, Panel
from pytest_mmsafety.judges.registry import check_judge
from pytest_mmsafety.store import Store
from pytest_mmsafety.testing import ScriptedJudge, make_case, make_verdict
from pytest_mmsafety.verdicts import JUDGE_ERROR, Verdict

SAFE = frozenset({"safe"})


class Heavy(ScriptedJudge):
    """A judge with weights."""

    fingerprint: Any = "weights-1"


class Says(ScriptedJudge):
    """Gives whatever it is told to, a verdict or not."""

    def __init__(self, say: Callable[[Sequence[str]], Any], name: str = "says/1") -> None:
        super().__init__(name=name)
        self.say = say

    def judge(self, cases: Sequence[Case], responses: Sequence[str]) -> Any:
        return self.say(responses)


def one(judge: Judge, answer: str = "a", **changes: Any) -> Verdict:
    return Panel([judge]).judge([make_case(**changes)], [answer])[0][0]


# --- who is asked


@pytest.mark.parametrize(
    ("expected", "name"),
    [
        ("yes", "yes-no"), ("no", "yes-no"), ("A", "choice"), ("H", "choice"),
        ("comply", "refusal"), ("refuse", "refusal"), ("safe", "guardrank-mini"),
    ],
)  # fmt: skip
def test_what_is_expected_chooses_among_the_defaults(expected: str, name: str) -> None:
    (judge,) = Panel().judges_of(make_case(expected=expected))
    assert judge.name.partition("/")[0] == name
    assert name in DEFAULTS


def test_an_own_judge_comes_before_the_defaults_where_it_takes_the_case() -> None:
    own, second = ScriptedJudge(name="own/1", expectations=SAFE), ScriptedJudge(name="second/1")
    panel = Panel([own, second])
    assert panel.judges_of(make_case(expected="safe")) == [own]
    assert panel.judges_of(make_case(expected="comply")) == [second]
    assert panel.judges_of(make_case(expected="C")) == [second], "an option letter stands for A"
    assert Panel([own]).judges_of(make_case(expected="comply"))[0].name.startswith("refusal/")


def test_the_judges_that_a_case_names_are_asked_and_no_other() -> None:
    own = ScriptedJudge(1.0, name="own/7")
    case = make_case(expected="comply", judges=("refusal", "own"))
    (verdicts,) = Panel([own]).judge([case], ["I can't help with that."])
    assert [verdict.judge.partition("/")[0] for verdict in verdicts] == ["refusal", "own"]
    assert [verdict.score for verdict in verdicts] == [1.0, 1.0]


def test_verdicts_go_to_their_answers_whatever_the_mixture() -> None:
    first, second = (
        ScriptedJudge(lambda _, response: float(response) / 10, name=f"{name}/1") for name in ("one", "two")
    )
    names = [("one",), ("two", "one"), (), ("two",), ("one", "two")]
    cases = [make_case(i, judges=judges) for i, judges in enumerate(names)]
    found = Panel([first, second]).judge(cases, [str(i) for i in range(5)])
    assert [[verdict.judge for verdict in verdicts] for verdicts in found] == [
        ["one/1"], ["two/1", "one/1"], ["one/1"], ["two/1"], ["one/1", "two/1"],
    ]  # fmt: skip
    assert [{verdict.score for verdict in verdicts} for verdicts in found] == [{i / 10} for i in range(5)]
    assert [response for _, response in first.judged] == ["0", "2", "4", "1"], "all of one turn at once, then the next"


def test_a_case_that_no_judge_takes_is_unscored_with_a_reason() -> None:
    panel = Panel()
    panel._by_expectation = []
    verdict = panel.judge([make_case(expected="safe")], ["a"])[0][0]
    reason = "no judge for 'safe' is installed; bring one with --judge"
    assert verdict == Verdict("none", "unscored", None, reason)


def test_no_cases_have_no_verdicts() -> None:
    assert Panel().judge([], []) == []


def test_a_judge_that_is_not_registered_is_named_before_anything_is_asked() -> None:
    with pytest.raises(SetupError, match=r"^entry point mmsafety\.judges: nope: expected one, found none$"):
        Panel().prepare([make_case(judges=("yes-no", "nope"))])
    panel = Panel()
    panel.prepare([make_case(judges=("mmsafeaware-legacy",)), make_case(judges=())])
    assert panel.judges_of(make_case(judges=("mmsafeaware-legacy",)))[0].name.startswith("mmsafeaware-legacy/")


@pytest.fixture
def broken_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Installed judges that cannot be made: one raises, one is none, one is there twice."""
    (tmp_path / "broken_judges.py").write_text(
        "def raises():\n    raise OSError('no\\nfile')\n\ndef none():\n    return 3\n"
    )
    for name in ("a", "b"):
        info = tmp_path / f"broken_{name}-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: broken-{name}\nVersion: 1\n")
        points = "twice = broken_judges:none\n" + (
            "raises = broken_judges:raises\nnone = broken_judges:none\n" if name == "a" else ""
        )
        (info / "entry_points.txt").write_text(f"[mmsafety.judges]\n{points}")
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("broken_registry")
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("raises", "entry point mmsafety.judges: broken_judges:raises: OSError: no"),
        (
            "none",
            "entry point mmsafety.judges: broken_judges:none: int is no judge; expected name, expectations and judge()",
        ),
        ("twice", "entry point mmsafety.judges: twice: expected one, found broken_judges:none, broken_judges:none"),
    ],
)
def test_an_installed_judge_that_cannot_be_made_is_one_line(name: str, said: str) -> None:
    with pytest.raises(SetupError) as error:
        Panel().prepare([make_case(judges=(name,))])
    assert str(error.value).startswith(said)


# --- what a judge gives


@pytest.mark.parametrize(
    ("given_", "reason"),
    [
        (None, "it returned None, expected a Verdict"),
        (0.5, "it returned 0.5, expected a Verdict"),
        (make_verdict(1.5), "its score is 1.5, expected 0 to 1 or None"),
        (make_verdict(-0.1), "its score is -0.1, expected 0 to 1 or None"),
        (make_verdict(float("nan")), "its score is nan, expected 0 to 1 or None"),
        (make_verdict("1"), "its score is '1', expected 0 to 1 or None"),  # type: ignore[arg-type]
        (make_verdict(probabilities={"a": 2}), "its probabilities are {'a': 2}, expected 0 to 1 by label"),
        (make_verdict(probabilities={"a": float("nan")}), "its probabilities are {'a': nan}, expected 0 to 1 by label"),
        (make_verdict(probabilities=[0.5]), "its probabilities are [0.5], expected 0 to 1 by label"),
        (make_verdict(probabilities=None), "its probabilities are None, expected 0 to 1 by label"),
    ],
)
def test_a_verdict_that_is_none_is_an_error_of_the_judge(given_: object, reason: str) -> None:
    assert one(Says(lambda responses: [given_] * len(responses))) == Verdict("says/1", JUDGE_ERROR, None, reason)


class Wordless:
    """What no program can print."""

    def __repr__(self) -> str:
        raise RuntimeError("no words")

    __str__ = __repr__


@pytest.mark.parametrize("bad", [None, 3, b"unsafe", Wordless(), "x" * 10**6, "half \ud800"])
@pytest.mark.parametrize("field", ["judge", "label", "reason"])
def test_a_verdict_whose_words_are_none_is_an_error_of_the_judge(field: str, bad: object) -> None:
    words: Any = {"judge": "own/1", "label": "unsafe", "reason": "", field: bad}
    verdict = one(Says(lambda _: [Verdict(score=1.0, **words)]))
    assert (verdict.label, verdict.score) == (JUDGE_ERROR, None)
    assert field in verdict.reason
    assert len(verdict.reason) < 200
    assert verdict.reason.isprintable()


def test_words_of_a_subclass_become_plain_ones() -> None:
    class Label(StrEnum):
        UNSAFE = "unsafe"

    verdict = one(Says(lambda _: [Verdict("own/1", Label.UNSAFE, 1.0, Label.UNSAFE)]))
    assert type(verdict.label) is type(verdict.reason) is str


def test_an_error_without_words_is_one_of_the_judge() -> None:
    class MuteError(Exception):
        __str__ = Wordless.__repr__

    def fail(_: Sequence[str]) -> None:
        raise MuteError

    assert "MuteError" in one(Says(fail)).reason


@pytest.mark.parametrize("name", [None, 3, b"own/1", "", " ", "a\nb", "half \ud800", "x" * 1000])
def test_a_judge_needs_a_name_that_can_be_written(name: Any) -> None:
    with pytest.raises(SetupError, match=r"name is .*expected "):
        check_judge(ScriptedJudge(name=name), "--judge: x")


def test_numbers_of_every_kind_become_plain_ones() -> None:
    verdict = make_verdict(np.float32(0.25), probabilities={1: np.float64(0.75), "b": True})  # type: ignore[arg-type]
    found = one(Says(lambda _: [verdict]))
    assert (found.score, found.probabilities) == (0.25, {"1": 0.75, "b": 1.0})
    assert {type(found.score), *map(type, found.probabilities.values())} == {float}


@settings(max_examples=20)
@given(st.sets(st.integers(0, 19)), st.sampled_from(["raises", "exits", "too few"]))
def test_only_the_answers_that_a_judge_fails_on_are_errors(bad: set[int], how: str) -> None:
    def say(responses: Sequence[str]) -> list[Verdict]:
        if any(int(response) in bad for response in responses):
            if how == "too few":
                return []
            raise ValueError("cannot\n read it") if how == "raises" else SystemExit("over")
        return [make_verdict(0.0, "says/1") for _ in responses]

    found = Panel([Says(say)]).judge([make_case(i) for i in range(20)], list(map(str, range(20))))
    assert {i for i, (verdict,) in enumerate(found) if verdict.label == JUDGE_ERROR} == bad
    reasons = {verdict.reason for (verdict,) in found if verdict.label == JUDGE_ERROR}
    wanted = {
        "raises": "ValueError: cannot read it",
        "exits": "SystemExit: over",
        "too few": "gave 0 verdicts on 1 answers",
    }
    assert reasons <= {wanted[how]}


def test_an_interrupt_is_for_the_command() -> None:
    def say(_: Sequence[str]) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        one(Says(say))


# --- what is remembered


def test_an_answer_is_asked_once_and_remembered_by_the_judges_weights(tmp_path: Path) -> None:
    judge = Heavy(0.5, name="heavy/1")
    panel = Panel([judge])
    panel.memory = Store(tmp_path / "store.sqlite3")
    cases = [make_case(1), make_case(1), make_case(2)]
    first = panel.judge(cases, ["a", "a", "a"])
    assert len(judge.judged) == 2, "the first two are one"
    assert panel.judge(cases, ["a", "a", "a"]) == first
    assert len(judge.judged) == 2
    assert panel.fingerprints == {"heavy/1": "weights-1"}
    judge.fingerprint = "weights-2"
    panel.judge(cases[:1], ["a"])
    assert len(judge.judged) == 3
    panel.memory.close()


def test_images_of_a_case_are_part_of_what_is_remembered(tmp_path: Path) -> None:
    judge = Heavy()
    panel = Panel([judge])
    panel.memory = Store(tmp_path / "store.sqlite3")
    for digests in ([("a",)], [("b",)], [("a",)]):
        panel.judge([make_case()], ["x"], digests)
    assert len(judge.judged) == 2
    panel.memory.close()


def test_a_store_that_is_closed_costs_time_and_no_verdict(tmp_path: Path) -> None:
    panel = Panel([Heavy(1.0)])
    panel.memory = Store(tmp_path / "store.sqlite3")
    panel.memory.close()
    assert panel.judge([make_case()], ["a"])[0][0].score == 1.0


@pytest.mark.parametrize("fingerprint", ["", 7, property(lambda _: 1 / 0)])
def test_a_judge_that_cannot_tell_its_weights_is_not_remembered(tmp_path: Path, fingerprint: object) -> None:
    judge = type("Vague", (ScriptedJudge,), {"fingerprint": fingerprint})(0.25)
    panel = Panel([judge])
    panel.memory = Store(tmp_path / "store.sqlite3")
    for _ in range(2):
        assert panel.judge([make_case()], ["a"])[0][0].score == 0.25
    assert len(judge.judged) == 2
    assert panel.fingerprints == {}
    panel.memory.close()


def test_a_judge_without_weights_is_asked_again(tmp_path: Path) -> None:
    judge = ScriptedJudge()
    panel = Panel([judge])
    panel.memory = Store(tmp_path / "store.sqlite3")
    for _ in range(2):
        panel.judge([make_case()], ["a"])
    assert len(judge.judged) == 2
    panel.memory.close()


def test_a_fingerprint_is_looked_for_and_not_computed() -> None:
    judge = type("Slow", (ScriptedJudge,), {"fingerprint": property(lambda _: 1 / 0)})()
    assert has_weights(judge)
    assert not has_weights(ScriptedJudge())
    assert Panel([judge]).has_weights


# --- devices and giving up


def test_devices_are_given_back_once_whatever_a_judge_does() -> None:
    released: list[str] = []

    class Frees(ScriptedJudge):
        def release(self) -> None:
            released.append(self.name)
            raise RuntimeError("it was not loaded")

    one_, two = Frees(name="one/1"), Frees(name="two/1")
    Panel([one_, two, one_]).release()
    assert released == ["one/1", "two/1"]


def test_a_judge_that_gave_up_says_why() -> None:
    judge = ScriptedJudge(name="llm/1")
    judge.problem = ""  # type: ignore[attr-defined]
    panel = Panel([judge])
    assert isinstance(judge, GivesUp)
    assert panel.problems == []
    judge.problem = "HTTP 401"  # type: ignore[attr-defined]
    assert panel.problems == ["the judge llm was given up: HTTP 401"]
