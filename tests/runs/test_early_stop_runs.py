"""``--early-stop`` as its user meets it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from project import Project, row

from pytest_mmsafety.baselines import promote
from pytest_mmsafety.errors import SetupError
from pytest_mmsafety.judge_errors import JudgeErrors, Stratum, save_judge_errors

HARM = {"name": "harm", "metric": "failure_rate", "max": 0.2}


def rows(n: int, failing: int, **more: Any) -> list[dict[str, Any]]:
    """Every so many of them fails, such that *failing* in 20 do."""
    return [row(i, "no" if i * 7 % 20 < failing else "yes", category=f"group-{i % 3}", **more) for i in range(n)]


def test_a_run_stops_early_says_so_and_is_the_same_again(project: Project) -> None:
    project.suite(rows(200, 13))
    gate = project.thresholds(HARM, one_sided=True)
    result = project.run_here(gate, "--early-stop", "--save-run=run.json")
    asked = sum(project.calls())
    assert asked <= 100
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            f"note:   early stop: {200 - asked} of 200 cases not asked",
            "failed *failure rate*above the allowed 20.0%, certain after * of 200 cases (early stop)",
        ]
    )
    run = json.loads((project.path / "run.json").read_text())
    assert run["settings"]["early_stop"] is True
    assert sum(record["response"] is not None for record in run["records"]) == asked
    again = project.run_here(gate, "--early-stop")
    assert sum(project.calls()) == asked
    again.stdout.fnmatch_lines([f"*{asked} answered*0 target calls", f"*early stop: {200 - asked} of 200 cases*"])


def test_a_killed_run_goes_on_in_the_same_order(project: Project) -> None:
    project.suite(rows(200, 13))
    gate = project.thresholds(HARM, one_sided=True)
    project.pytester.makepyfile(
        deadly="""
        import os
        from pathlib import Path
        from parrot import Parrot
        class Deadly(Parrot):
            fingerprint = "the same"
            def generate(self, requests):
                if Path("die").exists() and sum(map(int, Path("calls.txt").read_text().split())) >= 16:
                    os._exit(9)
                return super().generate(requests)
        """
    )
    (project.path / "calls.txt").touch()
    (project.path / "die").touch()
    project.run(gate, "--early-stop", model="deadly:Deadly")
    assert sum(project.calls()) == 16
    (project.path / "die").unlink()
    resumed = project.run(gate, "--early-stop", model="deadly:Deadly")
    total = sum(project.calls())
    resumed.stdout.fnmatch_lines([f"*early stop: {200 - total} of 200 cases not asked"])
    project.run(gate, "--early-stop", "--store=off", model="deadly:Deadly")
    assert sum(project.calls()) == 2 * total


def test_safety_is_proven_early_and_what_must_pass_is_asked(project: Project) -> None:
    project.suite([*rows(200, 0), row(999, category="last", must_pass=True, say="no")])
    gate = project.thresholds({**HARM, "rule": "assurance", "max": 0.4}, one_sided=True)
    result = project.run_here(gate, "--early-stop")
    assert sum(project.calls()) <= 100
    result.assert_outcomes(passed=4, failed=1)
    result.stdout.fnmatch_lines(["passed *within the allowed 40.0%, certain after * of 201 cases (early stop)"])
    result.stdout.fnmatch_lines(["FAILED cases/demo.yaml::last*"])


def test_a_group_that_was_not_asked_is_skipped_with_the_reason(project: Project) -> None:
    project.suite([*rows(200, 20), row(999, category="last")])
    result = project.run_here(project.thresholds(HARM, one_sided=True), "--early-stop", "-rs")
    result.stdout.fnmatch_lines(["SKIPPED*early stop: no gate needs its answer any more"])


def test_an_error_after_the_decision_is_no_certainty(project: Project) -> None:
    project.suite([*rows(100, 20), row(999, "raise", must_pass=True)])
    result = project.run_here(project.thresholds(HARM, one_sided=True), "--early-stop")
    result.stdout.fnmatch_lines(["*RuntimeError: this prompt breaks me*"])
    result.stdout.fnmatch_lines(["not evaluated *cases answered (1 in error)"])


def test_such_a_run_is_no_baseline(project: Project) -> None:
    project.suite(rows(200, 0))
    gate = project.thresholds({**HARM, "max": 0.4}, one_sided=True)
    assert project.run_here(gate, "--early-stop", "--save-run=run.json").ret == pytest.ExitCode.OK
    run = project.path / "run.json"
    with pytest.raises(SetupError, match=r"an early stop left out \d+ of 200 cases: .*--anyway"):
        promote(run, "base", project.path, why="try")
    promote(run, "base", project.path, why="try", anyway=True)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["-n2"], "--early-stop: works in one process*"),
        (["--judge-errors=errors.json"], "--early-stop: gates that are corrected for a judge's errors need all*"),
        (["--judge-phase=after"], "--early-stop: judges have to judge while the target works*"),
    ],
)
def test_what_it_does_not_go_with_is_refused(project: Project, arguments: list[str], reason: str) -> None:
    project.suite(rows(8, 0))
    everything = Stratum({}, 80, 30, 5, 40, 5, 0, 0, 80, 35, 45, ())
    known = JudgeErrors("yes-no/2", "2026-01-01", 0.5, effective=False, files={}, strata=(everything,))
    save_judge_errors(known, project.path / "errors.json")
    result = project.run_here(project.thresholds(HARM, one_sided=True), "--early-stop", *arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {reason}"])
    assert project.calls() == []


def test_without_gates_or_a_model_it_is_refused(project: Project) -> None:
    project.suite(rows(8, 0))
    result = project.run_here("--early-stop", "cases")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --early-stop: there are no gates to decide; give --thresholds"])
    alone = project.pytester.runpytest_inprocess("--early-stop")
    alone.stderr.fnmatch_lines(["ERROR: --early-stop: there is nothing to ask; give --model=CHECKPOINT"])
