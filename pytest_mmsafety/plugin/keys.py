"""What the parts of the plugin find in pytest's stash."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import pytest

if TYPE_CHECKING:
    from pytest_mmsafety.cases import Case
    from pytest_mmsafety.evaluation.early_stop import EarlyStop
    from pytest_mmsafety.judges.panel import Panel
    from pytest_mmsafety.outcomes import Outcome
    from pytest_mmsafety.plugin.library import Library


class OutcomeSource(Protocol):
    """Where items get their outcomes from, in a process that runs items."""

    panel: Panel

    def prepare(self, cases: Sequence[Case]) -> None:
        """Called at collection: make the judges that *cases* name. Raises :class:`SetupError`."""

    def outcomes_of(self, cases: Sequence[Case]) -> Sequence[Outcome]:
        """Called by an item's setup: block until its cases have outcomes."""


LIBRARY: pytest.StashKey[Library] = pytest.StashKey()
OUTCOMES: pytest.StashKey[OutcomeSource] = pytest.StashKey()
EARLY_STOP: pytest.StashKey[EarlyStop] = pytest.StashKey()
MARKS: pytest.StashKey[tuple[set[str], set[str]]] = pytest.StashKey()
"""Marks of tags that were registered, and those that others had registered before."""
