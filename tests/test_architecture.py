"""The house: what import-linter's contracts in ``pyproject.toml`` do not say."""

from __future__ import annotations

import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    """Every import of the package, those for type checkers too."""
    return grimp.build_graph("pytest_mmsafety", include_external_packages=True, exclude_type_checking_imports=False)


def test_no_files_import_each_other_in_a_circle(graph: grimp.ImportGraph) -> None:
    TopologicalSorter({name: graph.find_modules_directly_imported_by(name) for name in graph.modules}).prepare()


def test_only_the_plugin_imports_pytest(graph: grimp.ImportGraph) -> None:
    importers = graph.find_modules_that_directly_import("pytest")
    assert importers
    assert {name for name in importers if not name.startswith("pytest_mmsafety.plugin.")} == set()


def test_a_wrong_import_breaks_the_contract(tmp_path: Path) -> None:
    copy = tmp_path / "pytest_mmsafety"
    for file in (ROOT / "pytest_mmsafety").rglob("*.py"):
        target = copy / file.relative_to(ROOT / "pytest_mmsafety")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(file.read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text(encoding="utf-8"), encoding="utf-8")
    (copy / "gates.py").write_text(
        (copy / "gates.py").read_text(encoding="utf-8") + "\nfrom pytest_mmsafety.run import Run\n", encoding="utf-8"
    )
    code = "import sys; sys.path.insert(0, '.'); from importlinter.cli import lint_imports; sys.exit(lint_imports())"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "pytest_mmsafety.gates is not allowed to import pytest_mmsafety.run" in done.stdout.replace("\n", " ")
