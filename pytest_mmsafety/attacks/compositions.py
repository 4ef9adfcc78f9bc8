"""Which changes are tried on a case, and in which order.

A *composition* is up to four changes, applied in order. Three kinds are tried:

* rows of a covering array, four perturbations each at full strength, so that few calls meet every perturbation, and
  a few more every pair of them (Kuhn, Wallace, Gallo 2004, "Software fault interactions and implications for software
  testing": most failures need one or two conditions);
* every perturbation alone at half strength, for what stronger or joint changes hide: with its default parameters
  before the rows that cover pairs, with others after them;
* then whatever Hypothesis generates.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import combinations, islice, product, zip_longest

from pytest_mmsafety.cases import Case, Change
from pytest_mmsafety.perturbations import PERTURBATIONS, applies
from pytest_mmsafety.perturbations.kinds import Parameters

MOST = 4
"""Perturbations in a composition."""
LEVELS = 20
"""Strengths that are tried are multiples of 1/20."""

Composition = tuple[Change, ...]
Options = Mapping[str, Sequence[Parameters]]
"""Perturbation -> the parameters, but for defaults, with which it changes a case."""


def options(case: Case, techniques: Sequence[str]) -> Options:
    """What of *techniques* changes *case* at full strength."""
    found = {}
    for name in techniques:
        told = [parameters for parameters in all_parameters(name) if applies(case, Change(name, 1.0, parameters))]
        if told:
            found[name] = told
    return found


@cache
def all_parameters(name: str) -> tuple[Parameters, ...]:
    """Every combination of allowed values, the default first; defaults are left out."""
    settings = PERTURBATIONS[name].settings
    return tuple(
        {key: value for key, value in zip(settings, values, strict=True) if value != settings[key][0]}
        for values in product(*settings.values())
    )


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
    from pytest_mmsafety.attacks.strategies import compositions, generated

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
            others = [name for name in names if name not in row and not _garbles(name, row)] or list(names)
            others = [name for name in others if name not in row]
            row.append(max(others, key=lambda name: (_gain(name, row, open_pairs), degree[name], -mixed[name])))
        for pair in combinations(row, 2):
            if frozenset(pair) in open_pairs:
                open_pairs.remove(frozenset(pair))
                degree.subtract(pair)
        rows.append(tuple(sorted(row, key=place.__getitem__)))
    return tuple(rows)


def _garbles(name: str, row: Sequence[str]) -> bool:
    """Whether it changes letters that another of *row* changes too: nobody could tell what either does."""
    return PERTURBATIONS[name].by_word and any(PERTURBATIONS[other].by_word for other in row)


def _gain(name: str, row: Sequence[str], open_pairs: set[frozenset[str]]) -> int:
    return sum(frozenset((name, other)) in open_pairs for other in row)


def simplicity(case: Case, variant: Case, changes: Composition) -> tuple[float, ...]:
    """What is smaller for the simpler of two changes: fewer perturbations, then weaker, then less text, then plainer.

    Text is counted in letters by which the prompt grew, and words that are acted upon.
    """
    words = sum(len(_words(change)) for change in changes if "words" in change.parameters)
    everywhere = sum(PERTURBATIONS[change.name].by_word and "words" not in change.parameters for change in changes)
    return (
        len(changes),
        round(sum(change.strength for change in changes), 6),
        everywhere,
        words + abs(len(variant.prompt) - len(case.prompt)),
        sum(len(change.parameters) for change in changes),
    )


def _words(change: Change) -> tuple[int, ...]:
    words = change.parameters["words"]
    return words if isinstance(words, tuple) else ()
