"""In which order changes are tried."""

from __future__ import annotations

from itertools import chain, combinations, islice

import pytest

from pytest_mmsafety.attacks.compositions import MOST, all_parameters
from pytest_mmsafety.attacks.exploration import apart, covering_rows, pairs, singles
from pytest_mmsafety.cases import Change
from pytest_mmsafety.perturbations import PERTURBATIONS, check_change

NAMES = tuple(PERTURBATIONS)
CHOICES = {name: all_parameters(name) for name in NAMES}


@pytest.mark.parametrize("count", [0, 1, 2, 5, len(NAMES)])
def test_every_pair_meets_in_rows_of_at_most_four(count: int) -> None:
    names = NAMES[:count]
    rows = [*apart(names), *covering_rows(names)]
    met = {frozenset(pair) for row in rows for pair in combinations(row, 2)}
    assert met == {frozenset(pair) for pair in combinations(names, 2)}
    assert all(1 <= len(row) == len(set(row)) <= MOST for row in rows)
    assert all(list(row) == sorted(row, key=NAMES.index) for row in rows)


def test_the_first_rows_hold_every_name_once_and_none_hides_another() -> None:
    rows = apart(NAMES)
    assert sorted(chain(*rows)) == sorted(NAMES)
    for row in rows:
        assert sum(PERTURBATIONS[name].by_word for name in row) <= 1
        assert sum(PERTURBATIONS[name].edits_images for name in row) <= 1


def test_all_parameters_of_all_perturbations_come_first() -> None:
    tried = list(singles(CHOICES))
    for name, own in CHOICES.items():
        strengths = [[c.strength for row in tried for c in row if c == Change(name, c.strength, told)] for told in own]
        assert strengths == [[1.0, 0.5], *[[0.5]] * (len(own) - 1)]
    assert len(tried) < 70


@pytest.mark.parametrize("count", [0, 1, 2, 5, len(NAMES)])
def test_the_order_is_the_same_every_time_and_made_of_changes_that_there_are(count: int) -> None:
    choices = {name: CHOICES[name] for name in NAMES[:count]}
    first, again = (list(islice(chain(singles(choices), pairs(choices)), 150)) for _ in range(2))
    assert first == again
    assert bool(first) == bool(count)
    for change in chain(*first):
        check_change(change)
    assert all(len({change.name for change in row}) == len(row) <= MOST for row in first)


def test_pairs_meet_with_defaults_and_with_other_parameters() -> None:
    rows = list(islice(pairs(CHOICES), len(covering_rows(NAMES))))
    for name, own in CHOICES.items():
        told = [change.parameters for row in rows for change in row if change.name == name]
        assert own[0] in told
        assert len(own) == 1 or any(parameters != own[0] for parameters in told)
