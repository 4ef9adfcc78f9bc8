"""A fixed part of a suite, by whole clusters."""

from __future__ import annotations

from pathlib import Path

from suite_files import row, write_suite

from pytest_mmsafety.suites import read_suite

ROOT = Path(__file__).resolve().parents[1]
ROWS = [row(number, cluster=f"c{number // 2}", category=f"group-{number % 3}") for number in range(40)]


def test_a_larger_subset_contains_a_smaller_one(tmp_path: Path) -> None:
    suite = read_suite(write_suite(tmp_path, [*ROWS, row(99, must_pass=True)]))
    parts = [{case.id for case in suite.subset(share).cases} for share in (0.001, 0.2, 0.5, 1)]
    assert parts[0] < parts[1] < parts[2] < parts[3] == {case.id for case in suite.cases}
    assert all("case-99" in part for part in parts)
    assert len(parts[0]) == 3
    for part in parts:  # whole clusters
        assert all((f"case-{n}" in part) == (f"case-{n + 1}" in part) for n in range(0, 40, 2))


def test_groups_without_cases_vanish(tmp_path: Path) -> None:
    suite = read_suite(write_suite(tmp_path, ROWS)).subset(0.1)
    assert {case.id for cases in suite.groups.values() for case in cases} == {case.id for case in suite.cases}
    assert all(suite.groups.values())


def test_a_tenth_of_the_shipped_suites_has_both_aspects() -> None:
    for name in ("usb", "mllmguard", "mmsafeaware"):
        suite = read_suite(ROOT / "cases" / f"{name}.yaml")
        part = suite.subset(0.1)
        assert 0.05 * len(suite.cases) < len(part.cases) < 0.2 * len(suite.cases)
        assert {case.tags.get("aspect") for case in part.cases} == {case.tags.get("aspect") for case in suite.cases}
