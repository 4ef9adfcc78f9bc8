"""How one gate is measured on a run: its number, the tests of its bounds, or why it is not evaluated."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from pytest_mmsafety.errors import plural
from pytest_mmsafety.evaluation import obstacles
from pytest_mmsafety.evaluation.corrected import LabelColumns, corrected_share, labelled_share
from pytest_mmsafety.evaluation.scope import Scope, known
from pytest_mmsafety.evaluation.table import ANSWERED
from pytest_mmsafety.gates import Comparison, Counts, Gate, Interval
from pytest_mmsafety.labels import HumanLabels
from pytest_mmsafety.statistics.decisions import BoundTest, Stopped
from pytest_mmsafety.statistics.estimates import Estimate, Floats, Ints, Mask, clustered_difference, clustered_share
from pytest_mmsafety.verdicts import reads_exactly


@dataclass(frozen=True, slots=True)
class Measured:
    """What is known of a gate before its family is decided."""

    gate: Gate
    counts: Counts
    estimate: Estimate | None = None
    tests: tuple[BoundTest, ...] = ()
    raw: Estimate | None = None
    """By the judge's own verdicts, beside a corrected estimate."""
    comparison: Comparison | None = None
    note: str = ""
    """What its reason ends with, or empty: how the estimate was corrected for the judge's errors, or why it was not."""
    violation: str = ""
    """Which cases under zero tolerance failed, or empty: the gate failed, whatever else there is."""
    not_evaluated: str = ""
    """Why the gate is not evaluated, or empty. Tests beside it may still fail the gate, never pass it."""
    judge_failed: bool = False
    """Whether it is not evaluated because its judge failed on every answer: that blocks by either rule."""
    stopped: Stopped | None = None
    """Its early verdict, if there is one: it stands, whatever the family says."""


def measure_gate(scope: Scope) -> Measured:
    """Measure the gate of *scope*."""
    measured = Measured(scope.gate, scope.counts)
    if reason := obstacles.violation(scope):
        return replace(measured, violation=reason)
    if reason := obstacles.incomplete(scope):
        return replace(measured, not_evaluated=reason)
    unverifiable = obstacles.unverifiable(scope)
    stopped = scope.inputs.stopped.get(scope.gate.name)
    if stopped and scope.gate.bound is not None:
        test = _bound_test(scope.gate, scope.gate.bound, stopped.estimate)
        return replace(
            measured, estimate=stopped.estimate, tests=(test,), note=unverifiable, not_evaluated=unverifiable,
            stopped=stopped,
        )  # fmt: skip
    return _tested(scope, measured, unverifiable)


def _tested(scope: Scope, measured: Measured, unverifiable: str) -> Measured:
    """The estimate and the tests of the bounds; *unverifiable* forbids the gate to pass."""
    gate = scope.gate
    number = _number(scope)
    if number.estimate is None:
        failed = obstacles.judge_failed(scope)
        return replace(measured, not_evaluated=unverifiable or number.note, judge_failed=failed)
    measured = replace(
        measured,
        estimate=number.estimate,
        raw=number.raw,
        note="; ".join(filter(None, (unverifiable, number.note))),
        not_evaluated=unverifiable or number.only_fails,
    )
    if gate.bound is not None:
        measured = replace(measured, tests=(_bound_test(gate, gate.bound, number.estimate),))
    if gate.max_regression is None:
        return measured
    change = _change(scope)
    reason = change if isinstance(change, str) else obstacles.too_few(gate, change[0], "cases scored in both runs")
    if reason or isinstance(change, str):
        return Measured(gate, scope.counts, not_evaluated=unverifiable or reason)
    difference, comparison = change
    measured = replace(measured, comparison=comparison)
    if gate.max_regression == 1:
        return measured
    test = BoundTest(difference, gate.max_regression, of=int(scope.answered.sum()))
    return replace(measured, tests=(*measured.tests, test))


def _bound_test(gate: Gate, bound: float, estimate: Estimate) -> BoundTest:
    return BoundTest(estimate, bound, at_least=gate.min is not None)


# --- the number that is held against the bound


class _Number(NamedTuple):
    """The number that is held against the bound."""

    estimate: Estimate | None
    note: str
    """How it was corrected, or why not, or why there is none."""
    raw: Estimate | None = None
    """By the judge's own verdicts, beside a corrected one."""
    only_fails: str = ""
    """Why it may fail the gate, but not pass it, or empty."""


def _number(scope: Scope) -> _Number:
    """By people's labels for all answers, or else the judge's number, corrected if its errors are known."""
    metric, inputs = scope.metric, scope.inputs
    raw, reason = _as_judged(scope)
    labels = None if metric.counts_unscored else inputs.labels
    note = _why_labels_do_not_count(scope, raw) if labels else ""
    if labels and not note:
        number = _by_labels(scope, labels)
    elif raw is None:
        return _Number(None, reason)
    elif metric.counts_unscored or metric.given or not inputs.judge_errors:
        return _Number(raw, note)
    else:
        number = _by_judge_errors(scope, raw)
    if number.estimate is None and raw is not None:  # what would fail without a correction fails with one refused
        return _Number(raw, f"the judge's own number, {number.note}", only_fails=number.note)
    return number


def _as_judged(scope: Scope) -> tuple[Estimate | None, str]:
    """The number of the scored answers; or why there is none."""
    if reason := obstacles.unscored(scope):
        return None, reason
    counting = scope.answered & known(scope.values)
    if not counting.any():
        return None, f"no case counts for {scope.gate.metric}"
    raw = scope.share(scope.values, counting)
    reason = obstacles.too_few(scope.gate, raw, "scored cases")
    return None if reason else raw, reason


def _by_judge_errors(scope: Scope, raw: Estimate) -> _Number:
    gate = scope.gate
    tags = {tag: accepted[0] for tag, accepted in gate.where.items() if len(accepted) == 1}
    columns = scope.columns(scope.scored)
    found = corrected_share(raw, scope.metric, columns, scope.inputs.judge_errors, tags, alpha=gate.alpha)
    if found is None:
        return _Number(raw, "")
    if found.estimate is None:
        return _Number(None, f"not corrected for the judge's errors: {found.reason}")
    return _Number(found.estimate, "corrected for the judge's errors", raw)


def _by_labels(scope: Scope, labels: HumanLabels) -> _Number:
    gate, answered = scope.gate, scope.answered
    if reason := obstacles.absent_strata(scope, answered, "answer"):
        return _Number(None, reason)
    failure, stands_for = scope.inputs.human
    graded = _by_its_judges(scope) & (scope.scores > 0) & (scope.scores < 1)
    values = (1 - failure if scope.metric.higher_is_better else failure)[answered]
    labelled = LabelColumns(values, stands_for[answered], labels.levels, bool(graded.any()))
    columns = scope.columns(answered)
    estimate, reason = labelled_share(
        scope.metric, columns, labelled, alpha=gate.alpha, max_unknown=gate.max_unscored
    )  # fmt: skip
    if estimate is None:
        return _Number(None, f"not corrected with people's labels: {reason}")
    if reason := obstacles.too_few(gate, estimate, "answers"):
        return _Number(None, reason)
    note = f"corrected with people's labels of {known(values).sum()} of {plural(estimate.n, 'answer')}"
    if scope.counts.unscored:
        note += f", with the {scope.counts.unscored} that the judge did not score"
    partial = not scope.scored.any() or obstacles.absent_strata(scope, scope.scored, "scored case")
    return _Number(estimate, note, None if partial else scope.share(scope.values, scope.scored))


def _why_labels_do_not_count(scope: Scope, raw: Estimate | None) -> str:
    """Why the judge's number *raw* is not to be corrected with people's labels, or empty."""
    if scope.metric.given:
        return f"not corrected: {scope.metric.name} depends on pairs of answers"
    judge, judges = scope.judges
    exact = [judges[code] for code in np.unique(judge[scope.scored])]
    if raw is not None and all(map(reads_exactly, exact)):
        return f"not corrected: the verdicts of {' and '.join(exact)} are read off the answers"
    if (_by_its_judges(scope) & known(scope.inputs.human[1])).any():
        return ""
    names = " or ".join(judges[code] for code in np.unique(judge[scope.answered & (judge >= 0)]))
    return f"not corrected: people labelled no answer that {names} judged"


def _by_its_judges(scope: Scope) -> Mask:
    """What the judges of the answered cases judged, here or elsewhere in the run."""
    judge, _ = scope.judges
    return np.isin(judge, judge[scope.answered & (judge >= 0)])


# --- the difference to the baseline


def _change(scope: Scope) -> tuple[Estimate, Comparison] | str:
    """How much worse than the baseline the run is; or why that cannot be said."""
    gate, metric, inputs = scope.gate, scope.metric, scope.inputs
    earlier, index = inputs.earlier, inputs.match
    both = scope.answered & (index >= 0)
    both[both] = earlier.state[index[both]] == ANSWERED
    if not both.any():
        return "no answered case of the baseline is the same (key, prompt, expectation, images)"
    scored = both & known(scope.scores)
    scored &= known(_at(earlier.scores(gate.judged_by), index, both))
    lost = 0 if metric.counts_unscored else int(both.sum() - scored.sum())
    if lost > gate.max_unscored * both.sum():
        reason = f"{lost} of {plural(int(both.sum()), 'case')} unscored in one of the runs, more than the "
        return f"{reason}{gate.max_unscored:.0%} allowed"
    now, then = scope.values, _at(earlier.values(metric, gate.judged_by), index, both)
    pairs = both & known(now) & known(then)
    if reason := obstacles.absent_strata(scope, pairs, "case scored in both runs"):
        return reason
    if not pairs.any():
        return f"no case counts for {gate.metric} in both runs"
    sign = -1 if metric.higher_is_better else 1
    grouping = (scope.table.cluster[pairs], gate.alpha, *scope.strata(pairs))
    difference = clustered_difference(sign * (now - then)[pairs], *grouping)
    interval = Interval(difference.value, difference.low, difference.high)
    return difference, Comparison(clustered_share(then[pairs], *grouping).value, interval, difference.n)


def _at(values: Floats, index: Ints, mask: Mask) -> Floats:
    """The value at each masked record's index, NaN for the others."""
    found = np.full(len(mask), np.nan)
    found[mask] = values[index[mask]]
    return found
