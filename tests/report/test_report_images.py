from __future__ import annotations

import base64
import io
import random
import re
from typing import TYPE_CHECKING

import pytest
from PIL import Image
from report_builders import page, picture, reference

from pytest_mmsafety.report import thumbnails
from pytest_mmsafety.report.thumbnails import MAX_SIDE
from pytest_mmsafety.run import ImageRef
from pytest_mmsafety.testing import make_record, make_run

if TYPE_CHECKING:
    from pathlib import Path


def embedded(html: str) -> list[Image.Image]:
    data = re.findall(r"data:image/webp;base64,([A-Za-z0-9+/=]+)", html)
    return [Image.open(io.BytesIO(base64.b64decode(text))) for text in data]


def test_a_large_image_becomes_a_small_one(tmp_path: Path) -> None:
    image, paths = picture(tmp_path / "wide.png", (2000, 500))
    shown = page(make_run([make_record(images=(image,))]), tmp_path, paths)
    assert [small.size for small in embedded(shown.html)] == [(MAX_SIDE, 80)]


def test_an_image_is_embedded_once_however_many_cases_show_it(tmp_path: Path) -> None:
    image, paths = picture(tmp_path / "a.png")
    shown = page(make_run([make_record(str(i), images=(image, image)) for i in range(20)]), tmp_path, paths)
    assert len(embedded(shown.html)) == 1
    assert len(shown.all("span", "p0")) == 40


def test_images_are_blurred_without_any_script(tmp_path: Path) -> None:
    image, paths = picture(tmp_path / "a.png")
    shown = page(make_run([make_record(images=(image,))]), tmp_path, paths)
    rule = re.search(r"\n\.pic \{([^}]*)\}", shown.html)
    assert rule
    assert "filter: blur(16px)" in rule[1]
    boxes = [*shown.all("input", "peek"), *(box for box in shown.all("input") if box.get("id") == "show-images")]
    assert len(boxes) == 2
    for box in boxes:
        assert "checked" not in box
        assert box["autocomplete"] == "off", "a browser would restore the tick when the page is loaded again"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "image is empty (0 bytes)"),
        (b"not an image", "not an image that Pillow can read"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 40, ""),
    ],
)
def test_a_file_that_is_no_image_shows_why_and_not_where_it_lies(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "bad.png"
    path.write_bytes(content)
    image, paths = reference(path)
    shown = page(make_run([make_record(images=(image,))]), tmp_path, paths)
    assert f"bad.png: {problem}" in shown.text
    assert len(shown.all("div", "missing")) == 1
    assert str(tmp_path) not in shown.html


def test_a_damaged_image_shows_why(tmp_path: Path) -> None:
    path = tmp_path / "half.png"
    Image.frombytes("RGB", (64, 64), random.Random(1).randbytes(64 * 64 * 3)).save(path)
    path.write_bytes(path.read_bytes()[:2000])
    image, paths = reference(path)
    shown = page(make_run([make_record(images=(image,))]), tmp_path, paths)
    assert "half.png: damaged image" in shown.text


def test_missing_images_leave_a_placeholder(tmp_path: Path) -> None:
    gone = tmp_path / "gone.png"
    image, paths = picture(gone)
    gone.unlink()
    images = (image, ImageRef("elsewhere.png", "ab" * 32), ImageRef("unread.png", ""))
    shown = page(make_run([make_record(images=images)]), tmp_path, paths)
    assert "gone.png: image cannot be read" in shown.text
    assert "The image is not on the machine that made this page." in shown.text
    assert "The image was not read when the run was made." in shown.text
    assert str(tmp_path) not in shown.html


def test_another_image_under_the_same_name_is_not_shown(tmp_path: Path) -> None:
    image, paths = picture(tmp_path / "a.png")
    picture(tmp_path / "a.png", color="blue")
    shown = page(make_run([make_record(images=(image,))]), tmp_path, paths)
    assert "the file has changed since the run was made" in shown.text
    assert not embedded(shown.html)


def test_the_page_stays_small(tmp_path: Path) -> None:
    """500 cases with 100 images, each as busy as an image can be, and answers at the limit."""
    images, paths = [], {}
    for i in range(100):
        path = tmp_path / f"{i}.png"
        small = Image.frombytes("RGB", (40, 40), random.Random(i).randbytes(40 * 40 * 3))
        small.resize((400, 400), Image.Resampling.BICUBIC).save(path, compress_level=0)
        image, where = reference(path)
        images.append(image)
        paths.update(where)
    records = [make_record(str(i), score=1.0, images=(images[i % 100],), response="word " * 400) for i in range(500)]
    shown = page(make_run(records), tmp_path, paths)
    assert len(embedded(shown.html)) == 100
    assert len(shown.html) < 5 * 2**20


def test_a_page_full_of_images_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thumbnails, "MAX_BYTES", 1)
    first, paths = picture(tmp_path / "a.png")
    second, more = picture(tmp_path / "b.png", color="blue")
    shown = page(make_run([make_record(images=(first, second, first))]), tmp_path, paths | more)
    assert len(embedded(shown.html)) == 1
    assert shown.text.count("Left out: the images of the cases above fill this page.") == 1


def test_many_images_of_one_case_are_counted(tmp_path: Path) -> None:
    image, paths = picture(tmp_path / "a.png")
    shown = page(make_run([make_record(images=(image,) * 15)]), tmp_path, paths)
    assert "3 more images" in shown.text
