"""A small project with a suite and a target of its own, and ways to run pytest in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from suite_files import row, write_suite, write_thresholds

__all__ = ["BOTH_WAYS", "Project", "plain", "row", "usage_error"]

BOTH_WAYS = pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["one-process", "n2"])
"""In one process, and by two workers of xdist."""

TARGET = '''
"""A target that says what each prompt asks it to say, and counts its calls."""
from pathlib import Path

CALLS = Path(__file__).with_name("calls.txt")

class Parrot:
    name = "parrot"

    def __init__(self, **args):
        self.args = args

    def generate(self, requests):
        with CALLS.open("a") as file:
            file.write(f"{len(requests)}\\n")
        return [self.answer(request) for request in requests]

    def answer(self, request):
        _, _, what = request.prompt.partition("say: ")
        if what == "raise":
            raise RuntimeError("this prompt breaks me")
        return what
'''


class Project:
    """A folder with ``cases/``, a target and thresholds, and ways to run pytest in it."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self.pytester = pytester
        self.path = pytester.path
        pytester.makepyfile(parrot=TARGET)

    def suite(self, rows: Sequence[dict[str, Any]], name: str = "demo", **header: Any) -> Path:
        """Write ``cases/NAME.yaml`` with *rows* in a JSONL file beside it."""
        return write_suite(self.path / "cases", rows, name, **header)

    def thresholds(self, *gates: dict[str, Any], **keys: Any) -> str:
        """Write ``policy.yaml`` with *gates*: the option that names it."""
        return f"--thresholds={write_thresholds(self.path, *gates, **keys).name}"

    def run(self, *args: str, model: str = "parrot:Parrot", default: bool = False) -> pytest.RunResult:
        """In a process of its own: exit codes, threads and signals are the real ones.

        Without thresholds nothing is gated, unless *default*: then the default policy is.
        """
        return self.pytester.runpytest_subprocess(f"--model={model}", *args, *_ungated(args, default=default))

    def run_here(self, *args: str, model: str = "parrot:Parrot", default: bool = False) -> pytest.RunResult:
        """In the process of the tests, which is several times cheaper: where only what the run says is looked at."""
        return self.pytester.runpytest_inprocess(f"--model={model}", *args, *_ungated(args, default=default))

    def calls(self) -> list[int]:
        """Size of each batch that the target was asked, over all runs so far."""
        file = self.path / "calls.txt"
        return [int(line) for line in file.read_text().split()] if file.exists() else []


def _ungated(args: Sequence[str], *, default: bool) -> tuple[str, ...]:
    """The folder, which to name gates nothing by default."""
    says_what = any(
        arg.startswith(("cases", "--thresholds", "--pyargs", "--require-gates")) or "::" in arg for arg in args
    )
    return () if default or says_what else ("cases",)


def plain(result: pytest.RunResult) -> str:
    """Everything that was said; fails if it was a traceback."""
    said = f"{result.stdout.str()}\n{result.stderr.str()}"
    assert "Traceback" not in said
    assert "INTERNALERROR" not in said
    return said


def usage_error(result: pytest.RunResult) -> str:
    """The one line of a run that could not start."""
    said = plain(result)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    lines = [line for line in said.splitlines() if line.startswith("ERROR: ")]
    assert len(lines) == 1
    return lines[0].removeprefix("ERROR: ")
