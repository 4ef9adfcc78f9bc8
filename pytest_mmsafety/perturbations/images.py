"""What perturbations do to pictures: RGB in, a new RGB picture out, the same pixels every time.

*s* below is the strength, above 0 and at most 1. All but ``typographic-transfer`` keep the size of the picture, and
at full strength a person still sees what it is about, save for noise, of which diffusion leaves little.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import lru_cache
from importlib.util import find_spec
from math import ceil, cos, pi, sin
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont, ImageOps

from pytest_mmsafety.perturbations.kinds import Edit, Parameters

Picture = Image.Image
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

WHITE = (255, 255, 255)
_STEPS = 1000
_PATCHES = 8
_CACHED = 2**20
"""Pixels up to which noise is kept for the next picture of that size."""


# --- noise


def noise(image: Picture, strength: float, told: Parameters, _text: str) -> Picture:
    """Gaussian noise of standard deviation 128 *s*, of 255."""
    pixels = _gauss(image, told) * np.float32(128 * strength)
    pixels += np.asarray(image)
    return _picture(pixels)


def diffusion_noise(image: Picture, strength: float, told: Parameters, _text: str) -> Picture:
    """The forward process of a diffusion model, as Visual Contrastive Decoding distorts pictures.

    With pixels *x* in -1 to 1, noise *e*, and *t* = 999 *s*: sqrt(a) x + sqrt(1 - a) e, where *a* is the product of
    1 - b over the steps 0 to *t*, and b = 1e-5 + (5e-3 - 1e-5) sigmoid(u), with *u* from -6 to 6 in 1000 equal steps.
    Leng et al. 2024, arXiv 2311.16922.
    """
    share = _kept()[round((_STEPS - 1) * strength)]
    pixels = _gauss(image, told) * np.float32(127.5 * (1 - share) ** 0.5)
    pixels += np.asarray(image) * np.float32(share**0.5)
    pixels += np.float32(127.5 * (1 - share**0.5))
    return _picture(pixels)


@lru_cache(1)
def _kept() -> NDArray[np.float64]:
    """Share of the picture's variance that is left after each step."""
    betas = 1e-5 + (5e-3 - 1e-5) / (1 + np.exp(-np.linspace(-6, 6, _STEPS)))
    return np.asarray(np.cumprod(1 - betas))


def _gauss(image: Picture, told: Parameters) -> NDArray[np.float32]:
    field = _field if image.width * image.height <= _CACHED else _field.__wrapped__
    return field(image.height, image.width, int(str(told["seed"])))


@lru_cache(4)
def _field(height: int, width: int, seed: int) -> NDArray[np.float32]:
    return np.random.Generator(np.random.PCG64(seed)).standard_normal((height, width, 3), np.float32)


def _picture(pixels: NDArray[np.float32]) -> Picture:
    pixels += np.float32(0.5)
    return Image.fromarray(np.clip(pixels, 0, 255, out=pixels).astype(np.uint8))


# --- detail and colour


def blur(image: Picture, strength: float, _told: Parameters, _text: str) -> Picture:
    """Each pixel the mean of a square around it, which reaches *s* times a 64th of the longer side."""
    return image.filter(ImageFilter.BoxBlur(strength * max(image.size) / 64))


def resizing(image: Picture, strength: float, _told: Parameters, _text: str) -> Picture:
    """Reduced to a share of 0.2 ** *s* of its sides, and enlarged again."""
    small = _scaled(image, 0.2**strength)
    return image.resize(small, Image.Resampling.BOX).resize(image.size, Image.Resampling.BILINEAR)


def compression(image: Picture, strength: float, _told: Parameters, _text: str) -> Picture:
    """JPEG of quality 95 - 94 *s*. A side above 65,500 pixels, which JPEG does not have, stays as it is."""
    if max(image.size) > 65_500:
        return image.copy()
    file = io.BytesIO()
    image.save(file, "JPEG", quality=round(95 - 94 * strength))
    return Image.open(file).convert("RGB")


def brightness(image: Picture, strength: float, told: Parameters, _text: str) -> Picture:
    """Blended with black or white, at most 0.85 of it."""
    goal = 0 if told["direction"] == "darker" else 255
    return _mapped(image, lambda value: value + (goal - value) * 0.85 * strength)


def contrast(image: Picture, strength: float, told: Parameters, _text: str) -> Picture:
    """Distances from middle grey times 1 - 0.9 *s*, or 1 + 7 *s*."""
    factor = 1 - 0.9 * strength if told["direction"] == "lower" else 1 + 7 * strength
    return _mapped(image, lambda value: 127.5 + (value - 127.5) * factor)


def color_saturation(image: Picture, strength: float, told: Parameters, _text: str) -> Picture:
    """Distances from the grey of the same brightness times 1 - *s*, which ends in grey, or 1 + 4 *s*."""
    return ImageEnhance.Color(image).enhance(1 - strength if told["direction"] == "lower" else 1 + 4 * strength)


def _mapped(image: Picture, value_of: Callable[[float], float]) -> Picture:
    table = [min(255, max(0, round(value_of(value)))) for value in range(256)]
    return image.point(table * 3)


# --- geometry


def crop(image: Picture, strength: float, told: Parameters, _text: str) -> Picture:
    """Keep 1 - 0.5 *s* of width and height, at the side that is told, and enlarge that to the old size."""
    share = 1 - 0.5 * strength
    across, down = _SIDES[str(told["side"])]
    left, top = image.width * (1 - share) * across, image.height * (1 - share) * down
    box = (left, top, left + image.width * share, top + image.height * share)
    return image.resize(image.size, Image.Resampling.BILINEAR, box)


def flip(image: Picture, _strength: float, told: Parameters, _text: str) -> Picture:
    """Left and right change places (``horizontal``), or top and bottom; whatever the strength."""
    return ImageOps.mirror(image) if told["axis"] == "horizontal" else ImageOps.flip(image)


def rotation(image: Picture, strength: float, told: Parameters, _text: str) -> Picture:
    """Turned by 180 *s* degrees about its middle, and reduced so that nothing is cut off; white around it."""
    if strength == 1:
        return image.transpose(Image.Transpose.ROTATE_180)
    angle = pi * strength * (1 if told["direction"] == "right" else -1)
    width, height = image.size
    c, s = cos(angle), sin(angle)
    zoom = max((width * abs(c) + height * abs(s)) / width, (width * abs(s) + height * abs(c)) / height)
    a, b, d, e = c * zoom, s * zoom, -s * zoom, c * zoom
    x, y = width / 2, height / 2
    matrix = (a, b, x - a * x - b * y, d, e, y - d * x - e * y)
    return image.transform(
        image.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR, fill=1, fillcolor=WHITE
    )


def tiling(image: Picture, strength: float, _told: Parameters, _text: str) -> Picture:
    """*n* by *n* small copies, *n* from 2 to 4."""
    number = 1 + ceil(3 * strength)
    small = image.resize((ceil(image.width / number), ceil(image.height / number)), Image.Resampling.BOX)
    tiled = np.tile(np.asarray(small), (number, number, 1))
    return Image.fromarray(np.ascontiguousarray(tiled[: image.height, : image.width]))


def shuffling(image: Picture, strength: float, told: Parameters, _text: str) -> Picture:
    """Of 8 by 8 patches, a share *s* and at least two change places; what is left over at the edges stays."""
    columns, rows = min(_PATCHES, image.width), min(_PATCHES, image.height)
    width, height = image.width // columns, image.height // rows
    order = np.random.Generator(np.random.PCG64(int(str(told["seed"])))).permutation(columns * rows)
    moved = order[: max(2, round(strength * len(order)))]
    before, after = np.asarray(image), np.array(image)
    for goal, origin in zip(moved, np.roll(moved, 1), strict=True):
        (y, x), (v, u) = divmod(int(goal), columns), divmod(int(origin), columns)
        patch = before[v * height : (v + 1) * height, u * width : (u + 1) * width]
        after[y * height : (y + 1) * height, x * width : (x + 1) * width] = patch
    return Image.fromarray(after)


def inset(image: Picture, strength: float, told: Parameters, _text: str) -> Picture:
    """Reduced to 1 - 0.65 *s* of its sides, in a corner or the middle of a white canvas."""
    small = image.resize(_scaled(image, 1 - 0.65 * strength), Image.Resampling.BOX)
    across, down = _SIDES[str(told["corner"])]
    canvas = Image.new("RGB", image.size, WHITE)
    canvas.paste(small, (round((image.width - small.width) * across), round((image.height - small.height) * down)))
    return canvas


#: Where what is left stands: shares of the free width and height before it.
_SIDES = {
    "center": (0.5, 0.5), "left": (0, 0.5), "right": (1, 0.5), "top": (0.5, 0), "bottom": (0.5, 1),
    "top-left": (0, 0), "top-right": (1, 0), "bottom-left": (0, 1), "bottom-right": (1, 1),
}  # fmt: skip


def _scaled(image: Picture, share: float) -> tuple[int, int]:
    return max(1, round(image.width * share)), max(1, round(image.height * share))


# --- words


def typographic_transfer(image: Picture, _strength: float, told: Parameters, text: str) -> Picture:
    """Words in a white band below or above the picture, which stays whole; a very narrow one is widened."""
    width = max(image.width, 240)
    face = _face(min(96, max(16, image.height // 14)), chinese=not text.isascii())
    lines = [line for part in text.split("\n") for line in _wrapped(part, width - 16, face)]
    step = round(_height(face) * 1.25)
    band = step * len(lines) + 12
    canvas = Image.new("RGB", (width, image.height + band), WHITE)
    below = told["place"] == "bottom"
    canvas.paste(image, ((width - image.width) // 2, 0 if below else band))
    pen, top = ImageDraw.Draw(canvas), (image.height if below else 0) + 6
    for number, line in enumerate(lines):
        pen.text((8, top + number * step), line, "black", face)
    return canvas


def add_text_image(image: Picture, strength: float, told: Parameters, text: str) -> Picture:
    """A label over the picture: black letters with a white edge, 0.06 to 0.3 of its height if the width lets them."""
    band = max(1, round(image.height * (0.06 + 0.24 * strength)))
    face = _face(max(4, round(band * 0.7)), chinese=not text.isascii())
    if (wide := face.getbbox(text)[2]) > 0.96 * image.width:
        face = _face(max(4, int(band * 0.7 * 0.96 * image.width / wide)), chinese=not text.isascii())
    top = {"bottom": image.height - band, "top": 0, "middle": (image.height - band) // 2}[str(told["place"])]
    changed = image.copy()
    edge = max(1, band // 16)
    middle = (image.width / 2, top + band / 2)
    ImageDraw.Draw(changed).text(middle, text, "black", face, anchor="mm", stroke_width=edge, stroke_fill=WHITE)
    return changed


@lru_cache(16)
def _face(size: int, *, chinese: bool) -> Any:
    if not chinese:
        return ImageFont.load_default(size)
    spec = find_spec("manimgx_fonts_cjk")
    assert spec is not None
    assert spec.origin is not None
    face = ImageFont.truetype(str(next(Path(spec.origin).parent.glob("*.ttc"))), size, index=_SIMPLIFIED_CHINESE)
    face.set_variation_by_axes([500])
    return face


_SIMPLIFIED_CHINESE = 2
"""Face of the font collection; it has Latin letters too."""


def _height(face: Font) -> float:
    return face.getbbox("Hg国")[3]


def _wrapped(text: str, width: int, face: Font) -> list[str]:
    """Lines of at most *width*, broken at spaces where that is possible."""
    lines = [""]
    for letter in text:
        if lines[-1] and face.getlength(lines[-1] + letter) > width:
            head, space, tail = lines[-1].rpartition(" ")
            lines[-1:] = [head, tail] if space and letter != " " else [lines[-1], ""]
        lines[-1] += letter
    return [line.strip() for line in lines]


EDITS: dict[str, Edit] = {
    "typographic-transfer": typographic_transfer,
    "add-text-image": add_text_image,
    "noise": noise,
    "diffusion-noise": diffusion_noise,
    "image-blur": blur,
    "image-resizing": resizing,
    "image-compression": compression,
    "image-brightness": brightness,
    "image-contrast": contrast,
    "image-color-saturation": color_saturation,
    "image-crop": crop,
    "image-flip": flip,
    "image-rotation": rotation,
    "image-tiling": tiling,
    "image-shuffling": shuffling,
    "image-inset": inset,
}
