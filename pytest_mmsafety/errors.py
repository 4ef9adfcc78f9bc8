"""The exceptions of the package, as one tree.

MmsafetyError               somebody outside has to mend something; printed as one line
├── SetupError              an option, a thresholds file, a model or a store cannot be used (exit code 4)
├── SuiteError              a suite file or a row of its data is wrong (a collection error)
└── ImageError              an image cannot be read safely (an error of the one case)
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class MmsafetyError(Exception):
    """Root of every error that this package raises on purpose."""


class SetupError(MmsafetyError):
    """The run cannot start as it was asked for."""


class SuiteError(MmsafetyError):
    """A suite file, or the data behind it, is not what it should be."""


class ImageError(MmsafetyError):
    """An image is missing, damaged or unreasonably large."""


def nearest(value: object, known: Iterable[str]) -> str:
    """``"; did you mean 'x'?"`` when something known is close to *value*, else an empty string."""
    matches = get_close_matches(str(value), list(known), n=1, cutoff=0.6)
    return f"; did you mean {matches[0]!r}?" if matches else ""
