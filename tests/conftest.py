"""What all tests share: one thread, the package imported once, and warnings that are errors."""

from __future__ import annotations

import os

import hypothesis
import pytest

# Networks and matrices are tiny here: two threads would mostly wait for each other. Read when torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# pytester forgets modules that were first imported inside of a test; C parts do not survive that, and the classes
# that the package hands out would not be those of its modules any more.
import scipy.special  # noqa: F401

import pytest_mmsafety.plugin.library
import pytest_mmsafety.testing  # noqa: F401

pytest_plugins = ["pytester"]

# Hundreds of processes are started here: none should compile the package, and rewrite its asserts, once more.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

hypothesis.settings.register_profile("mmsafety", deadline=None)  # a deadline is a test of time
hypothesis.settings.load_profile("mmsafety")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A warning in a test is an error. Not in pyproject.toml: there it would also strike a target under test."""
    for item in items:
        item.add_marker(pytest.mark.filterwarnings("error"), append=False)
