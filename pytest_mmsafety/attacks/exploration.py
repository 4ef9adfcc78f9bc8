"""The order in which new changes are tried on a case.

:func:`singles`, to meet each perturbation as if it were alone. Those that act on the same, letters or pictures, hide
each other; others share rows of up to four:

* each perturbation at full strength, then at half, which breaks what more of it would hide;
* each with its other parameters, at half strength.

:func:`pairs`, at full strength:

* the rest of a covering array, so that every pair meets in a row of four (Kuhn, Wallace, Gallo 2004, "Software fault
  interactions and implications for software testing": most failures need one or two conditions). Every second time that
  a perturbation has its turn, it has the next of its parameters, and else the default ones;
* the same rows again, with other parameters;
* then whatever Hypothesis generates.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import combinations, islice

from pytest_mmsafety.attacks.compositions import MOST, Composition, Options
from pytest_mmsafety.attacks.strategies import compositions, generated
from pytest_mmsafety.cases import Change
from pytest_mmsafety.perturbations import PERTURBATIONS

Row = tuple[str, ...]


def singles(choices: Options) -> Iterator[Composition]:
    """Every perturbation with all its parameters; those that do not hide each other together."""
    rows = apart(tuple(choices))
    for strength in (1.0, 0.5):
        for row in rows:
            yield tuple(Change(name, strength, choices[name][0]) for name in row)
    others = {name: iter(parameters[1:]) for name, parameters in choices.items()}
    turns = range(1, _most_parameters(choices))
    for row in apart(tuple(name for turn in turns for name in choices if turn < len(choices[name]))):
        yield tuple(Change(name, 0.5, next(others[name])) for name in row)


def pairs(choices: Options) -> Iterator[Composition]:
    """Every pair of perturbations that is not met in :func:`singles`, then what there is beyond pairs; without end."""
    turns: Counter[str] = Counter()

    def change(name: str) -> Change:
        turn, own = turns[name], choices[name]
        turns[name] += 1
        return Change(name, 1.0, own[turn // 2 % len(own)] if turn % 2 else own[0])

    rows = covering_rows(tuple(choices))
    for _ in range(_most_parameters(choices)):
        yield from (tuple(change(name) for name in row) for row in rows)
    if choices:
        yield from _generated(choices)


def _most_parameters(choices: Options) -> int:
    return max(map(len, choices.values()), default=0)


def _generated(choices: Options) -> Iterator[Composition]:
    """What Hypothesis makes of the options, in stretches of growing size; a stretch begins with those before it."""
    strategy, made, size = compositions(choices), 0, 64
    while True:
        examples = generated(strategy, size)
        if len(examples) <= made:
            return  # there are no others
        yield from islice(examples, made, None)
        made, size = len(examples), size * 4


@cache
def apart(names: tuple[str, ...]) -> tuple[Row, ...]:
    """Rows of at most four that together hold *names*, as often as they are given; none hides another of its row."""
    rows: list[list[str]] = []
    for name in names:
        fitting = [row for row in rows if len(row) < MOST and not any(_hide(name, other) for other in row)]
        if fitting:
            min(fitting, key=len).append(name)
        else:
            rows.append([name])
    return tuple(map(_in_order, rows))


def _hide(one: str, other: str) -> bool:
    """Whether what one perturbation does may not be seen beside the other."""
    kind, of = PERTURBATIONS[one], PERTURBATIONS[other]
    return one == other or (kind.by_word and of.by_word) or (kind.edits_images and of.edits_images)


@cache
def covering_rows(names: tuple[str, ...]) -> tuple[Row, ...]:
    """Rows of at most four in which every pair of names meets that does not in :func:`apart`.

    Greedy, like the construction of AETG (Cohen et al. 1997), and without chance.
    """
    place = {name: i for i, name in enumerate(names)}
    open_pairs = {frozenset(pair) for pair in combinations(names, 2)}
    open_pairs -= {frozenset(pair) for row in apart(names) for pair in combinations(row, 2)}
    degree = Counter(name for pair in open_pairs for name in pair)
    rows = []
    while open_pairs:
        row = list(max(open_pairs, key=lambda pair: (sum(degree[n] for n in pair), sorted(-place[n] for n in pair))))
        while len(row) < MOST and (others := [name for name in names if name not in row and _fits(name, row)]):
            row.append(max(others, key=lambda name: (_gain(name, row, open_pairs), degree[name], -place[name])))
        for pair in combinations(row, 2):
            if frozenset(pair) in open_pairs:
                open_pairs.remove(frozenset(pair))
                degree.subtract(pair)
        rows.append(_in_order(row))
    return tuple(rows)


def _fits(name: str, row: Sequence[str]) -> bool:
    """At most two changes of a picture in a row: a third would hide what the two do."""
    pictures = sum(PERTURBATIONS[other].edits_images for other in row)
    return not PERTURBATIONS[name].edits_images or pictures < 2


def _gain(name: str, row: Sequence[str], open_pairs: set[frozenset[str]]) -> int:
    return sum(frozenset((name, other)) in open_pairs for other in row)


def _in_order(names: Sequence[str]) -> Row:
    """In the order in which they are applied: that of the catalogue."""
    return tuple(name for name in PERTURBATIONS if name in names)
