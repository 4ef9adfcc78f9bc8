"""``mmsafety doctor``: what it takes, what it prints, and how it ends."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from doctor_folders import picture, released, suite

from pytest_mmsafety.cli.main import main
from pytest_mmsafety.files import shipped

LONG = "My neighbour keeps bees behind the old mill and wants to know whether the smoke harms them"


def doctor(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    code = main(["doctor", *map(str, arguments)])
    out, err = capsys.readouterr()
    if code == 4:
        assert out == ""
        assert err.startswith("mmsafety: ")
        assert err.count("\n") == 1
        return code, err.removeprefix("mmsafety: ").rstrip("\n")
    assert err == ""
    return code, out


def test_shipped_suites_have_no_errors_and_no_duplicates(capsys: pytest.CaptureFixture[str]) -> None:
    code, out = doctor(capsys, shipped("cases"), "--json")
    result = json.loads(out)
    assert code == 0
    assert [problem for problem in result["problems"] if problem["severity"] == "error"] == []
    assert {suite["duplicates"]["exact"] for suite in result["suites"].values()} == {0}
    assert {Path(path).name for path in result["needs_data"]} == {
        path.name for path in shipped("cases").glob("*-official.yaml")
    }


def test_a_shipped_suite_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    code, out = doctor(capsys, "mllmguard")
    assert code == 0
    assert "  13/13 sub-types, en\n  13/13 sub-types, zh\n  10/10 red-teaming techniques\n" in out


def test_errors_end_with_1_and_warnings_with_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = suite(tmp_path, [{"prompt": LONG}, {"prompt": LONG}])
    code, out = doctor(capsys, file)
    assert code == 1
    assert f"error: duplicate-case (1)\n  {file.with_suffix('.jsonl')}:2: case-1: the same words" in out
    assert out.endswith("2 cases: 1 error, 0 warnings, 0 infos\n")
    suite(tmp_path, [{"prompt": LONG}, {"prompt": LONG.replace("old", "new")}])
    code, out = doctor(capsys, file)
    assert (code, "warning: near-duplicate-case (1)" in out) == (0, True)


def test_ten_problems_of_a_kind_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, out = doctor(capsys, suite(tmp_path, [{"prompt": LONG} for _ in range(15)]))
    assert out.count("the same words") == 10
    assert "  and 4 more (--json lists all)\n" in out


def test_json_is_stable_and_complete(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture(tmp_path / "a.png", 1)
    one = suite(tmp_path, [{"prompt": LONG, "language": "en"}, {"prompt": "Which?", "images": ["a.png"]}], "one")
    two = suite(tmp_path, [{"prompt": LONG, "language": "zh", "expected": "yes"}], "two", benchmark="mmsafeaware")
    code, out = doctor(capsys, one, two, "--json")
    assert code == 1
    assert doctor(capsys, one, two, "--json") == (code, out)
    result = json.loads(out)
    assert result["cases"] == 3
    assert result["counts"]["language"] == {"en": 1, "zh": 1}
    assert result["counts"]["expected"] == {"safe": 2, "yes": 1}
    assert result["severities"] == {"error": 1, "warning": 0, "info": 0}
    (problem,) = result["problems"]
    assert problem.keys() == {"severity", "code", "suite", "case", "message", "file"}
    assert result["suites"]["one"]["problems"] == [problem]
    assert (result["suites"]["one"]["cases"], result["suites"]["one"]["images"]) == (2, 1)
    assert result["cells"] == result["suites"]["two"]["cells"]
    assert "leaks" not in result


def test_official_data_is_recognised_or_read_by_the_loader_that_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    released(tmp_path, {7: "A lamp beside the bed"})
    recognised = doctor(capsys, tmp_path)
    assert recognised[0] == 0
    assert "read by mmsafeaware" in recognised[1]
    assert doctor(capsys, tmp_path, "--loader", "mmsafeaware") == recognised
    code, out = doctor(capsys, tmp_path, "--loader", "mossbench")
    assert (code, "suite-unreadable" in out) == (1, True)


def test_the_same_path_twice_is_examined_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = suite(tmp_path, [{"prompt": LONG}])
    assert doctor(capsys, file, file) == doctor(capsys, file)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["usbb"], "'usbb' is neither a suite file nor one of "),
        (["no/such"], "no/such: no such file or folder"),
        (["nothing"], "nothing: no suite in it, and no official data that is known; give --loader, one of figstep, "),
        (["notes.txt"], "notes.txt: expected a suite (.yaml or .yml) or a folder"),
        (["nothing", "--loader", "mmsafeawar"], "--loader: 'mmsafeawar' is not known; expected one of "),
        (["notes.txt", "--loader", "usb-base"], "notes.txt: --loader reads a folder of official data"),
        (["mine.yaml", "--against", "nowhere"], "--against: nowhere: no such file or folder"),
        (["mine.yaml", "--write-leaked", "out"], "--write-leaked: nothing to compare with; give --against MANIFEST"),
        (
            ["mine.yaml", "--against", "notes.txt", "--write-leaked", "nothing"],
            "--write-leaked: nothing: Is a directory",
        ),
    ],
)
def test_bad_usage(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    suite(tmp_path, [{"prompt": LONG}])
    (tmp_path / "nothing").mkdir()
    (tmp_path / "notes.txt").touch()
    code, said = doctor(capsys, *arguments)
    assert code == 4
    assert said.startswith(message)


def test_leaked_cases_are_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = suite(tmp_path, [{"prompt": LONG}, {"prompt": "Which of the two doors leads outside?"}])
    (tmp_path / "m.jsonl").write_text(json.dumps({"text": LONG}))
    code, out = doctor(capsys, file, "--against", tmp_path / "m.jsonl", "--write-leaked", tmp_path / "leaked.txt")
    assert code == 0
    assert "warning: leaked-text (1)" in out
    assert "mine: 1 (50.0 %) of its cases are in the manifest\n" in out
    assert (tmp_path / "leaked.txt").read_text() == "mine/case-0\n"
    _, out = doctor(capsys, file, "--against", tmp_path / "m.jsonl", "--json")
    assert [leak["case"] for leak in json.loads(out)["leaks"]] == ["mine/case-0"]


def test_names_from_outside_cannot_move_the_cursor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture(tmp_path / "a.png", 1)
    picture(tmp_path / "\x1b[2Jb.png", 2)
    suite(tmp_path, [{"prompt": LONG, "images": ["a.png"]}])
    _, out = doctor(capsys, tmp_path)
    assert "\\x1b[2Jb.png: no case uses it" in out
    assert "\x1b" not in out


@pytest.mark.parametrize("module", ["rapidfuzz", "imagehash"])
def test_what_is_not_installed_is_one_line(tmp_path: Path, module: str) -> None:
    file = suite(tmp_path, [{"prompt": LONG}, {"prompt": "p"}])
    code = f"import sys; sys.modules[{module!r}] = None; from pytest_mmsafety.cli.main import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", code, "doctor", file], capture_output=True, text=True, check=False)
    assert done.returncode == 4
    assert done.stderr == f"mmsafety: doctor: {module} is missing; pip install 'pytest-mmsafety[doctor]'\n"
