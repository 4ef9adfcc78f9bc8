"""The suites of one session, each read once."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from pytest_mmsafety.attacks.cases import attacked
from pytest_mmsafety.attacks.settings import AttackSettings
from pytest_mmsafety.cases import Case
from pytest_mmsafety.errors import DataError
from pytest_mmsafety.suites import SUITE_SUFFIXES, Suite, read_suite


class Library:
    """Suites by path.

    *data* maps the names of ``--data`` to folders, *share* is how much of each suite counts, *samples* how often
    each case is asked, *attack* which groups are added.
    """

    def __init__(
        self, data: Mapping[str, Path], share: float = 1, samples: int = 1, attack: AttackSettings | None = None
    ) -> None:
        self._attack = attack
        self._data = data
        self._share = share
        self._samples = samples
        self._suites: dict[Path, Suite] = {}
        self.tags: list[tuple[str, Mapping[str, str]]] = []
        """Suite and tags of every case, also of those that the share leaves out."""
        self.found: list[Path] = []
        """Suites that pytest met in this process; after ``--lf`` it may have passed over some of them."""
        self.broken: dict[Path, str] = {}
        """Suites that could not be read, with the reason."""

    def read(self, path: Path) -> Suite:
        """The suite in this file. Raises :class:`DataError`."""
        if path not in self._suites:
            try:
                suite = read_suite(path, self._data)
                self._check_name(suite)
            except DataError as error:
                self.broken[path] = str(error)
                raise
            part = suite.subset(self._share) if self._share < 1 and suite.cases else suite
            part = part.sampled(self._samples) if self._samples > 1 else part
            self.tags += [(case.suite, case.tags) for case in suite.cases]
            if self._attack is not None:
                own, part = len(part.cases), attacked(part, self._attack)
                self.tags += [(case.suite, case.tags) for case in part.cases[own:]]
            self._suites[path] = part
        return self._suites[path]

    def _check_name(self, suite: Suite) -> None:
        for other in self._suites.values():
            if other.name == suite.name:
                raise DataError(suite.path, f"suite: {suite.name!r} is also the name of {other.path}; expected another")

    @property
    def suites(self) -> Iterable[Suite]:
        return self._suites.values()

    @property
    def cases(self) -> Iterable[Case]:
        """Every collected case, selected or not."""
        return (case for suite in self._suites.values() for case in suite.cases)

    def group(self, nodeid: str, root: Path) -> Sequence[Case]:
        """The cases of the item *nodeid*; none for tests that are not ours, and for suites that are broken."""
        file, _, name = nodeid.partition("::")
        if not file.endswith(SUITE_SUFFIXES):
            return ()
        try:
            return self.read(Path(os.path.normpath(root / file))).groups.get(name, ())
        except DataError:
            return ()

    def read_found(self) -> None:
        """Read every suite that pytest met; what is broken is noted in ``broken``."""
        for path in self.found:
            with suppress(DataError):
                self.read(path)

    def unused_data(self) -> list[str]:
        """``--data`` names that no suite in the session asked for."""
        asked_for = {suite.data for suite in self._suites.values()}
        return [name for name in self._data if name not in asked_for]
