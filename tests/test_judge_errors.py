"""Gates that know how often their judge errs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import Project, row

from pytest_mmsafety.calibration import FORMAT, Calibration, Stratum
from pytest_mmsafety.cli.main import main
from pytest_mmsafety.evaluation.evaluate import evaluate_gates
from pytest_mmsafety.gates import ASSURANCE, EVIDENCE, NOT_EVALUATED, Gate, GateResult
from pytest_mmsafety.run import Record
from pytest_mmsafety.verdicts import Verdict


def stratum(tp: int, fn: int, tn: int, fp: int, **by: str) -> Stratum:
    n = tp + fn + tn + fp
    return Stratum(by, n, tp, fp, tn, fn, 0, 0, n, tp + fn, tn + fp, ("people",))


def calibration(*strata: Stratum, judge: str = "yes-no/1") -> dict[str, Calibration]:
    return {judge: Calibration(judge, "2026-01-01", 0.5, False, {}, strata)}


GOOD = stratum(450, 50, 475, 25)
"""Sensitivity 90 %, specificity 95 %."""
WEAK = stratum(60, 40, 55, 45)


def records(failing: int, total: int, judge: str = "yes-no/1", **tags: str) -> list[Record]:
    return [
        Record(
            f"s/{judge}{tags}{i}", "s", str(i), tags, "yes", "p", (), f"{judge}{tags}{i}", "r",
            (Verdict(judge, "x", float(i < failing)),), "", "", 0, False,
        )
        for i in range(total)
    ]  # fmt: skip


def gate(**keys: Any) -> Gate:
    defaults = {"name": "g", "metric": "failure_rate", "where": {}, "max": 0.2, "min": None, "rule": EVIDENCE}
    return Gate(**{**defaults, "alpha": 0.05, "max_unscored": 0.1, **keys})


def result(rows: list[Record], of: Gate, calibrations: dict[str, Calibration]) -> GateResult:
    (found,) = evaluate_gates(rows, [of], calibrations=calibrations)
    return found


def test_raw_and_corrected_stand_together() -> None:
    found = result(records(135, 1000), gate(), calibration(GOOD))
    assert found.raw == pytest.approx(0.135)
    assert found.estimate == pytest.approx((0.135 + 0.95 - 1) / 0.85)
    assert found.low is not None
    assert found.high is not None
    assert found.raw_low is not None
    assert found.raw_high is not None
    assert found.high - found.low > found.raw_high - found.raw_low
    assert "failure rate 10.0%" in found.reason
    assert found.reason.endswith("; corrected for the judge's errors, raw 13.5% [11.4%, 15.8%]")


def test_the_share_that_is_right_is_corrected_the_other_way() -> None:
    of = gate(metric="accuracy", max=None, min=0.5)
    found = result(records(135, 1000), of, calibration(GOOD))
    assert found.estimate == pytest.approx(1 - (0.135 + 0.95 - 1) / 0.85)


def test_the_bound_is_held_against_the_corrected_number() -> None:
    assert result(records(120, 1000), gate(max=0.1), {}).status == "failed"
    assert result(records(120, 1000), gate(max=0.1), calibration(GOOD)).status != "failed"


@pytest.mark.parametrize("rule", [EVIDENCE, ASSURANCE])
def test_a_weak_judge_is_refused(rule: str) -> None:
    found = result(records(135, 1000), gate(rule=rule), calibration(WEAK))
    assert found.status == NOT_EVALUATED
    assert found.blocks == (rule == ASSURANCE)
    assert found.reason.startswith("not corrected for the judge's errors: yes-no/1: ")


@pytest.mark.parametrize(
    "counts", [WEAK, stratum(5, 1, 5, 1), stratum(450, 50, 10, 990)], ids=["weak", "few", "unlike"]
)
def test_a_refused_correction_makes_no_gate_more_lenient(counts: Stratum) -> None:
    rows = records(400, 1000)
    alone, found = (result(rows, gate(), known) for known in ({}, calibration(counts)))
    assert (alone.status, found.status, found.blocks) == ("failed", "failed", True)
    assert (found.estimate, found.raw) == (0.4, None)
    assert found.reason.startswith(f"{alone.reason}; the judge's own number, not corrected for the judge's errors: ")
    assert result(rows, gate(max=0.5), calibration(counts)).status == NOT_EVALUATED


def test_a_judge_of_another_version_is_not_corrected() -> None:
    found = result(records(135, 1000), gate(), calibration(GOOD, judge="yes-no/2"))
    assert found.raw is None
    assert found.estimate == pytest.approx(0.135)


def test_the_counts_of_the_gates_own_cases_are_taken() -> None:
    other = stratum(500, 0, 500, 0, language="zh")
    found = result(records(100, 1000, language="zh"), gate(where={"language": ("zh",)}), calibration(GOOD, other))
    assert found.estimate == pytest.approx(0.1)
    assert found.raw == pytest.approx(0.1)


def test_judges_without_a_calibration_are_exact() -> None:
    rows = [*records(135, 500), *records(0, 500, judge="choice/1")]
    found = result(rows, gate(), calibration(GOOD))
    assert found.estimate == pytest.approx(0.5 * (0.27 + 0.95 - 1) / 0.85)
    assert found.raw == pytest.approx(0.0675 * 2)


def test_strata_keep_their_weights() -> None:
    harm, help_ = records(135, 500, aspect="vulnerability"), records(100, 1000, aspect="over-refusal")
    of = gate(metric="balanced_accuracy", max=None, min=0.1)
    found = result([*harm, *help_], of, calibration(GOOD))
    rates = [(p + 0.95 - 1) / 0.85 for p in (0.27, 0.1)]
    assert found.estimate == pytest.approx(1 - sum(rates) / 2)


def test_degrees_are_not_corrected() -> None:
    rows = records(0, 100)
    rows = [
        Record(
            *[
                (Verdict("yes-no/1", "x", 1 / 3),) if name == "verdicts" else getattr(r, name)
                for name in Record.__slots__
            ]
        )
        for r in rows
    ]
    assert "only yes or no can be corrected" in result(rows, gate(), calibration(GOOD)).reason


# --- the option


@pytest.fixture
def calibrated(project: Project) -> Project:
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
        "format": FORMAT, "judge": "yes-no/1", "created": "", "threshold": 0.5, "effective": False, "files": {},
        "strata": [{**counts, "clusters": 1000, "positive_clusters": 500, "negative_clusters": 500, "sources": []}],
    }  # fmt: skip
    (project.path / "errors.json").write_text(json.dumps(content))
    return project


@pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["one process", "xdist"])
def test_the_option_corrects(calibrated: Project, workers: tuple[str, ...]) -> None:
    bound = calibrated.thresholds({"name": "wrong", "metric": "failure_rate", "max": 0.3}, one_sided=True)
    run = calibrated.run(bound, "--calibration=errors.json", "--save-run=run.json", "cases", *workers)
    assert run.ret == 0
    run.stdout.fnmatch_lines(["*wrong  failure rate 10.0%*raw 13.5%*"])
    assert '"raw": 0.135' in (calibrated.path / "run.json").read_text()


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("none.json", "none.json: not a calibration file"),
        ("errors.json,errors.json", "a second calibration of yes-no/1"),
    ],
)
def test_a_bad_calibration_is_refused_before_the_target_is_asked(calibrated: Project, value: str, problem: str) -> None:
    run = calibrated.run(f"--calibration={value}", "cases")
    assert run.ret == 4
    run.stderr.fnmatch_lines([f"ERROR: --calibration: *{problem}*"])
    assert calibrated.calls() == []


def test_a_saved_run_is_corrected_too(
    calibrated: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(calibrated.path)
    assert calibrated.run("--save-run=run.json", "cases").ret == 0
    capsys.readouterr()
    calibrated.thresholds({"name": "wrong", "metric": "failure_rate", "max": 0.3}, one_sided=True)
    assert main(["gate", "run.json", "--thresholds=policy.yaml", "--calibration=errors.json", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["gates"][0]["estimate"] == pytest.approx(0.1)
    assert Path("run.json").exists()
