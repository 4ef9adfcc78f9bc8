"""What is imported when: nothing heavy before a model is asked, next to nothing without suites."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from project import Project, row

HEAVY = ("torch", "transformers", "scipy", "numpy", "PIL", "jinja2", "hypothesis")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--help"], "--save-run"),
        (["--collect-only", "cases"], "1 test collected"),
        (["--collect-only", "cases", "--model=parrot:Parrot", "--thresholds=policy.yaml"], "1 test collected"),
    ],
    ids=["help", "collection", "collection with a model"],
)
def test_help_and_collection_import_nothing_heavy(project: Project, options: list[str], said: str) -> None:
    project.suite([row(1)])
    project.thresholds({"name": "accuracy", "metric": "accuracy", "min": 0.9})
    code = f"""
import sys, pytest
code = pytest.main({[*options, "-p", "no:hypothesispytest"]!r})
print(int(code), [name for name in {HEAVY!r} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=project.path, capture_output=True, text=True, check=True)
    assert said in done.stdout
    assert done.stdout.splitlines()[-1] == "0 []"


def test_an_unused_plugin_imports_next_to_nothing(tmp_path: Path) -> None:
    (tmp_path / "test_ok.py").write_text("def test_ok(): pass\n")
    (tmp_path / "cases").mkdir()
    (tmp_path / "cases" / "other.yaml").write_text("a file of somebody else\n")
    (tmp_path / "compose.yaml").write_text("services: {}\n")
    code = (
        "import sys, pytest; pytest.main(['-q', '-p', 'no:hypothesispytest', '-p', 'no:anyio']);"
        "print([m for m in sys.modules if m.startswith(('pytest_mmsafety', 'pydantic', 'yaml', 'scipy'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    light = ["pytest_mmsafety", "pytest_mmsafety.errors", "pytest_mmsafety.files"]
    light += [f"pytest_mmsafety.plugin{module}" for module in ("", ".fixtures", ".hooks", ".keys", ".options")]
    assert sorted(json.loads(done.stdout.splitlines()[-1].replace("'", '"'))) == light
