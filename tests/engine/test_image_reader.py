"""Images are read once where memory allows, and an answer never stands under the digest of another image."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from pytest_mmsafety.cases import Case, Change
from pytest_mmsafety.engine import image_reader
from pytest_mmsafety.engine.engine import Engine
from pytest_mmsafety.engine.image_reader import ImageReader
from pytest_mmsafety.errors import ImageError
from pytest_mmsafety.images import read_image
from pytest_mmsafety.judges.panel import Panel
from pytest_mmsafety.perturbations import perturb
from pytest_mmsafety.store import Store
from pytest_mmsafety.targets import Request
from pytest_mmsafety.testing import ScriptedTarget, make_case

EXCHANGED = "the image was exchanged while the run was going on"


def picture(path: Path, colour: str = "red") -> str:
    Image.new("RGB", (4, 4), colour).save(path)
    return str(path)


def sha256(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def of(*paths: str, changes: Sequence[Change] = ()) -> Case:
    return perturb(make_case(images=paths), changes)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every file that is read from now on."""
    read: list[str] = []

    def counted(path: str) -> bytes:
        read.append(path)
        return read_image(path)

    monkeypatch.setattr(image_reader, "read_image", counted)
    return read


def test_a_file_is_hashed_and_decoded_with_one_read(tmp_path: Path, reads: list[str]) -> None:
    red, blue = picture(tmp_path / "red.png"), picture(tmp_path / "blue.png", "blue")
    reader = ImageReader()
    assert reader.digests(of(red, blue)) == (sha256(red), sha256(blue))
    assert reader.digests(of(blue, red)) == (sha256(blue), sha256(red))
    images = reader.decoded(of(red, blue))
    assert [image.getpixel((0, 0)) for image in images] == [(255, 0, 0), (0, 0, 255)]
    assert reads == [red, blue]


def test_what_does_not_fit_is_read_again_and_the_latest_is_kept(
    tmp_path: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [picture(tmp_path / f"{colour}.png", colour) for colour in ("red", "blue", "lime")]
    monkeypatch.setattr(image_reader, "KEPT_BYTES", max(Path(path).stat().st_size for path in paths))
    reader = ImageReader()
    reader.digests(of(*paths[:2]))
    reader.decoded(of(*paths[:2]))
    assert reads == [paths[0], paths[1], paths[0], paths[1]], "there is room for one of them"
    reader.digests(of(*paths[2:]))
    reader.decoded(of(*paths[2:]))
    assert reads[4:] == [paths[2]], "the latest one is kept"


def test_an_image_that_cases_share_is_read_once(tmp_path: Path, reads: list[str]) -> None:
    path = picture(tmp_path / "a.png", "red")
    reader = ImageReader()
    for _ in range(3):
        reader.digests(of(path))
        reader.decoded(of(path))
    assert reads == [path]


def test_a_kept_image_is_decoded_as_it_was_hashed_whatever_lies_there_now(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.png")
    reader = ImageReader()
    reader.digests(of(path))
    picture(tmp_path / "a.png", "blue")
    (image,) = reader.decoded(of(path))
    assert image.getpixel((0, 0)) == (255, 0, 0)


def test_edits_have_a_digest_of_their_own_and_leave_the_original_as_it_is(tmp_path: Path, reads: list[str]) -> None:
    path = picture(tmp_path / "a.png")
    reader = ImageReader()
    darker = of(path, changes=[Change("image-brightness", 1.0)])
    assert len({*reader.digests(of(path)), *reader.digests(darker), sha256(path)}) == 2
    (image,) = reader.decoded(darker)
    assert image.getpixel((0, 0)) != (255, 0, 0)
    assert reader.decoded(of(path))[0].getpixel((0, 0)) == (255, 0, 0)
    assert reads == [path]


def test_decoded_originals_are_kept_up_to_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_reader, "KEPT_PIXELS", 20)
    reader = ImageReader()
    for colour in ("red", "blue", "lime", "red"):
        case = of(picture(tmp_path / f"{colour}.png", colour), changes=[Change("image-flip", 1.0)])
        reader.digests(case)
        assert reader.decoded(case)[0].size == (4, 4)


def test_an_image_that_was_exchanged_after_hashing_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_reader, "KEPT_BYTES", 0)
    path = picture(tmp_path / "a.png")
    reader = ImageReader()
    reader.digests(of(path))
    picture(tmp_path / "a.png", "blue")
    with pytest.raises(ImageError) as error:
        reader.decoded(of(path))
    assert (error.value.path, error.value.problem) == (path, EXCHANGED)


def test_an_image_that_is_gone_after_hashing_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_reader, "KEPT_BYTES", 0)
    path = picture(tmp_path / "a.png")
    reader = ImageReader()
    reader.digests(of(path))
    Path(path).unlink()
    with pytest.raises(ImageError) as error:
        reader.decoded(of(path))
    assert (error.value.path, error.value.problem) == (path, "image cannot be read: No such file or directory")


def test_a_case_whose_image_was_exchanged_gets_an_error_and_no_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first batch's answer comes when the images of the second are hashed and not yet decoded."""
    monkeypatch.setattr(image_reader, "KEPT_BYTES", 0)
    paths = [picture(tmp_path / f"{i}.png", colour) for i, colour in enumerate(("red", "blue"))]
    before = [sha256(path) for path in paths]

    def exchange(requests: Sequence[Request]) -> list[str]:
        picture(Path(paths[1]), "lime")
        return ["yes" for _ in requests]

    target = ScriptedTarget(exchange)
    cases = [make_case(i, images=(path,)) for i, path in enumerate(paths)]
    engine = Engine(lambda: target, Panel(), Store(tmp_path / "store.sqlite3"), batch_size=1)
    engine.submit(cases)
    whole, exchanged = engine.collect(cases, lambda: None)
    engine.close()
    assert (whole.response, whole.error, whole.image_digests) == ("yes", "", (before[0],))
    assert (exchanged.response, exchanged.verdicts) == (None, ())
    assert (exchanged.error, exchanged.error_file) == (EXCHANGED, paths[1])
    assert exchanged.image_digests == (before[1],)
    assert target.sizes == [1], "the other image was never asked about"
