"""What a gate found, in one sentence for a release manager."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pytest_mmsafety.statistics.decisions import BROKEN, KEPT, UNSURE, Claim, Finding
from pytest_mmsafety.statistics.estimates import Estimate

if TYPE_CHECKING:
    from pytest_mmsafety.gates import Gate
    from pytest_mmsafety.statistics.decisions import Stopped


_REMEDY = "name a stronger judge (--judge) or have a sample labelled (mmsafety judge label)"


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
    reason = f"{count} of {answers} answers are unscored{by}, more than the {gate.max_unscored:.0%} allowed"
    if not judge.startswith("guardrank-mini/"):
        return reason
    return f"{reason}; {_REMEDY}"


def foreseen(judge: str, share: float, allowed: float) -> str:
    """For a gate whose judge, by its measured errors, leaves more unscored than *allowed*."""
    return f"{judge} usually leaves {share:.0%} of the answers unscored, {allowed:.0%} are allowed; {_REMEDY}"


def verdict(gate: Gate, findings: Sequence[Finding]) -> str:
    """All that was found, the most serious first."""
    order = (BROKEN, UNSURE, KEPT)
    return "; ".join(_claim(gate, finding) for finding in sorted(findings, key=lambda f: order.index(f.state)))


def stopped(gate: Gate, claim: Claim, found: Stopped) -> str:
    """For a gate that an early stop decided."""
    value, low, high, bound = _percents((claim.estimate.value, claim.estimate.low, claim.estimate.high, claim.bound))
    place = _place(bound, kept=found.state == KEPT, at_least=claim.at_least)
    return (
        f"{_name(gate)} {value} [{low}, {high}]: {place}, certain after {found.asked} of {found.of} cases (early stop)"
    )


def _claim(gate: Gate, finding: Finding) -> str:
    claim, estimate = finding.claim, finding.claim.estimate
    if claim.of:
        start, place = _regression(gate, finding)
        counts = f"({estimate.n} of {claim.of} cases in both runs, {estimate.clusters} clusters)"
    else:
        value, low, high, bound = _percents((estimate.value, estimate.low, estimate.high, claim.bound))
        start, counts = f"{_name(gate)} {value} [{low}, {high}]", _counts(estimate)
        place = _place(bound, kept=claim.is_kept(estimate.value, estimate.value), at_least=claim.at_least)
    return f"{start}: {place}, {_how_sure(gate, finding)} {counts}"


def _place(bound: str, *, kept: bool, at_least: bool) -> str:
    if at_least:
        return f"{'above' if kept else 'below'} the required {bound}"
    return f"{'within' if kept else 'above'} the allowed {bound}"


def _regression(gate: Gate, finding: Finding) -> tuple[str, str]:
    estimate = finding.claim.estimate
    numbers = (estimate.value, estimate.low, estimate.high, finding.claim.bound)
    value, low, high, margin = _percents(numbers, unit="")
    turn = "worse" if estimate.value > 0 else "better"
    change = f"{turn} by {value.removeprefix('-')} points than" if estimate.value else "the same as in"
    kept = finding.claim.is_kept(estimate.value, estimate.value)
    place = f"{'within' if kept else 'above'} the allowed worsening of {margin}"
    return f"{_name(gate)} {change} the baseline [{low}, {high}]", place


def _how_sure(gate: Gate, finding: Finding) -> str:
    wants = f"this gate {'passes' if gate.needs_proof else 'fails'} only on proof"
    if finding.state == KEPT:
        return "also at the worse end of the interval"
    if finding.state == BROKEN:
        return "even at the better end of the interval"
    if finding.alone == UNSURE:
        return f"but too few cases to be sure; {wants}"
    adjusted = finding.adjusted_broken if finding.alone == BROKEN else finding.adjusted_kept
    return (
        f"as is the whole interval, but one of {finding.family} such gates does so by chance more often "
        f"than {gate.alpha:.3g} allows (adjusted p {adjusted:.2g}); {wants}"
    )


def _name(gate: Gate) -> str:
    return gate.metric.replace("_", " ")


def _counts(estimate: Estimate) -> str:
    return f"(n={estimate.n}, {estimate.clusters} clusters)"


def _percents(numbers: Sequence[float], unit: str = "%") -> list[str]:
    """With one decimal, or as many as it takes for an end that is not the bound (the last number) to look it."""
    *_, last = numbers
    for digits in (1, 2, 3):
        texts = [f"{round(100 * number, digits) + 0.0:.{digits}f}{unit}" for number in numbers]  # no -0.0
        if all((text == texts[-1]) == (abs(number - last) < 1e-9) for text, number in zip(texts, numbers, strict=True)):
            break
    return texts
