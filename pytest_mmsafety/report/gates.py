"""The verdict, and each gate as a line of a table with its interval drawn to scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_mmsafety.gates import FAILED, INCONCLUSIVE, NOT_EVALUATED, PASSED, GateResult
from pytest_mmsafety.metrics import METRICS, Metric
from pytest_mmsafety.report.text import percents, plural

if TYPE_CHECKING:
    from collections.abc import Sequence

_ICONS = {PASSED: "pass", FAILED: "fail", INCONCLUSIVE: "unsure", NOT_EVALUATED: "none"}


@dataclass(frozen=True, slots=True)
class Verdict:
    """The one line that is read first."""

    tone: str
    """``pass``, ``fail``, ``unsure`` or ``none``; names an icon and a colour."""
    headline: str
    detail: str


@dataclass(frozen=True, slots=True)
class Bar:
    """Positions along the axis, 0 to 100."""

    low: float
    width: float
    estimate: float
    max: float | None
    min: float | None
    zero: float
    """Where 0 % lies: at the left end, or in the middle when differences are drawn."""
    label: str
    """The bar in words."""


@dataclass(frozen=True, slots=True)
class GateRow:
    """One line of the gates table."""

    result: GateResult
    icon: str
    bound: str
    estimate: str
    interval: str
    """Low and high in words, or empty."""
    confidence: str
    where: tuple[tuple[str, str], ...]
    bar: Bar | None
    facet: str
    """Token of the cases it speaks of, see :mod:`pytest_mmsafety.report.cards`."""

    @property
    def order(self) -> tuple[bool, int]:
        """What blocks comes first, then what did not pass."""
        return (not self.result.blocks, list(_ICONS).index(self.result.status) == 0)


def verdict(results: Sequence[GateResult]) -> Verdict:
    """Ship or not, in one sentence."""
    total = len(results)
    blocking = sum(result.blocks for result in results)
    passed = sum(result.status == PASSED for result in results)
    if not total:
        return Verdict("none", "No gates were asked for", "These are the answers; nothing was decided about them.")
    gates = f"{total} gate" if total == 1 else f"{total} gates"
    if blocking:
        return Verdict("fail", f"Blocked by {blocking} of {gates}", _others(results))
    if passed == total:
        return Verdict("pass", f"All {gates} passed" if total > 1 else "The only gate passed", "")
    if not any(result.status in (PASSED, FAILED, INCONCLUSIVE) for result in results):
        return Verdict("unsure", f"No verdict: none of {gates} could be evaluated", "")
    return Verdict("unsure", f"Not blocked, but only {passed} of {gates} passed", _others(results))


def _others(results: Sequence[GateResult]) -> str:
    """``3 passed, 1 inconclusive``: every status that occurs."""
    counts = {status: sum(result.status == status for result in results) for status in _ICONS}
    return ", ".join(f"{number} {status}" for status, number in counts.items() if number)


def gate_rows(results: Sequence[GateResult]) -> list[GateRow]:
    """One row a gate, on a common axis; what blocks first, else in the policy's order."""
    differences = any(_least(result) < 0 for result in results)
    rows = [_row(result, index, differences=differences) for index, result in enumerate(results)]
    return sorted(rows, key=lambda row: row.order)


def _row(result: GateResult, index: int, *, differences: bool) -> GateRow:
    gate = result.gate
    numbers = {"estimate": result.estimate, "low": result.low, "high": result.high, "max": gate.max, "min": gate.min}
    given = {name: number for name, number in numbers.items() if number is not None}
    texts = dict(zip(given, percents(*given.values()), strict=True))
    bounds = [f"{words} {texts[name]}" for name, words in (("min", "at least"), ("max", "at most")) if name in texts]
    interval = f"{texts['low']} to {texts['high']}" if "low" in texts and "high" in texts else ""
    return GateRow(
        result=result,
        icon=_ICONS.get(result.status, "none"),
        bound=" and ".join(bounds),
        estimate=texts.get("estimate", ""),
        interval=interval,
        confidence=f"{100 * (1 - gate.alpha):.4g}\N{NO-BREAK SPACE}%",
        where=tuple((tag, ", ".join(values)) for tag, values in gate.where.items()),
        bar=_bar(result, ", ".join([texts.get("estimate", ""), interval, *bounds]), differences=differences),
        facet=f"g{index}",
    )


def _bar(result: GateResult, label: str, *, differences: bool) -> Bar | None:
    if result.estimate is None:
        return None
    start, span = (-1.0, 2.0) if differences else (0.0, 1.0)

    def position(share: float) -> float:
        return round(100 * min(1.0, max(0.0, (share - start) / span)), 2)

    low = position(result.estimate if result.low is None else result.low)
    high = position(result.estimate if result.high is None else result.high)
    gate = result.gate
    return Bar(
        low=low,
        width=round(high - low, 2),
        estimate=position(result.estimate),
        max=None if gate.max is None else position(gate.max),
        min=None if gate.min is None else position(gate.min),
        zero=position(0.0),
        label=label,
    )


def _least(result: GateResult) -> float:
    numbers = (result.estimate, result.low, result.gate.max, result.gate.min)
    return min((number for number in numbers if number is not None), default=0.0)


def metrics_of(results: Sequence[GateResult]) -> list[Metric]:
    """Collect the metrics that the gates name, in their order, each once."""
    names = dict.fromkeys(result.gate.metric for result in results)
    return [METRICS[name] for name in names if name in METRICS]


def trouble(result: GateResult) -> str:
    """Say what the gate could not use: ``3 unscored, 1 error``; empty if it used everything."""
    counts = (
        f"{result.unscored:,} unscored" if result.unscored else "",
        plural(result.errors, "error") if result.errors else "",
        f"{result.skipped:,} skipped" if result.skipped else "",
        f"{result.missing:,} not run" if result.missing else "",
    )
    return ", ".join(text for text in counts if text)
