"""The images of the cases: what is in the files, and which of them show nearly the same."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePath
from types import ModuleType
from typing import NamedTuple

import numpy as np
import PIL.Image
from numpy.typing import NDArray
from PIL.Image import Image, Resampling

from pytest_mmsafety.errors import ImageError, SetupError
from pytest_mmsafety.images import decode, digest, read_image

HASH_SIZE = 16
"""The perceptual hash has 16 x 16 bits: with the usual 8 x 8, different texts on one template look the same."""
NEAR_BITS = 20
"""Bits of 256 in which the same picture, saved again, may differ. Measured, see ``docs/doctor.md``."""
NEAR_COLOUR = 48
"""Levels of 256 by which a channel may differ in any of 8 x 8 fields: the hash itself is blind to colour."""


class Picture(NamedTuple):
    """What is in one image file."""

    sha256: str = ""
    format: str = ""
    """As Pillow decodes it, whatever the extension says."""
    expected_format: str = ""
    """What the extension says; empty if it says nothing."""
    size: tuple[int, int] = (0, 0)
    look: bytes = b""
    """Perceptual hash (32 bytes), then colours (192 bytes); empty for a picture with nothing in it."""
    fault: str = ""
    """Why it cannot be shown to a model."""


def inspect(paths: Iterable[str]) -> dict[str, Picture]:
    """Read and decode each file once. Pillow works outside of Python's lock, so threads pay."""
    _imagehash()
    unique = sorted(set(paths))
    with ThreadPoolExecutor() as pool:
        return dict(zip(unique, pool.map(_inspect, unique), strict=True))


def _inspect(path: str) -> Picture:
    try:
        data = read_image(path)
        upright = decode(data, path)
    except ImageError as error:
        return Picture(fault=str(error).removeprefix(f"{path}: "))
    with PIL.Image.open(io.BytesIO(data)) as image:
        expected = PIL.Image.registered_extensions().get(PurePath(path).suffix.lower(), "")
        return Picture(digest(data), image.format or "", expected, upright.size, look(upright))


def look(image: Image) -> bytes:
    """224 bytes for an RGB image: 256 bits of its shapes, 8 x 8 colours; nothing if it has no shapes."""
    bits = _imagehash().phash(image, hash_size=HASH_SIZE).hash
    # The median splits the bits in halves; a plain surface has no coefficients to split.
    if bits.sum() < bits.size // 4:
        return b""
    return np.packbits(bits).tobytes() + image.resize((8, 8), Resampling.BOX).tobytes()


def near_looks(looks: Sequence[bytes]) -> Iterator[tuple[int, int]]:
    """Pairs of indices, the smaller first, of pictures that show nearly the same. Memory is linear."""
    numbers = [number for number, one in enumerate(looks) if one]
    if not numbers:
        return
    table = np.frombuffer(b"".join(looks[number] for number in numbers), np.uint8).reshape(len(numbers), -1)
    hashes, colours = table[:, :32].copy().view(np.uint64), table[:, 32:].astype(np.int16)
    for first, second in _near_hashes(hashes, hashes):
        if first < second and np.abs(colours[first] - colours[second]).max() <= NEAR_COLOUR:
            yield numbers[first], numbers[second]


def near_hashes(ours: Sequence[bytes], others: Sequence[bytes]) -> Iterator[tuple[int, int]]:
    """Pairs (index into *ours*, index into *others*) of perceptual hashes of 32 bytes that nearly agree."""
    if ours and others:
        left, right = (np.frombuffer(b"".join(some), np.uint64).reshape(-1, 4) for some in (ours, others))
        yield from _near_hashes(left, right)


def _near_hashes(left: NDArray[np.uint64], right: NDArray[np.uint64]) -> Iterator[tuple[int, int]]:
    """Of two arrays with four 64-bit words a row."""
    for start in range(0, len(left), 256):
        rows = left[start : start + 256]
        differing = np.zeros((len(rows), len(right)), np.uint16)
        for word in range(4):
            differing += np.bitwise_count(rows[:, word, None] ^ right[None, :, word])
        for first, second in np.argwhere(differing <= NEAR_BITS).tolist():
            yield start + first, second


def _imagehash() -> ModuleType:
    try:
        import imagehash
    except ImportError as error:
        raise SetupError("doctor: imagehash is missing; pip install 'pytest-mmsafety[doctor]'") from error
    return imagehash
