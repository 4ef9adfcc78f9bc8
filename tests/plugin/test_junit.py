"""Names in JUnit."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from suite_files import row, write_suite

from pytest_mmsafety.files import shipped
from pytest_mmsafety.plugin.junit import stable_class_name


def test_a_path_of_the_environment_is_no_part_of_a_class_name(tmp_path: Path) -> None:
    own = shipped("cases")
    assert stable_class_name("cases/demo.yaml::a", tmp_path) == ""
    assert stable_class_name("../elsewhere/cases/demo.yaml::a", tmp_path) == "cases.demo.yaml"
    for root in (tmp_path, own.parent.parent):
        nodeid = f"{os.path.relpath(own / 'usb.yaml', root)}::a"
        assert stable_class_name(nodeid, root) == "pytest_mmsafety.cases.usb.yaml"


def test_cases_from_elsewhere_have_the_name_in_the_file(pytester: pytest.Pytester, tmp_path: Path) -> None:
    pytester.makepyfile(yes="def answer(requests):\n    return ['yes' for _ in requests]\n")
    write_suite(tmp_path, [row(1)])
    result = pytester.runpytest_inprocess(
        "--model=yes:answer", f"{tmp_path}/demo.yaml", "--rootdir=.", "--junitxml=j.xml", "--store=off"
    )
    assert result.ret == 0
    names = set(re.findall(r'classname="([^"]*)"', (pytester.path / "j.xml").read_text()))
    assert names == {f"{tmp_path.name}.demo.yaml"}
