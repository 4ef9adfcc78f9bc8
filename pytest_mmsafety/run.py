"""A run: the outcomes and all that produced them. Saved, it is also a baseline and a report's input.

The file format is described in ``docs/run-file.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_mmsafety.judges import Verdict

if TYPE_CHECKING:
    from pytest_mmsafety.gates import GateResult


@dataclass(frozen=True, slots=True)
class ImageRef:
    """An image as a run remembers it: by name and content, not by a path of one machine."""

    name: str
    """Relative to the suite's folder or to the data set."""
    sha256: str
    """Empty when the file could not be read."""


@dataclass(frozen=True, slots=True)
class Record:
    """A case together with its outcome."""

    key: str
    suite: str
    id: str
    tags: Mapping[str, str]
    expected: str
    prompt: str
    images: tuple[ImageRef, ...]
    cluster: str
    response: str | None
    verdicts: tuple[Verdict, ...]
    error: str
    skipped: str
    seconds: float
    stored: bool

    @property
    def score(self) -> float | None:
        """The gated verdict's score, 0 = as expected, 1 = worst; ``None`` if there is none."""
        return self.verdicts[0].score if self.verdicts else None


@dataclass(frozen=True, slots=True)
class SuiteInfo:
    """A suite as it was when the run was made."""

    name: str
    benchmark: str
    title: str
    sha256: str
    """Of the suite file and the data file beside it."""
    collected: int
    """Cases the suite has, whatever was selected of them."""


@dataclass(frozen=True, slots=True)
class Run:
    """Everything that a gate, a comparison or a report needs."""

    target: str
    """What the target calls itself."""
    fingerprint: str
    created: str
    """UTC, ISO 8601."""
    version: str
    """Of this package."""
    environment: Mapping[str, str]
    """Versions of Python and of the libraries that produced the answers."""
    settings: Mapping[str, str]
    """Batch size, model arguments, selection."""
    suites: tuple[SuiteInfo, ...]
    records: tuple[Record, ...]
    gates: tuple[GateResult, ...] = ()
    policy: str = ""
    """Name of the thresholds file, or empty."""
    notes: tuple[str, ...] = field(default=())
    """What a reader must know: an interrupted run, a store that could not be written."""


def to_dict(run: Run) -> dict[str, Any]:
    raise NotImplementedError
