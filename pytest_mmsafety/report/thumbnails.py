"""Small copies of the images, made from files that are not trusted."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass, field

from pytest_mmsafety.errors import ImageError
from pytest_mmsafety.images import decode, digest, read_image
from pytest_mmsafety.run import ImageRef

MAX_SIDE = 320
"""Pixels."""
QUALITY = 70
MAX_BYTES = 3 * 2**20
"""Of all thumbnails of a page together, before base64 adds a third."""


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """An image as the page shows it, or the reason why it does not."""

    name: str
    index: int = -1
    """Into :attr:`Gallery.sources`."""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Source:
    """A thumbnail that is embedded once, however many cases show it."""

    width: int
    height: int
    base64: str


@dataclass(slots=True)
class Gallery:
    """Makes the thumbnails of one page, each content once, until the page is full."""

    paths: Mapping[str, str]
    """SHA-256 of an image's file -> where it lies on this machine."""
    sources: list[Source] = field(default_factory=list)
    _made: dict[str, Thumbnail] = field(default_factory=dict)
    _bytes: int = 0

    def thumbnail(self, image: ImageRef) -> Thumbnail:
        if not image.sha256:
            return Thumbnail(image.name, problem="The image was not read when the run was made.")
        if image.sha256 not in self._made:
            self._made[image.sha256] = self._make(image)
        made = self._made[image.sha256]
        return Thumbnail(image.name, made.index, made.problem)

    def _make(self, image: ImageRef) -> Thumbnail:
        path = self.paths.get(image.sha256)
        if path is None:
            return Thumbnail(image.name, problem="The image is not on the machine that made this page.")
        if self._bytes >= MAX_BYTES:
            return Thumbnail(image.name, problem="Left out: the images of the cases above fill this page.")
        try:
            source, size = _shrink(path, image)
        except ImageError as error:
            return Thumbnail(image.name, problem=str(error).replace(path, image.name))
        self._bytes += size
        self.sources.append(source)
        return Thumbnail(image.name, len(self.sources) - 1)


def _shrink(path: str, image: ImageRef) -> tuple[Source, int]:
    """Make the thumbnail of the file at *path*, and its size in bytes."""
    data = read_image(path)
    if digest(data) != image.sha256:
        raise ImageError(image.name, "the file has changed since the run was made")
    small = decode(data, image.name)
    small.thumbnail((MAX_SIDE, MAX_SIDE))
    buffer = io.BytesIO()
    small.save(buffer, "WEBP", quality=QUALITY, method=2)
    encoded = buffer.getvalue()
    return Source(*small.size, base64.b64encode(encoded).decode("ascii")), len(encoded)
