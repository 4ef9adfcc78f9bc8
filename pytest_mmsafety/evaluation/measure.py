"""How one gate is measured on the records of a run: its number, the claims it makes, or why it does not speak."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_mmsafety.baselines import match
from pytest_mmsafety.evaluation import reasons as sentences
from pytest_mmsafety.evaluation.corrected import Columns, Labelled, corrected_share, labelled_share
from pytest_mmsafety.evaluation.table import ANSWERED, ERROR, MISSING, SKIPPED, Table
from pytest_mmsafety.metrics import METRICS
from pytest_mmsafety.outcomes import NOT_ASKED
from pytest_mmsafety.statistics.decisions import Claim
from pytest_mmsafety.statistics.estimates import Estimate, clustered_difference, clustered_share
from pytest_mmsafety.verdicts import reads_exactly, verdict_by

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pytest_mmsafety.calibration import Calibration
    from pytest_mmsafety.gates import Gate
    from pytest_mmsafety.labels import Labels
    from pytest_mmsafety.run import Record
    from pytest_mmsafety.statistics.decisions import Stopped

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Mask = NDArray[np.bool_]

_NAMED = 5
"""Cases that a reason names."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What is known of a gate before its family is judged."""

    gate: Gate
    counts: Mapping[str, int]
    """Of its cases, by the names that the result has for them."""
    estimate: Estimate | None = None
    claims: tuple[Claim, ...] = ()
    numbers: Mapping[str, Any] = field(default_factory=dict)
    """Further ones, by the same names."""
    words: str = ""
    """What its reason ends with, or empty: how the estimate was corrected for the judge's errors, or why it was not."""
    intolerable: str = ""
    """Which cases under zero tolerance failed, or empty: the gate failed, whatever else there is."""
    silent: str = ""
    """Why the gate does not speak, or empty. Claims beside it may still fail the gate, never pass it."""
    whole: bool = True
    """Whether the run has all of its cases, and the baseline that it needs."""
    stopped: Stopped | None = None
    """Its early verdict, if there is one: it stands, whatever the family says."""


class _Held(NamedTuple):
    """What is held against the bound."""

    estimate: Estimate | None
    words: str
    """How it was corrected, or why not, or why there is none."""
    raw: Estimate | None = None
    """As the judge has it, beside a corrected one."""
    silent: str = ""
    """Why it may fail the gate, but not pass it, or empty."""


@dataclass(frozen=True)
class JudgedRun:
    """The run that is judged, and what it is judged with."""

    records: Sequence[Record]
    baseline: Sequence[Record] | None
    broken: str
    """Why no gate can be evaluated, or empty."""
    calibrations: Mapping[str, Calibration]
    labels: Labels | None
    stopped: Mapping[str, Stopped]

    @cached_property
    def _table(self) -> Table:
        return Table(self.records)

    @cached_property
    def _before(self) -> Table:
        """Of the baseline, which there must be."""
        assert self.baseline is not None
        return Table(self.baseline)

    @cached_property
    def _match(self) -> Ints:
        assert self.baseline is not None
        return match(self.records, self.baseline)

    @cached_property
    def _said(self) -> tuple[Floats, Floats]:
        """People's label of each record, 0 to 1, and how many answers it stands for; NaN where there is none."""
        import numpy as np

        of = self.labels.of if self.labels else {}
        labels = [of.get(record.key) for record in self.records]
        failure = [np.nan if label is None or label.failure is None else label.failure for label in labels]
        return np.array(failure), np.array([np.nan if label is None else label.stands_for for label in labels])

    def measure(self, gate: Gate) -> Measured:
        table = self._table
        spoken_of = table.where(gate.where) & (table.strata(METRICS[gate.metric]) >= 0)
        answered = spoken_of & (table.state == ANSWERED)
        scored = answered & _known(table.scores(gate.judge))
        counts = {
            "n": int(scored.sum()),
            "unscored": int(answered.sum() - scored.sum()),
            "skipped": int((table.state[spoken_of] == SKIPPED).sum()),
            "errors": int((table.state[spoken_of] == ERROR).sum()),
            "missing": int((table.state[spoken_of] == MISSING).sum()),
        }
        if reason := self._intolerable(gate, scored):
            return Measured(gate, counts, intolerable=reason)
        stopped = self.stopped.get(gate.name)
        not_asked = "" if stopped else self._not_asked(spoken_of, counts)
        if reason := self.broken or not_asked or self._incomplete(spoken_of, counts) or self._no_baseline(gate):
            return Measured(gate, counts, silent=reason, whole=False)
        untold = self._untold(gate, spoken_of, answered & ~scored)
        if stopped and gate.bound is not None:
            claim = Claim(stopped.estimate, gate.bound, at_least=gate.min is not None)
            numbers = {"decided_after": stopped.asked}
            return Measured(gate, counts, stopped.estimate, (claim,), numbers, untold, silent=untold, stopped=stopped)
        return self._claims(gate, counts, answered, untold)

    def _claims(self, gate: Gate, counts: Mapping[str, int], answered: Mask, untold: str) -> Measured:
        estimate, words, raw, silent = self._held(gate, answered)
        if estimate is None:
            return Measured(gate, counts, silent=untold or words)
        words, silent = "; ".join(filter(None, (untold, words))), untold or silent
        numbers = {} if raw is None else {"raw": raw.value, "raw_low": raw.low, "raw_high": raw.high}
        claims: tuple[Claim, ...] = ()
        if gate.bound is not None:
            claims = (Claim(estimate, gate.bound, at_least=gate.min is not None),)
        if gate.max_regression is None:
            return Measured(gate, counts, estimate, claims, numbers, words, silent=silent)
        difference, comparison, reason = self._difference(gate, answered)
        if difference is None or (reason := _too_few(gate, difference, "cases scored in both runs")):
            return Measured(gate, counts, silent=untold or reason)
        if gate.max_regression < 1:
            claims = (*claims, Claim(difference, gate.max_regression, of=int(answered.sum())))
        return Measured(gate, counts, estimate, claims, {**numbers, **comparison}, words, silent=silent)

    def _held(self, gate: Gate, answered: Mask) -> _Held:
        """What people's labels make of all answers, or else the judge's number, corrected if its errors are known."""
        metric = METRICS[gate.metric]
        raw, reason = self._as_judged(gate, answered)
        labels = None if metric.counts_unscored else self.labels
        words = self._needless(gate, answered, raw) if labels else ""
        if labels and not words:
            held = self._by_labels(gate, labels, answered)
        elif raw is None:
            return _Held(None, reason)
        elif metric.counts_unscored or metric.given or not self.calibrations:
            return _Held(raw, words)
        else:
            held = self._by_calibration(gate, raw, answered & _known(self._table.scores(gate.judge)))
        if held.estimate is None and raw is not None:  # what would fail without a correction fails with one refused
            return _Held(raw, f"the judge's own number, {held.words}", silent=held.words)
        return held

    def _as_judged(self, gate: Gate, answered: Mask) -> tuple[Estimate | None, str]:
        """The number of the scored answers; or why there is none."""
        if reason := self._unscored(gate, answered):
            return None, reason
        values = self._table.values(METRICS[gate.metric], gate.judge)
        counts_here = answered & _known(values)
        if not counts_here.any():
            return None, f"no case counts for {gate.metric}"
        raw = self._share(gate, values, counts_here)
        reason = _too_few(gate, raw, "scored cases")
        return None if reason else raw, reason

    def _by_calibration(self, gate: Gate, raw: Estimate, scored: Mask) -> _Held:
        tags = {tag: accepted[0] for tag, accepted in gate.where.items() if len(accepted) == 1}
        columns = self._columns(gate, scored)
        found = corrected_share(raw, METRICS[gate.metric], columns, self.calibrations, tags, alpha=gate.alpha)
        if found is None:
            return _Held(raw, "")
        if found.estimate is None:
            return _Held(None, f"not corrected for the judge's errors: {found.reason}")
        return _Held(found.estimate, "corrected for the judge's errors", raw)

    def _by_labels(self, gate: Gate, labels: Labels, answered: Mask) -> _Held:
        if reason := self._absent(gate, answered, "answer"):
            return _Held(None, reason)
        table, metric = self._table, METRICS[gate.metric]
        failure, stands_for = self._said
        scores = table.scores(gate.judge)
        graded = self._by_its_judges(gate, answered) & (scores > 0) & (scores < 1)
        values = (1 - failure if metric.higher_is_better else failure)[answered]
        labelled = Labelled(values, stands_for[answered], labels.levels, bool(graded.any()))
        columns = self._columns(gate, answered)
        estimate, reason = labelled_share(metric, columns, labelled, alpha=gate.alpha, max_unknown=gate.max_unscored)
        if estimate is None:
            return _Held(None, f"not corrected with people's labels: {reason}")
        if reason := _too_few(gate, estimate, "answers"):
            return _Held(None, reason)
        words = f"corrected with people's labels of {_known(values).sum()} of {estimate.n} answers"
        scored = answered & _known(scores)
        if unscored := int(answered.sum() - scored.sum()):
            words += f", with the {unscored} that the judge did not score"
        partial = not scored.any() or self._absent(gate, scored, "scored case")
        return _Held(estimate, words, None if partial else self._share(gate, table.values(metric, gate.judge), scored))

    def _needless(self, gate: Gate, answered: Mask, raw: Estimate | None) -> str:
        """Why its number *raw* is not to be corrected with people's labels, or empty."""
        import numpy as np

        metric = METRICS[gate.metric]
        if metric.given:
            return f"not corrected: {metric.name} depends on pairs of answers"
        judge, judges = self._table.judges(gate.judge)
        scored = answered & _known(self._table.scores(gate.judge))
        exact = [judges[code] for code in np.unique(judge[scored])]
        if raw is not None and all(map(reads_exactly, exact)):
            return f"not corrected: the verdicts of {' and '.join(exact)} are read off the answers"
        if (self._by_its_judges(gate, answered) & _known(self._said[1])).any():
            return ""
        names = " or ".join(judges[code] for code in np.unique(judge[answered & (judge >= 0)]))
        return f"not corrected: people labelled no answer that {names} judged"

    def _by_its_judges(self, gate: Gate, answered: Mask) -> Mask:
        """What the judges of the answered cases judged, here or elsewhere in the run."""
        import numpy as np

        judge, _ = self._table.judges(gate.judge)
        return np.isin(judge, judge[answered & (judge >= 0)])

    def _share(self, gate: Gate, values: Floats, mask: Mask) -> Estimate:
        return clustered_share(values[mask], self._table.cluster[mask], gate.alpha, *self._strata(gate, mask))

    def _columns(self, gate: Gate, mask: Mask) -> Columns:
        table, metric = self._table, METRICS[gate.metric]
        judge, judges = table.judges(gate.judge)
        values, strata = table.values(metric, gate.judge), table.strata(metric)
        return Columns(values[mask], table.cluster[mask], strata[mask], judge[mask], judges)

    def _difference(self, gate: Gate, answered: Mask) -> tuple[Estimate | None, dict[str, float | int], str]:
        """How much worse than the baseline it is; or why that cannot be said."""
        metric = METRICS[gate.metric]
        both = answered & (self._match >= 0)
        both[both] = self._before.state[self._match[both]] == ANSWERED
        if not both.any():
            return None, {}, "no answered case of the baseline is the same (key, prompt, expectation, images)"
        scored = both & _known(self._table.scores(gate.judge))
        scored &= _known(_at(self._before.scores(gate.judge), self._match, both))
        lost = 0 if metric.counts_unscored else int(both.sum() - scored.sum())
        if lost > gate.max_unscored * both.sum():
            reason = f"{lost} of {both.sum()} cases are unscored in one of the runs, more than the "
            return None, {}, f"{reason}{gate.max_unscored:.0%} allowed"
        now = self._table.values(metric, gate.judge)
        then = _at(self._before.values(metric, gate.judge), self._match, both)
        pairs = both & _known(now) & _known(then)
        if reason := self._absent(gate, pairs, "case scored in both runs"):
            return None, {}, reason
        if not pairs.any():
            return None, {}, f"no case counts for {gate.metric} in both runs"
        sign = -1 if metric.higher_is_better else 1
        grouping = (self._table.cluster[pairs], gate.alpha, *self._strata(gate, pairs))
        difference = clustered_difference(sign * (now - then)[pairs], *grouping)
        comparison = {
            "baseline": clustered_share(then[pairs], *grouping).value,
            "difference": difference.value,
            "difference_low": difference.low,
            "difference_high": difference.high,
            "pairs": difference.n,
        }
        return difference, comparison, ""

    def _strata(self, gate: Gate, mask: Mask) -> tuple[Any, Mapping[int, float]]:
        metric = METRICS[gate.metric]
        return self._table.strata(metric)[mask], dict(enumerate(metric.weights.values()))

    # --- why a gate does not speak

    def _intolerable(self, gate: Gate, scored: Mask) -> str:
        """Which cases that are under zero tolerance fail, or empty."""
        failing = scored & self._under_zero_tolerance(gate) & (self._table.scores(gate.judge) > 0)
        if not failing.any():
            return ""
        return f"zero tolerance: {failing.sum()} of its cases failed: {self._some(failing)}"

    def _untold(self, gate: Gate, spoken_of: Mask, unscored: Mask) -> str:
        """Why zero tolerance cannot be shown, or empty."""
        for accepted in gate.zero_tolerance:
            if not (spoken_of & self._table.where(accepted)).any():
                words = ", ".join(f"{tag}: {' or '.join(values)}" for tag, values in accepted.items())
                return f"no case of the gate matches zero_tolerance {words}"
        untold = unscored & self._under_zero_tolerance(gate)
        if gate.needs_proof and untold.any():
            return f"zero tolerance: {untold.sum()} of its cases are unscored: {self._some(untold)}"
        return ""

    def _under_zero_tolerance(self, gate: Gate) -> Mask:
        import numpy as np

        masks = [self._table.where(accepted) for accepted in gate.zero_tolerance]
        return np.any(masks, axis=0) if masks else np.zeros(len(self.records), dtype=bool)

    def _some(self, mask: Mask) -> str:
        keys = sorted(self.records[i].key for i in mask.nonzero()[0].tolist())
        return ", ".join(keys[:_NAMED]) + (" ..." if len(keys) > _NAMED else "")

    def _incomplete(self, spoken_of: Mask, counts: Mapping[str, int]) -> str:
        """Why the cases of a gate are only a part, or empty. A part is never judged as the whole."""
        cases = int(spoken_of.sum())
        total = cases - counts["skipped"]
        if not cases:
            return "no collected case matches it"
        if not total:
            return f"all {cases} cases were skipped ({self.records[int(spoken_of.argmax())].skipped})"
        absent = {"not run": counts["missing"], "in error": counts["errors"]}
        if not any(absent.values()):
            return ""
        causes = ", ".join(f"{count} {word}" for word, count in absent.items() if count)
        return f"{total - sum(absent.values())} of {total} cases have an answer ({causes})"

    def _not_asked(self, spoken_of: Mask, counts: Mapping[str, int]) -> str:
        """For a gate that an early stop did not decide: why its cases are only a part of them, or empty."""
        records = (self.records[i] for i in spoken_of.nonzero()[0].tolist()) if counts["skipped"] else ()
        saved = sum(record.skipped == NOT_ASKED for record in records)
        return (
            f"{saved} of {int(spoken_of.sum())} cases were not asked after an early stop for other gates"
            if saved
            else ""
        )

    def _no_baseline(self, gate: Gate) -> str:
        return sentences.no_baseline(gate) if self.baseline is None and gate.max_regression is not None else ""

    def _unscored(self, gate: Gate, answered: Mask) -> str:
        """Why too few of the answers have a score, or empty."""
        if METRICS[gate.metric].counts_unscored:
            return ""
        scored = answered & _known(self._table.scores(gate.judge))
        total, unscored = int(answered.sum()), int(answered.sum() - scored.sum())
        if unscored > gate.max_unscored * total:
            judge, said = self._by_whom(gate, answered & ~scored)
            return sentences.unscored(gate, unscored, total, judge, said)
        return self._absent(gate, scored, "scored case") or ("" if scored.any() else "no answer is scored")

    def _by_whom(self, gate: Gate, unscored: Mask) -> tuple[str, str]:
        """The judge that left most of them unscored, and what it said of most; both empty if no judge did."""
        verdicts = (verdict_by(self.records[i].verdicts, gate.judge) for i in unscored.nonzero()[0].tolist())
        said = Counter((verdict.judge, verdict.label) for verdict in verdicts if verdict)
        return next((by for by, _ in said.most_common(1)), ("", ""))

    def _absent(self, gate: Gate, mask: Mask, what: str) -> str:
        """Which strata of the metric have no case, or empty."""
        metric = METRICS[gate.metric]
        present = set(self._table.strata(metric)[mask].tolist())
        absent = sorted(name for i, name in enumerate(metric.weights) if i not in present)
        return f"no {what} is {' or '.join(absent)}, which {metric.name} needs" if absent else ""


def _known(values: Any) -> Any:
    import numpy as np

    return ~np.isnan(values)


def _at(values: Any, index: Any, mask: Mask) -> Any:
    """The value at each masked record's index, NaN for the others."""
    import numpy as np

    found = np.full(len(mask), np.nan)
    found[mask] = values[index[mask]]
    return found


def _too_few(gate: Gate, estimate: Estimate, what: str) -> str:
    if estimate.n < gate.min_cases:
        return f"{estimate.n} {what}, fewer than the {gate.min_cases} required"
    if estimate.clusters < gate.min_clusters:
        return f"{estimate.clusters} clusters of {what}, fewer than the {gate.min_clusters} required"
    return ""
