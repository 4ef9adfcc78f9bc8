"""Which errors the terminal lists."""

from __future__ import annotations

from types import SimpleNamespace as Report

from pytest_mmsafety.plugin.same_errors import one_of_each


def test_other_errors_stay_as_they_are() -> None:
    down, slow = ["OSError: down"], ["OSError: slow"]
    reports = [
        Report(nodeid="a.yaml::a", longrepr="1 of 1: down", mmsafety_reasons=down),
        Report(nodeid="test_x.py::x", longrepr="boom"),
        Report(nodeid="a.yaml::b", longrepr="1 of 1: slow", mmsafety_reasons=slow),
        Report(nodeid="test_x.py::y", longrepr="boom"),
        Report(nodeid="a.yaml::c", longrepr="2 of 2: down", mmsafety_reasons=down),
    ]
    told = [report.longrepr for report in one_of_each(reports)]
    assert told == ["1 of 1: down\nThe same in 1 other group: c", "boom", "1 of 1: slow", "boom"]
    assert reports[0].longrepr == "1 of 1: down", "JUnit and others have it as it was"
