"""A run held against an earlier one: what is compared, and what is refused before the target is asked."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from project import BOTH_WAYS, Project, row

from pytest_mmsafety.cli.main import main
from pytest_mmsafety.run import load_run, save_run

GATE: dict[str, Any] = {"name": "no-worse", "metric": "accuracy", "max_regression": 0.1}


def rows(wrong: int, n: int = 60, **more: Any) -> list[dict[str, Any]]:
    """Cases of which the first *wrong* are answered no when ``ANSWER=no``... by the prompt itself."""
    return [row(number, say="no" if number < wrong else "yes", **more) for number in range(n)]


@pytest.fixture
def before(project: Project) -> Project:
    """A project whose target answered everything rightly, saved as before.json; from now on it answers as told."""
    project.suite(rows(0))
    assert project.run_here("--save-run=before.json", "cases").ret == 0
    return project


def answers_no(project: Project, share: float) -> None:
    """From now on the target gives a wrong answer to this share of the cases."""
    project.pytester.makepyfile(
        parrot=f"""
class Parrot:
    name = "parrot 2"
    def generate(self, requests):
        return ["no" if int(r.prompt.split()[1]) < {60 * share} else "yes" for r in requests]
"""
    )


@BOTH_WAYS
def test_a_run_against_itself_does_not_regress(before: Project, workers: tuple[str, ...]) -> None:
    result = before.run(before.thresholds(GATE), "--baseline=before.json", "cases", *workers)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["passed *no-worse*"])


@BOTH_WAYS
def test_a_regression_fails_with_its_size(before: Project, workers: tuple[str, ...]) -> None:
    answers_no(before, 0.4)
    result = before.run(before.thresholds(GATE), "--baseline=before.json", "cases", *workers)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["failed *no-worse*40.0*"])


def test_a_gate_on_regression_needs_a_baseline(before: Project) -> None:
    result = before.run_here(before.thresholds(GATE), "cases")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["ERROR: --baseline: gate 'no-worse' has max_regression, but there is no baseline*"])


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ("after.json", "'after.json' is not a saved run (and none was promoted to reports/baselines yet)"),
        ("calls.txt", "not a run file"),
    ],
)
def test_a_baseline_that_is_none(before: Project, spec: str, problem: str) -> None:
    calls = before.calls()
    result = before.run_here(before.thresholds(GATE), f"--baseline={spec}", "cases")
    assert result.ret == 4
    result.stderr.fnmatch_lines([f"ERROR: --baseline: *{problem}*"])
    assert before.calls() == calls


@pytest.mark.parametrize(
    ("options", "suite", "problem"),
    [
        (["--model-args=temperature=1"], rows(0), "model_args.temperature is 1, was not set *baseline-allow=decoding)"),
        ([], rows(1), "1 case with another prompt, image or expectation: demo/case-0 *baseline-allow=cases)"),
        (
            [],
            rows(0, expected="no"),
            "60 cases with another prompt, image or expectation: demo/case-0, demo/case-1, demo/case-2 ...*",
        ),
        ([], [{**r, "id": f"x{r['id']}"} for r in rows(0)], "no case is in both*"),
    ],
    ids=["decoding", "prompt", "expectation", "other cases"],
)
def test_what_differs_is_refused_before_the_target_is_asked(
    before: Project, options: list[str], suite: list[dict[str, Any]], problem: str
) -> None:
    calls = before.calls()
    before.suite(suite)
    result = before.run_here(before.thresholds(GATE), "--baseline=before.json", *options, "cases")
    assert result.ret == 4
    assert before.calls() == calls
    result.stderr.fnmatch_lines([f"*--baseline: {problem}"])


def test_what_differs_is_refused_under_xdist(before: Project) -> None:
    before.suite(rows(1))
    result = before.run(before.thresholds(GATE), "--baseline=before.json", "cases", "-n2")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*--baseline: 1 case with another prompt, image or expectation: demo/case-0 *"])


def test_what_differs_can_be_allowed(before: Project) -> None:
    before.suite(rows(1))
    result = before.run_here(
        before.thresholds(GATE), "--baseline=before.json", "--baseline-allow=cases", "cases", "-rA"
    )
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*no-worse*59*"])


def test_new_and_gone_cases_are_no_difference(before: Project) -> None:
    before.suite([*rows(0)[10:], row(200)])
    assert before.run_here(before.thresholds(GATE), "--baseline=before.json", "cases").ret == 0


def test_another_judge_is_not_compared(before: Project) -> None:
    saved = load_run(before.path / "before.json")
    records = (replace(one, verdicts=(replace(one.verdicts[0], judge="yes-no/0"),)) for one in saved.records)
    save_run(replace(saved, records=tuple(records)), before.path / "before.json")
    result = before.run_here(before.thresholds(GATE), "--baseline=before.json", "--require-gates", "cases")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["note: *not compared with the baseline: judged by yes-no/*, was yes-no/0*"])


def test_a_promoted_baseline_is_found_by_its_name(before: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(before.path)
    assert main(["baseline", "promote", "before.json", "--name=rc-1", "--why=shipped in May"]) == 0
    assert before.run_here(before.thresholds(GATE), "--baseline=rc-1", "cases").ret == 0
    assert "did you mean 'rc-1'?" in before.run_here(before.thresholds(GATE), "--baseline=rc1", "cases").stderr.str()
