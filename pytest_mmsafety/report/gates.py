"""The verdict, and each gate as a row of a table with its numbers drawn to scale."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pytest_mmsafety.errors import plural
from pytest_mmsafety.gates import FAILED, INCONCLUSIVE, NOT_EVALUATED, PASSED, REPORTED, Gate, GateResult, Interval
from pytest_mmsafety.metrics import METRICS, Metric, title_of
from pytest_mmsafety.report.interval_plot import Picture, change_axis, draw, point_interval, points, rate_axis
from pytest_mmsafety.report.text import count, percent, percents
from pytest_mmsafety.run import Run

ICONS = {FAILED: "fail", INCONCLUSIVE: "unsure", NOT_EVALUATED: "none", PASSED: "pass", REPORTED: "none"}
"""Status -> icon and colour, the most serious first."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The one line that is read first."""

    tone: str
    """``pass``, ``fail``, ``unsure`` or ``none``; names an icon and a colour."""
    headline: str
    detail: str


@dataclass(frozen=True, slots=True)
class Measure:
    """One number of a gate: the metric itself, or how much worse than the baseline it is."""

    what: str
    value: str
    interval: str
    """Low and high in words, or empty."""
    bound: str
    raw: str
    """The number before it was corrected for the judge's errors, or empty."""
    picture: Picture


@dataclass(frozen=True, slots=True)
class GateRow:
    """One row of the gates table."""

    result: GateResult
    icon: str
    metric: str
    """In words."""
    where: tuple[tuple[str, str], ...]
    measures: tuple[Measure, ...]
    numbers: tuple[tuple[str, str], ...]
    """Everything else that the verdict rests on."""
    facet: str
    """Token of the cases that count for it, see :mod:`pytest_mmsafety.report.cards`."""

    @property
    def order(self) -> tuple[bool, int]:
        """What blocks comes first, then what did not pass."""
        statuses = list(ICONS)
        return (not self.result.blocks, statuses.index(self.result.status) if self.result.status in ICONS else -1)


def verdict(run: Run) -> Verdict:
    """Ship or not, in one sentence."""
    if not run.complete:
        return Verdict("fail", "Stopped before its end: nothing was decided", "")
    found = _verdict_of(run.gates)
    if not run.failures or found.tone == "fail":
        return found
    return Verdict("fail", "The run failed", f"{'; '.join(run.failures)}. Gates: {_others(run.gates) or 'none'}")


def _verdict_of(results: Sequence[GateResult]) -> Verdict:
    total = len(results)
    blocking = sum(result.blocks for result in results)
    passed = sum(result.status == PASSED for result in results)
    if not total:
        return Verdict("none", "No gates were asked for", "These are the answers; nothing was decided about them.")
    gates = plural(total, "gate")
    if blocking:
        return Verdict("fail", f"Blocked by {blocking} of {gates}", _others(results))
    bounded = sum(result.status != REPORTED for result in results)
    if not bounded:
        what = "the only gate reports a number" if total == 1 else f"all {gates} only report numbers"
        return Verdict("none", f"Nothing was decided: {what}", "")
    which = " with a bound" if bounded < total else ""
    gates = f"{bounded} gate{'' if bounded == 1 else 's'}{which}"
    if passed == bounded:
        headline = f"All {gates} passed" if bounded > 1 else f"The only gate{which} passed"
        return Verdict("pass", headline, _others(results) if which else "")
    if not any(result.status in (PASSED, FAILED, INCONCLUSIVE) for result in results):
        return Verdict("unsure", f"No verdict: none of {gates} could be evaluated", "")
    return Verdict("unsure", f"Not blocked, but only {passed} of {gates} passed", _others(results))


def _others(results: Sequence[GateResult]) -> str:
    """``3 passed, 1 inconclusive``: every status that occurs."""
    counts = {status: sum(result.status == status for result in results) for status in ICONS}
    return ", ".join(f"{number} {status}" for status, number in counts.items() if number)


def gate_rows(results: Sequence[GateResult], judges: Mapping[int, str]) -> list[GateRow]:
    """One row a gate; what blocks first, then by status, then in the policy's order.

    *judges* says for a gate, by its place, who judged its cases.
    """
    rows = [_row(result, index, judges.get(index, "")) for index, result in enumerate(results)]
    return sorted(rows, key=lambda row: row.order)


def _row(result: GateResult, index: int, judges: str) -> GateRow:
    gate = result.gate
    return GateRow(
        result=result,
        icon=ICONS.get(result.status, "none"),
        metric=title_of(gate.metric),
        where=tuple((tag, ", ".join(values)) for tag, values in gate.where.items()),
        measures=tuple(_measures(result)),
        numbers=tuple((name, value) for name, value in _numbers(result, judges) if value),
        facet=f"g{index}",
    )


def _measures(result: GateResult) -> Iterator[Measure]:
    if result.estimate is not None:
        yield _rate(result, result.estimate)
    if result.comparison is not None:
        yield _change(result.gate, result.comparison.difference)


def _rate(result: GateResult, estimate: Interval) -> Measure:
    gate, raw = result.gate, result.raw
    numbers = {"estimate": estimate.value, "low": estimate.low, "high": estimate.high, **_bounds(gate)}
    if raw is not None:
        numbers |= {"raw": raw.value, "raw low": raw.low, "raw high": raw.high}
    given = {name: number for name, number in numbers.items() if number is not None}
    texts = dict(zip(given, percents(*given.values()), strict=True))
    bounds = [f"{words} {texts[name]}" for name, words in (("min", "at least"), ("max", "at most")) if name in texts]
    interval = f"{texts['low']} to {texts['high']}"
    picture = draw(
        rate_axis(list(given.values())),
        estimate.value,
        (estimate.low, estimate.high),
        ", ".join(text for text in (texts["estimate"], interval, *bounds) if text),
        at_most=(given["max"], f"at most {texts['max']}") if "max" in given else None,
        at_least=(given["min"], f"at least {texts['min']}") if "min" in given else None,
        raw=(given["raw low"], given["raw high"]) if raw is not None else None,
    )
    before = f"{texts['raw']} [{texts['raw low']} to {texts['raw high']}]" if raw is not None else ""
    return Measure(title_of(gate.metric), texts["estimate"], interval, " and ".join(bounds), before, picture)


def _bounds(gate: Gate) -> dict[str, float | None]:
    """Without one that every value keeps."""
    return {"max": None if gate.max == 1 else gate.max, "min": None if gate.min == 0 else gate.min}


def _change(gate: Gate, change: Interval) -> Measure:
    margin = None if gate.max_regression == 1 else gate.max_regression
    difference, low, high = change.value, change.low, change.high
    what = "than the baseline" if difference else "since the baseline"
    value = "no change" if not difference else f"{points(abs(difference))} {'worse' if difference > 0 else 'better'}"
    interval = point_interval(low, high)
    bound = "" if margin is None else f"at most {points(margin)} worse"
    picture = draw(
        change_axis([low, high, margin or 0.0]),
        difference,
        (low, high),
        ", ".join(text for text in (f"{value} {what}", interval, bound) if text),
        at_most=None if margin is None else (margin, bound),
    )
    return Measure(what, value, interval, bound, "", picture)


def _numbers(result: GateResult, judges: str) -> Iterator[tuple[str, str]]:
    """What stands in the folded part, in words; empty values are left out."""
    gate, counts, comparison = result.gate, result.counts, result.comparison
    yield "Metric", gate.metric
    yield "Scored cases", f"{count(counts.n)} in {plural(counts.clusters, 'cluster')}" if counts.n else ""
    yield "Left out", trouble(result)
    if comparison is not None:
        yield "In the baseline", percent(comparison.baseline)
        yield "Compared", f"{plural(comparison.pairs, 'case')} scored in both runs"
    yield "p-value", _p(result.p_value)
    yield "p-value among its family", _p(result.adjusted_p)
    yield "Rule", _rule(gate)
    yield "Confidence", f"{100 * (1 - gate.alpha):.10g}\N{NO-BREAK SPACE}%"
    yield "Family", f"{gate.family}, over all gates with the rule {gate.rule}" if result.p_value is not None else ""
    yield "Judged by", gate.judged_by or judges
    yield "Needs", ", ".join(_needs(gate))
    yield "Zero tolerance", "; ".join(_filter(accepted) for accepted in gate.zero_tolerance)


def _rule(gate: Gate) -> str:
    meaning = {"evidence": "fails only on proof of harm", "assurance": "passes only on proof of safety"}
    return ": ".join(part for part in (gate.rule, meaning.get(gate.rule, "")) if part)


def _needs(gate: Gate) -> Iterator[str]:
    if gate.min_cases:
        yield plural(gate.min_cases, "case")
    if gate.min_clusters:
        yield plural(gate.min_clusters, "cluster")
    yield f"at most {percent(gate.max_unscored)} unscored"
    if gate.max_gone < 1:
        yield f"at most {percent(gate.max_gone)} of the baseline's cases gone"


def _filter(accepted: Mapping[str, tuple[str, ...]]) -> str:
    return ", ".join(f"{tag} {' or '.join(values)}" for tag, values in accepted.items())


def _p(value: float | None) -> str:
    if value is None:
        return ""
    return "under 0.0001" if value < 1e-4 else f"{value:.2g}"


def metrics_of(results: Sequence[GateResult]) -> list[Metric]:
    """Collect the metrics that the gates name, in their order, each once."""
    names = dict.fromkeys(result.gate.metric for result in results)
    return [METRICS[name] for name in names if name in METRICS]


def trouble(result: GateResult) -> str:
    """Say what the gate could not use: ``3 unscored, 1 error``; empty if it used everything."""
    counts = result.counts
    parts = (
        f"{counts.unscored:,} unscored" if counts.unscored else "",
        plural(counts.errors, "error") if counts.errors else "",
        f"{counts.skipped:,} skipped" if counts.skipped else "",
        f"{counts.missing:,} not run" if counts.missing else "",
    )
    return ", ".join(part for part in parts if part)
