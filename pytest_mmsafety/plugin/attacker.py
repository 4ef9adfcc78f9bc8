"""The attacks of this process: groups are attacked together with those that follow, so that batches are full."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pytest_mmsafety.attacks.attack import Attack, EngineOracle
from pytest_mmsafety.attacks.memory import Memory
from pytest_mmsafety.attacks.settings import AttackSettings
from pytest_mmsafety.cases import Case
from pytest_mmsafety.engine.engine import Engine
from pytest_mmsafety.outcomes import Outcome

TOGETHER = 64
"""Cases that are attacked at once, at least, while there are so many."""


class Attacker:
    """Holds the groups that are to be attacked, and the outcomes of those that were."""

    def __init__(self, settings: AttackSettings, folder: Path | None) -> None:
        """*folder*: where earlier findings are remembered; ``None``: nowhere."""
        self._settings = settings
        self._memory = Memory(folder)
        self._waiting: dict[str, tuple[int, Sequence[Case]]] = {}
        """Key of its first case -> unit and cases of a group, in the order of the items."""
        self._outcomes: dict[str, Outcome] = {}
        self._current: Attack | None = None
        """That goes on, or was interrupted."""
        self._unreported: list[Attack] = []

    def add(self, unit: int, cases: Sequence[Case]) -> None:
        """A group that an item will ask for; groups of one unit are asked for by the same process."""
        self._waiting[cases[0].key] = unit, cases

    def outcomes_of(self, cases: Sequence[Case], engine: Engine, tick: Callable[[], None]) -> list[Outcome]:
        """Called by an item's setup: attack its group, and groups that follow, unless that was done."""
        if any(case.key not in self._outcomes for case in cases):
            attack = self._current = Attack(self._next(cases), self._settings, self._memory)
            attack.run(EngineOracle(engine, tick))
            self._current = None
            self._unreported.append(attack)
            self._outcomes |= {outcome.case: outcome for outcome in attack.outcomes()}
        found = [self._outcomes[case.key] for case in cases]
        for outcome in found:
            if outcome.error:  # an item that is run again attacks again
                del self._outcomes[outcome.case]
        return found

    def _next(self, cases: Sequence[Case]) -> list[Sequence[Case]]:
        unit, _ = self._waiting.pop(cases[0].key, (-1, ()))
        groups, size = [cases], len(cases)
        for key, (other, more) in list(self._waiting.items()):
            if size >= TOGETHER:
                break
            if other == unit:
                groups.append(more)
                size += len(more)
                del self._waiting[key]
        return groups

    def left(self) -> list[Outcome]:
        """After an interruption: of cases whose attack had come to its end, or had broken them, reported or not."""
        return [*self._outcomes.values(), *(self._current.settled() if self._current else ())]

    def report(self) -> dict[str, list[dict[str, Any]]]:
        """What was found and not reported yet, as builtins."""
        attacks = [*self._unreported, *([self._current] if self._current else [])]
        self._unreported = []
        return {
            "findings": [asdict(finding) for attack in attacks for finding in attack.findings()],
            "judge_faults": [asdict(fault) for attack in attacks for fault in attack.faults()],
        }
