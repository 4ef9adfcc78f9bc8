"""The geometry of the pictures: where an axis ends, and what is drawn where on it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_builders import spaced

from pytest_mmsafety.report.interval_plot import Axis, Mark, change_axis, draw, point_interval, points, rate_axis


@pytest.mark.parametrize(
    ("numbers", "axis"),
    [
        ([0.0], Axis(0.0, 0.01)),
        ([0.008], Axis(0.0, 0.01)),
        ([0.009], Axis(0.0, 0.02)),
        ([0.001, 0.05], Axis(0.0, 0.1)),
        ([0.4], Axis(0.0, 0.5)),
        ([0.1, 0.42], Axis(0.0, 1.0)),
        ([0.5, 0.9], Axis(0.0, 1.0)),
        ([0.6, 0.9], Axis(0.5, 1.0)),
        ([0.9], Axis(0.8, 1.0)),
        ([0.96, 1.0], Axis(0.95, 1.0)),
        ([1.0], Axis(0.99, 1.0)),
        ([0.2, 0.95], Axis(0.0, 1.0)),
        ([-0.01, 0.3], Axis(-0.5, 0.5)),
    ],
)
def test_a_rate_is_drawn_near_the_end_that_it_is_near(numbers: list[float], axis: Axis) -> None:
    assert rate_axis(numbers) == axis


@pytest.mark.parametrize(
    ("numbers", "end"), [([0.0, 0.0], 0.01), ([-0.03, 0.01], 0.05), ([0.05], 0.1), ([-0.3, 0.5], 1.0), ([-1.0], 1.0)]
)
def test_a_change_is_drawn_with_zero_in_the_middle(numbers: list[float], end: float) -> None:
    assert change_axis(numbers) == Axis(-end, end)
    assert change_axis(numbers).position(0.0) == 50.0


def test_what_lies_outside_of_the_axis_is_drawn_at_its_end() -> None:
    axis = Axis(0.8, 1.0)
    assert [axis.position(share) for share in (-1.0, 0.5, 0.8, 0.9, 1.0, 1.2)] == [0.0, 0.0, 0.0, 50.0, 100.0, 100.0]
    assert Axis(0.0, 0.3).position(0.1) == 33.33


def test_each_bound_has_a_mark_and_leaves_out_its_own_side() -> None:
    drawn = draw(
        Axis(0.0, 0.5), 0.2, (0.1, 0.25), "in words", at_least=(0.05, "at least 5 %"), at_most=(0.3, "at most 30 %")
    )
    assert (drawn.low, drawn.width, drawn.estimate) == (20.0, 30.0, 40.0)
    assert drawn.marks == (Mark(10.0, "at least 5 %"), Mark(60.0, "at most 30 %"))
    assert drawn.beyond == ((0.0, 10.0), (60.0, 40.0))
    assert (drawn.zero, drawn.raw, drawn.label) == (None, None, "in words")


def test_a_picture_without_bounds_has_nothing_beyond_them() -> None:
    drawn = draw(Axis(0.0, 1.0), 0.5, (0.4, 0.6), "")
    assert (drawn.marks, drawn.beyond) == ((), ())


def test_the_interval_before_a_correction_is_drawn_by_start_and_width() -> None:
    assert draw(Axis(0.0, 0.5), 0.1, (0.05, 0.2), "", raw=(0.2, 0.35)).raw == (40.0, 30.0)


@pytest.mark.parametrize(
    ("axis", "start", "end"),
    [
        (Axis(0.0, 0.01), "0 %", "1 %"),
        (Axis(0.95, 1.0), "95 %", "100 %"),
        (Axis(-0.05, 0.05), "-5 points", "+5 points"),
        (Axis(-1.0, 1.0), "-100 points", "+100 points"),
    ],
)
def test_the_ends_of_an_axis_say_what_is_measured(axis: Axis, start: str, end: str) -> None:
    drawn = draw(axis, 0.0, (0.0, 0.0), "")
    assert (spaced(drawn.start), spaced(drawn.end)) == (start, end)
    assert drawn.zero == (50.0 if axis.start < 0 else None)


@given(st.lists(st.floats(0, 1), min_size=3, max_size=3).map(sorted), st.floats(0, 1), st.floats(0, 1))
def test_every_picture_stays_within_its_frame(numbers: list[float], at_least: float, at_most: float) -> None:
    low, value, high = numbers
    axis = rate_axis([*numbers, at_least, at_most])
    drawn = draw(axis, value, (low, high), "", at_least=(at_least, ""), at_most=(at_most, ""))
    assert 0 <= drawn.low <= drawn.estimate <= 100
    assert drawn.width >= 0
    assert drawn.estimate <= drawn.low + drawn.width + 0.01
    assert drawn.low + drawn.width <= 100.01
    (none, below), (above, rest) = drawn.beyond
    assert none == 0
    assert (below, above) == tuple(mark.at for mark in drawn.marks)
    assert above + rest == pytest.approx(100)


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=5))
def test_every_change_lies_on_its_axis(numbers: list[float]) -> None:
    axis = change_axis(numbers)
    assert axis.start == -axis.end
    assert all(axis.start <= number <= axis.end for number in numbers)


@pytest.mark.parametrize(
    ("share", "unsigned", "signed"),
    [
        (0.0, "0.0 points", "0.0 points"),
        (0.021, "2.1 points", "+2.1 points"),
        (-0.021, "-2.1 points", "-2.1 points"),
        (0.0004, "under 0.1 points", "under 0.1 points"),
        (-0.0004, "above -0.1 points", "above -0.1 points"),
        (-0.0, "0.0 points", "0.0 points"),
        (0.0006, "0.1 points", "+0.1 points"),
        (1.0, "100.0 points", "+100.0 points"),
    ],
)
def test_differences_are_given_in_points(share: float, unsigned: str, signed: str) -> None:
    assert spaced(points(share)) == unsigned
    assert spaced(points(share, signed=True)) == signed


def test_an_interval_of_a_difference_names_its_unit_once() -> None:
    assert spaced(point_interval(-0.02, 0.011)) == "-2.0 to +1.1 points"
    assert spaced(point_interval(0.0, 0.0003)) == "0.0 to under 0.1 points"
    assert spaced(point_interval(-0.0004, 0.0003)) == "above -0.1 to under 0.1 points"
