"""Hypothesis strategies: compositions of changes, and cases of suites, for the search and for users' own tests."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import TypeVar

from hypothesis import HealthCheck, Phase, find, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample

from pytest_mmsafety.attacks.compositions import LEVELS, MOST, Composition, Options, all_parameters
from pytest_mmsafety.cases import Case, Change
from pytest_mmsafety.errors import SetupError, nearest
from pytest_mmsafety.perturbations import PERTURBATIONS
from pytest_mmsafety.suites import read_suite, suite_file

_T = TypeVar("_T")


def perturbations(
    *names: str, most: int = MOST, strengths: tuple[float, float] = (1 / LEVELS, 1.0)
) -> st.SearchStrategy[Composition]:
    """Compositions of 1 to *most* different perturbations; shrinks towards fewer, earlier, weaker ones.

    *names*: which; none given: all. *strengths*: the weakest and the strongest, in steps of 1/20. Raises
    :class:`SetupError` for a name that there is not.
    """
    for name in names:
        if name not in PERTURBATIONS:
            raise SetupError(f"perturbations(): {name!r} is no perturbation{nearest(name, PERTURBATIONS)}")
    chosen = names or tuple(PERTURBATIONS)
    weakest, strongest = (round(strength * LEVELS) for strength in strengths)
    return compositions({name: all_parameters(name) for name in chosen}, most, (weakest, strongest))


def compositions(
    choices: Options, most: int = MOST, levels: tuple[int, int] = (1, LEVELS)
) -> st.SearchStrategy[Composition]:
    """Compositions of these options; *levels*: the lowest and highest strength, in twentieths."""
    changes = st.one_of(*(_change(name, parameters, levels) for name, parameters in choices.items()))
    some = st.lists(changes, min_size=1, max_size=min(most, len(choices)), unique_by=lambda change: change.name)
    return some.map(tuple)


def _change(name: str, parameters: Sequence[object], levels: tuple[int, int]) -> st.SearchStrategy[Change]:
    told, strength = st.sampled_from(parameters), st.integers(*levels).map(_strength)
    return st.builds(Change, name=st.just(name), strength=strength, parameters=told)


def _strength(level: int) -> float:
    return level / LEVELS


def mm_cases(suite: str, **tags: str) -> st.SearchStrategy[Case]:
    """Cases of a suite, by the name of a shipped one or the path of its file, that have all these *tags*.

    ``mm_cases("usb", category="privacy/leak", language="zh")``. Raises :class:`SetupError` if there is none.
    """
    cases = [case for case in read_suite(suite_file(suite)).cases if _has(case, tags)]
    if not cases:
        told = ", ".join(f"{tag}={value!r}" for tag, value in tags.items())
        values = {value for case in read_suite(suite_file(suite)).cases for value in case.tags.values()}
        hint = next(filter(None, (nearest(value, values) for value in tags.values())), "")
        raise SetupError(f"mm_cases({Path(suite).name!r}): no case with {told or 'any tag'}{hint}")
    return st.sampled_from(cases)


def _has(case: Case, tags: dict[str, str]) -> bool:
    return all(case.tags.get(tag) == value for tag, value in tags.items())


def generated(strategy: st.SearchStrategy[_T], count: int) -> list[_T]:
    """The first *count* examples that Hypothesis generates, the same ones every time; fewer if there are no more."""
    examples: list[_T] = []

    def note(example: _T) -> bool:
        examples.append(example)
        return False

    silent = settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    with suppress(NoSuchExample):
        find(strategy, note, settings=silent, random=Random(0))  # noqa: S311 - repeatable, and no secret
    return examples
