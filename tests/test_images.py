"""Images: what the target sees of a file, and one line for every file that is none."""

from __future__ import annotations

import contextlib
import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pytest_mmsafety.errors import ImageError
from pytest_mmsafety.images import MAX_BYTES, MAX_PIXELS, decode, digest, read_image

Picture = Image.Image


def encoded(image: Picture, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def pixels(data: bytes) -> list[Any]:
    image = decode(data, "x.png")
    assert image.mode == "RGB"
    return [image.getpixel((x, y)) for y in range(image.height) for x in range(image.width)]


def row_of(mode: str, *values: Any) -> Picture:
    image = Image.new(mode, (len(values), 1))
    for x, value in enumerate(values):
        image.putpixel((x, 0), value)
    return image


def png_header(width: int, height: int) -> bytes:
    """The start of a PNG file that claims a size; it has next to no data."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(b"\0"))
        + chunk(b"IEND", b"")
    )


# --- files


def test_a_file_is_read_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "图 1.png").write_bytes(b"abc")
    assert read_image(str(tmp_path / "图 1.png")) == b"abc"
    assert digest(b"abc").startswith("ba7816bf")


def test_missing_empty_and_folder_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    for name, message in [
        ("missing", "image cannot be read: No such file or directory"),
        ("empty", "image is empty (0 bytes)"),
        (".", "image cannot be read: Is a directory"),
        ("missing/x", "image cannot be read: No such file or directory"),
        ("empty/x", "image cannot be read: Not a directory"),
        ("x" * 300, "image cannot be read: File name too long"),
    ]:
        path = str(tmp_path / name)
        with pytest.raises(ImageError) as error:
            read_image(path)
        assert str(error.value) == f"{path}: {message}"


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    huge = tmp_path / "huge.png"
    with huge.open("wb") as file:
        file.truncate(MAX_BYTES + 2**20)
    with pytest.raises(ImageError, match=r"huge\.png: image of 65 MiB, at most 64 MiB are read"):
        read_image(str(huge))


# --- what cannot be decoded


@pytest.mark.parametrize(("width", "height"), [(8001, 8000), (2**31 - 1, 2**31 - 1), (64_000_001, 1)])
def test_a_bomb_is_refused_by_its_header(width: int, height: int) -> None:
    with pytest.raises(ImageError) as error:
        decode(png_header(width, height), "bomb.png")
    assert str(error.value).startswith("bomb.png: ")
    assert "\n" not in str(error.value)


def test_the_largest_size_is_taken() -> None:
    assert MAX_PIXELS == 8000 * 8000
    with pytest.raises(ImageError, match="damaged"):  # the header is fine, the data is missing
        decode(png_header(8000, 8000), "x.png")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF"])
@pytest.mark.parametrize("keep", [0.9, 0.5, 0.1])
def test_a_truncated_file_is_damaged(kind: str, keep: float) -> None:
    whole = encoded(Image.effect_noise((80, 80), 60).convert("RGB"), kind)
    with pytest.raises(ImageError) as error:
        decode(whole[: int(len(whole) * keep)], "cut.img")
    assert str(error.value).startswith("cut.img: ")


@pytest.mark.parametrize(
    "data", [b"x", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"GIF89a", b"\0" * 4000, b"%PDF-1.7"]
)
def test_what_is_no_image_is_said_to_be_none(data: bytes) -> None:
    with pytest.raises(ImageError, match=r"^x\.png: "):
        decode(data, "x.png")


def _dds() -> bytes:
    data = bytearray(encoded(Image.new("RGB", (8, 8)), "DDS"))
    data[80:84] = b"\0\0\0\x40"
    return bytes(data)


def _avif() -> bytes:
    data = encoded(Image.effect_noise((40, 30), 50).convert("RGB"), "AVIF")
    start = data.index(b"iloc")
    return data[:start] + b"freeX" + data[start + 5 :]


def _jpeg() -> bytes:
    """A photograph that lies on its side and whose tag for the width is a text."""
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "a description " * 3
    data = encoded(Image.new("RGB", (8, 6)), "JPEG", exif=exif)
    return data.replace(struct.pack(">HH", 0x010E, 2), struct.pack(">HH", 0x0100, 2))


@pytest.mark.parametrize("make", [_dds, _avif, _jpeg])
def test_whatever_is_damaged_is_seen_or_said(make: Callable[[], bytes]) -> None:
    with contextlib.suppress(ImageError):
        decode(make(), "x")


def test_a_damaged_tag_beside_a_whole_image_is_no_warning() -> None:
    exif = Image.Exif()
    exif[0x010E] = "a description " * 9
    exif[0x0112] = 6
    data = encoded(Image.new("RGB", (8, 6), "red"), "TIFF", exif=exif)
    entry = data.index(struct.pack("<HH", 0x010E, 2))
    with contextlib.suppress(ImageError):
        decode(data[: entry + 8] + struct.pack("<I", 10**8) + data[entry + 12 :], "x.tif")


# --- what the target sees


def test_exif_orientation_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise to see it upright
    image = Image.new("RGB", (40, 20), "white")
    image.paste("blue", (0, 0, 20, 20))
    upright = decode(encoded(image, "JPEG", exif=exif, quality=95), "x.jpg")
    assert upright.size == (20, 40)
    top, bottom = upright.getpixel((10, 5)), upright.getpixel((10, 35))
    assert isinstance(top, tuple)
    assert isinstance(bottom, tuple)
    assert top[0] < 60
    assert bottom[0] > 200


@pytest.mark.parametrize(
    ("image", "options", "expected"),
    [
        (row_of("RGBA", (255, 0, 0, 0), (255, 0, 0, 255)), {}, [(255, 255, 255), (255, 0, 0)]),
        (row_of("LA", (0, 0), (0, 255)), {}, [(255, 255, 255), (0, 0, 0)]),
        (row_of("RGB", (9, 9, 9), (8, 8, 8)), {"transparency": (9, 9, 9)}, [(255, 255, 255), (8, 8, 8)]),
        (row_of("L", 9, 8), {"transparency": 9}, [(255, 255, 255), (8, 8, 8)]),
        (row_of("1", 0, 255), {}, [(0, 0, 0), (255, 255, 255)]),
        (row_of("L", 0, 128, 255), {}, [(0, 0, 0), (128, 128, 128), (255, 255, 255)]),
    ],
    ids=["rgba", "la", "rgb-key", "l-key", "one-bit", "grey"],
)
def test_transparent_parts_are_white_and_greys_are_kept(
    image: Picture, options: dict[str, Any], expected: list[Any]
) -> None:
    assert pixels(encoded(image, **options)) == expected


@pytest.mark.parametrize(
    "options", [{}, {"transparency": 0}, {"transparency": b"\x00\xff"}], ids=["opaque", "index", "table"]
)
def test_palettes_are_looked_up(options: dict[str, Any]) -> None:
    image = row_of("P", 0, 1)
    image.putpalette([255, 0, 0, 0, 255, 0])
    first = (255, 255, 255) if options else (255, 0, 0)
    assert pixels(encoded(image, **options)) == [first, (0, 255, 0)]


def test_a_half_transparent_colour_is_mixed_with_white() -> None:
    ((red, green, _),) = pixels(encoded(row_of("RGBA", (255, 0, 0, 128))))
    assert (red, 120 < green < 135) == (255, True)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_not_clipped(kind: str) -> None:
    values = [value[0] for value in pixels(encoded(row_of("I;16", 0, 16384, 32768, 65535), kind))]
    assert values == pytest.approx([0, 64, 128, 255], abs=1)


def grey_tiff(bits: int, sample_format: int, photometric: int, strip: bytes, width: int) -> bytes:
    """One row of grey pixels, written by hand: Pillow writes fewer kinds than it reads."""
    tags = {256: width, 257: 1, 258: bits, 259: 1, 262: photometric, 273: 0, 277: 1, 278: 1, 279: len(strip)}
    tags[339] = sample_format
    tags[273] = 8 + 2 + 12 * len(tags) + 4
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + strip


UNSIGNED, SIGNED, FLOATING = 1, 2, 3


@pytest.mark.parametrize(
    ("data", "greys"),
    [
        (grey_tiff(16, UNSIGNED, 1, struct.pack("<3H", 0, 0x8000, 0xFFFF), 3), [0, 128, 255]),
        (grey_tiff(16, UNSIGNED, 0, struct.pack("<3H", 0, 0x8000, 0xFFFF), 3), [255, 127, 0]),
        (grey_tiff(12, UNSIGNED, 1, bytes.fromhex("000 800 fff 000".replace(" ", "")), 4), [0, 128, 255, 0]),
        (b"P5 3 1 65535\n" + struct.pack(">3H", 0, 0x8000, 0xFFFF), [0, 128, 255]),
        (b"P5 3 1 1023\n" + struct.pack(">3H", 0, 512, 1023), [0, 128, 255]),
    ],
    ids=["16", "16-white-is-zero", "12", "pgm-16", "pgm-10"],
)
def test_greys_of_more_than_eight_bits_are_scaled(data: bytes, greys: list[int]) -> None:
    assert [value[0] for value in pixels(data)] == greys


@pytest.mark.parametrize(
    ("bits", "kind", "pack", "said"),
    [
        (32, SIGNED, "<3i", "32-bit or signed"),
        (32, UNSIGNED, "<3I", "32-bit or signed"),
        (16, SIGNED, "<3h", "32-bit or signed"),
        (32, FLOATING, "<3f", "floating-point"),
    ],
)
def test_greys_without_a_range_are_refused(bits: int, kind: int, pack: str, said: str) -> None:
    data = grey_tiff(bits, kind, 1, struct.pack(pack, 0, 1, 100), 3)
    with pytest.raises(ImageError, match=f"image of {said} pixels, .*expected 8 or 16 bits"):
        decode(data, "x.tiff")


def test_a_transparent_grey_of_sixteen_bits_is_white() -> None:
    data = encoded(row_of("I;16", 0, 16384, 65535), transparency=16384)
    assert [value[0] for value in pixels(data)] == [0, 255, 255]


def test_cmyk_becomes_rgb() -> None:
    data = encoded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=95)
    red, green, blue = pixels(data)[0]
    assert red > 200
    assert green < 60
    assert blue < 60


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_an_animation_the_first_frame_is_seen(kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert set(pixels(data)) == {(255, 0, 0)}


@pytest.mark.parametrize("suffix", ["png", "jpg", "txt"])
def test_the_content_decides_not_the_name(suffix: str) -> None:
    assert decode(encoded(Image.new("RGB", (3, 2)), "GIF"), f"x.{suffix}").size == (3, 2)
