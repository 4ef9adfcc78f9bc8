"""Targets that fail: what it costs, and what is said."""

from __future__ import annotations

import pytest
from project import BOTH_WAYS, Project, row

ACCURACY = {"name": "accuracy", "metric": "accuracy", "min": 0.9}


@BOTH_WAYS
def test_a_target_that_raises_costs_only_the_guilty_case(project: Project, workers: tuple[str, ...]) -> None:
    project.suite([row(i, "raise" if i == 5 else "yes", category=f"group-{i // 8}") for i in range(16)])
    result = project.run(project.thresholds(ACCURACY), *workers)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*1 of 8 cases without an answer: RuntimeError: this prompt breaks me (case-5)*"])
    result.stdout.fnmatch_lines(
        ["*15 answered*, 1 error, *", "not evaluated*accuracy*15 of 16 cases answered (1 in error)"]
    )
    result.assert_outcomes(errors=1, passed=1, skipped=1)


def test_too_few_answers_are_asked_again_one_by_one(project: Project) -> None:
    project.pytester.makepyfile(short="def answer(requests):\n    return ['yes'] * max(1, len(requests) - 1)\n")
    project.suite([row(i) for i in range(8)])
    result = project.run_here(model="short:answer")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["*8 answered, 0 not as expected (u)*"])


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return []", "ValueError: the target gave 0 answers to 1 requests"),
        ("return [None for _ in requests]", "TypeError: the target answered None (NoneType), expected a string"),
        ("raise SystemExit(3)", "SystemExit: 3"),
    ],
)
def test_a_useless_target_is_an_error_that_says_why(project: Project, body: str, message: str) -> None:
    project.pytester.makepyfile(useless=f"def answer(requests):\n    {body}\n")
    project.suite([row(i) for i in range(3)])
    result = project.run_here(model="useless:answer")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([f"3 of 3 cases without an answer: {message}*"])


def test_a_dead_target_is_given_up_soon(project: Project) -> None:
    project.pytester.makepyfile(
        dead="def answer(requests):\n    open('calls.txt', 'a').write('1\\n')\n    raise OSError('gone')\n"
    )
    project.suite([row(i) for i in range(400)])
    result = project.run_here("--batch-size=8", model="dead:answer")
    assert len(project.calls()) < 60
    result.stdout.fnmatch_lines(
        ["note:   the target was given up: it failed on 24 cases in a row, last with OSError: gone"]
    )


def test_a_target_that_cannot_be_made_says_so_once(project: Project) -> None:
    project.pytester.makepyfile(
        broken="class T:\n    def __init__(self): raise OSError('no weights')\n    def generate(self, r): ...\n"
    )
    project.suite([row(i) for i in range(3)])
    result = project.run_here(model="broken:T")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["note:   the target was given up: OSError: no weights"])


def test_a_target_that_hangs_ends_with_its_timeout(project: Project) -> None:
    pytest.importorskip("pytest_timeout")
    project.pytester.makepyfile(stuck="import time\ndef answer(requests):\n    time.sleep(600)\n")
    project.pytester.makeconftest(
        "import pytest_mmsafety.engine.engine\npytest_mmsafety.engine.engine.SHUTDOWN_TIMEOUT = 0.5\n"
    )
    project.suite([row(1)])
    result = project.pytester.runpytest_subprocess("--timeout=1", "--model=stuck:answer", timeout=60)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
