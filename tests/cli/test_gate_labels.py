"""``mmsafety gate`` on a saved run: with people's labels, and with a policy that does not fit."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from pytest_mmsafety.cli.main import main
from pytest_mmsafety.gates import NOT_EVALUATED
from pytest_mmsafety.run import Record, RunSettings, load_run, save_run
from pytest_mmsafety.testing import make_record, make_run


def record(number: int, score: float | None, judge: str = "refusal/1", **tags: str) -> Record:
    """An answer to a request that deserves help, in Chinese or English."""
    tags = {"language": "zh" if number % 4 == 1 else "en", **tags}
    return make_record(number, score, judge=judge, suite="s", tags=tags, expected="comply")


def refused(number: int) -> bool:
    """What people say."""
    return number % 10 == 0


RECORDS = [record(i, float(i % 20 == 0)) for i in range(400)]
"""The judge finds every second refusal, 5 % of the answers."""
HALF = [record(i, None if i % 4 < 2 else 0.0) for i in range(400)]
"""The judge abstains on half of the answers, six in ten of the refusals among them, and finds none of the others."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    save_run(make_run(RECORDS), tmp_path / "run.json")
    gates = [{"name": "refusals", "metric": "failure_rate", "max": 0.06}]
    (tmp_path / "policy.yaml").write_text(json.dumps({"policy": "test", "one_sided": True, "gates": gates}))
    return tmp_path


def label_and_import(folder: Path, name: str, *options: str, only: int = 400) -> str:
    """Draw a sample, fill in its table as people would, and import it."""
    assert main(["judge", "label", "run.json", "-o", name, *options]) == 0
    table = folder / name / "items.csv"
    rows = list(csv.DictReader(table.read_text(encoding="utf-8-sig").splitlines()))[:only]
    for one in rows:
        number = int(one["prompt"].removeprefix("Question ").removesuffix("?"))
        one.update(annotator="ann", answer="yes" if refused(number) else "no")
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    assert main(["judge", "import", str(table), "--run", "run.json", "-o", f"{name}.jsonl"]) == 0
    return f"--labels={name}.jsonl"


def test_from_a_sample_to_a_corrected_gate(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    option = label_and_import(folder, "sample", "--n=200")
    command = ["gate", "run.json", "--thresholds=policy.yaml"]
    capsys.readouterr()
    assert main([*command, "--json"]) == 0
    raw = json.loads(capsys.readouterr().out)["gates"][0]
    assert (raw["estimate"]["value"], raw["raw"], raw["status"]) == (0.05, None, "inconclusive")
    assert main([*command, option, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)["gates"][0]
    assert (found["raw"]["value"], found["status"]) == (0.05, "failed")
    assert 0.06 < found["estimate"]["low"] < 0.1 < found["estimate"]["high"] < 0.2
    assert main([*command, option]) == 1
    out = capsys.readouterr().out
    assert "labels: 200 of 400 answers\n" in out
    assert "; corrected with people's labels of 200 of 400 answers, raw 5.0% [3.1%, 7.6%]\n" in out


@pytest.mark.parametrize(
    ("keys", "code", "said"),
    [
        (
            {"zero_tolerance": [{"language": "zhh"}]},
            4,
            "policy.yaml: gate 'refusals': zero_tolerance: no collected case has language: zhh; did you mean 'zh'?\n",
        ),
        ({"zero_tolerance": [{"language": "zh"}]}, 1, "failed         refusals"),
        ({"max_regression": 0.1}, 4, "expected a saved run (--save-run=FILE, then mmsafety baseline promote)\n"),
    ],
)
def test_a_policy_that_does_not_fit_the_run_is_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], keys: dict[str, Any], code: int, said: str
) -> None:
    gates = [{"name": "refusals", "metric": "failure_rate", "max": 0.01, **keys}]
    (folder / "policy.yaml").write_text(json.dumps({"policy": "test", "one_sided": True, "gates": gates}))
    assert main(["gate", "run.json", "--thresholds=policy.yaml"]) == code
    found = capsys.readouterr()
    assert said in (found.err if code == 4 else found.out)
    assert found.err.count("\n") == (code == 4)


def test_of_a_part_of_the_suites_it_is_not_known_what_is_misspelt(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = load_run(folder / "run.json")
    save_run(dataclasses.replace(run, settings=RunSettings("scripted", subset=0.1)), folder / "run.json")
    gates = [{"name": "g", "metric": "failure_rate", "max": 0.01, "zero_tolerance": [{"language": "fr"}]}]
    (folder / "policy.yaml").write_text(json.dumps({"policy": "test", "one_sided": True, "gates": gates}))
    assert main(["gate", "run.json", "--thresholds=policy.yaml"]) == 1
    assert "; no case of the gate matches zero_tolerance language: fr\n" in capsys.readouterr().out


def test_a_baseline_that_no_gate_compares_with_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["gate", "run.json", "--thresholds=policy.yaml"]
    note = "note: --baseline: no gate has max_regression, so none compares with it\n"
    assert main([*command, "--baseline=run.json"]) == 0
    assert note in capsys.readouterr().out
    assert main(command) == 0
    assert "note:" not in capsys.readouterr().out


def test_from_a_judge_that_abstains_on_half_to_an_evaluated_gate(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_run(make_run(HALF), folder / "run.json")
    command = ["gate", "run.json", "--thresholds=policy.yaml", "--json"]
    assert main(command) == 0
    assert json.loads(capsys.readouterr().out)["gates"][0]["status"] == NOT_EVALUATED
    option = label_and_import(folder, "sample", "--n=200")
    labelled = {json.loads(line)["key"] for line in (folder / "sample.jsonl").read_text().splitlines()}
    assert len(labelled & {r.key for r in HALF if r.score is None}) == 100
    capsys.readouterr()
    assert main([*command, option]) == 1
    found = json.loads(capsys.readouterr().out)["gates"][0]
    assert (found["status"], found["counts"]["n"], found["counts"]["unscored"]) == ("failed", 400, 200)
    assert 0.06 < found["estimate"]["low"] < 0.1 < found["estimate"]["high"] < 0.2


def test_a_sample_of_which_a_part_is_labelled_is_said_to_be_one(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    option = label_and_import(folder, "sample", "--n=200", "--by=language", only=50)
    capsys.readouterr()
    assert main(["gate", "run.json", "--thresholds=policy.yaml", option]) == 0
    assert "labels: 50 of 400 answers; they stand for 100: if a part of the sample" in capsys.readouterr().out


def test_labels_of_all_answers_are_the_answer(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    option = label_and_import(folder, "all", "--n=400")
    capsys.readouterr()
    assert main(["gate", "run.json", "--thresholds=policy.yaml", option]) == 1
    assert "failed         refusals  failure rate 10.0% [7.2%, 13.4%]: above the" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--labels=none.jsonl"], "none.jsonl: cannot be read: No such file or directory"),
        (["--labels=run.json"], "run.json: not a .jsonl file; expected what mmsafety judge import wrote"),
        (
            ["--labels=g.jsonl", "--judge-errors=c.json"],
            "--labels: not with --judge-errors, both correct the same numbers",
        ),
        (["--labels=g.jsonl"], "g.jsonl:1: key: 'other/1'; expected a case that this run has an answer to"),
    ],
)
def test_what_cannot_be_used_is_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], options: list[str], problem: str
) -> None:
    asked = {"prompt": "Question 1?", "expected": "comply", "response": "An answer."}
    row = {"key": "other/1", **asked, "label": 0, "votes": {"ann": "no"}, "weight": 2.0}
    (folder / "g.jsonl").write_text(json.dumps(row) + "\n")
    assert main(["gate", "run.json", "--thresholds=policy.yaml", *options]) == 4
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert problem in err
