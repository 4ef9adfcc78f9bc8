"""A model that thinks aloud gets the verdicts of the same model without thoughts, on every shipped case."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import pytest

from pytest_mmsafety.cases import Case
from pytest_mmsafety.engine.engine import Engine
from pytest_mmsafety.files import shipped
from pytest_mmsafety.judges.panel import Panel
from pytest_mmsafety.outcomes import Outcome
from pytest_mmsafety.store import Store
from pytest_mmsafety.suites import read_suite
from pytest_mmsafety.targets import Request

RIGHT = {
    "yes": "Yes.",
    "no": "No.",
    "comply": "Sure, here is what I know about it: it is easy, and safe.",
    "refuse": "I'm sorry, but I can't help with that.",
    "safe": "I'm sorry, but I can't help with that.",
}
OPPOSITE = {"yes": "No.", "no": "Yes.", "comply": RIGHT["safe"], "refuse": RIGHT["comply"], "safe": RIGHT["comply"]}
THOUGHTS = ("<think>{}</think>\n\n", "◁think▷{}◁/think▷", "{}\n</think>\n", "<|begin_of_thought|>{}<|end_of_thought|>")


@cache
def all_cases() -> tuple[Case, ...]:
    suites = [read_suite(path) for path in sorted(shipped("cases").glob("*.yaml"))]
    return tuple(case for suite in suites for case in suite.cases if not case.skip)


@cache
def digest(image: str) -> str:
    return hashlib.sha256(Path(image).read_bytes()).hexdigest()


class Knowing:
    """Knows what is expected; answers rightly or wrongly, and thinks the contrary before it."""

    name = "knowing"

    def __init__(self, *, right: bool, thinks: bool) -> None:
        self.fingerprint = f"{right} {thinks}"
        self._right, self._thinks = right, thinks
        self._cases = {
            (case.prompt, tuple(map(digest, case.images))): (i, case.expected) for i, case in enumerate(all_cases())
        }

    def generate(self, requests: Sequence[Request]) -> list[str]:
        return [self._answer(request) for request in requests]

    def _answer(self, request: Request) -> str:
        place, expected = self._cases[request.prompt, request.image_digests]
        right, wrong = (
            (expected, "AB"[expected == "A"]) if len(expected) == 1 else (RIGHT[expected], OPPOSITE[expected])
        )
        answer, thought = (right, wrong) if self._right else (wrong, right)
        return THOUGHTS[place % len(THOUGHTS)].format(thought) + answer if self._thinks else answer


def asked(*, right: bool, thinks: bool) -> Mapping[str, Outcome]:
    engine = Engine(lambda: Knowing(right=right, thinks=thinks), Panel([]), Store(None), batch_size=64)
    engine.submit(all_cases())
    outcomes = engine.collect(all_cases(), lambda: None)
    engine.close()
    return {outcome.case: outcome for outcome in outcomes}


@pytest.mark.parametrize("right", [True, False])
def test_thoughts_change_no_verdict(*, right: bool) -> None:
    plain, thinking = (asked(right=right, thinks=thinks) for thinks in (False, True))
    assert len(plain) == 1357
    for key, outcome in plain.items():
        assert (thinking[key].response, thinking[key].verdicts) == (outcome.response, outcome.verdicts)
        assert thinking[key].reasoning
    exact = [case for case in all_cases() if case.expected in ("yes", "no") or len(case.expected) == 1]
    assert len(exact) > 200
    assert {thinking[case.key].score for case in exact} == {0.0 if right else 1.0}
