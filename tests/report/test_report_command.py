"""``mmsafety report``: what may stand beside a run, and in one line what may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_mmsafety.cli.main import USAGE_ERROR, main
from pytest_mmsafety.judge_errors import JudgeErrors, Stratum, save_judge_errors
from pytest_mmsafety.run import save_run
from pytest_mmsafety.testing import make_record, make_run


def saved(folder: Path) -> Path:
    save_run(make_run([make_record()]), folder / "run.json")
    return folder / "run.json"


def test_a_report_stands_beside_a_baseline_leaks_and_judge_errors(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = saved(tmp_path)
    (tmp_path / "leaked.txt").write_text("demo/1\nother/case\n\n", encoding="utf-8")
    stratum = Stratum({}, 4, 1, 1, 1, 1, 0, 0, 4, 2, 2, ("people",))
    save_judge_errors(
        JudgeErrors("j/1", "", 0.5, effective=False, files={}, strata=(stratum,)), tmp_path / "errors.json"
    )
    options = ["--baseline", "run.json", "--leaked", "leaked.txt", "--judge-errors", "errors.json"]
    assert main(["report", str(file), *options]) == 0
    page = (tmp_path / "run.html").read_text(encoding="utf-8")
    for title in ("Since the baseline", "Cases found in training data", "Judges"):
        assert f">{title}</h2>" in page
    capsys.readouterr()
    assert main(["report", str(file), "--markdown", "--baseline", "run.json"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("## No gates were asked for\n")
    assert "no verdict changed" in printed
    assert main(["report", str(file), "--markdown", "-o", "summary.md"]) == 0
    assert (tmp_path / "summary.md").read_text(encoding="utf-8") in printed


def test_what_a_report_cannot_show_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = saved(tmp_path)
    Path("leaked.txt").write_text("demo/1\nwhat\n", encoding="utf-8")
    for options, text in {
        ("--leaked", "leaked.txt"): "--leaked: leaked.txt:2: 'what' is no key of a case; expected suite/id",
        ("--leaked", "nowhere.txt"): "--leaked: nowhere.txt: No such file or directory",
        ("--judge-errors", "leaked.txt"): f"--judge-errors: {tmp_path / 'leaked.txt'}: not a file of judge errors: ",
        (
            "--baseline",
            "nowhere",
        ): "--baseline: 'nowhere' is not a saved run (and none was promoted to reports/baselines yet)\n",
        ("--markdown", "--leaked", "leaked.txt"): "--leaked: only the HTML report shows that; leave out --markdown",
        ("--markdown", "-o", str(tmp_path)): f"--output: {tmp_path} cannot be written: Is a directory",
    }.items():
        assert main(["report", str(file), *options]) == USAGE_ERROR
        out, err = capsys.readouterr()
        assert not out
        assert err.startswith(f"mmsafety: {text}")
        assert err.count("\n") == 1
    assert not (tmp_path / "run.html").exists()
