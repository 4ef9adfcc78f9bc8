"""``mmsafety baseline``: how a saved run becomes a baseline, and which do not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pytest_mmsafety.baselines import history, load_baseline
from pytest_mmsafety.cli.main import main
from pytest_mmsafety.errors import SetupError
from pytest_mmsafety.gates import FAILED, PASSED
from pytest_mmsafety.run import load_run, save_run
from pytest_mmsafety.testing import make_record, make_result, make_run

FINE = [make_record(i) for i in range(1, 60)]


@pytest.fixture(autouse=True)
def at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a run of 60 cases that was saved."""
    monkeypatch.chdir(tmp_path)
    save_run(make_run([make_record(i) for i in range(60)], target="parrot"), tmp_path / "before.json")
    return tmp_path


def cli(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(["baseline", *arguments])
    return code, *capsys.readouterr()


def test_promote_find_and_list(at: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = cli(capsys, "promote", "before.json", "--name=rc-1", "--why=shipped in May")
    assert (code, err) == (0, "")
    written = at / "reports" / "baselines" / "rc-1.json"
    assert out.startswith(f"{written}\n")
    assert load_run(written) == load_run(at / "before.json")
    _, out, _ = cli(capsys, "list")
    assert out.count("\n") == 1
    assert "rc-1  parrot of 2026-01-01T12:00:00+00:00, by " in out
    assert out.endswith(": shipped in May\n")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            {"records": [make_record(0, response=None), *FINE]},
            "mmsafety: before.json: 1 of 60 cases without an answer; promote another run, or say --anyway\n",
        ),
        (
            {"records": [make_record(0, response=None, skipped="stopped", skip_kind="early-stop"), *FINE]},
            "mmsafety: before.json: an early stop left out 1 of 60 cases: no later run can be compared on them; promote another run, or say --anyway\n",
        ),
    ],
    ids=["no answer", "early stop"],
)
def test_what_is_not_promoted(
    at: Path, capsys: pytest.CaptureFixture[str], change: dict[str, Any], problem: str
) -> None:
    save_run(make_run(**change), at / "before.json")
    assert cli(capsys, "promote", "before.json", "--why=x") == (4, "", problem)
    assert not (at / "reports").exists()


def test_what_is_no_run_is_not_promoted(at: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (at / "before.json").read_text()
    (at / "before.json").write_text(text.replace("mmsafety-run/2", "other", 1))
    assert cli(capsys, "promote", "before.json", "--why=x") == (
        4,
        "",
        "mmsafety: before.json: not a run file of this program; format is 'other', expected 'mmsafety-run/2'\n",
    )
    assert not (at / "reports").exists()


def test_a_run_that_its_gates_block_is_promoted_only_anyway(at: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gates = make_result(PASSED, name="fine"), make_result(FAILED, blocks=True, name="right")
    save_run(make_run([make_record(i, 1.0) for i in range(60)], gates=gates), at / "after.json")
    assert cli(capsys, "promote", "after.json", "--why=x")[2] == (
        "mmsafety: after.json: its own gates block: right; promote another run, or say --anyway\n"
    )
    assert cli(capsys, "promote", "after.json", "--why=x", "--anyway")[0] == 0


@pytest.mark.parametrize("name", ["../main", " ", "a/b", "x" * 101])
def test_a_name_that_leads_elsewhere_is_refused(at: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert cli(capsys, "promote", "before.json", f"--name={name}", "--why=x") == (
        4,
        "",
        f"mmsafety: --name: {name!r:.60} is not a plain name\n",
    )
    assert [path.name for path in at.iterdir()] == ["before.json"]


def test_a_baseline_that_was_changed_after_its_promotion_is_refused(
    at: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli(capsys, "promote", "before.json", "--name=rc", "--why=x")[0] == 0
    assert load_baseline("rc", at, at).target == "parrot"
    written = at / "reports" / "baselines" / "rc.json"
    save_run(make_run([make_record(i, 1.0) for i in range(60)]), written)
    with pytest.raises(SetupError, match=r"^--baseline: .*rc\.json: it is not the file that history\.jsonl says was"):
        load_baseline("rc", at, at)
    assert cli(capsys, "promote", str(written), "--name=rc", "--why=the same again")[0] == 0
    assert load_baseline("rc", at, at).target == "scripted"


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("[]", "expected a JSON object, got '[]'"),
        ('{"name": "rc"}', "target: Field required"),
        ('{"name": "rc", "name": "rc"}', "key 'name' is given twice"),
        ("NaN", "NaN is not a finite number"),
        ("{", "Expecting property name"),
    ],
)
def test_a_damaged_history_is_one_line(at: Path, capsys: pytest.CaptureFixture[str], line: str, problem: str) -> None:
    cli(capsys, "promote", "before.json", "--name=rc", "--why=x")
    history = at / "reports" / "baselines" / "history.jsonl"
    history.write_text(f"{history.read_text()}\n{line}\n")
    code, out, err = cli(capsys, "list")
    assert (code, out, err.count("\n")) == (4, "", 1)
    assert f"history.jsonl:3: damaged: {problem}" in err


def test_the_baseline_of_the_repository_is_whole_and_the_one_that_was_promoted() -> None:
    root = Path(__file__).parents[2]
    run = load_baseline("embedded", root, root)
    assert history(root)[-1].created == run.created
