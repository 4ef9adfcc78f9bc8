"""The project that the tests of whole runs share."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from project import Project


@pytest.fixture(autouse=True)
def _heed_interrupts() -> Iterator[None]:
    """A job in the background (``&`` in a script) ignores Ctrl-C, and what it starts would inherit that."""
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    if ignored:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    if ignored:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Project:
    # Hypothesis's plugin imports all of Hypothesis in every run, which takes longer than the rest of a small run.
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p no:hypothesispytest -p no:anyio")
    return Project(pytester)
