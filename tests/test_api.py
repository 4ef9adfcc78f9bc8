"""The three functions that a script needs."""

from __future__ import annotations

import subprocess
import sys

import pytest
from conftest import Project, row

from pytest_mmsafety import evaluate_gates, load_gates, load_run
from pytest_mmsafety.errors import SetupError


def test_a_script_judges_saved_runs(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.path)
    project.suite([row(number, say="no" if number < 5 else "yes") for number in range(50)])
    assert project.run_here("--save-run=run.json", "cases").ret == 0
    project.thresholds({"name": "right", "metric": "accuracy", "min": 0.5, "max_regression": 0.2})
    run, gates = load_run("run.json"), load_gates("policy.yaml")
    (result,) = evaluate_gates(run, gates, baseline=run)
    assert (result.status, result.estimate, result.difference) == ("passed", pytest.approx(0.9), 0)
    with pytest.raises(SetupError, match="there is no baseline to compare to"):
        evaluate_gates(run, gates)
    assert [gate.name for gate in load_gates("release")]


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = (
        "import sys, pytest_mmsafety; sys.exit(any(m in sys.modules for m in ('numpy', 'pydantic', 'yaml', 'torch')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
