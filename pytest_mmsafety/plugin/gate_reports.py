"""A gate as a test report, which pytest counts, prints and writes to JUnit as any other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import pytest

from pytest_mmsafety.gates import FAILED, NOT_EVALUATED, GateResult, Interval

_WHENS: tuple[Literal["setup", "call", "teardown"], ...] = ("setup", "call", "teardown")


def report_gates(session: pytest.Session, thresholds: Path, results: Sequence[GateResult]) -> None:
    """Report one synthetic test a gate: counted, in JUnit, honoured by every reporting option."""
    root, hook = session.config.rootpath, session.config.hook
    file = thresholds.relative_to(root).as_posix() if thresholds.is_relative_to(root) else thresholds.name
    for result in results:
        location = (file, None, result.gate.name)
        nodeid = f"{file}::{result.gate.name}"
        hook.pytest_runtest_logstart(nodeid=nodeid, location=location)
        for when in _WHENS:
            hook.pytest_runtest_logreport(report=_gate_report(result, nodeid, location, when))
        hook.pytest_runtest_logfinish(nodeid=nodeid, location=location)


def _gate_report(
    result: GateResult, nodeid: str, location: tuple[str, None, str], when: Literal["setup", "call", "teardown"]
) -> pytest.TestReport:
    outcome: Literal["passed", "failed", "skipped"] = "passed"
    longrepr: str | tuple[str, int, str] | None = None
    reason = result.reason if result.status == FAILED else f"{result.status}: {result.reason}"
    if when == "call" and result.blocks:
        outcome, longrepr = "failed", f"{reason}\n{result.gate.why}".strip()
    elif when == "call" and result.status == NOT_EVALUATED:
        outcome, longrepr = "skipped", (location[0], 0, reason)
    report = pytest.TestReport(
        nodeid,
        location,
        keywords={},
        outcome=outcome,
        longrepr=longrepr,
        when=when,
        user_properties=[("status", result.status), *_numbers(result)],
    )
    report.mmsafety_gate = result.status  # type: ignore[attr-defined]
    return report


def _numbers(result: GateResult) -> Iterator[tuple[str, object]]:
    """What JUnit gets as properties."""
    if result.estimate:
        yield from _interval(result.estimate, "estimate", "")
    if result.raw:
        yield from _interval(result.raw, "raw", "raw_")
    if result.comparison:
        yield from _interval(result.comparison.difference, "difference", "difference_")
    for name, value in (
        ("p_value", result.p_value),
        ("adjusted_p", result.adjusted_p),
        ("decided_after", result.decided_after),
    ):
        if value is not None:
            yield name, value


def _interval(interval: Interval, name: str, prefix: str) -> Iterator[tuple[str, object]]:
    yield name, interval.value
    yield f"{prefix}low", interval.low
    yield f"{prefix}high", interval.high
