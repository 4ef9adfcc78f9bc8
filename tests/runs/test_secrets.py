"""Secrets in arguments and in the environment: in nothing that a run writes or says, whoever fails with them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from project import BOTH_WAYS, Project, plain, row, usage_error

from pytest_mmsafety.run import load_run

ARGUMENT, VARIABLE, PASSWORD, SIGNED = "sk-argument-4711", "hf_variable+0815/x", "url-password-99", "sig-1234567"
SECRETS = (ARGUMENT, VARIABLE, PASSWORD, SIGNED)
URL = f"https://me:{PASSWORD}@host.example/v1?sig={SIGNED}"

TARGET = """
import os

class Client:
    name = "client"
    fingerprint = "1"

    def __init__(self, url="", api_key_2="", **rest):
        self.said = f"401 from {url} with {api_key_2!r} and {os.environ.get('SOME_TOKEN')}"

    def generate(self, requests):
        if any("raise" in request.prompt for request in requests):
            raise RuntimeError(self.said)
        return ["yes, see https://a.example/b?c=d" for _ in requests]

    def release(self):
        raise OSError(self.said)

class Dead(Client):
    def generate(self, requests):
        raise OSError(self.said)

class Unmade(Client):
    def __init__(self, **args):
        super().__init__(**args)
        raise OSError(self.said)

class Telling(Client):
    def __init__(self, **args):
        super().__init__(**args)
        self.name = f"client with {args['api_key_2']}"

    def generate(self, requests):
        return [{"answer": self.said}] * len(requests)

class Judge:
    expectations = frozenset({"yes"})
    name = "strict/1"

    def __init__(self, args):
        self.said = f"no grade: {args['url']}, {args['api_key_2']}, {os.environ.get('SOME_TOKEN')}"

    def judge(self, cases, responses):
        raise OSError(self.said)

class GivesUp(Judge):
    problem = ""

    def judge(self, cases, responses):
        from pytest_mmsafety import Verdict
        self.problem = self.said
        return [Verdict(self.name, "judge-error", None, self.said) for _ in cases]

class Odd(Judge):
    def judge(self, cases, responses):
        return [self.said for _ in cases]

class Broken(Judge):
    def __init__(self, args):
        super().__init__(args)
        raise OSError(self.said)
"""
ARGS = f"url={URL},api_key_2={ARGUMENT}"


@pytest.fixture
def client(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    project.pytester.makepyfile(client=TARGET)
    monkeypatch.setenv("SOME_TOKEN", VARIABLE)
    project.suite([row(i, "raise" if i % 3 == 1 else "yes") for i in range(12)])
    return project


ARTEFACTS = {
    "--save-run": "run.json",
    "--safety-report": "report.html",
    "--safety-summary": "summary.md",
    "--junitxml": "junit.xml",
    "--store": "store.sqlite",
}


def written_and_said(project: Project, *options: str, model: str = "client:Client") -> str:
    """Everything, in one text, after a run that could start."""
    gate = project.thresholds({"name": "a", "metric": "accuracy", "min": 0.5})
    files = [f"{option}={name}" for option, name in ARTEFACTS.items()]
    result = project.run(f"--model-args={ARGS}", gate, "-vv", "-rA", *files, *options, model=model)
    paths = [project.path / name for name in (*ARTEFACTS.values(), "store.sqlite-wal")]
    assert all(path.exists() for path in paths[:-1])
    return plain(result) + "".join(path.read_bytes().decode("utf-8", "replace") for path in paths if path.exists())


def without_secrets(text: str) -> bool:
    return not [secret for secret in SECRETS if secret in text]


@BOTH_WAYS
def test_errors_of_a_target(client: Project, workers: tuple[str, ...]) -> None:
    text = written_and_said(client, *workers)
    assert "RuntimeError: 401 from https://***@host.example/v1?*** with '***' and ***" in text
    assert without_secrets(text)


@pytest.mark.parametrize("target", ["Dead", "Unmade", "Telling"])
def test_a_target_that_cannot_be_used(client: Project, target: str) -> None:
    text = written_and_said(client, model=f"client:{target}")
    assert "***" in text
    assert without_secrets(text)


@pytest.mark.parametrize("judge", ["Judge", "GivesUp", "Odd"])
def test_errors_of_a_judge(client: Project, judge: str) -> None:
    text = written_and_said(client, f"--judge=client:{judge}", f"--judge-args={ARGS}")
    assert "no grade: https://***@host.example/v1?***" in text
    assert without_secrets(text)


def test_a_judge_that_cannot_be_made(client: Project) -> None:
    result = client.run("--judge=client:Broken", f"--judge-args={ARGS}")
    assert usage_error(result) == (
        "--judge: client:Broken: OSError: no grade: https://***@host.example/v1?***, ***, ***"
    )


def test_a_module_that_cannot_be_imported(client: Project) -> None:
    client.pytester.makepyfile(odd="import os\nraise OSError(os.environ['SOME_TOKEN'])\n")
    assert usage_error(client.run(model="odd:T")).endswith("cannot import odd: OSError: ***")


def test_settings_and_answers_in_the_run(client: Project) -> None:
    (client.path / "adapters" / "one").mkdir(parents=True)
    adapter = client.path / "adapters" / "one"
    written_and_said(client, f"--model-args={ARGS},adapter={adapter},max_new_tokens=64,token_budget=8")
    run = load_run(client.path / "run.json")
    assert run.settings.model_args == {
        "url": "https://***@host.example/v1?***",
        "api_key_2": "***",
        "adapter": "one",
        "max_new_tokens": "64",
        "token_budget": "8",
    }
    answers = {record.response for record in run.records if record.response is not None}
    assert answers == {"yes, see https://a.example/b?c=d"}, "answers are not touched"


def test_an_answer_with_a_secret_is_the_models_own(client: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    client.pytester.makepyfile(teller="import os\ndef answer(r): return ['yes ' + os.environ['SOME_TOKEN']] * len(r)\n")
    client.run_here("--save-run=run.json", "--store=off", model="teller:answer")
    assert {record.response for record in load_run(client.path / "run.json").records} == {f"yes {VARIABLE}"}


def test_a_model_that_is_never_made_is_named_without_its_path(client: Project) -> None:
    folder = client.path / "checkpoint"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    client.run("--save-run=run.json", "--store=off", model=str(folder))
    for path in (Path(client.path / "run.json"),):
        if path.exists():
            assert json.loads(path.read_text())["target"] == "checkpoint"
