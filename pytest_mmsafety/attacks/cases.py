"""The cases that an attack adds to a suite: groups of their own beside those of the suite."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

from pytest_mmsafety.attacks.settings import SEARCH, SWEEP, UNIVERSAL, AttackSettings
from pytest_mmsafety.cases import PLAIN, Case, Change
from pytest_mmsafety.errors import SetupError, plural
from pytest_mmsafety.metrics import ATTACK, ORIGINAL
from pytest_mmsafety.perturbations import PERTURBATIONS, perturb
from pytest_mmsafety.suites import Suite

MARK = "@"
"""Between the id of a case, or the name of a group, and how it is attacked."""
HALF = "half"
"""The tag of cases under a universal attack: ``chosen-on`` or ``held-out``."""


def attack_groups(suite: Suite, settings: AttackSettings) -> dict[str, tuple[Case, ...]]:
    """Name -> cases of the groups that ``--attack`` adds to a suite."""
    groups = {}
    for name, cases in _attackable(suite, settings).items():
        made = _swept(cases, settings) if settings.mode == SWEEP else _searched(cases, settings)
        if made:
            groups[f"{name}{MARK}{settings.mode}"] = made
    return groups


def attacked(suite: Suite, settings: AttackSettings) -> Suite:
    """The suite with these groups, whose cases come after its own."""
    groups = attack_groups(suite, settings)
    added = [case for cases in groups.values() for case in cases]
    return replace(suite, cases=(*suite.cases, *added), groups={**suite.groups, **groups})


def check_budget(suite: Suite, settings: AttackSettings) -> None:
    """Raise :class:`SetupError` if the calls of a group do not suffice for its cases."""
    for name, cases in _attackable(suite, settings).items():
        least, why = _least_calls(cases, settings)
        if settings.calls < least:
            group = f"{suite.name}: {name}"
            raise SetupError(f"--attack: {settings.calls} calls a group; {group} needs at least {least}: {why}")


def _least_calls(cases: Sequence[Case], settings: AttackSettings) -> tuple[int, str]:
    if settings.mode == SEARCH:
        return 2 * len(cases), f"{plural(len(cases), 'case')}, each as it stands and with one change"
    if settings.mode == SWEEP:
        return len(
            _sweep(settings)
        ), f"{plural(len(_sweep(settings)), 'technique with a strength', 'techniques')} on one case"
    return 3 * len(cases), f"{plural(len(cases), 'case')} as they stand, with one change, and with the one chosen"


def is_searched(cases: Sequence[Case]) -> bool:
    """Whether a group is one of searches, whose variants are not known beforehand."""
    return bool(cases) and cases[0].tags.get(ATTACK) in (SEARCH, UNIVERSAL)


def calls_of(cases: Sequence[Case], settings: AttackSettings | None) -> int:
    """Calls of the target that a group may take."""
    if settings is None or not is_searched(cases):
        return len(cases)
    return settings.calls if settings.mode == UNIVERSAL else len(cases) * settings.calls_of_case(len(cases))


def original_of(case: Case) -> Case:
    """The case that *case*, one of a search, attacks."""
    tags = {tag: value for tag, value in case.tags.items() if tag not in (ATTACK, ORIGINAL, HALF)}
    return replace(case, id=case.tags[ORIGINAL].removeprefix(f"{case.suite}/"), tags=tags)


def _attackable(suite: Suite, settings: AttackSettings) -> dict[str, list[Case]]:
    """The groups of the suite with those of their cases that can be attacked."""
    groups = _by_aspect(suite) if settings.mode == UNIVERSAL else suite.groups
    found = {
        name: [case for case in cases if case.sample == 1 and ATTACK not in case.tags and not case.skip]
        for name, cases in groups.items()
    }
    return {name: cases for name, cases in found.items() if cases}


def _by_aspect(suite: Suite) -> Mapping[str, Sequence[Case]]:
    """A universal change is looked for over the whole suite, but in one direction."""
    groups: dict[str, list[Case]] = {}
    for case in suite.cases:
        groups.setdefault(case.tags.get("aspect", "all"), []).append(case)
    return groups


def _searched(cases: Sequence[Case], settings: AttackSettings) -> tuple[Case, ...]:
    halves = {} if settings.mode == SEARCH else _halves(cases)
    return tuple(
        replace(
            case,
            id=f"{case.id}{MARK}{settings.mode}",
            must_pass=False,
            tags={**case.tags, ATTACK: settings.mode, ORIGINAL: case.key, **halves.get(case.id, {})},
        )
        for case in cases
    )


def _halves(cases: Sequence[Case]) -> dict[str, dict[str, str]]:
    """Id -> its half. Whole clusters, in an order that only their names decide, alternate."""
    clusters = {_cluster(case) for case in cases}
    order = {name: i for i, name in enumerate(sorted(clusters, key=_shuffled))}
    return {case.id: {HALF: "held-out" if order[_cluster(case)] % 2 else "chosen-on"} for case in cases}


def _cluster(case: Case) -> str:
    return case.cluster or "\0".join(case.images) or case.id


def _shuffled(name: str) -> bytes:
    return hashlib.sha256(name.rpartition("/")[2].encode()).digest()


def _swept(cases: Sequence[Case], settings: AttackSettings) -> tuple[Case, ...]:
    """Every technique alone at every strength, on as many cases as the calls allow: the same ones for each."""
    changes = _sweep(settings)
    most = settings.calls // len(changes)
    chosen = set(sorted((case.id for case in cases), key=_shuffled)[:most])
    return tuple(made for case in cases if case.id in chosen for change in changes if (made := _changed(case, change)))


def _sweep(settings: AttackSettings) -> list[Change]:
    return [Change(name, strength) for name in settings.techniques for strength in _strengths(name, settings)]


def _strengths(name: str, settings: AttackSettings) -> Sequence[float]:
    return settings.strengths if PERTURBATIONS[name].graded else settings.strengths[-1:]


def _changed(case: Case, change: Change) -> Case | None:
    """``None`` if the change leaves the case as it is."""
    variant = perturb(case, [change])
    if (variant.prompt, variant.expected, variant.edits) == (case.prompt, case.expected, case.edits):
        return None
    tags = {
        **case.tags,
        ATTACK: SWEEP,
        PLAIN: case.id,
        "perturbation": change.name,
        "strength": f"{change.strength:g}",
        "technique": f"{change.name} {change.strength:g}",
    }
    images = "+".join(path.rpartition("/")[2] for path in case.images)
    return replace(
        variant,
        id=f"{case.id}{MARK}{change.name}-{change.strength:g}",
        must_pass=False,
        cluster=case.cluster or images or case.key,
        tags=tags,
    )
