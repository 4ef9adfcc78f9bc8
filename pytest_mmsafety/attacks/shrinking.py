"""From a change that flips an outcome to the smallest one that still does, in waves of candidates.

Every function is a generator: it yields a wave of compositions and is sent, for each, whether it flips. So the searches
of many cases go on in step and fill the batches of the engine, and every decision is a function of the answers alone.
Delta debugging (Zeller, Hildebrandt 2002, "Simplifying and isolating failure-inducing input"), asked a wave at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from itertools import combinations, pairwise
from typing import TypeVar

from pytest_mmsafety.attacks.compositions import LEVELS, Composition
from pytest_mmsafety.cases import Change
from pytest_mmsafety.perturbations import PERTURBATIONS

_T = TypeVar("_T")
Waves = Generator[list[Composition], list[bool], _T]

_PARTS = 4
"""Into how many parts words are cut, and strengths are tried, in a wave."""


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
    parts = _PARTS
    while len(items) > 1:
        pieces = _cut(items, min(parts, len(items)))
        flips = yield [on(piece) for piece in pieces]
        if True in flips:
            items, parts = pieces[flips.index(True)], _PARTS
            continue
        rests = [[item for item in items if item not in piece] for piece in pieces] if len(pieces) > 2 else []
        flips = (yield [on(rest) for rest in rests]) if rests else []
        if True in flips:
            items, parts = rests[flips.index(True)], max(2, parts - 1)
        elif parts >= len(items):
            break
        else:
            parts *= 2
    return tuple(items)


def _cut(items: Sequence[int], parts: int) -> list[Sequence[int]]:
    ends = [len(items) * i // parts for i in range(parts + 1)]
    return [items[a:b] for a, b in pairwise(ends)]


def _weaker(now: Composition, place: int) -> Waves[Composition]:
    """With the lowest strength on the grid."""
    change = now[place]

    def at(level: int) -> Composition:
        return _with(now, place, replace(change, strength=level / LEVELS))

    if not PERTURBATIONS[change.name].graded:  # every strength does the same, and is not asked for again
        flips = yield [at(1)]
        return at(1) if flips[0] else now
    low, high = 0, -(-round(change.strength * LEVELS * 1000) // 1000)
    while high - low > 1:
        rungs = sorted({low + (high - low) * i // (_PARTS + 1) for i in range(1, _PARTS + 1)} - {low})
        flips = yield [at(rung) for rung in rungs]
        lowest = flips.index(True) if True in flips else len(rungs)
        low = rungs[lowest - 1] if lowest else low
        high = rungs[lowest] if lowest < len(rungs) else high
    return at(high) if high < change.strength * LEVELS else now
