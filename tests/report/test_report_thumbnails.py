"""Small copies of images: made once, of the right size, and no more than a page may hold."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import pytest
from PIL import Image
from report_builders import picture

from pytest_mmsafety.images import digest
from pytest_mmsafety.report import thumbnails
from pytest_mmsafety.report.thumbnails import MAX_SIDE, Gallery, Thumbnail
from pytest_mmsafety.run import ImageRef

FULL = "Left out: the images of the cases above fill this page."


@pytest.mark.parametrize(
    ("size", "small"),
    [
        ((MAX_SIDE, MAX_SIDE), (MAX_SIDE, MAX_SIDE)),
        ((8, 6), (8, 6)),
        ((640, 320), (MAX_SIDE, 160)),
        ((100, 640), (50, MAX_SIDE)),
    ],
)
def test_an_image_is_shrunk_in_its_proportions_and_never_enlarged(
    tmp_path: Path, size: tuple[int, int], small: tuple[int, int]
) -> None:
    image, paths = picture(tmp_path / "a.png", size)
    gallery = Gallery(paths)
    assert gallery.thumbnail(image) == Thumbnail("a.png", 0)
    (source,) = gallery.sources
    assert (source.width, source.height) == small
    copy = Image.open(io.BytesIO(base64.b64decode(source.base64)))
    assert (copy.format, copy.size) == ("WEBP", small)


def test_the_same_content_under_another_name_keeps_its_name(tmp_path: Path) -> None:
    image, paths = picture(tmp_path / "a.png")
    other, more = picture(tmp_path / "b.png", color="blue")
    gallery = Gallery(paths | more)
    assert [gallery.thumbnail(each) for each in (image, other, ImageRef("twin.png", image.sha256))] == [
        Thumbnail("a.png", 0), Thumbnail("b.png", 1), Thumbnail("twin.png", 0),
    ]  # fmt: skip
    assert len(gallery.sources) == 2


def test_a_problem_is_found_once_and_said_of_each_name(tmp_path: Path) -> None:
    image, paths = picture(tmp_path / "a.png")
    gallery = Gallery(paths)
    (tmp_path / "a.png").unlink()
    first = gallery.thumbnail(image)
    assert first == Thumbnail("a.png", -1, "a.png: image cannot be read: No such file or directory")
    picture(tmp_path / "a.png")
    assert gallery.thumbnail(ImageRef("twin.png", image.sha256)) == Thumbnail("twin.png", -1, first.problem)
    assert not gallery.sources


def test_images_that_cannot_be_shown_say_why_and_take_no_place(tmp_path: Path) -> None:
    image, paths = picture(tmp_path / "a.png")
    gallery = Gallery(paths)
    assert gallery.thumbnail(ImageRef("unread.png", "")).problem == "The image was not read when the run was made."
    elsewhere = gallery.thumbnail(ImageRef("elsewhere.png", "ab"))
    assert elsewhere.problem == "The image is not on the machine that made this page."
    assert gallery.thumbnail(image) == Thumbnail("a.png", 0)


def test_the_image_that_fills_the_page_is_the_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, paths = [], {}
    for color in ("red", "green", "blue"):
        image, path = picture(tmp_path / f"{color}.png", color=color)
        found.append(image)
        paths.update(path)
    first = Gallery(paths)
    first.thumbnail(found[0])
    size = len(base64.b64decode(first.sources[0].base64))

    def problems(limit: int) -> list[str]:
        monkeypatch.setattr(thumbnails, "MAX_BYTES", limit)
        gallery = Gallery(paths)
        return [gallery.thumbnail(each).problem for each in (*found, found[0])]

    assert problems(size) == ["", FULL, FULL, ""], "an image that is there already costs nothing"
    assert problems(size + 1) == ["", "", FULL, ""]


def test_transparent_parts_are_white(tmp_path: Path) -> None:
    Image.new("RGBA", (8, 8), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    data = (tmp_path / "clear.png").read_bytes()
    sha256 = digest(data)
    gallery = Gallery({sha256: str(tmp_path / "clear.png")})
    gallery.thumbnail(ImageRef("clear.png", sha256))
    copy = Image.open(io.BytesIO(base64.b64decode(gallery.sources[0].base64))).convert("RGB")
    assert copy.getpixel((4, 4)) == (255, 255, 255)
