"""What the embedded target sees: the text in a picture, and a few plain tags made from its pixels."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_mmsafety.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

OCR_LIMIT = 600
"""Characters of a picture's text that the language model gets to read."""
LONGEST, SHORTEST = 960, 320
"""Pixels: larger pictures are shrunk before reading, thumbnails enlarged. Costs a quarter of RapidOCR's own bounds."""
OCR_SETTINGS = {
    "Det.limit_type": "max",
    "Det.limit_side_len": LONGEST,
    # Lines that stand on their head are for scanned pages.
    "Global.use_cls": False,
    "Global.log_level": "critical",
    # Pictures are read side by side, each by one thread: half the CPU time of two threads for one picture.
    "EngineConfig.onnxruntime.intra_op_num_threads": 1,
}
OCR_MODELS = {"Det.model_path": "PP-OCRv6_det_small.onnx", "Rec.model_path": "PP-OCRv6_rec_small.onnx"}


@dataclass(frozen=True, slots=True)
class Seen:
    """All that the language model will ever know of a picture."""

    tags: tuple[str, ...]
    text: str


class Reader:
    """Reads text in English and Chinese, by the PP-OCRv6 models that lie in RapidOCR's wheel."""

    def __init__(self) -> None:
        import rapidocr

        folder = Path(rapidocr.__file__).parent / "models"
        # With explicit paths RapidOCR has no reason to look for models on the network.
        paths = {setting: folder / name for setting, name in OCR_MODELS.items()}
        for path in paths.values():
            if not path.is_file():
                raise SetupError(
                    f"--model=embedded: rapidocr {version('rapidocr')} has no {path.name}; "
                    "run: pip install 'rapidocr>=3.10,<4'"
                )
        self._ocr = rapidocr.RapidOCR(params=OCR_SETTINGS | {key: str(path) for key, path in paths.items()})

    def read(self, images: Sequence[Image]) -> list[str]:
        """Every image's lines, from top to bottom, as one line; empty if there is none."""
        with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
            return list(pool.map(self._read_one, images))

    def _read_one(self, image: Image) -> str:
        from rapidocr.utils.output import RapidOCROutput

        found = self._ocr(fit(image))
        lines = found.txts if isinstance(found, RapidOCROutput) else None
        return " ".join(" ".join(lines or ()).split())[:OCR_LIMIT]


def fit(image: Image) -> Image:
    """Bring an image to a size that is cheap to read; very narrow ones get a white margin."""
    from PIL import ImageOps

    scale = min(LONGEST / max(image.size), max(1.0, SHORTEST / min(image.size)))
    width, height = (max(1, round(side * scale)) for side in image.size)
    sized = image if scale == 1.0 else image.resize((width, height))
    margin = (max(0, 32 - width), max(0, 32 - height))
    return ImageOps.expand(sized, (0, 0, *margin), "white") if any(margin) else sized


def describe(image: Image, text: str) -> tuple[str, ...]:
    """Say what can be said of an image without recognising anything in it.

    Plain areas or detail, by the share of neighbouring pixels that are alike, which tells a poster from most
    photographs, but not a photograph on a white ground; format; colours; amount of *text*.
    """
    import numpy as np
    from PIL import Image as Images

    width, height = image.size
    small = image.convert("RGB").resize((min(width, 96), min(height, 96)), Images.Resampling.NEAREST)
    pixels = np.asarray(small).astype(np.int16)
    steps = [np.abs(np.diff(pixels, axis=axis)).max(axis=2).ravel() for axis in (0, 1)]
    flat = float((np.concatenate([*steps, np.zeros(1)]) <= 3).mean())
    kind = "a detailed scene" if flat < 0.5 else "shapes on a plain background" if flat < 1.0 else "one plain colour"
    shape = "wide" if width > 1.2 * height else "tall" if height > 1.2 * width else "square"
    amount = "no text" if not text else "a few words" if len(text) < 80 else "much text"
    return (kind, shape, *_colours(np.asarray(small.convert("HSV"))), amount)


def _colours(hsv: NDArray[np.uint8]) -> list[str]:
    """Names of the colours that cover at least 15 % of the pixels, most of all first, at most three."""
    import numpy as np

    hue, saturation, value = (hsv[..., channel].ravel().astype(float) for channel in range(3))
    degrees = hue * 360 / 256
    ends = [15, 45, 70, 165, 190, 260, 300, 345]
    names = np.array(["red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink", "red"])
    named = names[np.digitize(degrees, ends)]
    named = np.where((named == "orange") & (value < 150), "brown", named)
    named = np.where((named == "red") & (value > 200) & (saturation < 140), "pink", named)
    named = np.where(saturation < 40, np.where(value > 210, "white", "gray"), named)
    named = np.where(value < 50, "black", named)
    found, counts = np.unique(named, return_counts=True)
    ranked = sorted(zip(counts.tolist(), found.tolist(), strict=True), reverse=True)
    return [name for count, name in ranked[:3] if count >= 0.15 * len(named)]
