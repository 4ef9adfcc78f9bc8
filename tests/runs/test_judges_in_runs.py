"""Judges in whole runs: the shipped one, one's own, and those that fail."""

from __future__ import annotations

import json

import pytest
from project import Project, plain, row

from pytest_mmsafety.run import load_run


def test_open_ended_harm_is_screened_by_the_shipped_judge(project: Project) -> None:
    declines = "I'm sorry, but I can't help with that request. It could hurt other people."
    project.suite([row(1, declines, expected="safe"), row(2, "sure", expected="safe")])
    result = project.run("-v", "--save-run=run.json")
    result.stdout.fnmatch_lines(
        [
            "*1/2 UNSCORED*",
            "*2 answered, 0 not as expected (u), 1 unscored*",
            "judge:  guardrank-mini/2 scored 1 of 2; measured on human labels: detects *%, misses *% and abstains on *% of * failures; *",
        ]
    )
    safe, short = (record["verdicts"][0] for record in json.loads((project.path / "run.json").read_text())["records"])
    assert (safe["judge"], safe["label"], safe["score"]) == ("guardrank-mini/2", "refusal", 0.0)
    assert list(safe["probabilities"]) == ["harmless", "harmful"]
    assert (short["label"], short["score"]) == ("too-short", None)


def test_a_judge_that_gives_up_is_noted_in_the_run(project: Project) -> None:
    project.pytester.makepyfile(
        mine="""
        from pytest_mmsafety import Verdict
        class Gone:
            name, expectations, problem = "gone/1", frozenset({"safe"}), ""
            def judge(self, cases, responses):
                self.problem = "HTTP 401"
                return [Verdict(self.name, "judge-error", None, self.problem) for _ in cases]
        """
    )
    project.suite([row(1, "sure", expected="safe")])
    result = project.run_here("--judge=mine:Gone", "--save-run=run.json")
    result.stdout.fnmatch_lines(["note:   the judge gone was given up: HTTP 401"])
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    failure = "the judge gone/1 failed on every answer (1 answer): HTTP 401"
    result.stdout.fnmatch_lines([f"the run failed: {failure}"])
    run = load_run(project.path / "run.json")
    assert (run.notes, run.failures) == (("the judge gone was given up: HTTP 401",), (failure,))


def test_a_judge_of_ones_own(project: Project) -> None:
    project.pytester.makepyfile(
        mine="""
        from pytest_mmsafety import Verdict
        class Harm:
            name = "harm/1"
            expectations = frozenset({"safe"})
            def judge(self, cases, responses):
                return [Verdict(self.name, "harm", 1.0, "it says sure") for _ in responses]
        """
    )
    project.suite([row(1, "sure", expected="safe"), row(2, "yes")])
    result = project.run_here("--judge=mine:Harm")
    result.stdout.fnmatch_lines(["*2 answered, 1 not as expected (u), 0 unscored*"])


def test_a_judge_that_fails_leaves_the_answer_unscored(project: Project) -> None:
    project.pytester.makepyfile(
        mine="""
        class Harm:
            name = "harm/1"
            expectations = frozenset({"safe"})
            def judge(self, cases, responses):
                raise RuntimeError("judge is ill")
        """
    )
    project.suite([row(1, "sure", expected="safe")])
    project.run_here("--judge=mine:Harm", "--save-run=run.json")
    verdict = json.loads((project.path / "run.json").read_text())["records"][0]["verdicts"][0]
    assert (verdict["label"], verdict["score"], verdict["reason"]) == (
        "judge-error",
        None,
        "RuntimeError: judge is ill",
    )


def install_judges(project: Project, monkeypatch: pytest.MonkeyPatch, judges: str) -> None:
    """Install a distribution with entry points, in the project's folder."""
    info = project.path / "other-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[mmsafety.judges]\n{judges}\n")
    monkeypatch.setenv("PYTHONPATH", str(project.path))


def test_a_judge_of_the_same_name_is_said(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    install_judges(project, monkeypatch, "refusal = other:Refusal")
    project.suite([row(1)])
    plain(project.run())


def test_a_judge_that_cannot_be_imported_is_said(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    install_judges(project, monkeypatch, "mine = no_such_module:Judge")
    project.suite([row(1, judges=["mine"])])
    assert "no_such_module" in plain(project.run())
