"""pytest-xdist: units of cases go to workers as a whole, so that each worker asks in full batches.

Plain ``-n2`` works and node ids stay as they are. The mapping from items to units is the same pure
function (:func:`pytest_mmsafety.engine.batches.units`) here and in the workers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from xdist.scheduler import LoadScopeScheduling

from pytest_mmsafety.attacks.cases import calls_of
from pytest_mmsafety.engine.batches import units

if TYPE_CHECKING:
    import pytest
    from xdist.remote import Producer
    from xdist.workermanage import WorkerController

    from pytest_mmsafety.plugin.library import Library
    from pytest_mmsafety.plugin.settings import Settings


class UnitScheduling(LoadScopeScheduling):  # type: ignore[misc]  # xdist is untyped
    """Deals units instead of single tests; mends three faults of its parent."""

    def __init__(self, config: pytest.Config, log: Producer, library: Library, settings: Settings) -> None:
        super().__init__(config, log)
        self._library = library
        self._settings = settings
        self._units: dict[str, str] | None = None

    def _split_scope(self, nodeid: str) -> str:
        if self._units is None:
            ids = next(iter(self.registered_collections.values()))
            self._units = self._unit_names(ids)
        return self._units.get(nodeid, nodeid)

    def _unit_names(self, ids: Sequence[str]) -> dict[str, str]:
        groups = {nodeid: self._library.group(nodeid, self._settings.root) for nodeid in ids}
        sizes = {nodeid: calls_of(cases, self._settings.attack) for nodeid, cases in groups.items() if cases}
        whole = self._settings.judge_phase == "after"
        numbers = units(list(sizes.values()), self._settings.batch_size, self.numnodes, whole=whole)
        return {nodeid: f"unit-{number}" for nodeid, number in zip(sizes, numbers, strict=True)}

    def schedule(self) -> None:
        """Give a worker that replaces a crashed one two tests too: it runs none before it knows the next."""
        super().schedule()
        for node in self.nodes:
            if node not in self.registered_collections or node.shutting_down:
                continue
            while self.workqueue and self._pending_of(self.assigned_work[node]) < 2:
                self._assign_work_unit(node)

    def _reschedule(self, node: WorkerController) -> None:
        """Not yet, while the worker that replaces a crashed one still collects."""
        if node in self.registered_collections:
            super()._reschedule(node)

    def mark_test_complete(self, node: WorkerController, item_index: int, duration: float = 0) -> None:
        """Forget a finished unit: the parent keeps it, queues it again after a crash, and then waits for ever.

        https://github.com/pytest-dev/pytest-xdist/issues/1378
        """
        nodeid = self.registered_collections[node][item_index]
        scope = self._split_scope(nodeid)
        super().mark_test_complete(node, item_index, duration)
        if all(self.assigned_work[node][scope].values()):
            del self.assigned_work[node][scope]

    def remove_node(self, node: WorkerController) -> str | None:
        """Give back what a crashed worker left open, but not the unit that took it down: it would take down the others.

        https://github.com/pytest-dev/pytest-xdist/issues/1371
        """
        workload = self.assigned_work.pop(node)
        open_units = {scope: unit for scope, unit in workload.items() if not all(unit.values())}
        if not open_units:
            return None
        guilty, unit = next(iter(open_units.items()))
        del open_units[guilty]
        self.workqueue.update(open_units)
        for other in self.assigned_work:
            self._reschedule(other)
        crashed: str = next(nodeid for nodeid, done in unit.items() if not done)
        return crashed


def make_scheduler(config: pytest.Config, log: Producer, library: Library, settings: Settings) -> UnitScheduling | None:
    """Our scheduler, unless every worker is to run everything."""
    if config.getvalue("dist") == "each":
        return None
    return UnitScheduling(config, log, library, settings)
