"""What a perturbation is."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_mmsafety.cases import Parameter

if TYPE_CHECKING:
    from PIL.Image import Image

Parameters = Mapping[str, Parameter]


@dataclass(frozen=True, slots=True)
class Asked:
    """What a change of text acts upon."""

    prompt: str
    expected: str
    """As in :class:`~pytest_mmsafety.cases.Case`: swapping options changes the letter."""
    language: str
    """``en`` or ``zh``."""
    drawn: str = ""
    """Set by a change that moves words into the picture."""


Rewrite = Callable[[Asked, float, Parameters], Asked]
"""Of a strength above 0."""
Edit = Callable[["Image", float, Parameters, str], "Image"]
"""Of an RGB image, a strength above 0, parameters, and the text that is to be drawn."""


@dataclass(frozen=True, slots=True)
class Perturbation:
    """One kind of change."""

    name: str
    meaning: str
    source: str
    """The paper, or the converter of PyRIT that made the name known."""
    rewrite: Rewrite | None = None
    """What it does to the prompt, or ``None``."""
    edits_images: bool = False
    """Whether it changes the images: the function of its name in :mod:`.images`."""
    settings: Mapping[str, tuple[Parameter, ...]] = field(default_factory=dict)
    """Parameter -> its allowed values; the first is the default."""
    by_word: bool = False
    """Whether it also takes ``words``: which words of the prompt, by their index from 0, it acts upon; default: all."""
    graded: bool = True
    """Whether strength matters; otherwise any above 0 is the whole change."""
    unsuited: re.Pattern[str] | None = None
    """Prompts whose right answer the changed image could change. They are left alone where a fact is expected."""
    version: int = 1
    """Raised when the same strength and parameters do something else."""
