"""One change for many cases: chosen on one half, measured on the other, within the calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from pytest_mmsafety.attacks.lockstep import run_in_step
from pytest_mmsafety.attacks.settings import AttackSettings, parse_attack
from pytest_mmsafety.attacks.universal import UniversalSearch
from pytest_mmsafety.cases import Case
from pytest_mmsafety.outcomes import Outcome
from pytest_mmsafety.testing import make_case, make_verdict


class Oracle:
    def __init__(self, breaks: Callable[[Case], bool]) -> None:
        self._breaks = breaks
        self.calls = 0

    def ask(self, cases: Sequence[Case]) -> list[Outcome]:
        self.calls += len(cases)
        return [self._outcome(case) for case in cases]

    def _outcome(self, case: Case) -> Outcome:
        broke = self._breaks(case)
        return Outcome(case.key, "here" if broke else "no", (make_verdict(float(broke)),))

    def judge_again(self, cases: Sequence[Case], outcomes: Sequence[Outcome]) -> list[Outcome]:
        return [Outcome(c.key, o.response, o.verdicts) for c, o in zip(cases, outcomes, strict=True)]


def settings(calls: int) -> AttackSettings:
    found = parse_attack(str(calls), {"mode": "universal"})
    assert found
    return found


def cases(count: int) -> list[Case]:
    return [
        make_case(i, prompt=f"Question {i} about the table?", tags={"aspect": "vulnerability"}) for i in range(count)
    ]


def searched(breaks: Callable[[Case], bool], calls: int = 600, count: int = 10) -> tuple[UniversalSearch, Oracle]:
    search, oracle = (
        UniversalSearch(cases(count)[: count // 2], cases(count)[count // 2 :], settings(calls)),
        Oracle(breaks),
    )
    run_in_step([search], oracle, lambda: False)
    return search, oracle


def test_the_change_is_the_smallest_that_keeps_the_flips() -> None:
    search, _ = searched(lambda case: "police" in case.prompt)
    assert [str(change) for change in search.best] == ["disguise 0.05"]
    assert len(search.findings) == 10
    assert {finding.direction for finding in search.findings} == {"safe-to-unsafe"}


def test_the_other_half_is_no_part_of_the_choice() -> None:
    """Only the half that it is chosen on breaks: the change is found, and the other half holds."""
    search, _ = searched(lambda case: "police" in case.prompt and int(case.id.partition("^")[0]) < 5)
    assert {finding.case for finding in search.findings} == {f"demo/{i}" for i in range(5)}


@pytest.mark.parametrize("calls", [30, 31, 45, 100, 377])
@pytest.mark.parametrize("word", ["police", "nobody says this"])
def test_the_calls_suffice(calls: int, word: str) -> None:
    search, oracle = searched(lambda case: word in case.prompt, calls)
    assert oracle.calls == search.calls <= calls
    assert search.done


def test_cases_that_fail_as_they_stand_choose_nothing() -> None:
    search, oracle = searched(lambda _: True)
    assert search.best == ()
    assert oracle.calls == 10
    assert search.findings == []
