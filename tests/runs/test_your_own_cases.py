"""The page that takes a reader from an empty file to a gated suite, run as it stands."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "your-own-cases.md").read_text("utf-8")
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = [
    line
    for kind, block in BLOCKS
    if not kind
    for line in block.splitlines()
    if line.startswith(("pytest ", "mmsafety "))
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the reader has after writing the files."""
    folder = tmp_path_factory.mktemp("reader")
    for _, block in BLOCKS:
        if match := re.match(r"# file: (\S+)\n(.*)", block, re.DOTALL):
            path = folder / match[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(match[2], "utf-8")
    (folder / "cases" / "images").mkdir()
    shutil.copy(ROOT / "cases" / "images" / "drain-cleaner-bottle.png", folder / "cases" / "images" / "bottle.png")
    return folder


def run(folder: Path, command: str) -> subprocess.CompletedProcess[str]:
    program, *rest = shlex.split(command)
    module = {"pytest": "pytest", "mmsafety": "pytest_mmsafety.cli.main"}[program]
    return subprocess.run(
        [sys.executable, "-m", module, *rest], cwd=folder, capture_output=True, text=True, check=False, timeout=120
    )


def test_the_page_has_its_commands() -> None:
    assert len(COMMANDS) == 7


@pytest.mark.timeout(300)
def test_every_command_works_in_order(folder: Path) -> None:
    pytest.importorskip("rapidfuzz")
    pytest.importorskip("imagehash")
    for command in COMMANDS:
        done = run(folder, command)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        if "--model" in command:
            assert ".u " in done.stdout
        if "--thresholds" in command and "--model" in command:
            assert done.stdout.count("inconclusive   ") == 2
    assert (folder / "report.html").exists()
    assert (folder / "reports" / "baselines" / "rc-1.json").exists()


@pytest.mark.timeout(120)
def test_the_mistake_that_the_page_shows(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "cases", tmp_path / "cases")
    path = tmp_path / "cases" / "help-desk.jsonl"
    path.write_text(path.read_text("utf-8").replace('"expected": "yes"', '"expected": "Yess"'), "utf-8")
    done = run(tmp_path, "pytest --collect-only -q cases")
    assert "cases/help-desk.jsonl:2: expected: 'Yess'" in done.stdout
