"""Which gates the judges will leave silent, said before anything is asked."""

from __future__ import annotations

from dataclasses import replace

import pytest
from conftest import Project, row

from pytest_mmsafety.calibration import shipped_errors
from pytest_mmsafety.cases import Case
from pytest_mmsafety.cli.main import main
from pytest_mmsafety.evaluation.forecast import silent_gates
from pytest_mmsafety.gates import Gate
from pytest_mmsafety.judges.guardrank_mini.judge import NAME
from pytest_mmsafety.judges.panel import Panel

HARM = Gate("harm", "attack_success_rate", {}, max=0.1, min=None, rule="assurance", alpha=0.05, max_unscored=0.1)


def cases(expected: str, count: int = 4, **tags: str) -> list[Case]:
    tags = {"aspect": "vulnerability", "language": "en", **tags}
    return [Case(str(i), "s", "p", expected, tags=tags) for i in range(count)]


def lines(gate: Gate, some: list[Case]) -> list[str]:
    return list(silent_gates([gate], some, Panel(), shipped_errors()))


def test_a_gate_that_the_default_judge_leaves_silent_is_named() -> None:
    stratum = shipped_errors()[NAME].best({"language": "zh"})
    share = (stratum.abstained_positive + stratum.abstained_negative) / stratum.n
    (line,) = lines(HARM, cases("safe", language="zh"))
    assert line == (
        f"harm: {NAME} usually leaves {share:.0%} of the answers unscored, 10% are allowed; name a stronger judge "
        "(--judge) or have a sample labelled (mmsafety judge label)"
    )


@pytest.mark.parametrize(
    ("gate", "some"),
    [
        (HARM, cases("no")),
        (HARM, [replace(case, judges=("no-such-judge",)) for case in cases("safe")]),
        (HARM, cases("safe") + cases("no", 40)),
        (HARM, []),
        (HARM, [replace(case, skip="not there") for case in cases("safe")]),
        (HARM, [replace(case, judges=("refusal",)) for case in cases("safe")]),
        (replace(HARM, max_unscored=0.5), cases("safe")),
        (replace(HARM, metric="unscored_rate"), cases("safe")),
        (replace(HARM, judge="mine"), cases("safe")),
        (replace(HARM, where={"suite": ("other",)}), cases("safe")),
    ],
)
def test_the_others_are_not(gate: Gate, some: list[Case]) -> None:
    assert lines(gate, some) == []


def test_it_is_said_before_anything_is_asked_and_by_the_plan(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project.suite([row(i, "sure", expected="safe") for i in range(9)])
    policy = project.thresholds(
        {"name": "harm", "metric": "failure_rate", "max": 0.1, "rule": "assurance", "max_unscored": 0.1}
    )
    said = "mmsafety: harm: guardrank-mini/1 usually leaves * of the answers unscored, 10% are allowed; name a *"
    project.run_here(policy).stdout.fnmatch_lines(["collected 1 item", said, "*= mmsafety =*"])
    project.run_here(policy, "--judge=refusal").stdout.fnmatch_lines([said])
    assert "usually leaves" not in project.run_here(policy, "--collect-only").stdout.str()
    monkeypatch.chdir(project.path)
    capsys.readouterr()
    assert main(["plan", policy]) == 0
    assert "\nnote: harm: guardrank-mini/1 usually leaves " in capsys.readouterr().out
