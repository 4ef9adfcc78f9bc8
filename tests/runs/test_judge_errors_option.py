"""``--judge-errors``: gates of a run, and of a saved one, that know how often their judge errs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from project import Project, row

from pytest_mmsafety.cli.main import main
from pytest_mmsafety.judge_errors import FORMAT
from pytest_mmsafety.run import load_run


@pytest.fixture
def measured(project: Project) -> Project:
    project.suite([row(number, say="no" if number < 27 else "yes") for number in range(200)])
    counts = {
        "by": {},
        "n": 1000,
        "tp": 450,
        "fp": 25,
        "tn": 475,
        "fn": 50,
        "abstained_positive": 0,
        "abstained_negative": 0,
    }
    content = {
        "format": FORMAT, "judge": "yes-no/2", "created": "", "threshold": 0.5, "effective": False, "files": {},
        "strata": [{**counts, "clusters": 1000, "positive_clusters": 500, "negative_clusters": 500, "sources": []}],
    }  # fmt: skip
    (project.path / "errors.json").write_text(json.dumps(content))
    return project


@pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["one process", "xdist"])
def test_the_option_corrects(measured: Project, workers: tuple[str, ...]) -> None:
    bound = measured.thresholds({"name": "wrong", "metric": "failure_rate", "max": 0.3}, one_sided=True)
    run = measured.run(bound, "--judge-errors=errors.json", "--save-run=run.json", "cases", *workers)
    assert run.ret == 0
    run.stdout.fnmatch_lines(["*wrong  failure rate 10.0%*raw 13.5%*"])
    assert load_run(measured.path / "run.json").gates[0].raw.value == 0.135


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("none.json", "none.json: not a file of judge errors"),
        ("errors.json,errors.json", "errors of the same judge again: yes-no/2"),
    ],
)
def test_a_bad_file_of_errors_is_refused_before_the_target_is_asked(
    measured: Project, value: str, problem: str
) -> None:
    run = measured.run(f"--judge-errors={value}", "cases")
    assert run.ret == 4
    run.stderr.fnmatch_lines([f"ERROR: --judge-errors: *{problem}*"])
    assert measured.calls() == []


def test_a_saved_run_is_corrected_too(
    measured: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(measured.path)
    assert measured.run("--save-run=run.json", "cases").ret == 0
    capsys.readouterr()
    measured.thresholds({"name": "wrong", "metric": "failure_rate", "max": 0.3}, one_sided=True)
    assert main(["gate", "run.json", "--thresholds=policy.yaml", "--judge-errors=errors.json", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["gates"][0]["estimate"]["value"] == pytest.approx(0.1)
    assert Path("run.json").exists()
