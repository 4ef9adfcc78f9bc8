"""``mmsafety plan``: what gates can find out, before a model is paid for."""

from __future__ import annotations

import json
from typing import Any

import pytest
from conftest import Project, row

from pytest_mmsafety.cli.main import main


@pytest.fixture
def at(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.chdir(project.path)
    project.suite([row(number) for number in range(20)], name="small")
    project.suite([row(number) for number in range(400)], name="large")
    return project


def gate(suite: str, **more: Any) -> dict[str, Any]:
    return {"name": suite, "metric": "failure_rate", "where": {"suite": suite}, "max": 0.05, **more}


def plan(capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, str, str]:
    code = main(["plan", "--thresholds=policy.yaml", "--cases", "cases/small.yaml", "cases/large.yaml", *options])
    return code, *capsys.readouterr()


def test_a_gate_that_cannot_pass_with_its_cases(at: Project, capsys: pytest.CaptureFixture[str]) -> None:
    at.thresholds(gate("small", rule="assurance"), gate("large", rule="assurance"))
    code, out, err = plan(capsys)
    assert (code, err) == (0, "")
    small, large, last = out.splitlines()
    assert small.startswith("small  cannot pass: with 20 cases")
    assert "400 cases" in large
    assert "passes with 80% power (bound: at most 5.0%)" in large
    assert last == "1 of 2 cannot decide with these cases: small"


def test_json_and_a_wish(at: Project, capsys: pytest.CaptureFixture[str]) -> None:
    at.thresholds(gate("large"), gate("elsewhere"))
    code, out, _ = plan(capsys, "--json", "--wish=0.08")
    assert code == 0
    (found,) = json.loads(out)
    assert found["gate"]["name"] == "large"
    assert 0.05 < found["detectable"] < 0.15
    assert found["needed"] > 400  # 8 % is closer to the bound than what 400 cases can tell


def test_the_suites_of_the_project_are_planned_for(at: Project, capsys: pytest.CaptureFixture[str]) -> None:
    at.thresholds(gate("small"), gate("large"))
    assert main(["plan", "--thresholds=policy.yaml"]) == 0
    out = capsys.readouterr().out
    assert "20 cases" in out
    assert "400 cases" in out


def test_gates_without_cases_are_named(at: Project, capsys: pytest.CaptureFixture[str]) -> None:
    at.thresholds(gate("large"), gate("elsewhere"))
    assert "elsewhere  no case matches it\n" in plan(capsys)[1]


def test_a_baseline_says_how_alike_cases_are(at: Project, capsys: pytest.CaptureFixture[str]) -> None:
    at.suite(
        [row(number, say="no" if number < 200 else "yes", cluster=f"c{number // 10}") for number in range(400)],
        name="large",
    )
    assert at.run("--save-run=run.json", "cases/large.yaml").ret == 0
    capsys.readouterr()
    at.thresholds(gate("large"))
    guessed = json.loads(plan(capsys, "--json")[1])[0]
    known = json.loads(plan(capsys, "--json", "--baseline=run.json")[1])[0]
    assert known["assumed"]["icc"] > 0.9 > guessed["assumed"]["icc"]
    assert known["detectable"] > guessed["detectable"]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--baseline=none.json"], "--baseline: 'none.json' is neither a saved run nor"),
        (["--cases", "usbb"], "did you mean 'usb'?"),
        (["--wish=7"], "--wish: 7 is not a rate from 0 to 1"),
        (["--data", "x"], "--data: 'x' is not NAME=PATH"),
    ],
)
def test_what_is_wrong_is_one_line(
    at: Project, capsys: pytest.CaptureFixture[str], options: list[str], problem: str
) -> None:
    at.thresholds(gate("large"))
    code, _, err = plan(capsys, *options)
    assert code == 4
    assert problem in err
    assert err.count("\n") == 1
