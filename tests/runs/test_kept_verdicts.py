"""Verdicts of judges with weights are kept: a second run judges nothing."""

from __future__ import annotations

from judge_diary import DIARY, diary, safe
from project import BOTH_WAYS, Project


@BOTH_WAYS
def test_a_second_run_judges_nothing(project: Project, workers: tuple[str, ...]) -> None:
    project.pytester.makepyfile(diary=DIARY)
    project.suite([safe(i, "bad" if i % 2 else "fine") for i in range(20)])
    for _ in range(2):
        result = project.run("--judge=diary:Judge", *workers, model="diary:Target")
        result.stdout.fnmatch_lines(["*20 answered, 10 not as expected (u), 0 unscored*"])
    assert _judged(project) == 20


def test_other_weights_or_no_store_judge_anew(project: Project) -> None:
    project.pytester.makepyfile(diary=DIARY)
    project.suite([safe(i) for i in range(20)])
    for times, more in enumerate(([], ["--judge-args=version=2"], ["--store=off"]), start=1):
        project.run_here("--judge=diary:Judge", *more, model="diary:Target")
        assert _judged(project) == 20 * times


def test_only_judges_with_weights_are_remembered(project: Project) -> None:
    light = DIARY.replace("self.fingerprint", "self.weights")
    project.pytester.makepyfile(diary=light)
    project.suite([safe(i) for i in range(4)])
    for _ in range(2):
        project.run_here("--judge=diary:Judge", model="diary:Target")
    assert _judged(project) == 8


def _judged(project: Project) -> int:
    return sum(int(what.split()[1]) for done in diary(project) for what in done if what.startswith("judged "))
