"""Under xdist: the same verdicts, and no case asked twice."""

from __future__ import annotations

import json

import pytest
from project import Project, row

ACCURACY = {"name": "accuracy", "metric": "accuracy", "min": 0.9}


def test_the_same_verdicts_with_and_without_xdist(project: Project) -> None:
    project.suite([row(i, "no" if i % 7 == 0 else "yes", category=f"group-{i % 9}") for i in range(90)])
    records = []
    for extra in ((), ("-n2",)):
        project.run("--store=off", "--save-run=run.json", *extra)
        run = json.loads((project.path / "run.json").read_text())
        records.append([{**record, "seconds": 0} for record in run["records"]])
    assert records[0] == records[1]


def test_each_unit_is_asked_by_one_worker(project: Project) -> None:
    project.suite([row(i, category=f"group-{i // 4}") for i in range(64)])
    project.run("-n2", "--batch-size=8")
    assert sum(project.calls()) == 64
    assert len(project.calls()) == 8


@pytest.mark.parametrize("workers", ["-n1", "-n2"])
def test_a_worker_that_dies_loses_no_other_unit(project: Project, workers: str) -> None:
    project.pytester.makepyfile(
        killer="""
        import os
        def answer(requests):
            if any("number 20 " in request.prompt for request in requests):
                os._exit(9)
            return ["yes" for _ in requests]
        """
    )
    project.suite([row(i, category=f"group-{i // 4:02}") for i in range(64)])
    result = project.run(workers, "--batch-size=4", project.thresholds(ACCURACY), model="killer:answer")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*crashed while running*", "not evaluated*accuracy*of 64 cases answered*"])
    assert result.parseoutcomes()["passed"] >= 10


def test_shipped_suites_from_an_empty_folder_are_gated_under_xdist(project: Project) -> None:
    result = project.run("--pyargs", "pytest_mmsafety", "--store=off", "--subset=10%", "-n2")
    result.stdout.fnmatch_lines(["*target calls", "*awareness-overall*"])


def test_a_linked_suite_is_gated_under_xdist(project: Project) -> None:
    file = project.suite([row(i, "no") for i in range(20)])
    (project.path / "elsewhere").mkdir()
    file.rename(project.path / "elsewhere" / "demo.yaml")
    file.symlink_to(project.path / "elsewhere" / "demo.yaml")
    result = project.run("cases/demo.yaml", project.thresholds(ACCURACY), "-n2")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
