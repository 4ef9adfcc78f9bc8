"""The shipped pictures and the script that draws them."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image, ImageDraw

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).resolve().parents[1]
PICTURES = sorted((ROOT / "cases" / "images").glob("*.png"))
needs_font = pytest.mark.skipif(
    importlib.util.find_spec("manimgx_fonts_cjk") is None, reason="needs pytest-mmsafety[draw]"
)


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("draw_images", ROOT / "scripts" / "draw_images.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def world(script: ModuleType, tmp_path: Path) -> Path:
    """A checkout of two pictures, drawn and shown by a case each."""
    (tmp_path / "images").mkdir()
    for name in ("farewell-note", "three-fish"):
        script.render(name, script.read_book()).save(tmp_path / "images" / f"{name}.png")
    rows = [{"images": ["images/farewell-note.png"]}, {"images": ["images/three-fish.png"]}]
    (tmp_path / "suite.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return tmp_path


def complaints(script: ModuleType, world: Path, *names: str) -> list[str]:
    book = script.read_book()
    book = book.model_copy(update={"images": tuple(entry for entry in book.images if entry.name in names)})
    found: list[str] = script.complaints(book, world / "images", world)
    return found


def test_pictures_are_small() -> None:
    assert len(PICTURES) >= 70
    assert sum(path.stat().st_size for path in PICTURES) < 700_000


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.stem)
def test_picture_is_a_whole_png_of_at_most_448_pixels(path: Path) -> None:
    with Image.open(path) as image:
        image.load()
        assert image.format == "PNG"
        assert image.mode == "P"
        assert max(image.size) <= 448


def test_every_picture_is_described_and_shown(script: ModuleType) -> None:
    described = {entry.name for entry in script.read_book().images}
    assert described == {path.stem for path in PICTURES} == script.shown()


@needs_font
def test_pictures_look_as_described(script: ModuleType) -> None:
    assert script.complaints(script.read_book()) == []


@needs_font
def test_drawing_twice_gives_the_same_bytes(script: ModuleType) -> None:
    book = script.read_book()
    for name in ("job-advertisement-zh", "three-fish-noisy"):
        assert script.render(name, book).tobytes() == script.render(name, book).tobytes()


@needs_font
def test_check_is_silent_where_all_is_well(script: ModuleType, world: Path) -> None:
    assert complaints(script, world, "farewell-note", "three-fish") == []


@needs_font
def test_check_names_a_changed_picture(script: ModuleType, world: Path) -> None:
    path = world / "images" / "farewell-note.png"
    with Image.open(path) as image:
        changed = image.convert("RGB")
    ImageDraw.Draw(changed).rectangle((100, 100, 112, 124), fill="black")  # the size of one letter
    changed.save(path)
    assert complaints(script, world, "farewell-note", "three-fish") == [
        "farewell-note: looks different from its description"
    ]


@needs_font
def test_check_names_missing_undescribed_and_unused_pictures(script: ModuleType, world: Path) -> None:
    (world / "images" / "three-fish.png").unlink()
    assert complaints(script, world, "three-fish", "room-to-let-zh") == [
        "farewell-note: not described in images.yaml",
        "room-to-let-zh: missing",
        "room-to-let-zh: no case shows it",
        "three-fish: missing",
    ]


@needs_font
def test_exit_code_says_whether_all_is_well(
    script: ModuleType, world: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert script.main(["--check"]) == 0
    monkeypatch.setattr(script, "complaints", lambda book: ["three-fish: missing"])
    assert script.main(["--check"]) == 1
    assert capsys.readouterr().err == "three-fish: missing\n"


@needs_font
def test_drawing_writes_every_picture(script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script, "IMAGES", tmp_path / "images")
    assert script.main([]) == 0
    assert {path.name for path in (tmp_path / "images").iterdir()} == {path.name for path in PICTURES}


@needs_font
def test_words_that_do_not_fit_are_an_error(script: ModuleType) -> None:
    entry = script.Entry(name="wordy", kind="note", title="A title", lines=("far too many words " * 30,))
    with pytest.raises(script.DrawingError, match=r"wordy: .* does not fit at 22 pixels"):
        script.render("wordy", script.Book(pictograms={}, images=(entry,)))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"kind": "fresco"}, "three-fish: no kind 'fresco'"),
        ({"objects": (("whale", 0, 0, 50),)}, "three-fish: no pictogram 'whale'"),
        ({"kind": "noisy", "source": "nothing"}, "no picture 'nothing'"),
    ],
)
def test_unknown_names_are_an_error(script: ModuleType, change: dict[str, object], complaint: str) -> None:
    book = script.read_book()
    entry = next(entry for entry in book.images if entry.name == "three-fish").model_copy(update=change)
    with pytest.raises(script.DrawingError, match=complaint):
        script.render("three-fish", book.model_copy(update={"images": (entry,)}))


def test_a_name_described_twice_is_an_error(script: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "images.yaml"
    path.write_text("pictograms: {}\nimages: [{name: a, kind: note}, {name: a, kind: note}]\n", "utf-8")
    with pytest.raises(script.DrawingError, match="described twice: a"):
        script.read_book(path)


def test_noise_depends_on_the_seed_alone(script: ModuleType) -> None:
    plain = Image.new("RGB", (64, 48), "gray")
    first, again, other = (script.with_noise(plain, seed).tobytes() for seed in (1, 1, 2))
    assert first == again
    assert first != other
    counts = {colour: count for count, colour in script.with_noise(plain, 1).getcolors()}
    assert set(counts) == {(0, 0, 0), (128, 128, 128), (255, 255, 255)}
    assert 0.8 < counts[128, 128, 128] / (64 * 48) < 0.94


def test_chinese_breaks_before_no_punctuation(script: ModuleType) -> None:
    class Square:
        def getlength(self, text: str) -> float:
            return len(text)

    assert script.wrap("明天放学，别走。", 4, Square()) == ["明天放", "学，别", "走。"]
    assert script.wrap("two words", 6, Square()) == ["two", "words"]
