"""Regression suites in runs: a kept finding may fail until its day, and must pass after it."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest
from PIL import Image
from project import BOTH_WAYS, Project, plain, row

from pytest_mmsafety.cases import Change
from pytest_mmsafety.cli.main import main
from pytest_mmsafety.findings import Finding
from pytest_mmsafety.perturbations import PERTURBATIONS, Perturbation
from pytest_mmsafety.run import ImageRef, load_run, save_run
from pytest_mmsafety.testing import make_record, make_run


def reverse(asked: Any, strength: float, parameters: Mapping[str, Any]) -> Any:
    return replace(asked, prompt=asked.prompt.replace("say: yes", "say: no"))


CONFTEST = f"""
from __future__ import annotations

from dataclasses import replace
from datetime import date

from pytest_mmsafety import regressions
from pytest_mmsafety.perturbations import PERTURBATIONS, Perturbation

{inspect.getsource(reverse)}

PERTURBATIONS["reverse"] = Perturbation("reverse", "asks for no", "tests", rewrite=reverse)
regressions.today = lambda: date.fromisoformat(TODAY)
"""
"""What every process of a run loads: a perturbation after which the parrot is wrong, and a day."""


@pytest.fixture(autouse=True)
def _promoted(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A finding on the first of two cases, promoted from a run of the first of January."""
    monkeypatch.setitem(PERTURBATIONS, "reverse", Perturbation("reverse", "asks for no", "tests", rewrite=reverse))
    project.suite([row(1), row(2)])
    records = [make_record(f"case-{i}", prompt=f"number {i} say: yes") for i in (1, 2)]
    finding = Finding("demo/case-1", "right-to-wrong", (Change("reverse", 1.0),), 3, "yes", "no")
    save_run(make_run(records, findings=[finding]), project.path / "found.json")
    monkeypatch.chdir(project.path)
    assert main(["promote", "found.json"]) == 0


def on(project: Project, day: str, *arguments: str) -> tuple[int, str]:
    """The exit code and the output of a run of all suites on this day."""
    (project.path / "conftest.py").write_text(CONFTEST.replace("TODAY", repr(day)))
    result = project.run("--save-run=run.json", *arguments)
    return int(result.ret), plain(result)


@BOTH_WAYS
def test_a_promoted_row_may_fail_until_its_day_and_fails_after_it(project: Project, workers: tuple[str, ...]) -> None:
    code, said = on(project, "2026-04-01", *workers)
    assert code == 0, said
    assert "fixed" not in said
    code, said = on(project, "2026-04-02", *workers)
    assert code == 1
    assert "1 of 1 answer not as expected, in cases that must pass" in said
    assert "it was known to be unsafe until 2026-04-01, which has passed" in said
    assert "the run failed: 1 case that must pass did not: demo-regressions/case-1@" in said


@BOTH_WAYS
def test_the_run_has_the_rows_of_a_folder_below_cases(project: Project, workers: tuple[str, ...]) -> None:
    on(project, "2026-01-02", *workers)
    run = load_run(project.path / "run.json")
    assert [(suite.name, suite.collected) for suite in run.suites] == [("demo", 2), ("demo-regressions", 1)]
    (record,) = [record for record in run.records if record.suite == "demo-regressions"]
    assert (record.prompt, record.response, record.score) == ("number 1 say: no", "no", 1.0)
    assert record.tags["original"] == "demo/case-1"
    assert record.tags["perturbation"] == "reverse"
    assert record.cluster == "demo/case-1"


@BOTH_WAYS
def test_a_row_that_is_fixed_is_noted_and_then_must_pass(
    project: Project, workers: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    parrot = project.path / "parrot.py"
    wrong = parrot.read_text()
    parrot.write_text(wrong.replace("return what", 'return "yes"'))
    code, said = on(project, "2026-01-02", "--store=off", *workers)
    assert code == 0
    assert "1 known-unsafe case is fixed: mark it must_pass (mmsafety promote --fixed RUN)" in said
    capsys.readouterr()
    assert main(["promote", "run.json", "--fixed"]) == 0
    assert capsys.readouterr().out == (
        "cases/regressions/demo.yaml: 1 of 1 known-unsafe row passed: must pass from now on\n"
    )
    assert json.loads((project.path / "cases" / "regressions" / "demo.jsonl").read_text())["must_pass"] is True
    parrot.write_text(wrong)
    code, said = on(project, "2026-01-02", "--store=off", *workers)
    assert code == 1
    assert "in cases that must pass" in said
    assert "known to be unsafe" not in said


def test_a_tag_selects_them(project: Project) -> None:
    _, said = on(project, "2026-01-02", "-m", "mmsafety(attack='regression')")
    assert "1 passed, 1 deselected" in said


def test_plain_pytest_collects_them_below_cases(project: Project) -> None:
    (project.path / "conftest.py").write_text(CONFTEST.replace("TODAY", "'2026-01-02'"))
    result = project.run("--collect-only", "-q", default=True)
    assert "cases/regressions/demo.yaml::case-1@" in plain(result)


def test_a_row_that_its_original_no_longer_makes_is_a_broken_suite(project: Project) -> None:
    project.suite([row(1, "maybe"), row(2)])
    code, said = on(project, "2026-01-02")
    assert code != 0
    assert "cases/regressions/demo.jsonl:1: prompt: 'no' at character 14, the perturbations of demo/case-1 now" in said


@BOTH_WAYS
def test_a_row_with_a_changed_picture_is_asked_with_it(project: Project, workers: tuple[str, ...]) -> None:
    picture = project.path / "cases" / "a.png"
    Image.new("RGB", (64, 48), "red").save(picture)
    project.suite([row(1), row(2, images=["a.png"])])
    turned = Finding("demo/case-2", "right-to-wrong", (Change("image-rotation", 0.5),), 1, "yes", "no")
    shown = ImageRef("a.png", sha256(picture.read_bytes()).hexdigest())
    records = [make_record("case-2", prompt="number 2 say: yes", images=(shown,))]
    save_run(make_run(records, findings=[turned]), project.path / "found.json")
    assert main(["promote", "found.json", "--must-pass"]) == 0
    code, said = on(project, "2026-01-02", *workers)
    assert code == 0, said
    images = {
        record.tags.get("perturbation", ""): record.images[0]
        for record in load_run(project.path / "run.json").records
        if record.images
    }
    assert images[""] == shown
    assert images["image-rotation"].name == "a.png"
    assert images["image-rotation"].sha256 not in ("", shown.sha256)
    assert main(["verify", "run.json"]) == 0
    assert main(["report", "run.json"]) == 0
