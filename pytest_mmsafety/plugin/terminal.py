"""The terminal section: what was asked, and a line a gate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from pytest_mmsafety.attacks.cases import HALF
from pytest_mmsafety.attacks.results import UNPERTURBED
from pytest_mmsafety.attacks.settings import SWEEP
from pytest_mmsafety.cases import Case
from pytest_mmsafety.errors import plural
from pytest_mmsafety.findings import Finding, simplest
from pytest_mmsafety.gates import FAILED, INCONCLUSIVE, NOT_EVALUATED, PASSED, REPORTED, GateResult
from pytest_mmsafety.metrics import ATTACK
from pytest_mmsafety.outcomes import Outcome

if TYPE_CHECKING:
    from pytest_mmsafety.judge_errors import JudgeErrors

_FINDINGS = 5
"""Of an attack that the terminal shows."""
_COLOURS = {PASSED: "green", FAILED: "red", INCONCLUSIVE: "yellow", NOT_EVALUATED: "yellow", REPORTED: ""}


def summary_lines(  # noqa: PLR0913 - all that it sums up
    target: str,
    outcomes: Sequence[Outcome],
    calls: int,
    gates: Sequence[GateResult] | None,
    notes: Sequence[str],
    *,
    errors: Mapping[str, JudgeErrors],
    attack: Iterable[tuple[str, str]] = (),
) -> Iterator[tuple[str, str]]:
    """Lines with the colour of each (empty: none). *errors*: what is known of how often judges err.

    *attack*: the lines of an attack (:func:`attack_lines`).
    """
    yield f"target: {target}", ""
    yield f"cases:  {_counts(outcomes, calls)}", ""
    for line in _judges(outcomes, errors):
        yield f"judge:  {line}", ""
    yield from attack
    for note in notes:
        yield f"note:   {note}", "yellow"
    if gates:
        yield from gate_lines(gates)


def attack_lines(
    attacked: Sequence[tuple[Case, Outcome]], findings: Sequence[Finding], faults: int, *, promotable: bool
) -> Iterator[tuple[str, str]]:
    """What an attack came to, and its simplest findings. *attacked*: the cases that it added, with their outcomes."""
    by_mode: dict[str, list[Outcome]] = {}
    for case, outcome in attacked:
        if case.tags.get(HALF) != "chosen-on":
            by_mode.setdefault(case.tags[ATTACK], []).append(outcome)
    for mode, outcomes in by_mode.items():
        scores = [outcome.score for outcome in outcomes if outcome.response is not None]
        broken, unsure = sum(1 for score in scores if score), scores.count(None)
        asked = plural(len(outcomes), "variant" if mode == SWEEP else "case")
        plain = sum(1 for outcome in outcomes if outcome.verdicts and outcome.verdicts[0].label == UNPERTURBED)
        of_these = f" ({plain} as they stand)" if plain else ""
        yield (
            f"attack: {mode}: {broken} of {asked} broken{of_these}, {scores.count(0.0)} held, {unsure} unsure",
            "",
        )
    shown = sorted(simplest(findings), key=lambda f: (len(f.perturbations), sum(c.strength for c in f.perturbations)))
    for finding in shown[:_FINDINGS]:
        changes = " + ".join(map(str, finding.perturbations))
        yield f"        {finding.case}: {finding.direction} by {changes} ({plural(finding.calls, 'call')})", ""
    if len(shown) > _FINDINGS:
        yield f"        ... and {len(shown) - _FINDINGS} more cases", ""
    if shown and promotable:
        yield "        keep them as regression tests: mmsafety promote RUN", ""
    if faults:
        count = plural(faults, "flip was", "flips were")
        yield f"        {count} the judge's, which changed its mind with the prompt, not with the answer", "yellow"


def ending_lines(*, complete: bool, gated: bool, stored: int | None) -> Iterator[tuple[str, str]]:
    """Why there are no gates, if there are none. *stored*: answers of this session in the store; ``None``: no store."""
    if not complete:
        yield "gates: not evaluated, the run was stopped before its end", "yellow"
        if stored is not None:
            answers = plural(stored, "answer")
            yield (
                f"every answer so far is in the store ({answers} of this session); the same command goes on from there",
                "",
            )
    elif not gated:
        yield "gates: none asked for (--thresholds=FILE, or the name of a shipped policy)", "yellow"


def _judges(outcomes: Sequence[Outcome], errors: Mapping[str, JudgeErrors]) -> Iterator[str]:
    """Of each judge whose word counts and whose errors are known, in a line."""
    first = [outcome.verdicts[0] for outcome in outcomes if outcome.verdicts]
    asked = Counter(verdict.judge for verdict in first)
    scored = Counter(verdict.judge for verdict in first if verdict.score is not None)
    for name, count in asked.most_common():
        if name in errors:
            known = errors[name].best({})
            failures = known.tp + known.fn + known.abstained_positive
            others = known.tn + known.fp + known.abstained_negative
            yield (
                f"{name} scored {scored[name]} of {count}; measured on human labels: detects "
                f"{_share(known.tp, failures)}, misses {_share(known.fn, failures)} and abstains on "
                f"{_share(known.abstained_positive, failures)} of {failures:,.0f} failures; false alarms on "
                f"{_share(known.fp, others)} of {others:,.0f} good answers"
            )


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.0%}" if whole else "none"


def gate_lines(gates: Sequence[GateResult]) -> Iterator[tuple[str, str]]:
    """A line a gate, and the verdict; not of nothing. What blocks comes last, where a terminal is read first."""
    width = max(len(result.gate.name) for result in gates)
    for result in sorted(gates, key=lambda result: result.blocks):
        colour = "red" if result.blocks else _COLOURS[result.status]
        yield f"{_mark(result):<14} {result.gate.name:<{width}}  {result.reason}", colour
    blocking = sum(result.blocks for result in gates)
    yield (f"blocked by {blocking} of {plural(len(gates), 'gate')}", "red") if blocking else _verdict(gates)


def _mark(result: GateResult) -> str:
    return result.status if result.status != INCONCLUSIVE else "inconclusive" + ("!" if result.blocks else "")


def _verdict(gates: Sequence[GateResult]) -> tuple[str, str]:
    states = {status: sum(1 for gate in gates if gate.status == status) for status in _COLOURS}
    parts = ", ".join(f"{count} {status}" for status, count in states.items() if count)
    if states[NOT_EVALUATED] == len(gates):
        return f"no verdict: none of {plural(len(gates), 'gate')} was evaluated", "yellow"
    if states[REPORTED] == len(gates):
        return f"nothing was decided: {parts}", ""
    return f"not blocked: {parts}", "yellow" if states[NOT_EVALUATED] or not states[PASSED] else "green"


def _counts(outcomes: Sequence[Outcome], calls: int) -> str:
    answered = [outcome for outcome in outcomes if outcome.response is not None]
    failing = sum(1 for outcome in answered if outcome.score)
    unscored = sum(1 for outcome in answered if outcome.score is None)
    parts = [
        f"{len(answered)} answered",
        f"{failing} not as expected (u)",
        f"{unscored} unscored (?)",
        plural(sum(1 for outcome in outcomes if outcome.error), "error"),
        f"{sum(1 for outcome in outcomes if outcome.skipped)} skipped",
        f"{sum(1 for outcome in answered if outcome.stored)} from the store",
        plural(calls, "target call"),
    ]
    return ", ".join(parts)
