"""Gates held against the cases and the baseline at hand, before anything is evaluated."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pytest_mmsafety.errors import nearest
from pytest_mmsafety.evaluation import reasons as sentences
from pytest_mmsafety.gates import Gate, matches


def missing_baseline(gates: Iterable[Gate]) -> str:
    """Why these gates cannot be judged without a baseline, in one line; empty if they can."""
    return next((sentences.no_baseline(gate) for gate in gates if gate.max_regression is not None), "")


def idle_baseline(gates: Iterable[Gate]) -> str:
    """A note in one line if none of these gates compares with a baseline that was given; else empty."""
    if any(gate.max_regression is not None for gate in gates):
        return ""
    return "--baseline: no gate has max_regression, so none compares with it"


def unmatched(gate: Gate, cases: Iterable[tuple[str, Mapping[str, str]]]) -> str:
    """Why *gate* matches none of *cases* (suite and tags of each), with the nearest value; empty if it matches one."""
    cases = list(cases)
    if any(gate.speaks_of(suite, tags) for suite, tags in cases):
        return ""
    return "".join(_unknown(gate.where, cases)) or (
        f"no collected case matches it and is one that {gate.metric} speaks of"
    )


def misspelt_tolerance(gate: Gate, cases: Iterable[tuple[str, Mapping[str, str]]]) -> str:
    """Which ``zero_tolerance`` of *gate* names what none of *cases* has, with the nearest value, in one line.

    Empty where it may be right for other suites: *gate* speaks of none of *cases*, or nothing is near and another
    filter names what some of them have.
    """
    if not gate.zero_tolerance:
        return ""
    cases = list(cases)
    own = [(suite, tags) for suite, tags in cases if gate.speaks_of(suite, tags)]
    void = [accepted for accepted in gate.zero_tolerance if not any(matches(accepted, *case) for case in own)]
    if not own or not void:
        return ""
    unknown = [found for accepted in void if any(found := _unknown(accepted, cases))]
    none_known = len(unknown) == len(gate.zero_tolerance)
    return next((f"zero_tolerance: {problem}{hint}" for problem, hint in unknown if hint or none_known), "")


def _unknown(
    accepted: Mapping[str, tuple[str, ...]], cases: Iterable[tuple[str, Mapping[str, str]]]
) -> tuple[str, str]:
    """The first tag or value of a filter that none of *cases* has, and what is nearest to it; or two empty strings."""
    known: dict[str, set[str]] = {"suite": set()}
    for suite, tags in cases:
        known["suite"].add(suite)
        for tag, value in tags.items():
            known.setdefault(tag, set()).add(value)
    for tag, values in accepted.items():
        if tag not in known:
            return f"no collected case has the tag {tag!r}", nearest(tag, known)
        for value in values:
            if value not in known[tag]:
                return f"no collected case has {tag}: {value}", nearest(value, known[tag])
    return "", ""
