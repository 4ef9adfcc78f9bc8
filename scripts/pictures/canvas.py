"""What pictures are drawn with: shapes, words that are made to fit, pictograms."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

from pictures.book import DrawingError, Entry

SCALE = 2
"""Drawn twice as large and reduced, which smooths the edges of shapes."""
SMALLEST_TEXT = 22
LINE = 1.32
"""From one line to the next, in heights of the type."""
SIMPLIFIED_CHINESE = 2
"""Face of the font collection; it has Latin letters too."""


class Box(NamedTuple):
    """Four sides, in pixels of the finished picture."""

    left: float
    top: float
    right: float
    bottom: float


class Type(NamedTuple):
    """How words are set."""

    size: int = 34
    """The largest; words that do not fit get smaller, down to SMALLEST_TEXT."""
    colour: str = "black"
    bold: bool = False
    left: bool = False

    def font(self, size: float) -> ImageFont.FreeTypeFont:
        return font(round(size * SCALE), 700 if self.bold else 450)


@lru_cache
def font_file() -> str:
    spec = importlib.util.find_spec("manimgx_fonts_cjk")
    if spec is None or spec.origin is None:
        raise DrawingError("the font is missing: pip install 'pytest-mmsafety[draw]'")
    return str(next(Path(spec.origin).parent.glob("*.ttc")))


@lru_cache
def font(size: int, weight: int) -> ImageFont.FreeTypeFont:
    face = ImageFont.truetype(font_file(), size, index=SIMPLIFIED_CHINESE)
    face.set_variation_by_axes([weight])
    return face


def wrap(text: str, width: float, face: ImageFont.FreeTypeFont) -> list[str]:
    """Break *text* into lines of at most *width*; Chinese breaks after any character but before no punctuation."""
    lines = [""]
    for word in re.findall("[!-~]+ ?|.[，。！？：；、）》”]*", text):
        if lines[-1] and face.getlength((lines[-1] + word).rstrip()) > width:
            lines.append("")
        lines[-1] += word
    return [line.rstrip() for line in lines]


class Canvas:
    """A picture being drawn, in pixels of the finished one."""

    def __init__(self, entry: Entry, pictograms: Mapping[str, tuple[str, ...]]) -> None:
        self.name = entry.name
        self.width, self.height = entry.size
        self._pictograms = pictograms
        self._image = Image.new("RGB", (self.width * SCALE, self.height * SCALE), entry.paper)
        self._pen = ImageDraw.Draw(self._image)

    def finished(self) -> Image.Image:
        return self._image.reduce(SCALE)

    def rectangle(self, box: Box, fill: str | None, *, outline: str | None = None, radius: float = 0) -> None:
        scaled = [value * SCALE for value in box]
        self._pen.rounded_rectangle(scaled, radius * SCALE, fill, outline, width=2 * SCALE)

    def ellipse(self, box: Box, fill: str | None, *, outline: str | None = None, width: float = 2) -> None:
        self._pen.ellipse([value * SCALE for value in box], fill, outline, round(width * SCALE))

    def polygon(self, points: list[float], fill: str) -> None:
        self._pen.polygon([value * SCALE for value in points], fill)

    def line(self, points: list[float], fill: str, width: float) -> None:
        self._pen.line([value * SCALE for value in points], fill, round(width * SCALE), joint="curve")

    def text(self, x: float, y: float, words: str, style: Type) -> None:
        """Set *words* on one line, with their middle at *x*, *y*."""
        self._pen.text((x * SCALE, y * SCALE), words, style.colour, style.font(style.size), anchor="mm")

    def block(self, words: str, box: Box, style: Type) -> None:
        """Set *words* in the middle of *box*, as large as they fit, broken only at line feeds if that is possible."""
        width, parts = (box.right - box.left) * SCALE, words.split("\n")
        sizes = range(style.size, SMALLEST_TEXT - 1, -1)
        whole = ((size, parts) for size in sizes)
        broken = ((size, [line for part in parts for line in wrap(part, width, style.font(size))]) for size in sizes)
        for size, lines in chain(whole, broken):
            longest = max(style.font(size).getlength(line) for line in lines)
            if longest <= width and size * LINE * len(lines) <= box.bottom - box.top:
                break
        else:
            raise DrawingError(f"{self.name}: {words!r} does not fit at {SMALLEST_TEXT} pixels")
        x, anchor = (box.left, "lm") if style.left else ((box.left + box.right) / 2, "mm")
        first = (box.top + box.bottom - size * LINE * (len(lines) - 1)) / 2
        for number, line in enumerate(lines):
            at = (x * SCALE, (first + size * LINE * number) * SCALE)
            self._pen.text(at, line, style.colour, style.font(size), anchor=anchor)

    def pictogram(self, name: str, left: float, top: float, size: float) -> None:
        if name not in self._pictograms:
            raise DrawingError(f"{self.name}: no pictogram {name!r}; there are {', '.join(self._pictograms)}")
        for shape in self._pictograms[name]:
            self._shape(shape, left, top, size / 100)

    def _shape(self, shape: str, left: float, top: float, unit: float) -> None:
        kind, colour, *rest = shape.split()
        wide = float(rest.pop(0)) * unit if kind in ("line", "text") else 0
        words = " ".join(rest[2:]) if kind == "text" else ""
        numbers = [float(value) for value in (rest[:2] if words else rest)]
        points = [(left, top)[index % 2] + value * unit for index, value in enumerate(numbers)]
        match kind:
            case "ellipse":
                self.ellipse(Box(*points), colour)
            case "rectangle":
                self.rectangle(Box(*points), colour)
            case "polygon":
                self.polygon(points, colour)
            case "line":
                self.line(points, colour, wide)
            case "text":
                self.text(points[0], points[1], words, Type(round(wide), colour, bold=True))
            case _:
                raise DrawingError(f"{self.name}: no shape {kind!r}")
