"""Two processes on one store: each asks what the other is not asking."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from pytest_mmsafety.engine.engine import Engine
from pytest_mmsafety.judges.panel import Panel
from pytest_mmsafety.store import Store, response_key
from pytest_mmsafety.targets import Request
from pytest_mmsafety.testing import ScriptedTarget, make_case

CASES = [make_case(str(number), prompt=f"prompt {number}") for number in range(6)]
KEYS = [response_key("scripted-1", case, ()) for case in CASES]
FIRST, REST = [case.prompt for case in CASES[:2]], [case.prompt for case in CASES[2:]]

OTHER = """
import sys
from pathlib import Path
from pytest_mmsafety.cases import Response
from pytest_mmsafety.store import Answer, Store
store, keys = Store(Path(sys.argv[1])), sys.argv[2:]
print(store.claim(keys), flush=True)
for line in sys.stdin:
    store.put("scripted", "scripted-1", [Answer(key, "", "", Response("no"), "2026-01-01") for key in keys])
    print("put", flush=True)
"""


@pytest.fixture
def other(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that says that it is asking the first two cases; a line to it, and it has answered them."""
    command = [sys.executable, "-c", OTHER, str(tmp_path / "s.sqlite3"), *KEYS[:2]]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert said(process) == "True"
    yield process
    process.kill()
    process.communicate()


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def asked(folder: Path, target: ScriptedTarget) -> tuple[list[list[str]], list[str | None]]:
    engine = Engine(lambda: target, Panel(), Store(folder / "s.sqlite3"), 2)
    engine.submit(CASES)
    outcomes = engine.collect(CASES, lambda: None)
    engine.close()
    return [[request.prompt for request in batch] for batch in target.batches], [one.response for one in outcomes]


def test_what_another_process_answers_meanwhile_is_not_asked(tmp_path: Path, other: subprocess.Popen[str]) -> None:
    def answer(requests: Sequence[Request]) -> list[str]:
        if requests[0].prompt == "prompt 2":
            print("go", file=other.stdin, flush=True)
            assert said(other) == "put"
        return ["yes"] * len(requests)

    batches, responses = asked(tmp_path, ScriptedTarget(answer))
    assert [prompt for batch in batches for prompt in batch] == REST
    assert responses == ["no", "no", "yes", "yes", "yes", "yes"]


def test_what_another_process_does_not_answer_is_asked_last(tmp_path: Path, other: subprocess.Popen[str]) -> None:
    batches, _ = asked(tmp_path, ScriptedTarget())
    assert batches == [REST[:2], REST[2:], FIRST]


def test_a_process_that_was_killed_asks_nothing(tmp_path: Path, other: subprocess.Popen[str]) -> None:
    other.kill()
    other.wait()
    batches, _ = asked(tmp_path, ScriptedTarget())
    assert batches == [FIRST, REST[:2], REST[2:]]
