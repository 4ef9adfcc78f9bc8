"""The plan: which cases are asked together. A pure function, so that the same selection gives the same numbers."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from pytest_mmsafety.cases import Case

WINDOW = 32
"""Batches that are ordered among themselves: long enough for even batches, short enough that early items come early."""


def windows(cases: Sequence[Case], batch_size: int) -> Iterator[Sequence[Case]]:
    """Stretches of *cases*, in order, of ``WINDOW`` batches each."""
    step = batch_size * WINDOW
    return (cases[start : start + step] for start in range(0, len(cases), step))


def batches(window: Sequence[Case], batch_size: int, answered: Collection[str] = ()) -> list[list[Case]]:
    """Cut a window into batches of like cost, dearest first (memory runs out at once or not at all).

    Cases whose keys are *answered* are left out, and neighbours that both shrank are joined. What a kill
    left over is thus asked in the very batches of an undisturbed run.
    """
    by_cost = sorted(window, key=lambda case: (-len(case.images), -len(case.prompt)))
    planned = [by_cost[start : start + batch_size] for start in range(0, len(by_cost), batch_size)]
    joined: list[list[Case]] = []
    for batch in planned:
        open_cases = [case for case in batch if case.key not in answered]
        if joined and len(joined[-1]) + len(open_cases) <= batch_size:
            joined[-1].extend(open_cases)
        elif open_cases:
            joined.append(open_cases)
    return joined


def units(sizes: Sequence[int], batch_size: int, workers: int, *, whole: bool = False) -> list[int]:
    """Number of the unit that each item belongs to; *sizes* are the items' numbers of cases, in order.

    A unit is what one xdist worker takes at a time: neighbours, at least one batch, small enough that
    every worker gets about four; if *whole*, no worker gets more than one. Without workers everything is one unit.
    """
    if not workers:
        return [0] * len(sizes)
    enough = min(max(batch_size, sum(sizes) // (4 * workers)), batch_size * WINDOW)
    if whole:
        enough = -(-sum(sizes) // workers)
    numbers, unit, filled = [], 0, 0
    for size in sizes:
        if filled >= enough:
            unit, filled = unit + 1, 0
        numbers.append(unit)
        filled += size
    return numbers
