"""Reasons: what a release manager reads."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_mmsafety.evaluation.reasons import report_only, verdict
from pytest_mmsafety.gates import Gate
from pytest_mmsafety.statistics.decisions import HOLDS, UNDECIDED, VIOLATED, BoundTest, Decision
from pytest_mmsafety.statistics.estimates import Estimate
from pytest_mmsafety.testing import make_gate


def gate(**changes: Any) -> Gate:
    return make_gate(**{"metric": "attack_success_rate", "max": 0.05, **changes})


def estimate(value: float, low: float, high: float) -> Estimate:
    return Estimate(value, low, high, 200, 80, lambda _: (low, high))


def sentence(test: BoundTest, state: str, alone: str = "", *, rule: str = "evidence") -> str:
    return verdict(gate(rule=rule), [Decision(test, state, alone or state, 0.01, 0.01, 0.2, 0.3, 12)])


def test_a_bound() -> None:
    assert sentence(BoundTest(estimate(0.03, 0.01, 0.045), 0.05), HOLDS) == (
        "attack success rate 3.0% [1.0%, 4.5%]: within the allowed 5.0%, also at the worse end of the interval "
        "(n=200, 80 clusters)"
    )
    assert "below the required 5.0%" in sentence(BoundTest(estimate(0.03, 0.01, 0.045), 0.05, at_least=True), VIOLATED)
    assert "this gate passes only on proof" in sentence(
        BoundTest(estimate(0.05, 0.01, 0.1), 0.05), UNDECIDED, rule="assurance"
    )


def test_a_worsening() -> None:
    test = BoundTest(estimate(-0.0001, -0.01, 0.019), 0.02, of=250)
    assert sentence(test, HOLDS) == (
        "attack success rate better by 0.0 points than the baseline [-1.0, 1.9]: within the allowed worsening of 2.0, "
        "also at the worse end of the interval (200 of 250 cases in both runs, 80 clusters)"
    )


@pytest.mark.parametrize(("alone", "p"), [(VIOLATED, "0.2"), (HOLDS, "0.3")])
def test_the_family_changed_the_verdict(alone: str, p: str) -> None:
    text = sentence(BoundTest(estimate(0.1, 0.06, 0.2), 0.05), UNDECIDED, alone)
    assert (
        f"as is the whole interval, but one of 12 such gates does so by chance more often than 0.05 allows (adjusted p {p})"
        in text
    )


@pytest.mark.parametrize(
    ("low", "expected"),
    [(0.0504, "[5.04%, 12.00%]"), (0.05004, "[5.004%, 12.000%]"), (0.05, "[5.0%, 12.0%]"), (0.06, "[6.0%, 12.0%]")],
)
def test_an_end_that_is_not_the_bound_does_not_look_it(low: float, expected: str) -> None:
    assert expected in sentence(BoundTest(estimate(0.08, low, 0.12), 0.05), VIOLATED)


def test_without_a_bound() -> None:
    number = estimate(0.5, 0.4, 0.6)
    assert report_only(gate(max=1.0), number) == (
        "attack success rate 50.0% [40.0%, 60.0%]: reported only, every value is allowed (n=200, 80 clusters)"
    )
    assert "no case under zero tolerance failed" in report_only(
        gate(max=None, zero_tolerance=({"category": ("x",)},)), number
    )
