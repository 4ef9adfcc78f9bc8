"""Files written whole, and places that cannot be written found beforehand."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_mmsafety.errors import SetupError
from pytest_mmsafety.files import check_writable, write_atomically


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("folder", "is a folder, expected a file"),
        ("file/run.json", "file is not a folder"),
        ("file/deep/run.json", "file is not a folder"),
        ("pipe", "is no plain file"),
        ("new/pipe/run.json", "pipe is not a folder"),
        ("x" * 250, "File name too long"),
        ("new/" + "x" * 300 + "/run.json", "File name too long"),
        ("nul\0.json", "null"),
    ],
)
def test_a_place_that_cannot_be_written_is_said(tmp_path: Path, name: str, problem: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "new").mkdir()
    os.mkfifo(tmp_path / "pipe")
    os.mkfifo(tmp_path / "new" / "pipe")
    with pytest.raises(SetupError, match=r"^--save-run: ") as error:
        check_writable("--save-run", tmp_path / name)
    assert problem in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs /proc, which takes no files")
def test_a_file_system_that_takes_no_files_is_said() -> None:
    with pytest.raises(SetupError, match=r"--save-run: /proc/run\.json cannot be written: "):
        check_writable("--save-run", Path("/proc/run.json"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_what_the_user_may_not_write_is_said(tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    file.touch()
    file.chmod(0o400)
    (tmp_path / "closed").mkdir(mode=0o500)
    for path in (file, tmp_path / "closed" / "run.json", tmp_path / "closed" / "new" / "run.json"):
        with pytest.raises(SetupError, match="Permission denied"):
            check_writable("--save-run", path)


def test_a_look_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("kept")
    for name in ("run.json", "new.json", "deep/er/run.json"):
        check_writable("--save-run", tmp_path / name)
    assert [path.name for path in tmp_path.rglob("*")] == ["run.json"]
    assert (tmp_path / "run.json").read_text() == "kept"


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    ours = f".run.json.{process.pid}.mmsafety"
    others = [f".run.json.{os.getppid()}.mmsafety", f".other.json.{process.pid}.mmsafety", ".run.json.x.mmsafety"]
    for name in (ours, *others):
        (tmp_path / name).touch()
    write_atomically(tmp_path / "run.json", ["new"])
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*others, "run.json"])
