"""The project that the tests of whole runs share."""

from __future__ import annotations

import pytest
from project import Project


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Project:
    # Hypothesis's plugin imports all of Hypothesis in every run, which takes longer than the rest of a small run.
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p no:hypothesispytest -p no:anyio")
    return Project(pytester)
