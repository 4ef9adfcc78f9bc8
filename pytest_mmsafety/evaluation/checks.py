"""Gates held against the cases and the baseline at hand, before anything is evaluated."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from pytest_mmsafety import baselines
from pytest_mmsafety.errors import SetupError, nearest
from pytest_mmsafety.evaluation import reasons
from pytest_mmsafety.gates import Gate, matches
from pytest_mmsafety.run import Run

CaseTags = tuple[str, Mapping[str, str]]
"""Suite and tags of a case."""


def check_gates(gates: Sequence[Gate], cases: Sequence[CaseTags], where: str, *, whole: bool) -> None:
    """Raise :class:`SetupError` if *gates*, which come from *where*, cannot be meant for *cases*.

    No gate matches a case; or, if *cases* are the *whole* suites and not a part, a filter of ``zero_tolerance`` is
    misspelt.
    """
    unmatched = [unmatched_reason(gate, cases) for gate in gates]
    if cases and all(unmatched):
        raise SetupError(f"--thresholds: {where}: matches no case; gate {gates[0].name!r}: {unmatched[0]}")
    for gate in gates if whole else ():
        if problem := misspelt_filter(gate, cases) or misspelt_tolerance(gate, cases):
            raise SetupError(f"--thresholds: {where}: gate {gate.name!r}: {problem}")


def check_baseline(run: Run, gates: Sequence[Gate], baseline: Run | None, allowed: frozenset[str]) -> None:
    """Raise :class:`SetupError` if a baseline is needed and missing, or there and not comparable."""
    if baseline is None:
        if reason := missing_baseline(gates):
            raise SetupError(f"--baseline: {reason}")
    elif reason := baselines.refusal(baselines.run_differences(run, baseline), allowed):
        raise SetupError(f"--baseline: {reason}")


def missing_baseline(gates: Iterable[Gate]) -> str:
    """Why these gates cannot be evaluated without a baseline, in one line; empty if they can."""
    return next((reasons.no_baseline(gate) for gate in gates if gate.max_regression is not None), "")


def idle_baseline(gates: Iterable[Gate]) -> str:
    """A note in one line if none of these gates compares with a baseline that was given; else empty."""
    if any(gate.max_regression is not None for gate in gates):
        return ""
    return "--baseline: no gate has max_regression, so none compares with it"


def idle_judge_errors(run: Run, judge_errors: Iterable[str]) -> list[str]:
    """A line for each judge with its version whose errors were given and that judged no answer of *run*."""
    judges = {verdict.judge for record in run.records for verdict in record.verdicts}
    known = ", ".join(sorted(judges)) or "no judge"
    return [
        f"--judge-errors: {name} judged no answer of this run, so its errors correct nothing; judged by {known}"
        for name in judge_errors
        if name not in judges
    ]


def unmatched_reason(gate: Gate, cases: Sequence[CaseTags]) -> str:
    """Why *gate* matches none of *cases*, with the nearest value; empty if it matches one."""
    if any(gate.applies_to(suite, tags) for suite, tags in cases):
        return ""
    return "".join(_unknown(gate.where, cases)) or (
        f"no collected case matches its filters and counts for {gate.metric}"
    )


def misspelt_filter(gate: Gate, cases: Sequence[CaseTags]) -> str:
    """Which value of ``where`` no case has, with the nearest one; empty if all occur.

    What a gate without any case is about may be in another suite; then only what is nearly a known value counts.
    """
    applies = any(gate.applies_to(suite, tags) for suite, tags in cases)
    where = gate.where if applies else {tag: values for tag, values in gate.where.items() if tag != "suite"}
    problem, hint = _unknown(where, cases)
    return f"where: {problem}{hint}" if problem and (applies or hint) else ""


def misspelt_tolerance(gate: Gate, cases: Sequence[CaseTags]) -> str:
    """Which ``zero_tolerance`` of *gate* names what none of *cases* has, with the nearest value, in one line.

    Returns an empty string if the filter may belong to another suite: the gate has no case here, or no known value is
    similar and another filter matches.
    """
    if not gate.zero_tolerance:
        return ""
    own = [(suite, tags) for suite, tags in cases if gate.applies_to(suite, tags)]
    void = [accepted for accepted in gate.zero_tolerance if not any(matches(accepted, *case) for case in own)]
    if not own or not void:
        return ""
    unknown = [found for accepted in void if any(found := _unknown(accepted, cases))]
    none_known = len(unknown) == len(gate.zero_tolerance)
    return next((f"zero_tolerance: {problem}{hint}" for problem, hint in unknown if hint or none_known), "")


def _unknown(accepted: Mapping[str, tuple[str, ...]], cases: Iterable[CaseTags]) -> tuple[str, str]:
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
