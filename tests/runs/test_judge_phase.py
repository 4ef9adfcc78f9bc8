"""``--judge-phase``: judges that work beside the target, or when it is done and has left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import Any

import pytest
from judge_diary import DIARY, diary, safe
from project import BOTH_WAYS, Project

SLOW = 'note("asked"); import time; time.sleep(0.2 * Path(__file__).with_name("slow").exists())'


@BOTH_WAYS
def test_after_judges_when_the_target_has_answered_everything_and_left(
    project: Project, workers: tuple[str, ...]
) -> None:
    project.pytester.makepyfile(diary=DIARY)
    project.suite([safe(i, "bad" if i % 5 == 0 else "fine") for i in range(120)])
    result = project.run("--judge=diary:Judge", "--judge-phase=after", *workers, model="diary:Target")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["*120 answered, 24 not as expected (u), 0 unscored*"])
    processes = [[what for what in done if what != "fetched"] for done in diary(project)]
    for done in filter(None, processes):
        asked = sum(what == "asked" for what in done)
        assert done[: asked + 1] == ["asked"] * asked + ["released"]
        assert all(what.startswith("judged ") for what in done[asked + 1 :])
    judged = [int(what.split()[1]) for done in processes for what in done if what.startswith("judged ")]
    assert sum(judged) == 120
    assert len(judged) == (2 if workers else 1)


def test_with_judges_while_the_target_works(project: Project) -> None:
    project.pytester.makepyfile(diary=DIARY)
    project.suite([safe(i) for i in range(40)])
    project.run_here("--judge=diary:Judge", model="diary:Target")
    (done,) = diary(project)
    assert done[0] == "fetched"
    assert done[-1] == "released"
    assert sum(what.startswith("judged ") for what in done) > 1


@BOTH_WAYS
def test_after_with_a_case_that_has_no_answer(project: Project, workers: tuple[str, ...]) -> None:
    project.pytester.makepyfile(diary=DIARY)
    rows = [safe(i, "raise" if i == 7 else "fine") for i in range(20)]
    project.suite(rows)
    result = project.run("--judge=diary:Judge", "--judge-phase=after", *workers)
    result.stdout.fnmatch_lines(["*19 answered*0 unscored (?), 1 error, 0 skipped*"])


@pytest.mark.skipif(os.name == "nt", reason="signals")
@BOTH_WAYS
def test_ctrl_c_before_the_judges_keeps_the_answers(project: Project, workers: tuple[str, ...]) -> None:
    project.pytester.makepyfile(diary=DIARY.replace('note("asked")', SLOW))
    (project.path / "slow").touch()
    project.suite([safe(i) for i in range(400)])
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--model=diary:Target",
        "cases",
        "--judge=diary:Judge",
        "--judge-phase=after",
    ]
    process = subprocess.Popen([*command, *workers], cwd=project.path, stdout=subprocess.PIPE, start_new_session=True)
    wait_for(lambda: (project.path / "diary.txt").exists() and sum(map(_asked, diary(project))) > 2)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    process.communicate(timeout=60)
    assert process.returncode == pytest.ExitCode.INTERRUPTED
    (project.path / "slow").unlink()
    asked = sum(map(_asked, diary(project)))
    assert not any(what.startswith("judged") for done in diary(project) for what in done)
    result = project.run("--judge=diary:Judge", model="diary:Target")
    counts = next(line for line in result.outlines if "from the store" in line)
    stored = int(counts.split(" from the store")[0].rpartition(" ")[2])
    assert 0 < stored <= 8 * asked
    assert stored >= 8 * (asked - len(diary(project)))


def _asked(done: list[str]) -> int:
    return sum(what == "asked" for what in done)


def wait_for(condition: Any) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)
