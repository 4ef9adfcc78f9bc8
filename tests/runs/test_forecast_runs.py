"""Gates that the judges will probably leave unevaluated are named before anything is asked."""

from __future__ import annotations

import pytest
from project import Project, row

from pytest_mmsafety.cli.main import main


def test_it_is_said_before_anything_is_asked_and_by_the_plan(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project.suite([row(i, "sure", expected="safe") for i in range(9)])
    policy = project.thresholds(
        {"name": "harm", "metric": "failure_rate", "max": 0.1, "rule": "assurance", "max_unscored": 0.1}
    )
    said = "mmsafety: harm: guardrank-mini/2 usually leaves * of the answers unscored, 10% are allowed; name a *"
    project.run_here(policy).stdout.fnmatch_lines(["collected 1 item", said, "*= mmsafety =*"])
    project.run_here(policy, "--judge=refusal").stdout.fnmatch_lines([said])
    assert "usually leaves" not in project.run_here(policy, "--collect-only").stdout.str()
    monkeypatch.chdir(project.path)
    capsys.readouterr()
    assert main(["plan", policy]) == 0
    assert "\nnote: harm: guardrank-mini/2 usually leaves " in capsys.readouterr().out
