"""The command: exit codes, one line for what is wrong, and output that other programs can read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from suite_files import row, write_suite

from pytest_mmsafety.cli.main import USAGE_ERROR, main
from pytest_mmsafety.files import shipped
from pytest_mmsafety.run import ImageRef, save_run
from pytest_mmsafety.testing import make_record, make_run


def suite(folder: Path, *rows: dict[str, Any]) -> Path:
    return write_suite(folder, rows or [row(1, prompt="问")], benchmark="usb")


def command(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; from pytest_mmsafety.cli.main import main; sys.exit(main())",
            *map(str, arguments),
        ],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        env={**os.environ, **environment},
    )


def complaint(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main([str(argument) for argument in arguments]) == USAGE_ERROR == 4
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("mmsafety: ")
    assert err.count("\n") == 1
    return err.removeprefix("mmsafety: ").rstrip("\n")


# --- cases


def test_cases_are_json_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "图.png").write_bytes(b"content")
    rows = [
        {"id": "a", "prompt": "问", "expected": "yes", "category": "c", "images": ["图.png"], "tags": {"t": "v"}},
        {"id": "b", "prompt": "p\u2028q", "expected": "A", "cluster": "own", "must_pass": True, "judges": ["choice"]},
        {"id": "c", "prompt": "p", "expected": "comply"},
    ]
    file = suite(tmp_path, *rows)
    assert main(["cases", str(file)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    first, second, third = [json.loads(line) for line in out.split("\n")[:-1]]
    assert {"id", "tags", "expected", "prompt", "images", "cluster"} <= first.keys()
    assert first["tags"] == {"benchmark": "usb", "category": "c", "t": "v"}
    assert first["images"] == [str(tmp_path / "图.png")]
    assert first["cluster"] == "ed7002b439e9ac84"
    assert (second["cluster"], second["must_pass"], second["judges"]) == ("own", True, ["choice"])
    assert third["cluster"] == "demo/c"
    assert "问" in out


def test_windows_line_ends_change_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outputs = []
    file = suite(tmp_path)
    for newline in (b"\n", b"\r\n"):
        for part in (file, file.with_suffix(".jsonl")):
            part.write_bytes(part.read_bytes().replace(b"\n", newline))
        assert main(["cases", str(file)]) == 0
        outputs.append(capsys.readouterr().out)
    assert outputs[0] == outputs[1]


def test_every_shipped_case_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    for file in sorted(shipped("cases").glob("*.yaml")):
        if "official" in file.name:
            continue
        assert main(["cases", str(file)]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert all(json.loads(line)["images"] for line in lines)


@pytest.mark.parametrize("head", ["head -1", "head -c 10", "true"])
def test_a_reader_that_leaves_early_is_no_error(tmp_path: Path, head: str) -> None:
    """As in ``mmsafety cases SUITE | head``."""
    file = suite(tmp_path, *(row(i, prompt="p" * 200) for i in range(3000)))
    code = "from pytest_mmsafety.cli.main import main; import sys; sys.exit(main())"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f'"$0" -c "{code}" cases "$1" | {head}', sys.executable, str(file)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_reader_that_is_gone_already_is_no_error(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; from pytest_mmsafety.cli.main import main; sys.exit(main())",
            "cases",
            suite(tmp_path),
        ],
        env={**os.environ, "PYTHONUNBUFFERED": ""},
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_console_that_cannot_write_chinese_is_no_crash(tmp_path: Path) -> None:
    done = command("cases", suite(tmp_path), PYTHONIOENCODING="cp1252", PYTHONUTF8="0")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["cases", "no/such.yaml"], "no/such.yaml: cannot be read: No such file or directory"),
        (["cases", "."], "'.' is neither a suite file nor one of figstep-official, "),
        (["cases", "demo.jsonl"], "demo.jsonl:1: "),
        (["cases", "empty.yaml"], "empty.yaml:1: a suite is a YAML mapping"),
        (["cases", "official.yaml"], "official.yaml: official data: give --data msa=PATH"),
        (["cases", "official.yaml", "--data", "msa"], "--data: 'msa' is not NAME=PATH"),
        (["cases", "official.yaml", "--data", "msa=nowhere"], "--data: msa: 'nowhere' is not a folder"),
        (["report", "no/such.json"], "no/such.json: not a run file: "),
        (
            ["report", "demo.jsonl"],
            "demo.jsonl: not a run file of this program; format is None, expected 'mmsafety-run/2'",
        ),
    ],
)
def test_what_is_wrong_is_one_line(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    suite(tmp_path)
    (tmp_path / "empty.yaml").touch()
    (tmp_path / "official.yaml").write_text(
        "suite: demo\nbenchmark: usb\ngroup_by: [category]\nloader: mmsafeaware\ndata: msa\n"
    )
    assert complaint(capsys, *arguments).startswith(message)


def test_data_that_nobody_asked_for_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    complaint(capsys, "cases", suite(tmp_path), "--data", f"msa={tmp_path}")


@pytest.mark.parametrize("arguments", [[], ["case"], ["cases"], ["install"], ["install", "everything"], ["report"]])
def test_a_command_that_is_none_says_how(arguments: list[str]) -> None:
    done = command(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: mmsafety")
    assert "Traceback" not in done.stderr


def test_install_says_what_can_be_installed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["install", "embeded"])
    assert end.value.code == 2
    assert "embedded" in capsys.readouterr().err


# --- report


def saved(folder: Path, image: str = "a.png") -> Path:
    record = make_record(
        prompt="问 <script>alert(1)</script>", response="答\x1b", images=(ImageRef(image, "ab" * 32),), verdicts=()
    )
    save_run(make_run([record]), folder / "run.json")
    return folder / "run.json"


def test_a_report_is_written_beside_its_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(saved(tmp_path))]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'run.html'}\n"
    page = (tmp_path / "run.html").read_text(encoding="utf-8")
    assert "<script>alert(1)" not in page
    assert main(["report", str(tmp_path / "run.json"), "-o", str(tmp_path / "neu" / "seite.html")]) == 0
    assert (tmp_path / "neu" / "seite.html").exists()


def test_a_report_that_cannot_be_written_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = saved(tmp_path)
    assert (
        complaint(capsys, "report", file, "-o", tmp_path) == f"--output: {tmp_path} cannot be written: Is a directory"
    )
    below = file / "x.html"
    assert complaint(capsys, "report", file, "-o", below).startswith(f"--output: {below} cannot be written: ")


@pytest.mark.parametrize("more", [(), ("--markdown",)])
def test_a_report_does_not_overwrite_its_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...]
) -> None:
    file = saved(tmp_path)
    before = file.read_bytes()
    assert complaint(capsys, "report", file, "-o", file, *more) == (
        f"--output: {file} is the run itself; expected another file"
    )
    assert file.read_bytes() == before


def test_a_run_cannot_fetch_images_from_outside_of_the_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only an image whose content the run already knows is shown."""
    from PIL import Image

    (tmp_path / "runs").mkdir()
    Image.new("RGB", (4, 4), "red").save(tmp_path / "private.png")
    file = saved(tmp_path / "runs", "../private.png")
    assert main(["report", str(file), "--images", str(tmp_path / "runs")]) == 0
    assert "data:image/webp" not in (tmp_path / "runs" / "run.html").read_text(encoding="utf-8")
    capsys.readouterr()


def test_ctrl_c_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pytest_mmsafety.run.load_run", interrupted)
    assert main(["gate", "run.json", "--thresholds=release"]) == 130
    assert capsys.readouterr().err == "mmsafety: interrupted\n"
