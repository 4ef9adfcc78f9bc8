"""The shipped pictures and the script that draws them."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

import draw_images
from draw_images import read_book, render
from pictures.book import Book, DrawingError, Entry
from pictures.canvas import wrap
from pictures.kinds import with_noise

ROOT = Path(__file__).resolve().parents[1]
PICTURES = sorted((ROOT / "cases" / "images").glob("*.png"))
needs_font = pytest.mark.skipif(
    importlib.util.find_spec("manimgx_fonts_cjk") is None, reason="needs pytest-mmsafety[draw]"
)


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """A checkout of two pictures, drawn and shown by a case each."""
    (tmp_path / "images").mkdir()
    for name in ("farewell-note", "three-fish"):
        render(name, read_book()).save(tmp_path / "images" / f"{name}.png")
    rows = [{"images": ["images/farewell-note.png"]}, {"images": ["images/three-fish.png"]}]
    (tmp_path / "suite.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return tmp_path


def complaints(world: Path, *names: str) -> list[str]:
    book = read_book()
    book = book._replace(images={name: book.images[name] for name in names})
    found: list[str] = draw_images.complaints(book, world / "images", world)
    return found


def test_pictures_are_small() -> None:
    assert len(PICTURES) >= 70
    assert sum(path.stat().st_size for path in PICTURES) < 10_000 * len(PICTURES)


def test_pictures_are_whole_pngs_of_at_most_448_pixels() -> None:
    for path in PICTURES:
        with Image.open(path) as image:
            image.load()
            assert (image.format, image.mode) == ("PNG", "P"), path
            assert max(image.size) <= 448, path


def test_every_picture_is_described_and_shown() -> None:
    assert read_book().images.keys() == {path.stem for path in PICTURES} == draw_images.shown()


@needs_font
def test_pictures_look_as_described() -> None:
    assert draw_images.complaints(read_book()) == []


@needs_font
def test_drawing_twice_gives_the_same_bytes() -> None:
    book = read_book()
    for name in ("job-advertisement-zh", "three-fish-noisy"):
        assert render(name, book).tobytes() == render(name, book).tobytes()


@needs_font
def test_check_is_silent_where_all_is_well(world: Path) -> None:
    assert complaints(world, "farewell-note", "three-fish") == []


@needs_font
def test_check_names_a_changed_picture(world: Path) -> None:
    path = world / "images" / "farewell-note.png"
    with Image.open(path) as image:
        changed = image.convert("RGB")
    ImageDraw.Draw(changed).rectangle((100, 100, 112, 124), fill="black")  # the size of one letter
    changed.save(path)
    assert complaints(world, "farewell-note", "three-fish") == ["farewell-note: looks different from its description"]


@needs_font
def test_check_names_missing_undescribed_and_unused_pictures(world: Path) -> None:
    (world / "images" / "three-fish.png").unlink()
    assert complaints(world, "three-fish", "room-to-let-zh") == [
        "farewell-note: not described",
        "room-to-let-zh: missing",
        "room-to-let-zh: no case shows it",
        "three-fish: missing",
    ]


@needs_font
def test_exit_code_says_whether_all_is_well(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(draw_images, "complaints", lambda book: [])
    assert draw_images.main(["--check"]) == 0
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(draw_images, "complaints", lambda book: ["three-fish: missing"])
    assert draw_images.main(["--check"]) == 1
    assert capsys.readouterr().err == "three-fish: missing\n"


@needs_font
def test_drawing_writes_every_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    book = read_book()
    some = book._replace(images={name: book.images[name] for name in ("farewell-note", "three-fish")})
    monkeypatch.setattr(draw_images, "IMAGES", tmp_path / "images")
    monkeypatch.setattr(draw_images, "read_book", lambda: some)
    assert draw_images.main([]) == 0
    assert {path.stem for path in (tmp_path / "images").iterdir()} == some.images.keys()


@needs_font
def test_words_that_do_not_fit_are_an_error() -> None:
    entry = Entry(name="wordy", kind="note", title="A title", lines=("far too many words " * 30,))
    with pytest.raises(DrawingError, match=r"wordy: .* does not fit at 22 pixels"):
        render("wordy", Book({}, {"wordy": entry}))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"kind": "fresco"}, "three-fish: no kind 'fresco'"),
        ({"objects": (("whale", 0, 0, 50),)}, "three-fish: no pictogram 'whale'"),
        ({"kind": "noisy", "source": "nothing"}, "no picture 'nothing'"),
    ],
)
def test_unknown_names_are_an_error(change: dict[str, object], complaint: str) -> None:
    book = read_book()
    entry = book.images["three-fish"].model_copy(update=change)
    with pytest.raises(DrawingError, match=complaint):
        render("three-fish", book._replace(images={"three-fish": entry}))


def test_a_name_described_twice_is_an_error(tmp_path: Path) -> None:
    for file in ("one.yaml", "two.yaml"):
        (tmp_path / file).write_text("images: [{name: a, kind: note}]\n", "utf-8")
    with pytest.raises(DrawingError, match=r"two\.yaml: described twice: a"):
        read_book(tmp_path)


@pytest.mark.parametrize("text", ["images: [{name: a}]", "images: [", "pictures: []"])
def test_a_bad_description_is_an_error_that_names_the_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "one.yaml").write_text(text, "utf-8")
    with pytest.raises(DrawingError, match=r"^one\.yaml: "):
        read_book(tmp_path)


@needs_font
def test_only_draws_the_pictures_of_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draw_images, "IMAGES", tmp_path / "images")
    assert draw_images.main(["--only", "pictograms.yaml"]) == 0
    assert list((tmp_path / "images").iterdir()) == []
    assert draw_images.main(["--only", "first-suites.yaml"]) == 0
    assert (tmp_path / "images" / "three-fish.png").exists()


def test_noise_depends_on_the_seed_alone() -> None:
    plain = Image.new("RGB", (64, 48), "gray")
    first, again, other = (with_noise(plain, seed).tobytes() for seed in (1, 1, 2))
    assert first == again
    assert first != other
    counts = {colour: count for count, colour in with_noise(plain, 1).getcolors()}
    assert set(counts) == {(0, 0, 0), (128, 128, 128), (255, 255, 255)}
    assert 0.8 < counts[128, 128, 128] / (64 * 48) < 0.94


def test_chinese_breaks_before_no_punctuation() -> None:
    class Square:
        def getlength(self, text: str) -> float:
            return len(text)

    assert wrap("明天放学，别走。", 4, Square()) == ["明天放", "学，别", "走。"]
    assert wrap("two words", 6, Square()) == ["two", "words"]
