"""What a selection asks, and that a part is never judged as the whole."""

from __future__ import annotations

import json

import pytest
from project import BOTH_WAYS, Project, row

ACCURACY = {"name": "accuracy", "metric": "accuracy", "min": 0.9}


@pytest.mark.parametrize(
    ("option", "ran"),
    [
        ("-k=group-1", 1),
        ("-m=group-1", 1),
        ("--deselect=cases/demo.yaml::group-1", 3),
        ("-m=mmsafety(category='group-2')", 1),
    ],
)
def test_a_selection_asks_only_what_was_selected_and_judges_no_gate(project: Project, option: str, ran: int) -> None:
    project.suite([row(i, category=f"group-{i % 4}") for i in range(16)])
    result = project.run_here(option, project.thresholds(ACCURACY))
    assert result.ret == pytest.ExitCode.OK
    assert sum(project.calls()) == ran * 4
    result.stdout.fnmatch_lines([f"not evaluated*accuracy*{ran * 4} of 16 cases answered ({16 - ran * 4} not run)"])


def test_a_named_folder_is_searched_for_suites(project: Project) -> None:
    file = project.suite([row(1)])
    (project.path / "mine").mkdir()
    for part in (file, file.with_suffix(".jsonl")):
        part.rename(project.path / "mine" / part.name)
    (project.path / "mine" / "compose.yaml").write_text("services: {}\n")
    project.run_here("mine").assert_outcomes(passed=1)


def test_a_node_id_selects_a_group(project: Project) -> None:
    project.suite(
        [row(i, category=f"privacy/{i % 2}", language="zh") for i in range(4)], group_by=["category", "language"]
    )
    result = project.run_here("-v", "cases/demo.yaml::privacy/1[[]zh]".replace("[[]", "["))
    result.stdout.fnmatch_lines(["cases/demo.yaml::privacy/1[[]zh] AS EXPECTED*"])
    assert sum(project.calls()) == 2


def test_last_failed_runs_the_failed_group_alone(project: Project) -> None:
    project.suite([row(i, "no" if i == 3 else "yes", category=f"group-{i % 4}") for i in range(16)], must_pass=True)
    assert project.run_here().ret == pytest.ExitCode.TESTS_FAILED
    result = project.run_here("--lf")
    result.stdout.fnmatch_lines(["*run-last-failure: rerun previous 1 failure*", "*4 answered, 1 not as expected*"])


@BOTH_WAYS
def test_stop_at_first_failure(project: Project, workers: tuple[str, ...]) -> None:
    project.suite([row(i, "no", category=f"group-{i:03}") for i in range(40)], must_pass=True)
    result = project.run("-x", project.thresholds(ACCURACY), *workers)
    assert result.ret == (pytest.ExitCode.INTERRUPTED if workers else pytest.ExitCode.TESTS_FAILED)
    result.stdout.fnmatch_lines(["gates: not evaluated, the run was stopped before its end"])


def test_last_failed_is_not_judged_as_the_whole(project: Project) -> None:
    project.suite([row(i, "no" if i == 0 else "yes", category="a") for i in range(20)], name="one", must_pass=True)
    project.suite([row(i, "no", category="b") for i in range(40)], name="two")
    everything = project.run_here(project.thresholds(ACCURACY))
    everything.stdout.fnmatch_lines(["failed *accuracy*n=60*"])
    (project.path / ".pytest_cache/v/cache/lastfailed").write_text(json.dumps({"cases/one.yaml::a": True}))
    project.run_here("--lf", project.thresholds(ACCURACY)).stdout.fnmatch_lines(["not evaluated *accuracy*"])


def test_a_selection_of_nothing_is_no_success(project: Project) -> None:
    project.suite([row(1)])
    result = project.run_here("-k", "no_such_group", project.thresholds(ACCURACY))
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED


def test_an_empty_folder_of_suites(project: Project) -> None:
    (project.path / "cases").mkdir()
    assert project.run_here().ret == pytest.ExitCode.NO_TESTS_COLLECTED


def test_duplicates_are_answered_twice(project: Project) -> None:
    project.suite([row(i) for i in range(20)])
    result = project.run("--keep-duplicates", "cases/demo.yaml", "cases/demo.yaml")
    result.assert_outcomes(passed=2)
