"""Smaller and smaller, as long as it flips."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_mmsafety.attacks.compositions import LEVELS, Composition
from pytest_mmsafety.attacks.shrinking import Waves, fewest, shrunk
from pytest_mmsafety.attacks.strategies import perturbations
from pytest_mmsafety.cases import Change
from pytest_mmsafety.perturbations import PERTURBATIONS

WORDS = 12
_T = TypeVar("_T")


def answered(waves: Waves[_T], flips: Callable[[Composition], bool]) -> tuple[_T, int]:
    """What a shrinker ends with, and how many candidates it asked for."""
    asked = 0
    try:
        wave = next(waves)
        while True:
            asked += len(wave)
            wave = waves.send([flips(changes) for changes in wave])
    except StopIteration as end:
        return end.value, asked


def acted_upon(change: Change) -> set[int]:
    words = change.parameters.get("words", tuple(range(WORDS)))
    assert isinstance(words, tuple)
    return set(words)


def needs(least: Composition) -> Callable[[Composition], bool]:
    """Of a change, all of *least*: at least as strong, on at least these words, with the parameters it tells."""

    def flips(changes: Composition) -> bool:
        by_name = {change.name: change for change in changes}
        return all(part.name in by_name and _has(by_name[part.name], part) for part in least)

    return flips


def _has(change: Change, part: Change) -> bool:
    told = all(change.parameters.get(name) == value for name, value in part.parameters.items() if name != "words")
    words = "words" not in part.parameters or acted_upon(part) <= acted_upon(change)
    return told and words and change.strength >= part.strength - 1e-9


@st.composite
def planted(draw: st.DrawFn) -> tuple[Composition, Composition]:
    """A change that flips, and the smallest one that does: some of its perturbations, weaker, on fewer words."""
    start = draw(perturbations())
    parts = []
    for change in draw(st.lists(st.sampled_from(start), min_size=1, unique_by=lambda change: change.name)):
        kind = PERTURBATIONS[change.name]
        level = draw(st.integers(1, round(change.strength * LEVELS))) if kind.graded else 1
        told = dict(change.parameters) if draw(st.booleans()) else {}
        if kind.by_word:
            told["words"] = tuple(sorted(draw(st.sets(st.integers(0, WORDS - 1), min_size=1, max_size=3))))
        parts.append(Change(change.name, level / LEVELS, told))
    return start, tuple(sorted(parts, key=lambda part: [change.name for change in start].index(part.name)))


@settings(max_examples=40, deadline=None)
@given(planted())
def test_the_smallest_change_is_found(of: tuple[Composition, Composition]) -> None:
    start, least = of
    flips = needs(least)
    (part,), asked = answered(fewest(start), flips)
    assert [change.name for change in part] == [change.name for change in least]
    assert asked <= 14
    small, asked = answered(shrunk(part, lambda *_: WORDS), flips)
    assert small == least
    assert asked <= 25 * len(part)


@settings(max_examples=40, deadline=None)
@given(planted())
def test_the_result_flips_and_nothing_that_is_one_step_smaller_does(of: tuple[Composition, Composition]) -> None:
    start, least = of
    flips = needs(least)
    (part,), _ = answered(fewest(start), flips)
    small, _ = answered(shrunk(part, lambda *_: WORDS), flips)
    assert flips(small)
    assert len(small) <= len(start)
    for place, change in enumerate(small):
        rest = (*small[:place], *small[place + 1 :])
        weaker = replace(change, strength=change.strength - 1 / LEVELS)
        words = acted_upon(change) if "words" in change.parameters else set()
        fewer = [replace(change, parameters={**change.parameters, "words": tuple(words - {w})}) for w in words]
        assert not flips(rest)
        assert weaker.strength < 1e-9 or not PERTURBATIONS[change.name].graded or not flips(_put(small, place, weaker))
        assert not any(flips(_put(small, place, one)) for one in fewer)


def _put(changes: Composition, place: int, change: Change) -> Composition:
    return (*changes[:place], change, *changes[place + 1 :])


@settings(max_examples=40, deadline=None)
@given(perturbations(), st.integers())
def test_whatever_the_answers_are_it_ends_with_what_flipped(start: Composition, seed: int) -> None:
    """Not monotone: each candidate flips or not as its checksum says."""
    flipped = [start]

    def flips(changes: Composition) -> bool:
        if crc32(f"{seed} {changes}".encode()) % 3:
            return False
        flipped.append(changes)
        return True

    small, asked = answered(shrunk(start, lambda *_: WORDS), flips)
    assert small in flipped
    assert asked <= 60 * len(start)


def test_several_parts_that_flip_alone_are_all_given() -> None:
    start = (Change("tone", 1.0), Change("disguise", 1.0), Change("noise", 1.0))
    parts, asked = answered(fewest(start), lambda changes: any(change.name != "noise" for change in changes))
    assert parts == [(start[0],), (start[1],)]
    assert asked == 3


@pytest.mark.parametrize("flips", [True, False])
def test_a_change_of_one_part_is_not_divided(*, flips: bool) -> None:
    assert answered(fewest((Change("tone", 1.0),)), lambda _: flips) == ([(Change("tone", 1.0),)], 0)
