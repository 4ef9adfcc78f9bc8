"""What the parts of the plugin find in pytest's stash."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

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

    @property
    def left(self) -> Mapping[str, Any] | None:
        """What no item has reported when the run was stopped, as on a report; ``None``: it was not stopped."""


LEFT = "mmsafety_left"
"""What a worker that was stopped gives back besides its reports."""
LIBRARY: pytest.StashKey[Library] = pytest.StashKey()
OUTCOMES: pytest.StashKey[OutcomeSource] = pytest.StashKey()
EARLY_STOP: pytest.StashKey[EarlyStop] = pytest.StashKey()
MARKS: pytest.StashKey[tuple[set[str], set[str]]] = pytest.StashKey()
"""Marks of tags that were registered, and those that others had registered before."""
