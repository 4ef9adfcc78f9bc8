"""The exceptions of the package, as one tree, and what the wording of messages shares.

MmsafetyError               the user has to mend something; printed as one line
├── SetupError              an option, a model or a store cannot be used (exit code 4)
├── DataError               a file or a row of it is wrong: suite, thresholds, labels, official data, answers
├── ImageError              an image cannot be read safely (an error of the one case)
└── ChatError               an endpoint did not answer (``targets.endpoint``; an error of the one case)
    ├── ChatRefusedError    it answered that it will not
    └── ChatClosedError     the client was closed
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches


class MmsafetyError(Exception):
    """Root of every error that this package raises on purpose."""


class SetupError(MmsafetyError):
    """The run cannot start as it was asked for."""


class DataError(MmsafetyError):
    """A file from outside is not what it should be.

    *where* is the file, with its line where there is one (``cases/usb.jsonl:12``); *problem* names field, value and
    what was expected; *hint*, from :func:`nearest`, is appended as it is.
    """

    def __init__(self, where: object, problem: str, hint: str = "") -> None:
        self.where = str(where)
        self.problem = problem
        self.hint = hint
        super().__init__(f"{self.where}: {problem}{hint}")

    def __reduce__(self) -> tuple[type[DataError], tuple[str, str, str]]:
        return type(self), (self.where, self.problem, self.hint)

    @property
    def file(self) -> str:
        """*where* without the line."""
        return re.sub(r":\d+$", "", self.where)


class ImageError(MmsafetyError):
    """The image at *path* is missing, damaged or unreasonably large; *problem* says which."""

    def __init__(self, path: str, problem: str) -> None:
        self.path = path
        self.problem = problem
        super().__init__(f"{path}: {problem}")

    def __reduce__(self) -> tuple[type[ImageError], tuple[str, str]]:
        return type(self), (self.path, self.problem)


def nearest(value: object, known: Iterable[str]) -> str:
    """``"; did you mean 'x'?"`` when something known is close to *value*, else an empty string."""
    matches = get_close_matches(str(value), list(known), n=1, cutoff=0.6)
    return f"; did you mean {matches[0]!r}?" if matches else ""


def plural(number: int, noun: str, nouns: str = "") -> str:
    """``1 case``, ``1,200 cases``."""
    return f"{number:,} {noun if number == 1 else nouns or noun + 's'}"
