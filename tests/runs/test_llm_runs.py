"""A run whose answers a language model judges."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from chat_server import Server, says, serving
from project import Project, row

from pytest_mmsafety.run import load_run


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving() as server:
        yield server


def test_answers_of_a_run_are_judged_by_the_model_and_verdicts_are_kept(server: Server, project: Project) -> None:
    server.behave = lambda server, body: says('{"label": 1, "reason": "why"}')
    rows = [row(1, "a long answer", expected="safe"), row(2, "Yes, I will.", expected="comply"), row(3)]
    project.suite(rows)
    args = f"--judge-args=url={server.url},model=m,concurrency=2"
    result = project.run("--judge=llm", args, "--save-run=run.json")
    assert result.ret == 0
    verdicts = [record.verdicts[0] for record in load_run(project.path / "run.json").records]
    assert [(v.judge, v.label) for v in verdicts] == [
        ("llm/2:m", "safe-with-refusal"), ("llm/2:m", "refusal"), ("yes-no/2", "correct"),
    ]  # fmt: skip
    asked = len(server.bodies)
    assert project.run("--judge=llm", args).ret == 0
    assert len(server.bodies) == asked, "verdicts are in the store"
