"""The order in which new changes are tried on a case.

* rows of a covering array, four perturbations each at full strength, so that few calls meet every perturbation, and
  a few more every pair of them (Kuhn, Wallace, Gallo 2004, "Software fault interactions and implications for software
  testing": most failures need one or two conditions);
* every perturbation alone at half strength, for what stronger or joint changes hide: with its default parameters
  before the rows that cover pairs, with others after them;
* then whatever Hypothesis generates.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import combinations, islice, zip_longest

from pytest_mmsafety.attacks.compositions import MOST, Composition, Options
from pytest_mmsafety.attacks.strategies import compositions, generated
from pytest_mmsafety.cases import Change


def explored(choices: Options) -> Iterator[Composition]:
    """Compositions in the order in which they are tried, without end; for the same options the same ones."""
    names = tuple(choices)
    if not names:
        return
    turn: Counter[str] = Counter()

    def change(name: str, strength: float) -> Change:
        turn[name] += 1
        return Change(name, strength, choices[name][(turn[name] - 1) % len(choices[name])])

    rows = covering_rows(names)
    first = -(-len(names) // MOST)
    for row in rows[:first]:
        yield tuple(change(name, 1.0) for name in row)
    yield from ((Change(name, 0.5, choices[name][0]),) for name in names)
    for row in rows[first:]:
        yield tuple(change(name, 1.0) for name in row)
    for told in zip_longest(*(parameters[1:] for parameters in choices.values())):
        yield from ((Change(name, 0.5, own),) for name, own in zip(names, told, strict=True) if own is not None)
    yield from _generated(choices)


def alone(choices: Options) -> Iterator[Composition]:
    """Every perturbation alone at full strength."""
    return ((Change(name, 1.0, parameters[0]),) for name, parameters in choices.items())


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
def covering_rows(names: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """Rows of at most four names, in the order of the catalogue, in which every pair of names meets.

    The first rows hold every name once. Greedy, like the construction of AETG (Cohen et al. 1997), and without chance.
    """
    first = -(-len(names) // MOST)
    rows = [tuple(names[i::first]) for i in range(first)]  # neighbours in the catalogue are alike, and hide each other
    place = {name: i for i, name in enumerate(names)}
    mixed = {name: i for i, name in enumerate(name for row in rows for name in row)}
    open_pairs = {frozenset(pair) for pair in combinations(names, 2)}
    open_pairs -= {frozenset(pair) for row in rows for pair in combinations(row, 2)}
    degree = Counter(name for pair in open_pairs for name in pair)
    while open_pairs:
        row = list(max(open_pairs, key=lambda pair: (sum(degree[n] for n in pair), sorted(-mixed[n] for n in pair))))
        while len(row) < min(MOST, len(names)):
            others = (name for name in names if name not in row)
            row.append(max(others, key=lambda name: (_gain(name, row, open_pairs), degree[name], -mixed[name])))
        for pair in combinations(row, 2):
            if frozenset(pair) in open_pairs:
                open_pairs.remove(frozenset(pair))
                degree.subtract(pair)
        rows.append(tuple(sorted(row, key=place.__getitem__)))
    return tuple(rows)


def _gain(name: str, row: Sequence[str], open_pairs: set[frozenset[str]]) -> int:
    return sum(frozenset((name, other)) in open_pairs for other in row)
