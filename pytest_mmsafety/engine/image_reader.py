"""The images of the cases: hashed when their answers are looked up, decoded when their batch is asked."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pytest_mmsafety.errors import ImageError
from pytest_mmsafety.images import decode, digest, read_image

if TYPE_CHECKING:
    from PIL.Image import Image

KEPT_BYTES = 256 * 2**20
"""Of files that are kept after they were read, the latest ones; others are read again."""


class ImageReader:
    """Reads each file once where memory allows, and never decodes other bytes than were hashed."""

    def __init__(self) -> None:
        self._digests: dict[str, str] = {}
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._size = 0

    def digests(self, paths: Sequence[str]) -> tuple[str, ...]:
        """SHA-256 of each file. Raises :class:`ImageError`."""
        return tuple(self._digest(path) for path in paths)

    def _digest(self, path: str) -> str:
        if path not in self._digests:
            data = read_image(path)
            self._digests[path] = digest(data)
            self._keep(path, data)
        return self._digests[path]

    def decoded(self, paths: Sequence[str]) -> tuple[Image, ...]:
        """The images of files that were hashed before. Raises :class:`ImageError`, also if one was exchanged since."""
        return tuple(decode(self._bytes(path), path) for path in paths)

    def _bytes(self, path: str) -> bytes:
        if (data := self._kept.get(path)) is not None:
            self._kept.move_to_end(path)
            return data
        data = read_image(path)
        if digest(data) != self._digests[path]:
            raise ImageError(path, "the image was exchanged while the run was going on")
        self._keep(path, data)
        return data

    def _keep(self, path: str, data: bytes) -> None:
        self._kept[path] = data
        self._size += len(data)
        while self._size > KEPT_BYTES:
            _, oldest = self._kept.popitem(last=False)
            self._size -= len(oldest)
