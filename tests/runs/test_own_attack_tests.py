"""Strategies and fixtures in users' own test files; the example of docs/attacks.md runs here."""

from __future__ import annotations

import re
from pathlib import Path

from project import BOTH_WAYS, Project, row

DOCS = Path(__file__).parents[2] / "docs" / "attacks.md"
OWN = """
    from hypothesis import given, settings
    from pytest_mmsafety.attacks.strategies import mm_cases, perturbations
    from pytest_mmsafety.perturbations import perturb

    @settings(deadline=None, max_examples=40, database=None)
    @given(case=mm_cases("cases/demo.yaml", category="one"), change=perturbations("disguise", "tone", most=2))
    def test_it_stays_with_its_answer(target, judge, case, change):
        variant = perturb(case, change)
        assert judge(variant, target(variant)).score == 0

    def test_many_at_once(target):
        from pytest_mmsafety.suites import read_suite
        from pathlib import Path
        cases = read_suite(Path("cases/demo.yaml")).cases
        assert [response.answer for response in target.ask(cases)] == ["yes"] * 3
"""
WEAK = """
    def answer(requests):
        with open("asked.txt", "a") as file:
            file.write(f"{len(requests)}\\n")
        return ["no" if "police" in request.prompt else "yes" for request in requests]

    def broken(requests):
        raise RuntimeError("no weights")
"""


def own_tests(project: Project) -> None:
    project.pytester.makepyfile(weak=WEAK, test_own=OWN)
    project.suite([row(i) for i in range(3)])


@BOTH_WAYS
def test_hypothesis_finds_and_shrinks_in_an_ordinary_test(project: Project, workers: tuple[str, ...]) -> None:
    own_tests(project)
    result = project.pytester.runpytest_subprocess("--model=weak:answer", "test_own.py", *workers)
    result.assert_outcomes(passed=1, failed=1)
    output = result.stdout.str()
    change = re.search(r"Change\(name='disguise', strength=0\.05, parameters=\{.*?\}\)", " ".join(output.split()))
    assert change, output


def test_answers_come_from_the_store_the_second_time(project: Project) -> None:
    own_tests(project)
    for _ in range(2):
        project.pytester.runpytest_subprocess("--model=weak:answer", "test_own.py", "-k", "many")
    assert (project.path / "asked.txt").read_text().split() == ["3"]


def test_without_a_model_they_are_skipped(project: Project) -> None:
    own_tests(project)
    result = project.pytester.runpytest_subprocess("test_own.py", "-rs")
    result.assert_outcomes(skipped=2)
    result.stdout.fnmatch_lines(["*there is no target: give --model=CHECKPOINT*"])


def test_an_error_of_the_target_is_said(project: Project) -> None:
    own_tests(project)
    result = project.pytester.runpytest_subprocess("--model=weak:broken", "test_own.py", "-k", "many")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*demo/case-0: RuntimeError: no weights*"])


def test_beside_suites_it_is_one_engine(project: Project) -> None:
    own_tests(project)
    result = project.pytester.runpytest_subprocess("--model=weak:answer", "cases", "test_own.py", "-k", "many or one")
    result.assert_outcomes(passed=2)
    assert (project.path / "asked.txt").read_text().split() == ["3"]


def test_the_example_of_the_docs_runs(project: Project) -> None:
    (code,) = re.findall(r"```python\n(# tests/test_robust\.py\n.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    project.pytester.makepyfile(weak=WEAK, test_robust=code)
    result = project.pytester.runpytest_subprocess("--model=weak:answer", "test_robust.py")
    assert result.ret in (0, 1)
    assert sum(result.parseoutcomes().values()) == 1
