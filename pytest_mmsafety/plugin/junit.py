"""Names in JUnit that stay the same where the environment moves: a CI follows a test by them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pytest_mmsafety.files import shipped
from pytest_mmsafety.suites import SUITE_SUFFIXES


def name_class(config: pytest.Config, report: pytest.TestReport) -> None:
    """Give the test case of *report* its class name, before JUnit's plugin makes one of the path."""
    from _pytest.junitxml import xml_key  # pytest has no public way for this

    if (xml := config.stash.get(xml_key, None)) and (name := stable_class_name(report.nodeid, config.rootpath)):
        xml.node_reporter(report).add_attribute("classname", name)


def stable_class_name(nodeid: str, root: Path) -> str:
    """Class name of an item in a suite that is shipped, or that is not below *root*; empty: its path will do."""
    file = nodeid.partition("::")[0]
    if not file.endswith(SUITE_SUFFIXES):
        return ""
    path, own = Path(os.path.normpath(root / file)), shipped("cases")
    if path.is_relative_to(own) and own != root / "cases":
        return ".".join(("pytest_mmsafety", "cases", *path.relative_to(own).parts))
    return "" if path.is_relative_to(root) else f"{path.parent.name}.{path.name}"
