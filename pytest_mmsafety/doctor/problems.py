"""What the doctor can find, as one line each."""

from __future__ import annotations

import re
from typing import NamedTuple

ERROR, WARNING, INFO = "error", "warning", "info"
SEVERITIES = (ERROR, WARNING, INFO)
"""error: a case cannot be asked, or its verdict would be wrong. warning: numbers are distorted. info: good to know."""


class Problem(NamedTuple):
    """One finding."""

    severity: str
    code: str
    """Kebab-case; each is explained in ``docs/doctor.md``."""
    suite: str
    case: str
    """Id of the case, or of the first of several; empty if the finding is about a file or a suite."""
    message: str
    file: str = ""
    """``path`` or ``path:line``."""

    @property
    def order(self) -> tuple[object, ...]:
        """Sorts the worst first, and case 9 before case 10."""
        natural = [(part.zfill(12) if part.isdigit() else part) for part in re.split(r"(\d+)", self.case)]
        return SEVERITIES.index(self.severity), self.code, self.suite, natural, self.file, self.message


def some(items: list[str] | tuple[str, ...], most: int = 10) -> str:
    """The first *most* items, and how many more there are."""
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return ", ".join(items[:most]) + more
