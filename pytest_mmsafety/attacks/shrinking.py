"""From a change that flips an outcome to the smallest one that still does, in waves of candidates.

Every function is a generator: it yields a wave of compositions and is sent, for each, whether it flips. So the searches
of many cases go on in step and fill the batches of the engine, and every decision is a function of the answers alone.
The fewest words, and the lowest strength, are found by halving; as by delta debugging (Zeller, Hildebrandt 2002,
"Simplifying and isolating failure-inducing input"), what is left flips, and no longer does without any one word.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from itertools import combinations
from typing import TypeVar

from pytest_mmsafety.attacks.compositions import LEVELS, Composition
from pytest_mmsafety.cases import Change
from pytest_mmsafety.perturbations import PERTURBATIONS

_T = TypeVar("_T")
Waves = Generator[list[Composition], list[bool], _T]


def fewest(start: Composition) -> Waves[list[Composition]]:
    """The parts of *start* with the fewest changes that flip; *start* itself if none does."""
    for size in range(1, len(start)):
        parts = list(combinations(start, size))
        flips = yield parts
        if found := [part for part, flip in zip(parts, flips, strict=True) if flip]:
            return found
    return [start]


def shrunk(start: Composition, words: Callable[[Composition, int], int]) -> Waves[Composition]:
    """*start* with plainer parameters, fewer words, weaker: each as far as it still flips.

    *words*: how many words the change at a place of a composition could act upon.
    """
    now = start
    for place in range(len(now)):
        now = yield from _plainer(now, place)
    for place in range(len(now)):
        if PERTURBATIONS[now[place].name].by_word:
            now = yield from _fewer_words(now, place, words(now, place))
    for place in range(len(now)):
        now = yield from _weaker(now, place)
    return now


def _with(now: Composition, place: int, change: Change) -> Composition:
    return (*now[:place], change, *now[place + 1 :])


def _plainer(now: Composition, place: int) -> Waves[Composition]:
    """With the default for as many parameters as may be."""
    change = now[place]
    names = [name for name in change.parameters if name != "words"]
    for kept in range(len(names)):
        candidates = []
        for some in combinations(names, kept):
            told = {name: value for name, value in change.parameters.items() if name in (*some, "words")}
            candidates.append(_with(now, place, replace(change, parameters=told)))
        flips = yield candidates
        if True in flips:
            return candidates[flips.index(True)]
    return now


def _fewer_words(now: Composition, place: int, count: int) -> Waves[Composition]:
    """On as few words as may be; at full strength, since the strength is a share of the letters of these words."""
    change = now[place]
    given = change.parameters.get("words")
    items = given if isinstance(given, tuple) else tuple(range(count))
    if len(items) < 2:
        return now

    def on(some: Sequence[int]) -> Composition:
        return _with(now, place, Change(change.name, 1.0, {**change.parameters, "words": tuple(some)}))

    (whole,) = yield [on(items)]
    if not whole:
        return now
    items = yield from _fewest_items(items, on)
    return on(items)


def _fewest_items(items: Sequence[int], on: Callable[[Sequence[int]], Composition]) -> Waves[tuple[int, ...]]:
    """One needed item after the other: the last of the shortest beginning that flips together with those before."""
    rest, needed = list(items), list[int]()
    while rest:
        if needed:
            (enough,) = yield [on(sorted(needed))]
            if enough:
                break
        low, high = 0, len(rest)
        while high - low > 1:
            middle = (low + high) // 2
            (broke,) = yield [on(sorted(rest[:middle] + needed))]
            low, high = (low, middle) if broke else (middle, high)
        needed.append(rest[high - 1])
        rest = rest[: high - 1]
    return tuple(sorted(needed))


def _weaker(now: Composition, place: int) -> Waves[Composition]:
    """With the lowest strength on the grid."""
    change = now[place]

    def at(level: int) -> Composition:
        return _with(now, place, replace(change, strength=level / LEVELS))

    if not PERTURBATIONS[change.name].graded:  # every strength does the same, and is not asked for again
        flips = yield [at(1)]
        return at(1) if flips[0] else now
    low, high = 0, -(-round(change.strength * LEVELS * 1000) // 1000)
    middle = 1  # very often the weakest does
    while high - low > 1:
        (broke,) = yield [at(middle)]
        low, high = (low, middle) if broke else (middle, high)
        middle = (low + high) // 2
    return at(high) if high < change.strength * LEVELS else now
