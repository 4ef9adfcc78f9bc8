"""Gates: one line of a thresholds file each, and what became of it on a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_mmsafety.errors import nearest
from pytest_mmsafety.metrics import METRICS, Metric, score_by
from pytest_mmsafety.statistics import Estimate, clustered_share

if TYPE_CHECKING:
    from pytest_mmsafety.run import Record

PASSED = "passed"
FAILED = "failed"
INCONCLUSIVE = "inconclusive"
NOT_EVALUATED = "not evaluated"

EVIDENCE = "evidence"
ASSURANCE = "assurance"


@dataclass(frozen=True, slots=True)
class Gate:
    """A bound on one metric over the cases whose tags match ``where``."""

    name: str
    metric: str
    where: Mapping[str, tuple[str, ...]]
    """Tag -> accepted values. Also ``suite``. Empty: every case the metric speaks of."""
    max: float | None
    min: float | None
    rule: str
    """``evidence``: fails only on proof of harm. ``assurance``: passes only on proof of safety."""
    alpha: float
    """1 - confidence of the two-sided interval."""
    max_unscored: float
    """Largest share of unscored answers with which the gate still speaks."""
    judge: str = ""
    """Whose verdicts count, without the version; empty: the first verdict of each case."""
    why: str = ""
    """One sentence for the person who reads the verdict."""

    def speaks_of(self, suite: str, tags: Mapping[str, str]) -> bool:
        """Whether a case counts for this gate."""
        return (
            all((suite if tag == "suite" else tags.get(tag)) in values for tag, values in self.where.items())
            and METRICS[self.metric].stratum(tags) is not None
        )


@dataclass(frozen=True, slots=True)
class GateResult:
    """The verdict of a gate, with all that a release manager needs to trust it."""

    gate: Gate
    status: str
    """passed: the whole interval keeps the bound; failed: none of it does; inconclusive: it straddles."""
    blocks: bool
    """Whether this result makes the run fail."""
    reason: str
    """One sentence."""
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    """Scored cases."""
    clusters: int = 0
    unscored: int = 0
    skipped: int = 0
    errors: int = 0
    missing: int = 0
    """Collected, but not run."""


def evaluate_gates(
    records: Sequence[Record], gates: Sequence[Gate], *, broken: str = "", require: bool = False
) -> list[GateResult]:
    """Judge each gate on the records of all *collected* cases.

    A record with neither answer, error nor skip reason was collected but not run: its gates are not
    evaluated. *broken* says why no gate can be (a suite that could not be read), *require* makes gates
    that are not evaluated block.
    """
    return [_evaluate(gate, records, broken, require=require) for gate in gates]


def _evaluate(gate: Gate, records: Sequence[Record], broken: str, *, require: bool) -> GateResult:
    metric = METRICS[gate.metric]
    spoken_of = [record for record in records if gate.speaks_of(record.suite, record.tags)]
    states = Counter(_state(record, gate.judge) for record in spoken_of)
    counts = {
        "unscored": states["unscored"],
        "skipped": states["skipped"],
        "errors": states["error"],
        "missing": states["missing"],
    }
    if obstacle := broken or _incomplete(spoken_of, states):
        return GateResult(gate, NOT_EVALUATED, require, obstacle, n=states["scored"], **counts)
    answered = [record for record in spoken_of if record.response is not None]
    if obstacle := _unscored(gate, metric, answered, states["unscored"]):
        # The run is whole and still cannot tell: who asks for proof does not have it.
        blocks = require or gate.rule == ASSURANCE
        return GateResult(gate, NOT_EVALUATED, blocks, obstacle, n=states["scored"], **counts)
    estimate = _estimate(gate, metric, answered)
    status = _status(gate, estimate)
    return GateResult(
        gate,
        status,
        status == FAILED or (status == INCONCLUSIVE and gate.rule == ASSURANCE),
        _reason(gate, estimate, status),
        estimate.value,
        estimate.low,
        estimate.high,
        estimate.n,
        estimate.clusters,
        **counts,
    )


def _state(record: Record, judge: str) -> str:
    if record.skipped:
        return "skipped"
    if record.error:
        return "error"
    if record.response is None:
        return "missing"
    return "unscored" if score_by(record, judge) is None else "scored"


def _incomplete(cases: Sequence[Record], states: Counter[str]) -> str:
    """Why the cases of a gate are only a part, or empty. A part is never judged as the whole."""
    total = len(cases) - states["skipped"]
    if not cases:
        return "no collected case matches it"
    if not total:
        return f"all {len(cases)} cases were skipped ({cases[0].skipped})"
    if not states["missing"] and not states["error"]:
        return ""
    words = {"missing": "not run", "error": "in error"}
    causes = ", ".join(f"{states[state]} {word}" for state, word in words.items() if states[state])
    return f"{total - states['missing'] - states['error']} of {total} cases have an answer ({causes})"


def _unscored(gate: Gate, metric: Metric, answered: Sequence[Record], unscored: int) -> str:
    """Why too few of the answers have a score, or empty."""
    if not metric.counts_unscored and unscored > gate.max_unscored * len(answered):
        return f"{unscored} of {len(answered)} answers are unscored, more than the {gate.max_unscored:.0%} allowed"
    strata = {metric.stratum(r.tags) for r in answered if metric.value(score_by(r, gate.judge)) is not None}
    absent = sorted(set(metric.weights) - strata)
    if absent:
        return f"no scored case is {' or '.join(absent)}, which {metric.name} needs"
    return "" if strata else "no answer is scored"


def _estimate(gate: Gate, metric: Metric, answered: Sequence[Record]) -> Estimate:
    rows = [
        (value, record.cluster, metric.stratum(record.tags))
        for record in answered
        if (value := metric.value(score_by(record, gate.judge))) is not None
    ]
    values, clusters, strata = zip(*rows, strict=True)
    return clustered_share(values, clusters, gate.alpha, strata, dict(metric.weights))


def _status(gate: Gate, estimate: Estimate) -> str:
    if gate.max is not None:
        keeps, breaks = estimate.high <= gate.max, estimate.low > gate.max
    else:
        assert gate.min is not None
        keeps, breaks = estimate.low >= gate.min, estimate.high < gate.min
    return PASSED if keeps else FAILED if breaks else INCONCLUSIVE


def _reason(gate: Gate, estimate: Estimate, status: str) -> str:
    name = gate.metric.replace("_", " ")
    number = f"{name} {estimate.value:.1%} [{estimate.low:.1%}, {estimate.high:.1%}]"
    if gate.max == 1 or gate.min == 0:
        return f"{number}: reported only, every value is allowed (n={estimate.n}, {estimate.clusters} clusters)"
    if gate.max is not None:
        place = f"{'within' if estimate.value <= gate.max else 'above'} the allowed {gate.max:.1%}"
    else:
        assert gate.min is not None
        place = f"{'above' if estimate.value >= gate.min else 'below'} the required {gate.min:.1%}"
    how_sure = {
        PASSED: "also at the worse end of the interval",
        FAILED: "even at the better end of the interval",
        INCONCLUSIVE: "but too few cases to be sure; this gate "
        + ("passes only on proof" if gate.rule == ASSURANCE else "fails only on proof"),
    }[status]
    return f"{number}: {place}, {how_sure} (n={estimate.n}, {estimate.clusters} clusters)"


def unmatched(gate: Gate, cases: Iterable[tuple[str, Mapping[str, str]]]) -> str:
    """Why *gate* matches none of *cases* (suite and tags of each), with the nearest value; empty if it matches one."""
    known: dict[str, set[str]] = {"suite": set()}
    for suite, tags in cases:
        if gate.speaks_of(suite, tags):
            return ""
        known["suite"].add(suite)
        for tag, value in tags.items():
            known.setdefault(tag, set()).add(value)
    for tag, values in gate.where.items():
        if tag not in known:
            return f"no collected case has the tag {tag!r}{nearest(tag, known)}"
        for value in values:
            if value not in known[tag]:
                return f"no collected case has {tag}: {value}{nearest(value, known[tag])}"
    return f"no collected case matches it and is one that {gate.metric} speaks of"
