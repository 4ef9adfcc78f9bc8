"""The store in whole runs: nothing is paid for twice, whatever ends a run."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest
from project import Project, plain, row

from pytest_mmsafety.run import load_run

ACCURACY = {"name": "accuracy", "metric": "accuracy", "min": 0.5}


def test_a_second_run_asks_nothing(project: Project) -> None:
    project.suite([row(i) for i in range(20)])
    project.run()
    before = project.calls()
    result = project.run()
    assert sum(before) == 20
    assert project.calls() == before
    result.stdout.fnmatch_lines(["*20 answered*20 from the store, 0 target calls"])


def test_a_changed_target_is_asked_anew(project: Project) -> None:
    project.suite([row(1)])
    project.run()
    project.run("--model-args=temperature=1")
    assert project.calls() == [1, 1]
    (project.path / "parrot.py").write_text((project.path / "parrot.py").read_text() + "\n# retrained\n")
    project.run()
    assert project.calls() == [1, 1, 1]


def test_store_off_keeps_nothing(project: Project) -> None:
    project.suite([row(1)])
    project.run_here("--store=off")
    project.run_here("--store=off")
    assert project.calls() == [1, 1]
    assert not (project.path / ".mmsafety").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_ctrl_c_keeps_every_answer(project: Project) -> None:
    project.pytester.makepyfile(
        slow="""
        import os, time
        def answer(requests):
            open("calls.txt", "a").write(f"{len(requests)}\\n")
            time.sleep(0.5 * os.path.exists("slow"))
            return ["yes" for _ in requests]
        """
    )
    (project.path / "slow").touch()
    project.suite([row(i, category=f"group-{i // 4:02}") for i in range(64)])
    command = [sys.executable, "-m", "pytest", "--model=slow:answer", "cases", "--batch-size=4", "--save-run=run.json"]
    process = subprocess.Popen(command, cwd=project.path, stdout=subprocess.PIPE, text=True)
    while len(project.calls()) < 3:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == pytest.ExitCode.INTERRUPTED
    assert "every answer so far is in the store" in output
    run = load_run(project.path / "run.json")
    assert not run.complete
    assert "stopped before its end" in run.failures[0]
    (project.path / "slow").unlink()
    asked = sum(project.calls())
    result = project.run("--batch-size=4", model="slow:answer")
    assert sum(project.calls()) == 64, "an answer was paid for twice"
    result.stdout.fnmatch_lines([f"*64 answered*{asked} from the store*"])


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("number", ["SIGKILL", "SIGTERM"])
def test_a_killed_run_resumes_and_pays_for_nothing_twice(project: Project, number: str) -> None:
    project.pytester.makepyfile(
        slow="""
        import time
        def answer(requests):
            time.sleep(0.2)
            open("calls.txt", "a").write(f"{len(requests)}\\n")
            return ["yes" for _ in requests]
        """
    )
    project.suite([row(i, category=f"group-{i % 3}") for i in range(40)])
    command = [sys.executable, "-m", "pytest", "--model=slow:answer", "cases", "--batch-size=4", "--save-run=run.json"]
    process = subprocess.Popen(command, cwd=project.path, stdout=subprocess.DEVNULL)
    while len(project.calls()) < 3:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(getattr(signal, number))
    process.wait(30)
    killed = sum(project.calls())
    assert not (project.path / "run.json").exists()
    result = project.run("--batch-size=4", model="slow:answer")
    assert result.ret == pytest.ExitCode.OK
    assert 40 <= sum(project.calls()) <= 44, "at most the batch in hand is asked again"
    assert killed < 40
    assert set(project.calls()) == {4}


def test_two_runs_share_one_store(project: Project) -> None:
    project.suite([row(i) for i in range(60)])
    project.run("--co", "-q")  # makes the store
    command = [sys.executable, "-m", "pytest", "--model=parrot:Parrot", "cases", "--batch-size=1", "-q"]
    both = [subprocess.Popen(command, cwd=project.path, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for process in both:
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0, output
        assert "60 answered, 0 not as expected" in output


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX limits")
def test_a_full_disk_is_said_and_fails_the_run(project: Project) -> None:
    project.suite([row(i, "yes " + "x" * 3000) for i in range(60)])
    (project.path / "conftest.py").write_text(
        "import resource\ndef pytest_configure(): resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
    )
    result = project.run("--save-run=run.json", project.thresholds(ACCURACY))
    plain(result)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            "note:   --store: *takes no more answers (*); later ones are in this run only",
            "passed *accuracy*n=60*",
            "--save-run: *run.json cannot be written: File too large",
        ]
    )
    assert not list(project.path.glob("*run.json*"))


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_ctrl_c_waits_for_no_judge_and_keeps_what_it_has_not_judged(project: Project) -> None:
    project.pytester.makepyfile(
        stuck="""
        import time
        class Judge:
            name, expectations = "stuck/1", frozenset({"safe"})
            def judge(self, cases, responses):
                open("judging", "w").close()
                time.sleep(600)
        """
    )
    project.suite([row(i, expected="safe") for i in range(24)])
    command = [sys.executable, "-m", "pytest", "--model=parrot:Parrot", "cases", "--judge=stuck:Judge"]
    process = subprocess.Popen([*command, "--save-run=run.json"], cwd=project.path, stdout=subprocess.PIPE, text=True)
    while sum(project.calls()) < 24 or not (project.path / "judging").exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == pytest.ExitCode.INTERRUPTED
    assert "24 answered, 0 not as expected (u), 24 unscored (?)" in output
    verdicts = {record.verdicts[0].label for record in load_run(project.path / "run.json").records}
    assert verdicts == {"not-judged"}
