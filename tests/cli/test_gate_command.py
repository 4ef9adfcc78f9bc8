"""``mmsafety gate``: a saved run is judged as the run itself was, with the same exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from suite_files import write_thresholds

from pytest_mmsafety.cli.main import main
from pytest_mmsafety.run import save_run
from pytest_mmsafety.testing import make_record, make_run

REGRESSION: dict[str, Any] = {"name": "no-worse", "metric": "accuracy", "max_regression": 0.1}
ACCURACY: dict[str, Any] = {"name": "right", "metric": "accuracy", "min": 0.3}


@pytest.fixture(autouse=True)
def at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a run that answered all rightly and one that got two in five wrong."""
    monkeypatch.chdir(tmp_path)
    for name, wrong in (("before", 0), ("after", 24)):
        records = [make_record(i, float(i < wrong), tags={"category": "one"}) for i in range(60)]
        save_run(make_run(records), tmp_path / f"{name}.json")
    return tmp_path


def gate(capsys: pytest.CaptureFixture[str], run: str, *options: str) -> tuple[int, str, str]:
    code = main(["gate", run, "--thresholds=policy.yaml", *options])
    return code, *capsys.readouterr()


def test_a_run_that_keeps_its_bounds_exits_0(at: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_thresholds(at, REGRESSION, ACCURACY)
    code, out, err = gate(capsys, "before.json", "--baseline=before.json")
    assert (code, err) == (0, "")
    assert out.startswith("target: scripted, 2026-01-01T12:00:00+00:00\n")
    assert out.endswith("\nnot blocked: 2 passed\n")


def test_a_run_that_got_worse_exits_1(at: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_thresholds(at, REGRESSION, ACCURACY)
    code, out, _ = gate(capsys, "after.json", "--baseline=before.json", "--json")
    assert code == 1
    document = json.loads(out)
    assert document["blocks"] is True
    assert [result["status"] for result in document["gates"]] == ["failed", "passed"]
    assert document["gates"][0]["comparison"]["difference"]["value"] == pytest.approx(0.4)
    assert document["gates"][0]["comparison"]["pairs"] == 60


@pytest.mark.parametrize(
    ("run", "problem"),
    [
        ("after.json", "--baseline: gate 'no-worse' has max_regression, but there is no baseline to compare to"),
        ("none.json", "none.json: not a run file: "),
    ],
)
def test_what_is_wrong_is_one_line(at: Path, capsys: pytest.CaptureFixture[str], run: str, problem: str) -> None:
    write_thresholds(at, REGRESSION, ACCURACY)
    code, out, err = gate(capsys, run)
    assert (code, out, err.count("\n")) == (4, "", 1)
    assert err.startswith(f"mmsafety: {problem}")


def test_a_misspelt_filter_is_named(at: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_thresholds(at, {**ACCURACY, "where": {"category": "onee"}})
    code, _, err = gate(capsys, "after.json")
    assert code == 4
    assert err.endswith("no collected case has category: onee; did you mean 'one'?\n")
