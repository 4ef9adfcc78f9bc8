"""``--fresh`` asks for every answer anew, and goes on after a stop; a run that asked nothing says so."""

from __future__ import annotations

import pytest
from project import BOTH_WAYS, Project, row

from pytest_mmsafety.run import load_run

NOT_ASKED = "*THE TARGET WAS NOT ASKED: every answer comes from the store, given on 20??-??-??; --fresh asks anew"


@BOTH_WAYS
def test_every_answer_is_asked_for_anew(project: Project, workers: tuple[str, ...]) -> None:
    project.suite([row(i) for i in range(16)])
    project.run("cases", *workers)
    again = project.run("cases", "--save-run=run.json", *workers)
    assert sum(project.calls()) == 16
    again.stdout.fnmatch_lines([f"note: {NOT_ASKED}"])
    assert "THE TARGET WAS NOT ASKED" in load_run(project.path / "run.json").notes[0]
    fresh = project.run("cases", "--fresh", *workers)
    assert fresh.ret == pytest.ExitCode.OK
    fresh.stdout.fnmatch_lines(["*16 answered*0 from the store*"])
    fresh.stdout.no_fnmatch_line(f"note: {NOT_ASKED}")
    assert sum(project.calls()) == 32
    project.run("cases", "--fresh", *workers)
    assert sum(project.calls()) == 48, "the last one came to its end"


def test_after_an_error_it_goes_on(project: Project) -> None:
    project.pytester.makepyfile(
        shaky="""
        import os
        def answer(requests):
            with open("calls.txt", "a") as file:
                file.write(f"{len(requests)}\\n")
            if os.path.exists("down") and any("number 7 " in request.prompt for request in requests):
                raise OSError("down")
            return ["yes" for _ in requests]
        """
    )
    project.suite([row(i) for i in range(8)])
    options = ("cases", "--fresh", "--batch-size=1")
    assert project.run_here(*options, model="shaky:answer").ret == pytest.ExitCode.OK
    (project.path / "down").touch()
    assert project.run_here(*options, model="shaky:answer").ret == pytest.ExitCode.TESTS_FAILED
    (project.path / "down").unlink()
    asked = len(project.calls())
    result = project.run_here(*options, model="shaky:answer")
    result.stdout.fnmatch_lines(["*8 answered*7 from the store*"])
    assert len(project.calls()) == asked + 1


def test_what_the_model_was_given_is_in_the_run_once_a_suite(project: Project) -> None:
    project.pytester.makepyfile(
        chat="""
        from pytest_mmsafety import Response
        def answer(requests):
            return [Response("yes", end="length", rendered=f"<user>{request.prompt}</user>") for request in requests]
        """
    )
    project.suite([row(i) for i in range(3)])
    for asked in (True, False):  # and from the store
        result = project.run_here("cases", "--save-run=run.json", model="chat:answer")
        (suite,) = load_run(project.path / "run.json").suites
        assert suite.rendered.startswith("<user>number ")
        result.stdout.fnmatch_lines(["note: *3 of 3 answers cut at the limit of tokens*raise max_new_tokens"])
        assert ("THE TARGET WAS NOT ASKED" in result.stdout.str()) is not asked


def test_the_limit_of_a_suite_and_remarks_of_a_target_reach_where_they_belong(project: Project) -> None:
    project.pytester.makepyfile(
        limited="""
        class Target:
            name = fingerprint = "limited"
            remarks = ["it was made for tests"]
            def generate(self, requests):
                return [f"yes, in {request.max_new_tokens}" for request in requests]
        """
    )
    project.suite([row(1)], max_new_tokens=8)
    result = project.run_here("cases", "--save-run=run.json", model="limited:Target")
    result.stdout.fnmatch_lines(["note:   it was made for tests"])
    assert load_run(project.path / "run.json").records[0].response == "yes, in 8"
    project.suite([row(1)], max_new_tokens=9)
    project.run_here("cases", "--save-run=run.json", model="limited:Target")
    assert load_run(project.path / "run.json").records[0].response == "yes, in 9", "not the stored one"
