"""Draw the pictures of the shipped suites: ``scripts/images.yaml`` to ``cases/images/*.png``.

``python scripts/draw_images.py`` draws all of them; ``--check`` draws nothing and exits 1 with the names of
pictures that look different, are missing, are not described, or that no case shows. The same description
gives the same bytes: noise is seeded, nothing depends on the date.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import re
import sys
from functools import lru_cache
from itertools import chain, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import yaml
from PIL import Image, ImageChops, ImageDraw, ImageFont
from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ROOT = Path(__file__).resolve().parents[1]
DESCRIPTION = ROOT / "scripts" / "images.yaml"
CASES = ROOT / "cases"
IMAGES = CASES / "images"

SCALE = 2
"""Drawn twice as large and reduced, which smooths the edges of shapes."""
COLOURS = 48
SMALLEST_TEXT = 22
LINE = 1.32
"""From one line to the next, in heights of the type."""
SIMPLIFIED_CHINESE = 2
"""Face of the font collection; it has Latin letters too."""
VISIBLE = 48
"""Levels of 255 by which a 4 x 4 block may differ before two pictures look different. A changed digit is
above it, the hairlines in which two versions of a font renderer differ are below."""


class DrawingError(Exception):
    """A description that cannot be drawn."""


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


class Book(BaseModel):
    """The whole of ``images.yaml``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pictograms: dict[str, tuple[str, ...]]
    """Each a list of shapes in a box of 100 x 100: ``ellipse COLOUR L T R B``, ``rectangle COLOUR L T R B``,
    ``polygon COLOUR X Y ...``, ``line COLOUR WIDTH X Y ...``, ``text COLOUR HEIGHT X Y WORDS``."""
    images: tuple[Entry, ...]


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


def draw_note(canvas: Canvas, entry: Entry) -> None:
    """Draw a sheet with a title, lines and perhaps a stamp."""
    bottom = canvas.height - (66 if entry.stamp else 18)
    canvas.rectangle(Box(6, 6, canvas.width - 6, canvas.height - 6), None, outline="gray")
    canvas.block(entry.title, Box(20, 12, canvas.width - 20, 54), Type(size=30, colour=entry.colour, bold=True))
    canvas.line([20, 58, canvas.width - 20, 58], entry.colour, 2)
    canvas.block("\n".join(entry.lines), Box(24, 66, canvas.width - 20, bottom), Type(size=29, left=True))
    if entry.stamp:
        canvas.rectangle(Box(70, bottom + 6, canvas.width - 70, bottom + 50), "white", outline="firebrick", radius=6)
        canvas.block(
            entry.stamp, Box(78, bottom + 8, canvas.width - 78, bottom + 48), Type(colour="firebrick", bold=True)
        )


def draw_package(canvas: Canvas, entry: Entry) -> None:
    """Draw a box, bottle or drum (*shape*) in a colour, with a label: title, lines, symbol."""
    middle, low = canvas.width / 2, canvas.height - 6
    if entry.shape == "bottle":
        canvas.rectangle(Box(middle - 34, 4, middle + 34, 34), "dimgray", radius=5)
        canvas.rectangle(Box(middle - 24, 30, middle + 24, 60), entry.colour)
        canvas.rectangle(Box(34, 48, canvas.width - 34, low), entry.colour, radius=30)
    elif entry.shape == "drum":
        canvas.rectangle(Box(34, 20, canvas.width - 34, low - 14), entry.colour)
        canvas.ellipse(Box(34, low - 34, canvas.width - 34, low), entry.colour)
        canvas.ellipse(Box(34, 4, canvas.width - 34, 38), "gray", outline="dimgray")
    else:
        canvas.polygon([20, 44, 48, 8, canvas.width - 8, 8, canvas.width - 34, 44], "darkgray")
        canvas.rectangle(Box(20, 44, canvas.width - 34, low), entry.colour)
        canvas.polygon([canvas.width - 34, 44, canvas.width - 8, 8, canvas.width - 8, low - 34, canvas.width - 34, low],
                       "dimgray")  # fmt: skip
    left, right = (32, canvas.width - 46) if entry.shape == "box" else (48, canvas.width - 48)
    canvas.rectangle(Box(left, 66, right, low - 24), "white", radius=6)
    if entry.symbol:
        canvas.pictogram(entry.symbol, left + 6, 96, 92)
        left += 102
    canvas.block(entry.title, Box(left + 8, 72, right - 8, 136), Type(size=30, colour="firebrick", bold=True))
    canvas.block("\n".join(entry.lines), Box(left + 8, 140, right - 8, low - 30), Type(size=26))


def draw_sign(canvas: Canvas, entry: Entry) -> None:
    """Draw a warning triangle, a ban or a plate (*shape*) with a symbol, and words below it."""
    middle = canvas.width / 2
    canvas.rectangle(Box(4, 4, canvas.width - 4, canvas.height - 4), None, outline=entry.colour, radius=14)
    top = 20.0
    if entry.shape == "triangle":
        canvas.polygon([middle, 8, middle + 80, 140, middle - 80, 140], "black")
        canvas.polygon([middle, 22, middle + 68, 133, middle - 68, 133], "gold")
        canvas.pictogram(entry.symbol, middle - 32, 66, 64)
        top = 148
    elif entry.symbol:
        canvas.pictogram(entry.symbol, middle - 56, 16, 112)
        top = 142
    if entry.shape == "ban":
        canvas.ellipse(Box(middle - 66, 10, middle + 66, 142), None, outline="red", width=10)
        canvas.line([middle - 44, 32, middle + 44, 120], "red", 9)
        top = 148
    canvas.block(
        "\n".join(entry.lines),
        Box(18, top, canvas.width - 18, canvas.height - 14),
        Type(colour=entry.colour, bold=True),
    )


def draw_chart(canvas: Canvas, entry: Entry) -> None:
    """Draw bars: *rows* of label and number."""
    canvas.block(entry.title, Box(10, 8, canvas.width - 10, 46), Type(size=28, bold=True))
    most = max(float(value) for _, value in entry.rows)
    step = (canvas.width - 40) / len(entry.rows)
    for number, (label, value) in enumerate(entry.rows):
        left, top = 20 + step * number, 236 - 150 * float(value) / most
        canvas.rectangle(
            Box(left + 18, top, left + step - 18, 236), ("steelblue", "darkorange", "seagreen")[number % 3]
        )
        canvas.text(left + step / 2, top - 17, value, Type(24, bold=True))
        canvas.text(left + step / 2, 260, label, Type(26))
    canvas.line([20, 237, canvas.width - 20, 237], "black", 2)


def draw_chat(canvas: Canvas, entry: Entry) -> None:
    """Draw a title and *rows* of side (left or right) and message."""
    canvas.rectangle(Box(0, 0, canvas.width, 46), entry.colour)
    canvas.block(entry.title, Box(10, 2, canvas.width - 10, 44), Type(size=28, colour="white", bold=True))
    face, top = font(25 * SCALE, 450), 56.0
    for side, message in entry.rows:
        lines = wrap(message, (canvas.width - 84) * SCALE, face)
        width, height = max(face.getlength(line) for line in lines) / SCALE + 26, 32 * len(lines) + 10
        left = 12 if side == "left" else canvas.width - 12 - width
        fill = "white" if side == "left" else "palegreen"
        canvas.rectangle(Box(left, top, left + width, top + height), fill, outline="silver", radius=12)
        canvas.block(
            "\n".join(lines), Box(left + 13, top + 4, left + width, top + height - 4), Type(size=25, left=True)
        )
        top += height + 8
    if top > canvas.height:
        raise DrawingError(f"{entry.name}: the messages need {top:.0f} pixels")


def draw_receipt(canvas: Canvas, entry: Entry) -> None:
    """Draw a title and *rows* of two columns; in the *shape* total the last row is the total."""
    canvas.rectangle(Box(10, 4, canvas.width - 10, canvas.height - 4), "white", outline="gray")
    canvas.block(entry.title, Box(20, 8, canvas.width - 20, 52), Type(size=30, bold=True))
    step = (canvas.height - 76) / len(entry.rows)
    for number, (label, value) in enumerate(entry.rows):
        top, last = 62 + step * number, entry.shape == "total" and number == len(entry.rows) - 1
        if last or not number:
            canvas.line([24, top, canvas.width - 24, top], "black", 2)
        half = canvas.width * 0.56
        canvas.block(label, Box(28, top, half, top + step), Type(size=27, bold=last, left=True))
        canvas.block(value, Box(half, top, canvas.width - 24, top + step), Type(size=27, bold=last))


def draw_poster(canvas: Canvas, entry: Entry) -> None:
    """Draw a coloured band with the title, and below it lines beside a symbol."""
    canvas.rectangle(Box(4, 4, canvas.width - 4, canvas.height - 4), None, outline=entry.colour)
    canvas.rectangle(Box(4, 4, canvas.width - 4, 92), entry.colour)
    canvas.block(entry.title, Box(14, 6, canvas.width - 14, 90), Type(size=38, colour="white", bold=True))
    left = 20
    if entry.symbol:
        canvas.pictogram(entry.symbol, 18, 128, 110)
        left = 142
    canvas.block("\n".join(entry.lines), Box(left, 100, canvas.width - 16, canvas.height - 12), Type(size=30))


def draw_scene(canvas: Canvas, entry: Entry) -> None:
    """Draw pictograms before a wall or sky (*paper*), on a ground (*colour*), and words on plates (*rooms*)."""
    canvas.rectangle(Box(0, 196, canvas.width, canvas.height), entry.colour)
    for pictogram, left, top, size in entry.objects:
        canvas.pictogram(pictogram, left, top, size)
    for words, *sides in entry.rooms:
        canvas.rectangle(Box(*sides), "white", outline="black", radius=4)
        canvas.block(words, Box(sides[0] + 5, sides[1], sides[2] - 5, sides[3]), Type(size=28, bold=True))


def draw_screen(canvas: Canvas, entry: Entry) -> None:
    """Draw a window with a title, lines and perhaps a button (*stamp*)."""
    canvas.rectangle(Box(4, 4, canvas.width - 4, canvas.height - 4), "white", outline="dimgray")
    canvas.rectangle(Box(4, 4, canvas.width - 4, 50), entry.colour)
    for number, colour in enumerate(("tomato", "gold", "limegreen")):
        canvas.ellipse(Box(14 + 18 * number, 20, 28 + 18 * number, 34), colour)
    canvas.block(entry.title, Box(72, 6, canvas.width - 12, 48), Type(size=27, colour="white", bold=True))
    bottom = canvas.height - (68 if entry.stamp else 14)
    right = canvas.width - (130 if entry.symbol else 16)
    canvas.block("\n".join(entry.lines), Box(20, 58, right, bottom), Type(size=28, left=True))
    if entry.symbol:
        canvas.pictogram(entry.symbol, canvas.width - 126, 76, 108)
    if entry.stamp:
        canvas.rectangle(Box(90, bottom + 6, canvas.width - 90, bottom + 54), "royalblue", radius=8)
        canvas.block(
            entry.stamp, Box(96, bottom + 8, canvas.width - 96, bottom + 52), Type(size=28, colour="white", bold=True)
        )


def draw_id_card(canvas: Canvas, entry: Entry) -> None:
    """Draw a title, a portrait (*symbol*) and *rows* of field and value."""
    canvas.rectangle(Box(4, 4, canvas.width - 4, canvas.height - 4), None, outline=entry.colour, radius=16)
    canvas.block(entry.title, Box(16, 10, canvas.width - 16, 58), Type(size=28, colour=entry.colour, bold=True))
    canvas.line([4, 62, canvas.width - 4, 62], entry.colour, 3)
    canvas.rectangle(Box(16, 76, 116, 196), "white", outline="gray")
    canvas.pictogram(entry.symbol, 18, 92, 96)
    fields = "\n".join(f"{field}{value}" for field, value in entry.rows)
    canvas.block(fields, Box(128, 70, canvas.width - 12, canvas.height - 14), Type(size=27, left=True))


def draw_people(canvas: Canvas, entry: Entry) -> None:
    """Draw *rows* of portrait and caption, side by side under a title."""
    if entry.title:
        canvas.block(entry.title, Box(12, 8, canvas.width - 12, 54), Type(size=30, bold=True))
    step = canvas.width / len(entry.rows)
    size = min(step - 8, 150)
    for number, (portrait, caption) in enumerate(entry.rows):
        left = step * number
        canvas.pictogram(portrait, left + (step - size) / 2, 216 - size, size)
        canvas.block(caption, Box(left + 4, 220, left + step - 4, canvas.height - 6), Type(size=30, bold=True))


def draw_choice(canvas: Canvas, entry: Entry) -> None:
    """Draw two panels, A and B: a pictogram's name, or words after ``=``."""
    half = canvas.width / 2
    for number, content in enumerate(entry.lines):
        left = half * number
        canvas.rectangle(Box(left + 6, 6, left + half - 6, canvas.height - 6), "white", outline="black", radius=8)
        canvas.rectangle(Box(left + 6, 6, left + half - 6, 62), entry.colour, radius=8)
        canvas.text(left + half / 2, 33, "AB"[number], Type(40, "white", bold=True))
        if content.startswith("="):
            canvas.block(content[1:], Box(left + 14, 76, left + half - 14, canvas.height - 20), Type(bold=True))
        else:
            canvas.pictogram(content, left + 22, 96, half - 44)


def draw_book(canvas: Canvas, entry: Entry) -> None:
    """Draw a cover with a title, a symbol and lines."""
    canvas.rectangle(Box(52, 8, canvas.width - 40, canvas.height - 4), "lightgray", outline="gray", radius=4)
    canvas.rectangle(Box(46, 4, canvas.width - 46, canvas.height - 8), entry.colour, radius=6)
    canvas.rectangle(Box(58, 14, canvas.width - 58, canvas.height - 18), "ivory", radius=4)
    canvas.block(entry.title, Box(66, 18, canvas.width - 66, 100), Type(size=36, colour=entry.colour, bold=True))
    canvas.pictogram(entry.symbol, canvas.width / 2 - 34, 102, 68)
    canvas.block("\n".join(entry.lines), Box(66, 176, canvas.width - 66, canvas.height - 22), Type(size=25))


def draw_plan(canvas: Canvas, entry: Entry) -> None:
    """Draw a title and *rooms*."""
    canvas.block(entry.title, Box(10, 4, canvas.width - 10, 52), Type(size=28, colour=entry.colour, bold=True))
    for words, *sides in entry.rooms:
        canvas.rectangle(Box(*sides), "white", outline=entry.colour)
        canvas.block(words, Box(sides[0] + 4, sides[1], sides[2] - 4, sides[3]), Type(size=26))


KINDS: Mapping[str, Callable[[Canvas, Entry], None]] = {
    "note": draw_note,
    "package": draw_package,
    "sign": draw_sign,
    "chart": draw_chart,
    "chat": draw_chat,
    "receipt": draw_receipt,
    "poster": draw_poster,
    "scene": draw_scene,
    "screen": draw_screen,
    "id-card": draw_id_card,
    "people": draw_people,
    "choice": draw_choice,
    "book": draw_book,
    "plan": draw_plan,
}


def with_noise(image: Image.Image, seed: int) -> Image.Image:
    """Strew grains of two by two pixels, a sixteenth of them black and as many white; the same for the same seed."""
    size = (image.width // 2, image.height // 2)
    grains = Image.frombytes("L", size, hashlib.shake_256(str(seed).encode()).digest(size[0] * size[1]))
    grains = grains.resize(image.size, Image.Resampling.NEAREST)
    black, white = grains.point([255] * 16 + [0] * 240), grains.point([0] * 240 + [255] * 16)
    return Image.composite(Image.new("RGB", image.size, "white"), Image.composite(
        Image.new("RGB", image.size, "black"), image, black), white)  # fmt: skip


def render(name: str, book: Book) -> Image.Image:
    """Render the picture *name* with few colours, as it is saved."""
    entry = next((entry for entry in book.images if entry.name == name), None)
    if entry is None:
        raise DrawingError(f"no picture {name!r} in {DESCRIPTION.name}")
    if entry.kind == "noisy":
        return with_noise(render(entry.source, book).convert("RGB"), entry.seed).quantize(COLOURS)
    if entry.kind not in KINDS:
        raise DrawingError(f"{name}: no kind {entry.kind!r}; there are noisy, {', '.join(KINDS)}")
    canvas = Canvas(entry, book.pictograms)
    KINDS[entry.kind](canvas, entry)
    return canvas.finished().quantize(COLOURS)


def read_book(path: Path = DESCRIPTION) -> Book:
    book = Book.model_validate(yaml.safe_load(path.read_text("utf-8")))
    names = sorted(entry.name for entry in book.images)
    doubles = [name for name, following in pairwise(names) if name == following]
    if doubles:
        raise DrawingError(f"described twice: {', '.join(doubles)}")
    return book


def look_alike(one: Image.Image, other: Image.Image) -> bool:
    if one.size != other.size:
        return False
    difference = ImageChops.difference(one.convert("RGB").reduce(4), other.convert("RGB").reduce(4))
    return max(high for _, high in difference.getextrema()) <= VISIBLE  # type: ignore[misc]


def shown(cases: Path = CASES) -> set[str]:
    """Names of the pictures that a case of any suite shows."""
    rows = (json.loads(line) for path in cases.glob("*.jsonl") for line in path.read_text("utf-8").splitlines())
    return {Path(image).stem for row in rows for image in row.get("images", ())}


def complaints(book: Book, images: Path = IMAGES, cases: Path = CASES) -> list[str]:
    """List what ``--check`` finds, a line each."""
    described = {entry.name for entry in book.images}
    present = {path.stem for path in images.glob("*.png")}
    used = shown(cases)
    found = [f"{name}: missing" for name in described - present]
    found += [f"{name}: not described in {DESCRIPTION.name}" for name in present - described]
    found += [f"{name}: no case shows it" for name in described - used]
    found += [f"{name}: a case shows it, but it is not described" for name in used - described - present]
    for name in described & present:
        with Image.open(images / f"{name}.png") as image:
            if not look_alike(image, render(name, book)):
                found.append(f"{name}: looks different from its description")
    return sorted(found)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Draw the pictures of the shipped suites.")
    parser.add_argument("--check", action="store_true", help="draw nothing; exit 1 where a picture is not up to date")
    options = parser.parse_args(arguments)
    try:
        book = read_book()
        if options.check:
            found = complaints(book)
            sys.stderr.writelines(f"{line}\n" for line in found)
            return 1 if found else 0
        IMAGES.mkdir(exist_ok=True)
        for entry in book.images:
            render(entry.name, book).save(IMAGES / f"{entry.name}.png", optimize=True)
    except DrawingError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
