"""The descriptions of the pictures: ``scripts/images/*.yaml``, read and checked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

DESCRIPTIONS = Path(__file__).resolve().parents[1] / "images"


class DrawingError(Exception):
    """A description that cannot be drawn."""


class Entry(BaseModel):
    """One picture. What a field means to a kind is said at the kind's function."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    kind: str
    title: str = ""
    lines: tuple[str, ...] = ()
    rows: tuple[tuple[str, str], ...] = ()
    objects: tuple[tuple[str, float, float, float], ...] = ()
    """Pictogram, left, top, size."""
    rooms: tuple[tuple[str, float, float, float, float], ...] = ()
    """Text and the four sides of its box."""
    symbol: str = ""
    shape: str = ""
    stamp: str = ""
    paper: str = "white"
    colour: str = "navy"
    source: str = ""
    seed: int = 0
    size: tuple[int, int] = (384, 288)


class Part(BaseModel):
    """One file of ``scripts/images/``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pictograms: dict[str, tuple[str, ...]] = {}
    """Each a list of shapes in a box of 100 x 100: ``ellipse COLOUR L T R B``, ``rectangle COLOUR L T R B``,
    ``polygon COLOUR X Y ...``, ``line COLOUR WIDTH X Y ...``, ``text COLOUR HEIGHT X Y WORDS``."""
    images: tuple[Entry, ...] = ()


class Book(NamedTuple):
    """What all the files say together."""

    pictograms: Mapping[str, tuple[str, ...]]
    images: Mapping[str, Entry]


def read_part(path: Path) -> Part:
    """Read one file of descriptions. Raises :class:`DrawingError`."""
    try:
        return Part.model_validate(yaml.safe_load(path.read_text("utf-8")) or {})
    except (OSError, yaml.YAMLError, ValidationError) as error:
        raise DrawingError(f"{path.name}: {error}") from None


def read_book(folder: Path = DESCRIPTIONS) -> Book:
    """Read all files of *folder*. Raises :class:`DrawingError` where a name is described twice."""
    pictograms: dict[str, tuple[str, ...]] = {}
    images: dict[str, Entry] = {}
    for path in sorted(folder.glob("*.yaml")):
        part = read_part(path)
        for name, shapes in part.pictograms.items():
            if pictograms.setdefault(name, shapes) is not shapes:
                raise DrawingError(f"{path.name}: described twice: pictogram {name}")
        for entry in part.images:
            if images.setdefault(entry.name, entry) is not entry:
                raise DrawingError(f"{path.name}: described twice: {entry.name}")
    return Book(pictograms, images)
