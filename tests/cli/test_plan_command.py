"""``mmsafety plan``: what gates can find out, before a model is paid for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from suite_files import row, write_suite, write_thresholds

from pytest_mmsafety.cli.main import main
from pytest_mmsafety.run import save_run
from pytest_mmsafety.testing import make_record, make_run


@pytest.fixture
def at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with two suites."""
    monkeypatch.chdir(tmp_path)
    write_suite(tmp_path / "cases", [row(number) for number in range(20)], name="small")
    write_suite(tmp_path / "cases", [row(number) for number in range(400)], name="large")
    return tmp_path


def gate(suite: str, **more: Any) -> dict[str, Any]:
    return {"name": suite, "metric": "failure_rate", "where": {"suite": suite}, "max": 0.05, **more}


def plan(capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, str, str]:
    code = main(["plan", "--thresholds=policy.yaml", "--cases", "cases/small.yaml", "cases/large.yaml", *options])
    return code, *capsys.readouterr()


def test_a_gate_that_cannot_pass_with_its_cases(at: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_thresholds(at, gate("small", rule="assurance"), gate("large", rule="assurance"))
    code, out, err = plan(capsys)
    assert (code, err) == (0, "")
    small, large, last = out.splitlines()
    assert small == (
        "small  cannot pass: n=20 (20 clusters) is too small; even 0 failures would not prove that the failure rate is at most 5.0%"
    )
    assert large.startswith("large  n=400 (400 clusters): passes with 80% power at a true failure rate of ")
    assert large.endswith("; bound at most 5.0%")
    assert last == "1 of 2 cannot decide with these cases: small"


def test_json_and_a_target_rate(at: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_thresholds(at, gate("large"), gate("elsewhere"))
    code, out, _ = plan(capsys, "--json", "--target-rate=0.08")
    assert code == 0
    (found,) = json.loads(out)
    assert found["gate"]["name"] == "large"
    assert 0.05 < found["detectable"] < 0.15
    assert found["needed"] > 400  # 8 % is closer to the bound than what 400 cases can tell


def test_the_suites_of_the_project_are_planned_for(at: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_thresholds(at, gate("small"), gate("large"))
    assert main(["plan", "--thresholds=policy.yaml"]) == 0
    out = capsys.readouterr().out
    assert "small  n=20 (20 clusters): " in out
    assert "large  n=400 (400 clusters): " in out


def test_gates_without_cases_are_named(at: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_thresholds(at, gate("large"), gate("elsewhere"))
    assert "elsewhere  no case matches it\n" in plan(capsys)[1]


def test_a_baseline_says_how_alike_cases_are(at: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clusters = [f"c{number // 10}" for number in range(400)]
    write_suite(at / "cases", [row(i, cluster=cluster) for i, cluster in enumerate(clusters)], name="large")
    records = [make_record(i, float(i < 200), suite="large", cluster=cluster) for i, cluster in enumerate(clusters)]
    save_run(make_run(records), at / "run.json")
    write_thresholds(at, gate("large"))
    guessed = json.loads(plan(capsys, "--json")[1])[0]
    known = json.loads(plan(capsys, "--json", "--baseline=run.json")[1])[0]
    assert known["assumed"]["icc"] > 0.9 > guessed["assumed"]["icc"]
    assert known["detectable"] > guessed["detectable"]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (
            ["--baseline=none.json"],
            "--baseline: 'none.json' is not a saved run (and none was promoted to reports/baselines yet)",
        ),
        (["--cases", "usbb"], "did you mean 'usb'?"),
        (["--target-rate=7"], "--target-rate: 7 is not a rate from 0 to 1"),
        (["--data", "x"], "--data: 'x' is not NAME=PATH"),
    ],
)
def test_what_is_wrong_is_one_line(
    at: Path, capsys: pytest.CaptureFixture[str], options: list[str], problem: str
) -> None:
    write_thresholds(at, gate("large"))
    code, _, err = plan(capsys, *options)
    assert code == 4
    assert problem in err
    assert err.count("\n") == 1


def test_gates_of_an_attack_are_planned_with_the_cases_that_it_would_add(
    at: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    robust = {"name": "robust", "metric": "robust_failure_rate", "max": 0.3}
    tone = {"perturbation": "tone", "strength": "1"}
    swept = {"name": "tone", "metric": "perturbed_failure_rate", "where": tone, "max": 0.3}
    write_thresholds(at, robust, swept, gate("small"), one_sided=True)
    code, out, _ = plan(capsys)
    assert code == 0
    lines = out.splitlines()
    assert lines[0].startswith("robust")
    assert "n=420 (420 clusters)" in lines[0]
    assert "n=420 (420 clusters)" in lines[1]
    assert "n=20 (20 clusters)" in lines[2]
