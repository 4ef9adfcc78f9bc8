"""``--subset``: a fixed part of every suite."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import Project, row

from pytest_mmsafety.suites import read_suite

ROOT = Path(__file__).resolve().parents[1]
ROWS = [row(number, cluster=f"c{number // 2}", category=f"group-{number % 3}") for number in range(40)]
GATE = {"name": "right", "metric": "accuracy", "min": 0.5}


@pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["one process", "xdist"])
def test_a_subset_is_judged_as_such(project: Project, workers: tuple[str, ...]) -> None:
    project.suite(ROWS)
    result = project.run(project.thresholds(GATE), "--subset=25%", "--save-run=run.json", *workers)
    assert result.ret == 0
    assert sum(project.calls()) == 10
    result.stdout.fnmatch_lines(["mmsafety: *, 25% of each suite", "inconclusive *right*(n=10, 5 clusters)*"])
    assert '"subset": "0.25"' in (project.path / "run.json").read_text()
    assert "gates speak of that part" in (project.path / "run.json").read_text()


def test_a_larger_subset_contains_a_smaller_one(project: Project) -> None:
    suite = read_suite(project.suite([*ROWS, row(99, must_pass=True)]))
    parts = [{case.id for case in suite.subset(share).cases} for share in (0.001, 0.2, 0.5, 1)]
    assert parts[0] < parts[1] < parts[2] < parts[3] == {case.id for case in suite.cases}
    assert all("case-99" in part for part in parts)
    assert len(parts[0]) == 3
    for part in parts:  # whole clusters
        assert all((f"case-{n}" in part) == (f"case-{n + 1}" in part) for n in range(0, 40, 2))


def test_groups_without_cases_vanish(project: Project) -> None:
    suite = read_suite(project.suite(ROWS)).subset(0.1)
    assert {case.id for cases in suite.groups.values() for case in cases} == {case.id for case in suite.cases}
    assert all(suite.groups.values())


def test_a_tenth_of_the_shipped_suites_has_both_aspects() -> None:
    for name in ("usb", "mllmguard", "mmsafeaware"):
        suite = read_suite(ROOT / "cases" / f"{name}.yaml")
        part = suite.subset(0.1)
        assert 0.05 * len(suite.cases) < len(part.cases) < 0.2 * len(suite.cases)
        assert {case.tags.get("aspect") for case in part.cases} == {case.tags.get("aspect") for case in suite.cases}


@pytest.mark.parametrize("text", ["0", "1.5", "nan", "-1", "ten", "200%", ""])
def test_what_is_no_share(project: Project, text: str) -> None:
    project.suite(ROWS)
    result = project.run_here(f"--subset={text}")
    if text:
        assert result.ret == 4
        result.stderr.fnmatch_lines([f"ERROR: --subset: '{text}' is not a share of the cases, such as 0.2 or 20%"])
    else:
        assert sum(project.calls()) == 40


def test_a_bad_share_without_a_model(project: Project) -> None:
    project.suite(ROWS)
    result = project.pytester.runpytest_inprocess("--collect-only", "--subset=ab", "cases")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*--subset: 'ab' is not a share*"])
