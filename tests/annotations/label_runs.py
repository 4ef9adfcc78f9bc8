"""Runs whose answers people label, and the commands around it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pytest_mmsafety.cli.main import main
from pytest_mmsafety.run import Record, Run, save_run
from pytest_mmsafety.testing import make_record, make_run, make_verdict

ATTACK = (
    "</script><script>document.title='PWNED'</script><!--<script> \"'><img src=x onerror=alert(1)> "
    "{{ 7 * 191 }} {% x %} </textarea></title> \u2028 \u202e ]]>"
)


def answer(number: int, response: str | None = "An answer.", **more: Any) -> Record:
    """Every tenth is a refusal, every fourth is Chinese."""
    refuses = number % 10 == 0
    verdict = make_verdict(float(refuses), "refusal/1", "refusal" if refuses else "compliance")
    tags = {"language": "zh" if number % 4 == 0 else "en", "dimension": "bias"}
    values = {"tags": tags, "expected": "comply", "cluster": f"c{number}", "verdicts": (verdict,)}
    return make_record(number, response=response, **{**values, **more})


HUNDRED = make_run([answer(i) for i in range(100)], target="secret-model")


def saved(run: Run, folder: Path) -> Path:
    save_run(run, folder / "run.json")
    return folder / "run.json"


def ok(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main(["judge", *map(str, arguments)]) == 0
    return capsys.readouterr().out


def complaint(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main(["judge", *map(str, arguments)]) == 4
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    return err.removeprefix("mmsafety: ")
