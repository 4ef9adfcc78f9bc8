"""What can be imported from the package itself, and what that costs."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import pytest_mmsafety
from pytest_mmsafety import SetupError, evaluate_gates, load_gates, load_run
from pytest_mmsafety.testing import make_gate, make_record, make_run

PUBLIC = [
    "Case",
    "Change",
    "Comparison",
    "Counts",
    "DataError",
    "Finding",
    "Gate",
    "GateResult",
    "ImageError",
    "Interval",
    "Judge",
    "MmsafetyError",
    "Outcome",
    "Record",
    "Request",
    "Response",
    "Run",
    "RunSettings",
    "SetupError",
    "Target",
    "Verdict",
    "evaluate_gates",
    "load_gates",
    "load_run",
]
HEAVY = ("numpy", "scipy", "pydantic", "yaml", "torch", "PIL", "pytest")


def test_exactly_these_names_are_public() -> None:
    assert pytest_mmsafety.__all__ == PUBLIC
    assert dir(pytest_mmsafety) == PUBLIC


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_can_be_imported_and_says_what_it_is(name: str) -> None:
    found = getattr(pytest_mmsafety, name)
    assert found.__name__ == name
    assert inspect.getdoc(found)
    assert not (found.__doc__ or "").startswith(f"{name}("), "dataclass wrote the docstring"


def test_a_name_that_is_not_public_is_said_as_by_any_module() -> None:
    with pytest.raises(AttributeError, match=r"^module 'pytest_mmsafety' has no attribute 'Gates'$"):
        _ = pytest_mmsafety.Gates


def loaded_after(code: str) -> str:
    """Which heavy modules are there when a fresh interpreter has run *code*."""
    code = f"{code}\nimport sys\nprint(*(name for name in {HEAVY!r} if name in sys.modules))"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_importing_the_package_imports_nothing_heavy() -> None:
    assert loaded_after("import pytest_mmsafety") == ""


@pytest.mark.parametrize(
    "name", ["Case", "Finding", "Judge", "MmsafetyError", "Outcome", "Request", "Target", "Verdict"]
)
def test_what_a_target_or_a_judge_needs_imports_nothing_heavy(name: str) -> None:
    assert loaded_after(f"from pytest_mmsafety import {name}") == ""


def test_gates_without_a_baseline_to_compare_with_are_refused() -> None:
    run = make_run([make_record(i) for i in range(20)])
    with pytest.raises(SetupError, match=r"^--baseline: gate 'gate' has max_regression, but there is no baseline "):
        evaluate_gates(run, [make_gate(max_regression=0.1)])


def test_gates_that_match_no_case_are_refused() -> None:
    run = make_run([make_record(1, tags={"category": "privacy"})])
    with pytest.raises(SetupError, match="no collected case has category: privaty; did you mean 'privacy'"):
        evaluate_gates(run, [make_gate(where={"category": ("privaty",)})])


def test_what_cannot_be_loaded_is_one_line() -> None:
    with pytest.raises(SetupError, match=r"^no-such-run\.json: not a run file: [^\n]*$"):
        load_run("no-such-run.json")
    with pytest.raises(
        SetupError, match=r"^--thresholds: 'relaese' is neither a file nor [^\n]*did you mean 'release'"
    ):
        load_gates("relaese")


def test_a_shipped_policy_is_loaded_by_its_name() -> None:
    assert "usb-over-refusal" in [gate.name for gate in load_gates("release")]
