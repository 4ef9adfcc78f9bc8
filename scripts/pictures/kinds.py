"""The kinds of pictures, a function each, and :func:`render`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping

from PIL import Image

from pictures.book import Book, DrawingError, Entry
from pictures.canvas import SCALE, Box, Canvas, Type, font, wrap

COLOURS = 48


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
    entry = book.images.get(name)
    if entry is None:
        raise DrawingError(f"no picture {name!r} in scripts/images/")
    if entry.kind == "noisy":
        return with_noise(render(entry.source, book).convert("RGB"), entry.seed).quantize(COLOURS)
    if entry.kind not in KINDS:
        raise DrawingError(f"{name}: no kind {entry.kind!r}; there are noisy, {', '.join(KINDS)}")
    canvas = Canvas(entry, book.pictograms)
    KINDS[entry.kind](canvas, entry)
    return canvas.finished().quantize(COLOURS)
