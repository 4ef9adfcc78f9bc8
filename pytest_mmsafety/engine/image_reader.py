"""The images of the cases: hashed when their answers are looked up, decoded and edited when their batch is asked."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from pytest_mmsafety.cases import Case
from pytest_mmsafety.errors import ImageError
from pytest_mmsafety.images import decode, digest, read_image
from pytest_mmsafety.perturbations import edit_digest, edited

if TYPE_CHECKING:
    from PIL.Image import Image

KEPT_BYTES = 256 * 2**20
"""Of files that are kept after they were read, the latest ones; others are read again."""
KEPT_PIXELS = 64_000_000
"""Of decoded images that are kept for other edits of them: an attack asks for hundreds of each."""


class ImageReader:
    """Reads each file once where memory allows, and never decodes other bytes than were hashed."""

    def __init__(self) -> None:
        self._digests: dict[str, str] = {}
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._size = 0
        self._decoded: OrderedDict[str, Image] = OrderedDict()
        self._pixels = 0

    def digests(self, case: Case) -> tuple[str, ...]:
        """What stands for each image: SHA-256 of its file, or of file and edits. Raises :class:`ImageError`."""
        return tuple(edit_digest(self._digest(path), case.edits) for path in case.images)

    def _digest(self, path: str) -> str:
        if path not in self._digests:
            data = read_image(path)
            self._digests[path] = digest(data)
            self._keep(path, data)
        return self._digests[path]

    def decoded(self, case: Case) -> tuple[Image, ...]:
        """The images of a case whose files were hashed before, after its edits.

        Raises :class:`ImageError`, also if a file was exchanged since.
        """
        if not case.edits:
            return tuple(decode(self._bytes(path), path) for path in case.images)
        return edited([self._original(path) for path in case.images], case.edits)

    def _original(self, path: str) -> Image:
        """The decoded image, which nobody may change."""
        if path in self._decoded:
            self._decoded.move_to_end(path)
            return self._decoded[path]
        image = self._decoded[path] = decode(self._bytes(path), path)
        self._pixels += image.width * image.height
        while self._pixels > KEPT_PIXELS and len(self._decoded) > 1:
            _, oldest = self._decoded.popitem(last=False)
            self._pixels -= oldest.width * oldest.height
        return image

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
