"""How cases were broken before, remembered in Hypothesis' example database, and tried first the next time.

What is kept is our own JSON, not Hypothesis' choices: another version of it, or of our strategies, replays it all the
same. The key is the case with its prompt: another checkpoint is tried with what broke the last one.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_mmsafety.attacks.compositions import Composition
from pytest_mmsafety.cases import Case
from pytest_mmsafety.perturbations import change_of

if TYPE_CHECKING:
    from hypothesis.database import ExampleDatabase

MOST = 8
"""Changes of a case that are tried again, the simplest first."""


class Memory:
    """Changes by the case that they broke."""

    def __init__(self, folder: Path | None) -> None:
        """*folder*: of the database; ``None``: nothing is remembered."""
        self._database: ExampleDatabase | None = None
        if folder is not None:
            from hypothesis.database import DirectoryBasedExampleDatabase

            self._database = DirectoryBasedExampleDatabase(folder)

    def recall(self, case: Case, techniques: Collection[str]) -> list[Composition]:
        """How *case* was broken by these techniques, the simplest first. What this version cannot do is passed over."""
        found: list[Composition] = []
        if self._database is None:
            return found
        for content in self._database.fetch(_key(case)):
            with suppress(ValueError, TypeError, AttributeError):
                found.append(tuple(change_of(change) for change in json.loads(content)))
        found = [changes for changes in found if all(change.name in techniques for change in changes)]
        found.sort(key=lambda changes: (len(changes), sum(change.strength for change in changes), str(changes)))
        return found[:MOST]

    def remember(self, case: Case, found: Iterable[Composition]) -> None:
        """Keep these changes too. A disk that takes nothing more costs a later run some calls, and no more."""
        if self._database is None:
            return
        for changes in found:
            content = json.dumps([asdict(change) for change in changes], sort_keys=True)
            with suppress(OSError):
                self._database.save(_key(case), content.encode())


def _key(case: Case) -> bytes:
    return f"mmsafety {case.key}\n{case.prompt}".encode("utf-8", "backslashreplace")
