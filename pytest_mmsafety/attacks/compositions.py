"""Compositions: up to four changes applied in order; which there are for a case, and which is the simpler of two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from itertools import product

from pytest_mmsafety.cases import Case, Change
from pytest_mmsafety.perturbations import PERTURBATIONS, perturb
from pytest_mmsafety.perturbations.kinds import Parameters

MOST = 4
"""Perturbations in a composition."""
LEVELS = 20
"""Strengths that are tried are multiples of 1/20."""

Composition = tuple[Change, ...]
Options = Mapping[str, Sequence[Parameters]]
"""Perturbation -> the parameters, but for defaults, with which it changes a case."""


def options(case: Case, techniques: Sequence[str]) -> Options:
    """What of *techniques* changes *case* at full strength; of parameters that do the same, the first."""
    plain = (case.prompt, case.expected, str(case.edits))
    found = {}
    for name in techniques:
        told: dict[object, Parameters] = {plain: {}}
        for parameters in all_parameters(name):
            variant = perturb(case, [Change(name, 1.0, parameters)])
            told.setdefault((variant.prompt, variant.expected, str(variant.edits)), parameters)
        del told[plain]
        if told:
            found[name] = list(told.values())
    return found


@cache
def all_parameters(name: str) -> tuple[Parameters, ...]:
    """Every combination of allowed values, the default first; defaults are left out."""
    settings = PERTURBATIONS[name].settings
    return tuple(
        {key: value for key, value in zip(settings, values, strict=True) if value != settings[key][0]}
        for values in product(*settings.values())
    )


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
