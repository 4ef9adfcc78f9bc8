"""What a gate found, in one sentence for a release manager."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_mmsafety.errors import plural
from pytest_mmsafety.gates import Gate
from pytest_mmsafety.metrics import title_of
from pytest_mmsafety.statistics.decisions import HOLDS, UNDECIDED, VIOLATED, BoundTest, Decision, Stopped
from pytest_mmsafety.statistics.estimates import Estimate
from pytest_mmsafety.verdicts import reads_exactly

_REMEDY = "name a stronger judge (--judge) or have a sample labelled (mmsafety judge label)"


_OF_ANSWERS = {
    "cut-off": "raise max_new_tokens",
    "empty": "look at the answers: no judge can tell",
    "senseless": "look at the answers: no judge can tell",
}
"""Labels of a judge that say what is wrong with the answer, and what helps."""


def report_only(gate: Gate, estimate: Estimate) -> str:
    """For a gate without a bound that could be broken."""
    value, low, high = _percents((estimate.value, estimate.low, estimate.high))
    what = "no case under zero tolerance failed" if gate.zero_tolerance else "reported only, every value is allowed"
    return f"{_name(gate)} {value} [{low}, {high}]: {what} {_counts(estimate)}"


def no_baseline(gate: Gate) -> str:
    """For a gate with ``max_regression`` where there is nothing to compare to."""
    return (
        f"gate {gate.name!r} has max_regression, but there is no baseline to compare to; expected a saved run "
        "(--save-run=FILE, then mmsafety baseline promote)"
    )


def unscored(gate: Gate, count: int, answers: int, judge: str, said: str) -> str:
    """For a gate with too many unscored answers; of most *judge* said *said*, both empty if there was none."""
    by = f" ({judge}: {said})" if judge else ""
    reason = f"{count} of {plural(answers, 'answer')} unscored{by}, more than the {gate.max_unscored:.0%} allowed"
    if said in _OF_ANSWERS:
        return f"{reason}; {_OF_ANSWERS[said]}"
    if not judge or reads_exactly(judge):
        return reason  # the answers themselves cannot be read: another judge would not help
    return f"{reason}; {_REMEDY}"


def foreseen(judge: str, share: float, allowed: float) -> str:
    """For a gate whose judge, by its measured errors, leaves more unscored than *allowed*."""
    return f"{judge} usually leaves {share:.0%} of the answers unscored, {allowed:.0%} are allowed; {_REMEDY}"


def verdict(gate: Gate, decisions: Sequence[Decision]) -> str:
    """All that was found, the most serious first."""
    order = (VIOLATED, UNDECIDED, HOLDS)
    return "; ".join(_decision(gate, decision) for decision in sorted(decisions, key=lambda f: order.index(f.state)))


def stopped(gate: Gate, test: BoundTest, found: Stopped) -> str:
    """For a gate that an early stop decided."""
    value, low, high, bound = _percents((test.estimate.value, test.estimate.low, test.estimate.high, test.bound))
    place = _place(bound, holds=found.state == HOLDS, at_least=test.at_least)
    after = f"certain after {found.asked} of {plural(found.of, 'case')} (early stop)"
    return f"{_name(gate)} {value} [{low}, {high}]: {place}, {after}"


def _decision(gate: Gate, decision: Decision) -> str:
    test, estimate = decision.test, decision.test.estimate
    if test.of:
        start, place = _regression(gate, decision)
        counts = f"({estimate.n:,} of {plural(test.of, 'case')} in both runs, {plural(estimate.clusters, 'cluster')})"
    else:
        value, low, high, bound = _percents((estimate.value, estimate.low, estimate.high, test.bound))
        start, counts = f"{_name(gate)} {value} [{low}, {high}]", _counts(estimate)
        place = _place(bound, holds=test.holds(estimate.value, estimate.value), at_least=test.at_least)
    return f"{start}: {place}, {_how_sure(gate, decision)} {counts}"


def _place(bound: str, *, holds: bool, at_least: bool) -> str:
    if at_least:
        return f"{'above' if holds else 'below'} the required {bound}"
    return f"{'within' if holds else 'above'} the allowed {bound}"


def _regression(gate: Gate, decision: Decision) -> tuple[str, str]:
    estimate = decision.test.estimate
    numbers = (estimate.value, estimate.low, estimate.high, decision.test.bound)
    value, low, high, margin = _percents(numbers, unit="")
    turn = "worse" if estimate.value > 0 else "better"
    change = f"{turn} by {value.removeprefix('-')} points than" if estimate.value else "the same as in"
    holds = decision.test.holds(estimate.value, estimate.value)
    place = f"{'within' if holds else 'above'} the allowed worsening of {margin}"
    return f"{_name(gate)} {change} the baseline [{low}, {high}]", place


def _how_sure(gate: Gate, decision: Decision) -> str:
    wants = f"this gate {'passes' if gate.needs_proof else 'fails'} only on proof"
    if decision.state == HOLDS:
        return "also at the worse end of the interval"
    if decision.state == VIOLATED:
        return "even at the better end of the interval"
    if decision.alone == UNDECIDED:
        return f"but too few cases to be sure; {wants}"
    adjusted = decision.adjusted_violated if decision.alone == VIOLATED else decision.adjusted_holds
    return (
        f"as is the whole interval, but one of {decision.family} such gates does so by chance more often "
        f"than {gate.alpha:.3g} allows (adjusted p {adjusted:.2g}); {wants}"
    )


def _name(gate: Gate) -> str:
    return title_of(gate.metric)


def _counts(estimate: Estimate) -> str:
    return f"(n={estimate.n:,}, {plural(estimate.clusters, 'cluster')})"


def _percents(numbers: Sequence[float], unit: str = "%") -> list[str]:
    """With one decimal, or as many as it takes for an end that is not the bound (the last number) to look it."""
    *_, last = numbers
    for digits in (1, 2, 3):
        texts = [f"{round(100 * number, digits) + 0.0:.{digits}f}{unit}" for number in numbers]  # no -0.0
        if all((text == texts[-1]) == (abs(number - last) < 1e-9) for text, number in zip(texts, numbers, strict=True)):
            break
    return texts
