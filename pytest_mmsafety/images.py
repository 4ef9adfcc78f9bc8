"""Images from outside: read once, by content, and never larger than is sane."""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
            tags = dict(getattr(image, "tag_v2", {}))  # of a TIFF; lost when it is turned
            _refuse_wide_pixels(image, path)
            return _on_white(_eight_bits(ImageOps.exif_transpose(image), tags))
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
    return image.convert("RGB")


_BITS_PER_SAMPLE, _PHOTOMETRIC = 258, 262
"""Tags of TIFF."""


def _refuse_wide_pixels(image: Image, path: str) -> None:
    """Raise :class:`ImageError` for pixels whose range is not known; Pillow would make them all white or all black."""
    if image.mode == "F" or (image.mode == "I" and image.format not in ("PNG", "PPM")):  # these two mean 16 bits
        kind = "floating-point" if image.mode == "F" else "32-bit or signed"
        raise ImageError(path, f"image of {kind} pixels, which may mean any brightness; expected 8 or 16 bits")


def _eight_bits(image: Image, tags: Mapping[int, Any]) -> Image:
    """Greys of 9 to 16 bits scaled to 8, which Pillow would clip."""
    if image.mode[0] != "I":
        return image
    import numpy as np
    import PIL.Image

    bits = min(16, max(tags.get(_BITS_PER_SAMPLE, (16,))))
    levels = np.clip(np.asarray(image).astype(np.int32), 0, 2**bits - 1) >> (bits - 8)
    if tags.get(_PHOTOMETRIC) == 0:  # white is zero; Pillow turns only images of 8 bits
        levels = 255 - levels
    scaled = PIL.Image.fromarray(levels.astype(np.uint8))
    if "transparency" in image.info:
        scaled.info["transparency"] = int(image.info["transparency"]) >> (bits - 8)
    return scaled
