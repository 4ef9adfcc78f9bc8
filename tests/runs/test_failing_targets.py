"""Targets that fail: what it costs, and what is said."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import Any

import pytest
from project import BOTH_WAYS, Project, plain, row, usage_error

from pytest_mmsafety.run import load_run

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


@BOTH_WAYS
def test_the_same_error_is_said_once(project: Project, workers: tuple[str, ...]) -> None:
    project.pytester.makepyfile(
        dead="class T:\n    def __init__(self): raise OSError('no server')\n    def generate(self, r): ...\n"
    )
    project.suite([row(i, category=f"group-{i}") for i in range(51)])
    result = project.run("--junitxml=junit.xml", *workers, model="dead:T")
    result.assert_outcomes(errors=51)
    assert result.stdout.str().count("without an answer: OSError: no server") <= 2  # and in the short summary
    result.stdout.fnmatch_lines(["The same in 50 other groups: group-*, group-*, group-* ..."])
    assert (project.path / "junit.xml").read_text().count("<error message=") == 51


def test_a_target_that_cannot_be_made_says_so_once(project: Project) -> None:
    project.pytester.makepyfile(
        broken="class T:\n    def __init__(self): raise OSError('no weights')\n    def generate(self, r): ...\n"
    )
    project.suite([row(i) for i in range(3)])
    result = project.run_here(model="broken:T")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["note:   the target was given up: OSError: no weights"])


@BOTH_WAYS
def test_a_target_that_hangs_is_given_up_after_its_time(project: Project, workers: tuple[str, ...]) -> None:
    project.pytester.makepyfile(
        stuck="""
        import time
        def answer(requests):
            time.sleep(600 * ("hang" in requests[0].prompt))
            return ["yes" for _ in requests]
        """
    )
    project.suite([row(1, category="a"), row(2, "hang", category="b"), row(3, category="c")])
    options = ("cases", "--answer-timeout=0.5", "--batch-size=1", "--save-run=run.json", *workers)
    result = project.run(*options, model="stuck:answer")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    reason = "--answer-timeout: no answer within 0.5 s to a batch of 1 case; it cannot be asked again"
    result.stdout.fnmatch_lines(
        [f"note:   the target was given up: {reason}", "the run failed: * without an answer: *"]
    )
    errors = [record.error for record in load_run(project.path / "run.json").records]
    assert errors[1] == reason
    assert set(errors) <= {"", reason}


@pytest.mark.parametrize("where", ["__init__", "fingerprint"])
def test_a_target_that_hangs_before_it_is_asked_is_given_up(project: Project, where: str) -> None:
    project.pytester.makepyfile(
        stuck=f"""
        import time
        class Target:
            name = "stuck"
            def __init__(self):
                time.sleep(600 * ({where!r} == "__init__"))
            @property
            def fingerprint(self):
                time.sleep(600)
            def generate(self, requests):
                return ["yes" for _ in requests]
        """
    )
    project.suite([row(1)])
    result = project.run("cases", "--answer-timeout=0.5", model="stuck:Target")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    reason = "--answer-timeout: not loaded within 0.5 s; it cannot be asked"
    result.stdout.fnmatch_lines([f"note:   the target was given up: {reason}"])


def test_a_time_limit_keeps_a_target_in_its_thread(project: Project) -> None:
    project.pytester.makepyfile(
        bound="""
        import threading
        class Target:
            name = "bound"
            def __init__(self):
                self.thread = threading.get_ident()
            def generate(self, requests):
                assert threading.get_ident() == self.thread
                return ["yes" for _ in requests]
        """
    )
    project.suite([row(i) for i in range(3)])
    result = project.run_here("cases", "--answer-timeout=60", "--batch-size=1", model="bound:Target")
    result.stdout.fnmatch_lines(["*3 answered, *0 errors*3 target calls"])


def test_the_process_ends_although_threads_of_the_target_hang(project: Project) -> None:
    project.pytester.makepyfile(
        pool="""
        import time
        from concurrent.futures import ThreadPoolExecutor
        POOL = ThreadPoolExecutor(2)
        def answer(requests):
            return list(POOL.map(lambda request: time.sleep(600), requests))
        """
    )
    project.suite([row(1)])
    command = [sys.executable, "-m", "pytest", "--model=pool:answer", "cases", "--answer-timeout=0.5"]
    done = subprocess.run(command, cwd=project.path, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == pytest.ExitCode.TESTS_FAILED
    assert "1 error in " in done.stdout.splitlines()[-1]


@BOTH_WAYS
def test_a_judge_that_hangs_is_given_up_and_the_others_go_on(project: Project, workers: tuple[str, ...]) -> None:
    project.pytester.makepyfile(
        slow="""
        import time
        class Judge:
            name, expectations = "slow/1", frozenset({"safe"})
            def judge(self, cases, responses):
                time.sleep(600)
        """
    )
    project.suite([row(1, expected="safe"), row(2, expected="safe", category="b"), row(3, category="c")])
    result = project.run("cases", "--judge=slow:Judge", "--judge-timeout=0.5", *workers)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        ["*3 answered, 0 not as expected (u), 2 unscored*", "the run failed: the judge slow/1 failed on every answer*"]
    )
    assert "--judge-timeout: no answer within 0.5 s" in plain(result)


@pytest.mark.parametrize("option", ["--answer-timeout", "--judge-timeout"])
@pytest.mark.parametrize("value", ["0", "-1", "soon", "nan"])
def test_what_is_no_time_limit(project: Project, option: str, value: str) -> None:
    project.suite([row(1)])
    assert (
        usage_error(project.run_here(f"{option}={value}"))
        == f"{option}: {value!r}; expected a number of seconds above 0"
    )


def test_waiting_for_the_model_is_no_test_time(project: Project) -> None:
    pytest.importorskip("pytest_timeout")
    project.pytester.makepyfile(
        slow="import time\ndef answer(requests):\n    time.sleep(2.5)\n    return ['yes' for _ in requests]\n"
    )
    project.pytester.makepyfile(test_slow="import time\ndef test_slow():\n    time.sleep(30)\n")
    project.suite([row(1)])
    result = project.run("cases", "test_slow.py", "--timeout=1", model="slow:answer")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*Timeout (>1.0s) from pytest-timeout*", "*1 answered*"])


def test_forked_tests_are_refused(project: Project) -> None:
    project.pytester.makeconftest(
        "def pytest_addoption(parser):\n    parser.addoption('--forked', action='store_true')\n"
    )
    project.suite([row(1)])
    assert usage_error(project.run("cases", "--forked")).startswith(
        "--forked: a fork of this process has not the thread"
    )


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize(
    ("workers", "send"),
    [((), os.kill), (("-n2",), os.killpg), (("-n2",), os.kill)],
    ids=["one-process", "n2", "n2-controller-only"],
)
def test_ctrl_c_does_not_wait_for_a_target_that_hangs(project: Project, workers: tuple[str, ...], send: Any) -> None:
    project.pytester.makepyfile(
        stuck="""
        import time
        asked = []
        def answer(requests):
            asked.append(1)
            if len(asked) == 3:
                open("hangs", "w").close()
                time.sleep(600)
            return ["yes" for _ in requests]
        """
    )
    project.suite([row(i) for i in range(3)])
    command = [sys.executable, "-m", "pytest", "--model=stuck:answer", "cases", "--batch-size=1", "--save-run=run.json"]
    process = subprocess.Popen(
        [*command, *workers], cwd=project.path, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    while not (project.path / "hangs").exists():
        assert process.poll() is None
        time.sleep(0.05)
    send(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == pytest.ExitCode.INTERRUPTED
    assert "every answer so far is in the store (2 answers of this session)" in output
    assert "cases:  2 answered" in output
    run = load_run(project.path / "run.json")
    assert not run.complete
    assert sum(record.response == "yes" for record in run.records) == 2
