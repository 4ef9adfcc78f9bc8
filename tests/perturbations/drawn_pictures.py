"""A picture to change."""

from __future__ import annotations

import numpy as np
from PIL import Image


def picture(width: int = 96, height: int = 64) -> Image.Image:
    """Something of every colour, with edges."""
    y, x = np.mgrid[0:height, 0:width]
    pixels = np.stack([x * 255 // width, y * 255 // height, (x // 8 + y // 8) % 2 * 255], axis=-1)
    return Image.fromarray(pixels.astype(np.uint8))
