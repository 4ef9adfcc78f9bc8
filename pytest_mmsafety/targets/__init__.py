"""Targets: the models under test, behind one batch method.

``--model`` names a target: see :mod:`pytest_mmsafety.targets.registry`. New targets need no fork: an entry point of
the group ``mmsafety.targets``, or any ``package.module:attribute``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from PIL.Image import Image

    from pytest_mmsafety.cases import Response


@dataclass(frozen=True, slots=True)
class Request:
    """What a target sees of a case."""

    prompt: str
    images: tuple[Image, ...] = ()
    """Decoded, upright, RGB."""
    image_digests: tuple[str, ...] = ()
    """SHA-256 of each image file, for targets that remember what they saw."""
    sample: int = 1
    """Which of several answers is wanted, from 1: a target that samples draws another one for each."""
    max_new_tokens: int | None = None
    """Limit of the answer that its suite asks for; ``None``: none. A limit that the target was given comes first."""


@runtime_checkable
class Target(Protocol):
    """A model, a pipeline or a server that answers requests in batches."""

    @property
    def name(self) -> str:
        """What reports call the target."""

    @property
    def fingerprint(self) -> str:
        """Changes whenever the same request could be answered differently: weights, decoding, versions."""

    def generate(self, requests: Sequence[Request]) -> Sequence[str | Response]:
        """One answer a request, in order: text, or a :class:`Response`. May raise; the guilty request is found."""


@runtime_checkable
class Fetchable(Protocol):
    """A target or judge that can find its files before it is needed, after a download if need be, and loads none."""

    def fetch(self) -> object:
        """Raises :class:`SetupError` where files are missing."""


@runtime_checkable
class Remarking(Protocol):
    """A target that knows what a reader of the run must know of it."""

    @property
    def remarks(self) -> Sequence[str]:
        """A line each; asked for with the fingerprint."""


@runtime_checkable
class Releasable(Protocol):
    """A target or judge that can give its device back; the next question loads it again."""

    def release(self) -> None: ...
