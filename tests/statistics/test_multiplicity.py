"""Families of p-values: against hand-made numbers and by their defining properties."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_mmsafety.gates import Family
from pytest_mmsafety.statistics.multiplicity import (
    ADJUSTMENTS,
    benjamini_hochberg,
    hochberg,
    holm,
    unadjusted,
)

P_VALUES = st.lists(st.floats(0, 1), max_size=20)


def test_worked_example() -> None:
    """Four p-values of Wright 1992 (Biometrics 48, 1005-1013), adjusted by hand."""
    p = [0.01, 0.04, 0.03, 0.005]
    assert holm(p) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert hochberg(p) == pytest.approx([0.03, 0.04, 0.04, 0.02])
    assert benjamini_hochberg(p) == pytest.approx([0.02, 0.04, 0.04, 0.02])
    assert unadjusted(p) == p


@given(P_VALUES)
def test_adjusting_never_helps_and_keeps_the_order(p: list[float]) -> None:
    for of_harm, of_safety in ADJUSTMENTS.values():
        for adjusted in (of_harm(p), of_safety(p)):
            assert len(adjusted) == len(p)
            for i, value in enumerate(p):
                assert value - 1e-12 <= adjusted[i] <= 1
                assert all(adjusted[i] <= adjusted[j] + 1e-12 for j, other in enumerate(p) if value < other)


@given(P_VALUES)
def test_from_the_strictest_to_the_most_lenient(p: list[float]) -> None:
    for down, up, fdr in zip(holm(p), hochberg(p), benjamini_hochberg(p), strict=True):
        assert down + 1e-12 >= up >= fdr - 1e-12


@given(st.lists(st.floats(0, 0.05), min_size=1, max_size=20))
def test_where_all_are_proven_alone_stepping_up_corrects_nothing(p: list[float]) -> None:
    assert max(hochberg(p)) == max(p)


@given(P_VALUES.filter(bool), st.data())
def test_a_smaller_p_value_never_makes_another_worse(p: list[float], data: st.DataObject) -> None:
    i = data.draw(st.integers(0, len(p) - 1))
    smaller = [*p[:i], data.draw(st.floats(0, p[i])), *p[i + 1 :]]
    for of_harm, of_safety in ADJUSTMENTS.values():
        for adjust in (of_harm, of_safety):
            assert all(after <= before + 1e-9 for before, after in zip(adjust(p), adjust(smaller), strict=True))


def test_every_family_that_a_gate_may_name_has_its_adjustments() -> None:
    assert get_args(Family) == tuple(ADJUSTMENTS)


@pytest.mark.parametrize("family", ADJUSTMENTS)
def test_a_family_of_one_is_alone(family: str) -> None:
    assert [adjust([0.2]) for adjust in ADJUSTMENTS[family]] == [[0.2], [0.2]]
    assert [adjust([]) for adjust in ADJUSTMENTS[family]] == [[], []]
