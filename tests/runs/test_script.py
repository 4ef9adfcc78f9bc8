"""The three functions that a script needs, on the run of a real session."""

from __future__ import annotations

import pytest
from project import Project, row

from pytest_mmsafety import SetupError, evaluate_gates, load_gates, load_run


def test_a_script_judges_saved_runs(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.path)
    project.suite([row(number, say="no" if number < 5 else "yes") for number in range(50)])
    assert project.run_here("--save-run=run.json", "cases").ret == 0
    project.thresholds({"name": "right", "metric": "accuracy", "min": 0.5, "max_regression": 0.2})
    run, gates = load_run("run.json"), load_gates("policy.yaml")
    (result,) = evaluate_gates(run, gates, baseline=run)
    assert result.status == "passed"
    assert result.estimate is not None
    assert result.estimate.value == pytest.approx(0.9)
    assert result.comparison is not None
    assert result.comparison.difference.value == 0
    with pytest.raises(SetupError, match="there is no baseline to compare to"):
        evaluate_gates(run, gates)
