"""The line that says how far a run is, on a terminal and in a log."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys

import pytest
from project import BOTH_WAYS, Project, row


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX terminals")
def test_progress_on_a_terminal(project: Project) -> None:
    project.pytester.makepyfile(
        slow="""
        import time
        def answer(requests):
            time.sleep(0.8)
            return ["yes" for _ in requests]
        """
    )
    project.suite([row(i) for i in range(8)])
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "pytest", "--model=slow:answer", "cases", "--batch-size=2"]
    process = subprocess.Popen(command, cwd=project.path, stdout=theirs)
    os.close(theirs)
    output = b""
    with contextlib.suppress(OSError):  # Linux says so at the end of a terminal
        while part := os.read(ours, 10_000):
            output += part
    assert process.wait() == pytest.ExitCode.OK
    assert re.search(rb"mmsafety: [246] of 8 cases answered in 0:0\d, [\d.]+/s, about 0:0\d left", output)


@BOTH_WAYS
@pytest.mark.parametrize("every", [0.1, 1000.0])
def test_progress_in_a_log_comes_now_and_then(project: Project, workers: tuple[str, ...], every: float) -> None:
    project.pytester.makepyfile(
        slow="""
        import time
        def answer(requests):
            time.sleep(0.4)
            return ["yes" for _ in requests]
        """
    )
    project.pytester.makeconftest(
        f"import pytest_mmsafety.engine.progress\npytest_mmsafety.engine.progress.LOG_EVERY = {every}\n"
    )
    project.suite([row(i, category=f"group-{i}") for i in range(16)])
    output = project.run("--batch-size=4", *workers, model="slow:answer").stdout.str()
    lines = re.findall(r"^mmsafety: \d+ of 16 cases answered in 0:0\d", output, re.MULTILINE)
    assert bool(lines) is (every < 1)
