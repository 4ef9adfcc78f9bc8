"""``--subset``: a fixed part of every suite is asked."""

from __future__ import annotations

import pytest
from project import BOTH_WAYS, Project, row, usage_error

ROWS = [row(number, cluster=f"c{number // 2}", category=f"group-{number % 3}") for number in range(40)]
GATE = {"name": "right", "metric": "accuracy", "min": 0.5}


@BOTH_WAYS
def test_a_subset_is_judged_as_such(project: Project, workers: tuple[str, ...]) -> None:
    project.suite(ROWS)
    result = project.run(project.thresholds(GATE), "--subset=25%", "--save-run=run.json", *workers)
    assert result.ret == 0
    assert sum(project.calls()) == 10
    result.stdout.fnmatch_lines(["mmsafety: *, 25% of each suite", "inconclusive *right*(n=10, 5 clusters)*"])
    assert '"subset": 0.25,' in (project.path / "run.json").read_text()
    assert (
        "a fixed part of each suite was asked (25%): gates are evaluated on that part"
        in (project.path / "run.json").read_text()
    )


@pytest.mark.parametrize("text", ["0", "1.5", "nan", "-1", "ten", "200%"])
def test_what_is_no_share(project: Project, text: str) -> None:
    project.suite(ROWS)
    result = project.run_here(f"--subset={text}")
    assert usage_error(result) == f"--subset: '{text}' is not a share of the cases, such as 0.2 or 20%"


def test_a_bad_share_without_a_model(project: Project) -> None:
    project.suite(ROWS)
    result = project.pytester.runpytest_inprocess("--collect-only", "--subset=ab", "cases")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*--subset: 'ab' is not a share*"])
