"""A gate as a test report, which pytest counts, prints and writes to JUnit as any other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pytest_mmsafety.gates import FAILED, NOT_EVALUATED, GateResult


def gate_report(result: GateResult, nodeid: str, location: Any, when: Any) -> pytest.TestReport:
    outcome: Any = "passed"
    longrepr: Any = None
    reason = result.reason if result.status == FAILED else f"{result.status}: {result.reason}"
    if when == "call" and result.blocks:
        outcome, longrepr = "failed", f"{reason}\n{result.gate.why}".strip()
    elif when == "call" and result.status == NOT_EVALUATED:
        outcome, longrepr = "skipped", (location[0], 0, reason)
    numbers = (
        "estimate",
        "low",
        "high",
        "raw",
        "raw_low",
        "raw_high",
        "difference",
        "difference_low",
        "difference_high",
        "p_value",
        "adjusted_p",
        "decided_after",
    )
    properties = [("status", result.status), *((name, getattr(result, name)) for name in numbers)]
    report = pytest.TestReport(
        nodeid,
        location,
        keywords={},
        outcome=outcome,
        longrepr=longrepr,
        when=when,
        user_properties=[(name, value) for name, value in properties if value is not None],
    )
    report.mmsafety_gate = result.status  # type: ignore[attr-defined]
    return report


def relative_name(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
