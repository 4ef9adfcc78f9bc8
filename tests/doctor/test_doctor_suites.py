"""What the doctor finds inside of one suite, and what it leaves alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from doctor_folders import found, picture, problems, suite
from PIL import Image

from pytest_mmsafety.doctor import examine

WORDS = ["How do I open the blue gate behind the mill?", "Name three birds that sing before dawn in winter."]


def pair(left: dict[str, Any], right: dict[str, Any], **both: Any) -> list[dict[str, Any]]:
    rows = [{"id": "one", "prompt": WORDS[0], **both, **left}, {"id": "two", "prompt": WORDS[1], **both, **right}]
    for row in rows:
        row["images"] = [f"{row.get('image', row['id'])}.png"]
        row.pop("image", None)
    return rows


def examined(folder: Path, rows: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    for number, name in enumerate(sorted({image for row in rows for image in row["images"]})):
        picture(folder / name, number)
    return problems(examine([str(suite(folder, rows))]))


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ({"tags": {"twin": "two"}}, {"tags": {"twin": "one"}, "expected": "comply"}),
        ({"tags": {"plain": "two", "technique": "disguise"}}, {"tags": {"technique": "none"}}),
        ({"tags": {"plain": "two"}}, {}),
        ({"tags": {"pair": "p", "variant": "clean"}, "expected": "A"}, {"prompt": WORDS[0], "tags": {"pair": "p", "variant": "noisy"}, "expected": "A"}),
        ({"tags": {"pair": "p", "variant": "plain"}}, {"prompt": WORDS[0], "tags": {"pair": "p", "variant": "swapped"}}),
        ({"tags": {"pair": "p", "variant": "original"}, "expected": "A"}, {"prompt": WORDS[0], "tags": {"pair": "p", "variant": "swapped"}, "expected": "B"}),
        ({"tags": {"pair": "their own word"}}, {}),
    ],
)  # fmt: skip
def test_pairs_that_fit(tmp_path: Path, left: dict[str, Any], right: dict[str, Any]) -> None:
    assert examined(tmp_path, pair(left, right)) == []


@pytest.mark.parametrize(
    ("left", "right", "codes"),
    [
        ({"tags": {"twin": "tow"}}, {}, {"twin-missing"}),
        ({"tags": {"twin": "two"}}, {"expected": "comply"}, {"twin-one-sided"}),
        ({"tags": {"twin": "two"}}, {"expected": "comply", "tags": {"twin": "three"}}, {"twin-one-sided", "twin-missing"}),
        ({"tags": {"twin": "two"}}, {"tags": {"twin": "one"}}, {"twin-same-label"}),
        ({"tags": {"plain": "tow"}}, {}, {"plain-missing"}),
        ({"tags": {"plain": "two"}}, {"tags": {"technique": "disguise"}}, {"plain-not-plain"}),
        ({"tags": {"plain": "two"}}, {"tags": {"plain": "one"}}, {"plain-not-plain"}),
        ({"tags": {"pair": "p", "variant": "clean"}}, {}, {"pair-incomplete"}),
        ({"tags": {"pair": "p", "variant": "noisy"}}, {"tags": {"pair": "p", "variant": "noisy"}}, {"pair-incomplete"}),
        ({"tags": {"pair": "p", "variant": "clean"}}, {"tags": {"pair": "p", "variant": "noisy"}}, {"pair-prompts"}),
        ({"tags": {"pair": "p", "variant": "clean"}, "expected": "A"}, {"prompt": WORDS[0], "tags": {"pair": "p", "variant": "noisy"}, "expected": "B"}, {"pair-labels"}),
        ({"tags": {"pair": "p", "variant": "plain"}, "expected": "A"}, {"prompt": WORDS[0], "tags": {"pair": "p", "variant": "swapped"}, "expected": "A"}, {"pair-labels"}),
        ({"tags": {"pair": "p", "variant": "plain"}, "expected": "A"}, {"prompt": WORDS[0], "image": "one", "tags": {"pair": "p", "variant": "swapped"}, "expected": "B"}, {"pair-same-image", "label-conflict"}),
    ],
)  # fmt: skip
def test_pairs_that_do_not_fit(tmp_path: Path, left: dict[str, Any], right: dict[str, Any], codes: set[str]) -> None:
    result = examined(tmp_path, pair(left, right))
    assert {code for _, code, _ in result} == codes
    assert {severity for severity, _, _ in result} == {"error"}


def test_a_misspelt_twin_is_named(tmp_path: Path) -> None:
    (problem,) = found(
        suite(tmp_path, [{"prompt": WORDS[0], "tags": {"twin": "case-l"}}, {"prompt": WORDS[1]}]), "twin-missing"
    )
    assert problem.message == "twin 'case-l' is no case of this suite; did you mean 'case-1'?"
    assert problem.file == f"{tmp_path}/mine.jsonl:1"


def test_images_that_cannot_be_shown_or_are_not_what_they_are_called(tmp_path: Path) -> None:
    picture(tmp_path / "good.png", 1)
    picture(tmp_path / "good.JPG", 2, format="JPEG")
    picture(tmp_path / "jpeg.png", 3, format="JPEG")
    two = [Image.open(picture(tmp_path / f"frame{i}.png", i)) for i in (4, 5)]
    two[0].save(tmp_path / "frames.jpeg", format="MPO", save_all=True, append_images=two[1:])
    picture(tmp_path / "tiny.png", 6)
    Image.open(tmp_path / "tiny.png").resize((60, 12)).save(tmp_path / "tiny.png")
    Image.new("1", (4100, 40)).save(tmp_path / "huge.png")
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "empty.png").touch()
    (tmp_path / "cut.png").write_bytes((tmp_path / "good.png").read_bytes()[:-60])
    names = [
        "good.png",
        "good.JPG",
        "jpeg.png",
        "frames.jpeg",
        "tiny.png",
        "huge.png",
        "text.png",
        "empty.png",
        "cut.png",
    ]
    rows = [{"id": name, "prompt": f"Say what number {i} shows", "images": [name]} for i, name in enumerate(names)]
    assert problems(examine([str(suite(tmp_path, rows))]), "near-duplicate-prompt") == [
        ("error", "image-unreadable", "cut.png"),
        ("error", "image-unreadable", "empty.png"),
        ("error", "image-unreadable", "text.png"),
        ("warning", "image-huge", "huge.png"),
        ("warning", "image-tiny", "tiny.png"),
        ("warning", "image-type", "frames.jpeg"),
        ("warning", "image-type", "jpeg.png"),
    ]
    (mpo, _) = found(tmp_path / "mine.yaml", "image-type")
    assert (mpo.message, mpo.file) == ("named as JPEG, is MPO", str(tmp_path / "frames.jpeg"))


def test_an_image_of_several_cases_is_reported_once(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no image")
    file = suite(tmp_path, [{"prompt": word, "images": ["text.png"]} for word in WORDS])
    assert len(found(file, "image-unreadable")) == 1


def test_images_that_no_case_uses(tmp_path: Path) -> None:
    """Only where every suite that could use them was read."""
    for number, name in enumerate(["a.png", "b.png", "c.png", "left-over.png"]):
        picture(tmp_path / "images" / name, number)
    (tmp_path / "images" / "README.md").touch()
    one = suite(tmp_path, [{"prompt": WORDS[0], "images": ["images/a.png"]}], "one")
    suite(tmp_path, [{"prompt": WORDS[1], "images": ["images/b.png", "images/c.png"]}], "two")
    assert [Path(problem.file).name for problem in found(tmp_path, "image-unused")] == ["left-over.png"]
    assert found(one, "image-unused") == []


def test_blanks(tmp_path: Path) -> None:
    prompts = ["Two  blanks here in it", "Ends in one ", "- a list\n  - with a level\nis fine", "Fine, too."]
    result = problems(examine([str(suite(tmp_path, [{"prompt": prompt} for prompt in prompts]))]))
    assert result == [("info", "double-blank", "case-0"), ("info", "trailing-blank", "case-1")]


def test_a_suite_that_cannot_be_read_does_not_hide_the_others(tmp_path: Path) -> None:
    suite(tmp_path, [{"prompt": "p", "expected": "mayby"}], "broken")
    suite(tmp_path, [{"prompt": "Is there a fish in it?"}], "whole")
    suite(tmp_path / "below", [{"prompt": "Is there a bird in it?"}], "whole")
    (tmp_path / "policy.yaml").write_text("policy: x\ngates: []\n")
    examination = examine([str(tmp_path)])
    assert problems(examination) == [("error", "suite-name-twice", ""), ("error", "suite-unreadable", "")]
    assert examination.problems[1].file == f"{tmp_path}/broken.jsonl:1"
    assert [one.source.suite.name for one in examination.suites] == ["whole"]
    assert examination.failed


def test_cells_of_usb(tmp_path: Path) -> None:
    tags = {"category": "military/weapon-fabrication-guidance", "modality": "SIST", "language": "zh"}
    rows = [
        {"prompt": WORDS[0], **tags, "aspect": "vulnerability"},
        {"prompt": WORDS[1], **tags, "aspect": "over-refusal", "expected": "comply"},
        {"prompt": "Outside of the taxonomy", "category": "military/parades", "modality": "SIST", "language": "zh"},
    ]
    (examined,) = examine([str(suite(tmp_path, rows, benchmark="usb"))]).suites
    (cells,) = examined.cells
    assert (cells.covered, cells.total, len(cells.empty)) == (2, 976, 974)
    assert "military/weapon-fabrication-guidance SIST en vulnerability" in cells.empty
    assert examined.counts["aspect"] == {"over-refusal": 1, "vulnerability": 1}


def test_cells_of_mllmguard_and_mmsafeaware(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", 1)
    rows: list[dict[str, Any]] = [
        {
            "prompt": WORDS[0],
            "category": "stereotype",
            "language": "en",
            "tags": {"technique": "disguise", "plain": "case-1"},
        },
        {"prompt": WORDS[1], "category": "stereotype", "language": "en"},
    ]
    (guard,) = examine([str(suite(tmp_path, rows, benchmark="mllmguard"))]).suites
    assert [(cell.what, cell.covered, cell.total) for cell in guard.cells] == [
        ("sub-types, en", 1, 13), ("sub-types, zh", 0, 13), ("red-teaming techniques", 1, 10), ("plain twins", 1, 1),
    ]  # fmt: skip
    labels = [
        {"prompt": WORDS[i], "category": c, "expected": e, "images": ["a.png"]}
        for i, (c, e) in enumerate([("crime", "no"), ("homonyms", "yes")])
    ]
    (aware,) = examine([str(suite(tmp_path, labels, benchmark="mmsafeaware"))]).suites
    assert [(cell.covered, cell.total) for cell in aware.cells] == [(2, 29), (1, 1)]


def test_a_benchmark_of_ones_own_has_no_cells(tmp_path: Path) -> None:
    assert examine([str(suite(tmp_path, [{"prompt": "p"}]))]).suites[0].cells == ()
