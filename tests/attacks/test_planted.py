"""Weaknesses that were planted are found, within the budget, and shrunk to what was planted."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import islice, product
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from planted import Planted, PlantedOracle, breaks, minimum, planted

from pytest_mmsafety.attacks.compositions import LEVELS, MOST, Composition, options, simplicity
from pytest_mmsafety.attacks.lockstep import run_in_step
from pytest_mmsafety.attacks.search import Search
from pytest_mmsafety.attacks.settings import AttackSettings
from pytest_mmsafety.cases import Case, Change
from pytest_mmsafety.outcomes import Outcome
from pytest_mmsafety.perturbations import PERTURBATIONS, perturb

CALLS = 200


class OneByOne(PlantedOracle):
    """Answers each variant by itself, the last one first."""

    def ask(self, cases: Sequence[Case]) -> list[Outcome]:
        return [super(OneByOne, self).ask([case])[0] for case in reversed(cases)][::-1]


def searched(weaknesses: Sequence[Planted], oracle: PlantedOracle) -> dict[str, Search]:
    searches = [Search(weakness.case, CALLS, AttackSettings(CALLS)) for weakness in weaknesses]
    run_in_step(searches, oracle, lambda: False)
    return {search.case.id: search for search in searches}


@cache
def together() -> tuple[PlantedOracle, dict[str, Search]]:
    oracle = PlantedOracle(planted())
    return oracle, searched(planted(), oracle)


def size(weakness: Planted, changes: Composition) -> tuple[float, ...]:
    return simplicity(weakness.case, perturb(weakness.case, changes), changes)


def test_there_are_twenty_and_none_is_met_by_the_case_itself() -> None:
    assert len(planted()) == len({weakness.name for weakness in planted()}) == 20
    assert not any(breaks(weakness, weakness.case) for weakness in planted())


def test_most_are_found_within_the_budget_and_shrunk_to_what_was_planted() -> None:
    oracle, searches = together()
    found = [weakness for weakness in planted() if searches[weakness.case.id].findings]
    exact = [w for w in found if size(w, searches[w.case.id].findings[0].perturbations) <= size(w, minimum(w))]
    assert len(found) >= 19
    assert len(exact) >= 18
    assert max(oracle.calls.values()) <= CALLS
    assert oracle.calls == {id_: search.calls for id_, search in searches.items()}


def test_the_order_of_cases_and_the_batches_change_nothing() -> None:
    _, searches = together()
    others = searched(planted()[::-1], OneByOne(planted()))
    assert {id_: (s.calls, s.findings) for id_, s in others.items()} == {
        id_: (s.calls, s.findings) for id_, s in searches.items()
    }


def at_random(case: Case) -> Iterator[Composition]:
    chance, choices = random.Random(7), options(case, tuple(PERTURBATIONS))
    while True:
        names = chance.sample(list(choices), chance.randint(1, MOST))
        yield tuple(Change(n, chance.randint(1, LEVELS) / LEVELS, chance.choice(choices[n])) for n in names)


def on_a_grid(case: Case) -> Iterator[Composition]:
    choices = options(case, tuple(PERTURBATIONS))
    for level, name in product((20, 10, 5, 15), choices):
        yield from ((Change(name, level / LEVELS, told),) for told in choices[name])


@pytest.mark.parametrize("way", [at_random, on_a_grid])
def test_chance_and_a_grid_find_fewer_with_the_same_calls(way: Callable[[Case], Iterator[Composition]]) -> None:
    def finds(weakness: Planted) -> bool:
        tried = islice(way(weakness.case), CALLS - 1)
        return any(breaks(weakness, perturb(weakness.case, changes)) for changes in tried)

    _, searches = together()
    assert sum(map(finds, planted())) < sum(bool(search.findings) for search in searches.values())
