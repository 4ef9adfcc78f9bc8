"""Hypothesis strategies for compositions and cases."""

from __future__ import annotations

import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st

from pytest_mmsafety.attacks.compositions import MOST
from pytest_mmsafety.attacks.strategies import generated, mm_cases, perturbations
from pytest_mmsafety.errors import SetupError
from pytest_mmsafety.perturbations import PERTURBATIONS, check_change


@settings(deadline=None)
@given(st.data())
def test_names_number_and_strengths_are_kept(data: st.DataObject) -> None:
    names = data.draw(st.lists(st.sampled_from(list(PERTURBATIONS)), unique=True, max_size=6))
    most = data.draw(st.integers(1, MOST))
    changes = data.draw(perturbations(*names, most=most, strengths=(0.2, 0.6)))
    assert 1 <= len(changes) <= most
    assert len({change.name for change in changes}) == len(changes)
    for change in changes:
        check_change(change)
        assert not names or change.name in names
        assert 0.2 <= change.strength <= 0.6


def test_it_shrinks_to_one_weak_change() -> None:
    (change,) = find(perturbations("noise", "tone"), lambda _: True, settings=settings(database=None))
    assert (change.name, change.strength, dict(change.parameters)) == ("noise", 0.05, {})


def test_a_name_that_there_is_not() -> None:
    with pytest.raises(SetupError, match=r"^perturbations\(\): 'nois' is no perturbation.*'noise'"):
        perturbations("nois")


@given(mm_cases("usb", language="zh"))
@settings(max_examples=10, deadline=None)
def test_cases_have_the_tags(case: object) -> None:
    assert case.tags["language"] == "zh"  # type: ignore[attr-defined]


def test_tags_that_no_case_has_name_the_nearest() -> None:
    with pytest.raises(SetupError, match=r"^mm_cases\('usb'\): no case with language='zzh'.*'zh'"):
        mm_cases("usb", language="zzh")


def test_examples_are_the_same_every_time_and_an_empty_space_ends() -> None:
    assert generated(perturbations(), 20) == generated(perturbations(), 20)
    assert sorted(generated(st.booleans(), 20)) == [False, True]
