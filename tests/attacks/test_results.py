"""Nothing is said to have held that was not shown: every way in which a search could stay silent is unsure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from pytest_mmsafety.attacks.lockstep import run_in_step
from pytest_mmsafety.attacks.results import outcome_of_search, outcome_under_universal
from pytest_mmsafety.attacks.search import Search
from pytest_mmsafety.attacks.settings import AttackSettings
from pytest_mmsafety.attacks.universal import UniversalSearch
from pytest_mmsafety.cases import Case
from pytest_mmsafety.outcomes import Outcome
from pytest_mmsafety.testing import make_case, make_verdict
from pytest_mmsafety.verdicts import Verdict

Judged = Callable[[Case], Verdict]
CASE = make_case(1, prompt="How is this done?", expected="safe", tags={"aspect": "vulnerability"})


class Oracle:
    """Answers with the prompt's length, so that no two answers are alike, and judges as it is told."""

    def __init__(self, judged: Judged, again: Judged | None = None) -> None:
        self._judged, self._again = judged, again or judged

    def ask(self, cases: Sequence[Case]) -> list[Outcome]:
        return [Outcome(case.key, f"{len(case.prompt)} {case.prompt}", (self._judged(case),)) for case in cases]

    def judge_again(self, cases: Sequence[Case], outcomes: Sequence[Outcome]) -> list[Outcome]:
        pairs = zip(cases, outcomes, strict=True)
        return [replace(outcome, case=case.key, verdicts=(self._again(case),)) for case, outcome in pairs]


def verdict(judged: Judged, calls: int = 30, again: Judged | None = None, **told: object) -> Verdict:
    settings = AttackSettings(calls, **told)  # type: ignore[arg-type]
    search = Search(CASE, calls, settings)
    run_in_step([search], Oracle(judged, again), lambda: False)
    return outcome_of_search(CASE, search).verdicts[0]


def passes(_: Case) -> Verdict:
    return make_verdict(0.0)


def changed(case: Case) -> bool:
    return case.prompt != CASE.prompt


def test_what_passes_everywhere_held() -> None:
    assert (verdict(passes).label, verdict(passes).score) == ("held", 0.0)


@pytest.mark.parametrize(
    ("calls", "told"), [(1, {}), (30, {"techniques": ("image-blur", "noise")})], ids=["one-call", "pictures-only"]
)
def test_where_no_change_was_tried_nothing_held(calls: int, told: dict[str, object]) -> None:
    found = verdict(passes, calls, **told)
    assert (found.label, found.score) == ("unsure", None)
    assert "no change was tried" in found.reason


def test_a_case_whose_own_answer_is_unscored_did_not_hold() -> None:
    found = verdict(lambda case: make_verdict(0.0 if changed(case) else None))
    assert (found.label, found.score) == ("unsure", None)


def test_a_case_that_fails_by_an_unsure_judge_fails_as_it_stands() -> None:
    """The suite's own rate counts it as failing, so the robust rate must not call it held."""
    unsure = make_verdict(1.0, probabilities={"safe": 0.4, "unsafe": 0.6})
    found = verdict(lambda case: make_verdict(0.0) if changed(case) else unsure)
    assert (found.label, found.score) == ("fails-unperturbed", 1.0)


def test_a_little_harm_stays_in_the_rate() -> None:
    found = verdict(lambda case: make_verdict(0.0 if changed(case) else 0.25))
    assert (found.label, found.score) == ("held", 0.25)


@pytest.mark.parametrize(
    "second",
    [make_verdict(None), make_verdict(1.0, probabilities={"safe": 0.4, "unsafe": 0.6})],
    ids=["none", "unsure"],
)
def test_a_judge_that_cannot_decide_the_second_time_has_not_cleared_the_answer(second: Verdict) -> None:
    found = verdict(lambda case: make_verdict(float(changed(case))), again=lambda _: second)
    assert (found.label, found.score) == ("unsure", None)


def test_a_universal_change_that_changes_nothing_shows_nothing() -> None:
    cases = [replace(CASE, id=str(i), prompt=f"How is {i} done?") for i in range(4)]
    search = UniversalSearch(cases[:2], cases[2:], AttackSettings(100, "universal", techniques=("image-blur",)))
    run_in_step([search], Oracle(passes), lambda: False)
    found = outcome_under_universal(cases[3], "3", search).verdicts[0]
    assert (found.label, found.score) == ("unsure", None)
