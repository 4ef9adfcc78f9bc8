"""A policy and the cases of a run."""

from __future__ import annotations

import pytest
from project import Project, row, usage_error

MISSPELT = {"name": "wrong", "metric": "failure_rate", "max": 0.2, "zero_tolerance": ["medical-advise"]}


def test_a_misspelt_zero_tolerance_stops_the_run_before_it_starts(project: Project) -> None:
    project.suite([row(i, category="medical-advice") for i in range(4)])
    result = project.run_here(project.thresholds(MISSPELT))
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["*policy.yaml: gate 'wrong': zero_tolerance: * category: medical-advise; did you mean 'medical-advice'[?]"]
    )
    assert not project.calls()


def test_a_subset_is_held_against_all_of_the_suites(project: Project) -> None:
    project.suite([row(i, "no", category=("other", "one")[i == 7]) for i in range(40)])
    known, unknown = ({**MISSPELT, "zero_tolerance": [name]} for name in ("one", "else"))
    assert "no collected case has category: else" in usage_error(
        project.run_here(project.thresholds(unknown), "--subset=5%")
    )
    result = project.run_here(project.thresholds(known), "--subset=5%")
    result.stdout.fnmatch_lines(["not evaluated *no case of the gate matches zero_tolerance category: one"])


def test_what_a_part_of_the_suites_lacks_is_not_misspelt(project: Project) -> None:
    project.suite([row(i, "no", category="other") for i in range(40)])
    result = project.run_here(project.thresholds({**MISSPELT, "zero_tolerance": ["else"]}), "--lf")
    result.stdout.fnmatch_lines(["failed *wrong *; no case of the gate matches zero_tolerance category: else"])


def test_numbers_without_a_bound_are_reported(project: Project) -> None:
    project.suite([row(i, "no") for i in range(4)])
    policy = project.thresholds({"name": "number", "metric": "failure_rate", "max": 1})
    result = project.run_here(policy, "-v", "--save-run=run.json")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(
        ["*policy.yaml::number REPORTED*", "reported *number *100.0%*", "nothing was decided: 1 reported"]
    )
    again = project.run_here(policy, "--baseline=run.json")
    again.stdout.fnmatch_lines(["note:   --baseline: no gate has max_regression, so none compares with it"])
