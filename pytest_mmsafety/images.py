"""Images from outside: read once, by content, and never larger than is sane."""

from __future__ import annotations

import hashlib
import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_mmsafety.errors import ImageError

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_BYTES = 64 * 2**20
MAX_PIXELS = 64_000_000
"""8000 x 8000: larger than any camera image in the benchmarks, far below what exhausts memory."""


def read_image(path: str) -> bytes:
    """The file's bytes. Raises :class:`ImageError` if it is missing, empty, unreadable or above 64 MiB."""
    try:
        size = Path(path).stat().st_size
        if size > MAX_BYTES:
            raise ImageError(path, f"image of {size / 2**20:.0f} MiB, at most {MAX_BYTES // 2**20} MiB are read")
        data = Path(path).read_bytes()
    except (OSError, ValueError) as error:
        raise ImageError(path, f"image cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if not data:
        raise ImageError(path, "image is empty (0 bytes)")
    return data


def digest(data: bytes) -> str:
    """SHA-256 of the file's bytes, hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def digest_or_empty(path: str) -> str:
    """The digest of the file; empty where it cannot be read."""
    try:
        return digest(read_image(path))
    except ImageError:
        return ""


def decode(data: bytes, path: str) -> Image:
    """The first frame, upright, in RGB.

    Raises :class:`ImageError` for anything that is not a whole image of at most 64 million pixels. The
    size is read from the header, so a decompression bomb costs nothing.
    """
    import PIL.Image  # here, so that digests can be taken while cases are collected
    from PIL import ImageOps, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = PIL.Image.open(io.BytesIO(data))
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise ImageError(path, f"image of {width} x {height} pixels, at most {MAX_PIXELS:,} are decoded")
            upright = ImageOps.exif_transpose(image)
            return _on_white(upright)
    except UnidentifiedImageError as error:
        raise ImageError(path, "not an image that Pillow can read") from error
    except ImageError:
        raise
    except Exception as error:  # Pillow's readers let through whatever a damaged file makes them trip over
        raise ImageError(path, f"damaged image: {error}") from error


def _on_white(image: Image) -> Image:
    """RGB; transparent parts become white, as a viewer would show them."""
    import PIL.Image

    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        return PIL.Image.alpha_composite(PIL.Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    if image.mode.startswith("I;16"):
        return image.point(lambda value: value / 256).convert("L").convert("RGB")  # convert() alone would clip
    return image.convert("RGB")
