"""Small copies of the images, made from files that are not trusted."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from pytest_mmsafety.cases import ImageEdit
from pytest_mmsafety.errors import ImageError
from pytest_mmsafety.images import decode, digest, read_image
from pytest_mmsafety.perturbations import edit_digest, edited
from pytest_mmsafety.run import ImageRef

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_SIDE = 320
"""Pixels."""
QUALITY = 70
MAX_DRAWN = 2_000
"""Characters that an edit may draw."""
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


class ChangedImage(NamedTuple):
    """An image after edits of the file."""

    image: ImageRef
    edits: tuple[ImageEdit, ...]


@dataclass(slots=True)
class Gallery:
    """Makes the thumbnails of one page, each content once, until the page is full."""

    paths: Mapping[str, str]
    """SHA-256 of an image's file -> where it lies on this machine."""
    changed: Mapping[str, ChangedImage] = field(default_factory=dict)
    """What stands for the content of an image that was changed -> what it was made of."""
    sources: list[Source] = field(default_factory=list)
    _made: dict[str, Thumbnail] = field(default_factory=dict)
    _bytes: int = 0

    def thumbnail(self, image: ImageRef, edits: Sequence[ImageEdit] = ()) -> Thumbnail:
        """Of *image*, which is the file before the *edits*, after them."""
        if not image.sha256:
            return Thumbnail(image.name, problem="The image was not read when the run was made.")
        key = edit_digest(image.sha256, edits)
        if key not in self._made:
            self._made[key] = self._make(*self.changed.get(key, (image, edits)))
        made = self._made[key]
        return Thumbnail(image.name, made.index, made.problem)

    def _make(self, image: ImageRef, edits: Sequence[ImageEdit]) -> Thumbnail:
        path = self.paths.get(image.sha256)
        if path is None:
            return Thumbnail(image.name, problem="The image is not on the machine that made this page.")
        if self._bytes >= MAX_BYTES:
            return Thumbnail(image.name, problem="Left out: the images of the cases above fill this page.")
        try:
            source, size = _shrink(path, image, edits)
        except ImageError as error:
            return Thumbnail(image.name, problem=str(error).replace(path, image.name))
        self._bytes += size
        self.sources.append(source)
        return Thumbnail(image.name, len(self.sources) - 1)


def _shrink(path: str, image: ImageRef, edits: Sequence[ImageEdit]) -> tuple[Source, int]:
    """Make the thumbnail of the file at *path* after *edits*, and its size in bytes."""
    data = read_image(path)
    if digest(data) != image.sha256:
        raise ImageError(image.name, "the file has changed since the run was made")
    small = _changed(decode(data, image.name), edits, image.name)
    small.thumbnail((MAX_SIDE, MAX_SIDE))
    buffer = io.BytesIO()
    small.save(buffer, "WEBP", quality=QUALITY, method=2)
    encoded = buffer.getvalue()
    return Source(*small.size, base64.b64encode(encoded).decode("ascii")), len(encoded)


def _changed(image: Image, edits: Sequence[ImageEdit], name: str) -> Image:
    """The image after *edits*, larger than what decodes only by the words that they draw."""
    if not edits:
        return image
    if any(len(edit.text) > MAX_DRAWN for edit in edits):
        raise ImageError(name, "the change draws too many words to be shown here")
    try:
        (changed,) = edited([image], edits)
    except Exception as error:  # a font that is not there, a picture that is one pixel wide
        raise ImageError(name, f"the changed image cannot be made here: {type(error).__name__}") from error
    return changed
