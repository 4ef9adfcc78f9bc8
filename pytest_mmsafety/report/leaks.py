"""The numbers of a run with and without the cases that training data hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pytest_mmsafety.evaluation.checks import missing_baseline
from pytest_mmsafety.evaluation.evaluate import evaluate_gates
from pytest_mmsafety.gates import GateResult, Interval
from pytest_mmsafety.judge_errors import JudgeErrors
from pytest_mmsafety.metrics import METRICS, Metric, title_of
from pytest_mmsafety.report.text import percents
from pytest_mmsafety.run import Record, Run
from pytest_mmsafety.statistics.estimates import clustered_share

_METRICS = ("attack_success_rate", "over_refusal_rate", "accuracy")
"""What is shown of every suite, whatever the gates ask."""
_ALPHA = 0.05
_NAMED = 50


@dataclass(frozen=True, slots=True)
class Number:
    """An estimate in words; empty where there is none."""

    value: str = ""
    interval: str = ""
    n: int = 0


@dataclass(frozen=True, slots=True)
class MetricRow:
    """One metric of one suite."""

    suite: str
    metric: str
    everything: Number
    without: Number
    leaked: Number


@dataclass(frozen=True, slots=True)
class GateRow:
    """One gate; the second result is of the run without the leaked cases."""

    everything: GateResult
    without: GateResult
    before: Number
    after: Number


@dataclass(frozen=True, slots=True)
class Leaks:
    """The section of the page."""

    listed: int
    """Keys in the file."""
    found: int
    """Cases of the run among them."""
    by_suite: tuple[tuple[str, int, int], ...]
    """Suite, leaked cases, all cases."""
    named: tuple[str, ...]
    metrics: tuple[MetricRow, ...]
    gates: tuple[GateRow, ...]
    unjudged: int
    """Gates that were judged with a baseline or judge errors that the page was made without."""
    unknown: int
    """Gates of a metric that is not known here."""


def leaks(run: Run, keys: Collection[str], baseline: Run | None, judge_errors: Mapping[str, JudgeErrors]) -> Leaks:
    """Measure everything again without the cases of *keys*; the gates too, against the same *baseline*."""
    leaked = [record for record in run.own_records if record.key in keys]
    kept = [record for record in run.records if record.original not in keys and record.key not in keys]
    suites = Counter(record.suite for record in run.own_records)
    of_suites = Counter(record.suite for record in leaked)
    known = [result for result in run.gates if result.gate.metric in METRICS]
    again = [
        result
        for result in known
        if not (baseline is None and missing_baseline([result.gate])) and (result.raw is None or judge_errors)
    ]
    return Leaks(
        listed=len(keys),
        found=len(leaked),
        by_suite=tuple((suite, of_suites[suite], total) for suite, total in suites.items() if of_suites[suite]),
        named=tuple(sorted(record.key for record in leaked)[:_NAMED]),
        metrics=tuple(_metric_rows(leaked, kept, list(of_suites))),
        gates=tuple(_gate_rows(again, kept, baseline, judge_errors)) if leaked else (),
        unjudged=len(known) - len(again),
        unknown=len(run.gates) - len(known),
    )


def _metric_rows(leaked: Sequence[Record], kept: Sequence[Record], suites: Sequence[str]) -> Iterator[MetricRow]:
    for suite in suites:
        parts = [[record for record in records if record.suite == suite] for records in (kept, leaked)]
        for name in _METRICS:
            everything, without, only = (
                _measure(records, METRICS[name]) for records in ([*parts[0], *parts[1]], *parts)
            )
            if only.n:
                yield MetricRow(suite, title_of(name), everything, without, only)


def _measure(records: Sequence[Record], metric: Metric) -> Number:
    counted = [
        (value, record.cluster)
        for record in records
        if record.response is not None
        and metric.stratum(record.tags) is not None
        and (value := metric.value(record.score)) is not None
    ]
    if not counted:
        return Number()
    values, clusters = zip(*counted, strict=True)
    estimate = clustered_share(values, clusters, _ALPHA)
    return _number(Interval(estimate.value, estimate.low, estimate.high), estimate.n)


def _number(interval: Interval | None, n: int) -> Number:
    if interval is None:
        return Number(n=n)
    texts = percents(interval.value, interval.low, interval.high)
    return Number(texts[0], f"{texts[1]} to {texts[2]}", n)


def _gate_rows(
    known: Sequence[GateResult], kept: Sequence[Record], baseline: Run | None, judge_errors: Mapping[str, JudgeErrors]
) -> Iterator[GateRow]:
    corrected = any(result.raw is not None for result in known)
    again = evaluate_gates(
        kept,
        [result.gate for result in known],
        baseline=None if baseline is None else baseline.records,
        judge_errors=judge_errors if corrected else {},
    )
    for before, after in zip(known, again, strict=True):
        old, new = before.counts, after.counts
        if (old.n, old.clusters, old.unscored) != (new.n, new.clusters, new.unscored):
            yield GateRow(before, after, _of_gate(before), _of_gate(after))


def _of_gate(result: GateResult) -> Number:
    return _number(result.estimate, result.counts.n)
