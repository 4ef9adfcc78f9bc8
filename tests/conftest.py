"""What the plugin's tests share: a small project with a suite and a target of its own."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hypothesis
import pytest

# Networks and matrices are tiny here: two threads would mostly wait for each other. Read when torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# pytester forgets modules that were first imported inside of a test; C parts do not survive that.
import scipy.special  # noqa: F401

import pytest_mmsafety.plugin.library  # noqa: F401

pytest_plugins = ["pytester"]

# Hundreds of processes are started here: none should compile the package, and rewrite its asserts, once more.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

hypothesis.settings.register_profile("mmsafety", deadline=None)  # a deadline is a test of time
hypothesis.settings.load_profile("mmsafety")

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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A warning in a test is an error. Not in pyproject.toml: there it would also strike a target under test."""
    for item in items:
        item.add_marker(pytest.mark.filterwarnings("error"), append=False)


class Project:
    """A folder with ``cases/``, a target and thresholds, and ways to run pytest in it."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self.pytester = pytester
        self.path = pytester.path
        pytester.makepyfile(parrot=TARGET)

    def suite(self, rows: Sequence[dict[str, Any]], name: str = "demo", **header: Any) -> Path:
        """Write ``cases/NAME.yaml`` with *rows* in a JSONL file beside it."""
        folder = self.path / "cases"
        folder.mkdir(exist_ok=True)
        keys = {"suite": name, "benchmark": "demo", "group_by": ["category"], "cases": f"{name}.jsonl", **header}
        file = folder / f"{name}.yaml"
        file.write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in keys.items()))
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return file

    def thresholds(self, *gates: dict[str, Any], **keys: Any) -> str:
        content = {"policy": "test", "gates": list(gates), **keys}
        (self.path / "policy.yaml").write_text(
            "".join(f"{key}: {json.dumps(value)}\n" for key, value in content.items())
        )
        return "--thresholds=policy.yaml"

    def run(self, *args: str, model: str = "parrot:Parrot") -> pytest.RunResult:
        """In a process of its own: exit codes, threads and signals are the real ones."""
        return self.pytester.runpytest_subprocess(f"--model={model}", *args)

    def run_here(self, *args: str, model: str = "parrot:Parrot") -> pytest.RunResult:
        """In the process of the tests, which is several times cheaper: where only what the run says is looked at."""
        return self.pytester.runpytest_inprocess(f"--model={model}", *args)

    def calls(self) -> list[int]:
        """Size of each batch that the target was asked, over all runs so far."""
        file = self.path / "calls.txt"
        return [int(line) for line in file.read_text().split()] if file.exists() else []


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Project:
    # Hypothesis's plugin imports all of Hypothesis in every run, which takes longer than the rest of a small run.
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p no:hypothesispytest -p no:anyio")
    return Project(pytester)


def row(number: int, say: str = "yes", **more: Any) -> dict[str, Any]:
    """A case that expects yes and whose prompt makes the parrot say *say*."""
    return {
        "id": f"case-{number}",
        "prompt": f"number {number} say: {say}",
        "expected": "yes",
        "category": "one",
        **more,
    }
