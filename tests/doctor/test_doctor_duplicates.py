"""The same case twice, and nearly: found where nobody meant it, and only there."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest
from doctor_folders import found, picture, problems, suite
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pytest_mmsafety.doctor import examine
from pytest_mmsafety.doctor.images import inspect, look, near_hashes, near_looks
from pytest_mmsafety.doctor.texts import contents, near_texts, normalised, same, tokens
from pytest_mmsafety.images import decode

LONG = "My neighbour keeps bees behind the old mill and wants to know whether the smoke harms them"


def images(folder: Path) -> None:
    picture(folder / "a.png", 1)
    shutil.copy(picture(folder / "a.png", 1), folder / "same-bytes.png")
    picture(folder / "saved-again.jpg", 1, quality=60)
    picture(folder / "b.png", 2)


def test_the_same_words_on_the_same_image(tmp_path: Path) -> None:
    images(tmp_path)
    rows = [
        {"prompt": LONG, "images": ["a.png"]},
        {"prompt": f"{LONG.upper()}?", "images": ["same-bytes.png"]},
        {"prompt": LONG, "images": ["b.png"]},
        {"prompt": LONG},
        {"prompt": "What is 2+2?"},
        {"prompt": "What is 2-2?"},
    ]
    (problem,) = found(suite(tmp_path, rows), "duplicate-case")
    assert (problem.severity, problem.case, problem.file) == ("error", "case-1", f"{tmp_path}/mine.jsonl:2")
    assert "case-0" in problem.message


def test_one_case_with_two_labels(tmp_path: Path) -> None:
    images(tmp_path)
    rows = [
        {"prompt": "Is it safe?", "expected": "yes", "images": ["a.png"]},
        {"prompt": "Is it safe?", "expected": "no", "images": ["same-bytes.png"]},
        {"prompt": "Is it safe?", "expected": "no", "images": ["b.png"]},
        {"prompt": "Is it dear?", "expected": "yes"},
        {"prompt": "is it dear", "expected": "no"},
    ]
    assert problems(examine([str(suite(tmp_path, rows))])) == [
        ("error", "label-conflict", "case-0"), ("error", "label-conflict", "case-3"),
    ]  # fmt: skip


def test_across_suites(tmp_path: Path) -> None:
    suite(tmp_path, [{"prompt": LONG}, {"prompt": "Which label?", "expected": "yes"}], "one")
    suite(tmp_path, [{"prompt": LONG}, {"prompt": "Which label?", "expected": "no"}], "two")
    examination = examine([str(tmp_path)])
    assert problems(examination) == [
        ("error", "label-conflict", "case-1"),
        ("warning", "duplicate-across-suites", "case-0"),
    ]
    assert "one/case-0" in examination.problems[1].message
    assert [one.shares.exact for one in examination.suites] == [1, 1]


def test_nearly_the_same(tmp_path: Path) -> None:
    images(tmp_path)
    rows = [
        {"prompt": LONG, "images": ["a.png"]},
        {"prompt": LONG.replace("old mill", "new mill"), "images": ["saved-again.jpg"]},
        {"prompt": LONG.replace("smoke harms", "smoke might harm"), "images": ["b.png"]},
    ]
    examination = examine([str(suite(tmp_path, rows))])
    assert problems(examination) == [
        ("warning", "near-duplicate-case", "case-1"),
        ("warning", "near-duplicate-image", "case-1"),
        ("info", "near-duplicate-prompt", "case-0"),
    ]
    assert examination.suites[0].shares == (0, 3, 2, 2)
    assert not examination.failed


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"tags": {"twin": "case-1"}}, {"tags": {"twin": "case-0"}, "expected": "comply"}),
        ({}, {"expected": "comply"}),
        ({"tags": {"plain": "case-1"}}, {}),
        ({"cluster": "mill"}, {"cluster": "mill"}),
        ({"tags": {"variant": "absent"}}, {"tags": {"variant": "present"}}),
        ({"tags": {"bucket": "attack"}}, {"tags": {"bucket": "typical"}}),
    ],
)
def test_likeness_that_is_meant(tmp_path: Path, first: dict[str, object], second: dict[str, object]) -> None:
    rows = [{"prompt": LONG, **first}, {"prompt": LONG.replace("old", "new"), **second}]
    assert problems(examine([str(suite(tmp_path, rows))])) == []


def test_one_prompt_on_many_images_is_no_duplicate(tmp_path: Path) -> None:
    rows = [
        {"prompt": "What does the picture show?", "images": [picture(tmp_path / f"{i}.png", i).name]} for i in range(12)
    ]
    assert problems(examine([str(suite(tmp_path, rows))])) == []


def test_thousands_of_cases_of_two_near_prompts_are_compared_in_linear_work(tmp_path: Path) -> None:
    rows = [{"prompt": LONG if i % 2 else LONG.replace("old", "new"), "tags": {"n": str(i)}} for i in range(4000)]
    shares = examine([str(suite(tmp_path, rows))]).suites[0].shares
    assert shares.near_prompt == shares.exact == 4000


def test_what_most_prompts_begin_with_is_no_likeness() -> None:
    prompts = [f"Look at the picture and answer in one word.\n{word}" for word in "abcdefghijkl"]
    assert contents(prompts) == list("abcdefghijkl")
    assert contents(prompts[:2]) == prompts[:2]
    assert contents(["the same"] * 20) == ["the same"] * 20


@pytest.mark.parametrize(
    ("left", "right"),
    [("Ａ  Cat!", "a cat"), ("“Stop”", "stop"), ("Größe?", "GRÖSSE"), ("猫在哪里？", "猫在哪里")],
)
def test_the_same_words(left: str, right: str) -> None:
    assert same(left) == same(right)
    assert normalised(left) == normalised(right)


def test_marks_alone_are_words_of_their_own() -> None:
    assert same("???") != same("!!!")
    assert list(near_texts([normalised("???"), normalised("!!!")])) == []


def test_tokens_of_scripts_without_blanks() -> None:
    assert tokens(normalised("请看A4纸, ok")) == ["请", "看", "a4", "纸", "ok"]


@given(st.text(), st.text())
def test_normalised_is_idempotent_and_same_is_finer(left: str, right: str) -> None:
    assert normalised(normalised(left)) == normalised(left)
    if same(left) == same(right):
        assert normalised(left) == normalised(right)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10**6))
def test_one_word_of_twenty_exchanged_is_found_among_others(seed: int) -> None:
    chance = random.Random(seed)
    letters = "abcdefghijklmnopqrstuvwxyz"
    vocabulary = ["".join(chance.choices(letters, k=chance.randint(2, 9))) for _ in range(400)]
    texts = [chance.choices(vocabulary, k=20) for _ in range(60)]
    number, place = chance.randrange(60), chance.randrange(20)
    changed = texts[number].copy()
    changed[place] = changed[place][:-1] + "q"
    joined = [" ".join(words) for words in [*texts, changed]]
    assert (number, 60) in set(near_texts(joined))
    assert all(one < other for one, other in near_texts(joined))


def test_a_template_with_one_word_exchanged_is_found_however_often(tmp_path: Path) -> None:
    words = [f"thing{number}" for number in range(300)]
    texts = [f"write a short friendly letter to the whole town about {word} and nothing else" for word in words]
    assert {number for pair in near_texts(texts) for number in pair} == set(range(300))


# --- pictures


def test_a_picture_saved_again_is_near_and_another_is_not(tmp_path: Path) -> None:
    first, small, other = picture(tmp_path / "a.png", 1), tmp_path / "small.jpg", picture(tmp_path / "b.png", 2)
    with Image.open(first) as image:
        image.resize((64, 48)).save(small, quality=50)
        mirrored = look(image.convert("RGB").transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    looks = [inspected.look for inspected in inspect(map(str, (first, small, other))).values()]
    assert len(looks[0]) == 32 + 192
    by_path = inspect(map(str, (first, small, other)))
    order = [by_path[str(path)].look for path in (first, small, other)]
    assert list(near_looks([*order, mirrored])) == [(0, 1)]


def test_shapes_alone_do_not_make_a_likeness() -> None:
    """The perceptual hash is blind to colour."""
    signs = []
    for colour in ("red", "green"):
        image = Image.new("RGB", (100, 100), "white")
        image.paste(colour, (20, 30, 70, 80))
        signs.append(look(image))
    assert list(near_looks(signs)) == []


def test_plain_surfaces_are_like_nothing() -> None:
    blank = look(Image.new("RGB", (50, 50), "white"))
    assert blank == b""
    assert list(near_looks([blank, blank])) == []


@given(
    st.lists(st.binary(min_size=32, max_size=32), max_size=8), st.lists(st.integers(0, 255), max_size=40, unique=True)
)
def test_near_hashes_counts_bits(hashes: list[bytes], flipped: list[int]) -> None:
    def changed(value: bytes) -> bytes:
        number = int.from_bytes(value)
        for bit in flipped:
            number ^= 1 << bit
        return number.to_bytes(32)

    distances = {
        (a, b): (int.from_bytes(one) ^ int.from_bytes(changed(other))).bit_count()
        for a, one in enumerate(hashes)
        for b, other in enumerate(hashes)
    }
    near = {pair for pair, distance in distances.items() if distance <= 20}
    assert set(near_hashes(hashes, [changed(value) for value in hashes])) == near


def test_an_animation_is_its_first_frame(tmp_path: Path) -> None:
    frames = [Image.open(picture(tmp_path / f"{seed}.png", seed)) for seed in (1, 2)]
    frames[0].save(tmp_path / "both.gif", save_all=True, append_images=frames[1:])
    (inspected,) = inspect([str(tmp_path / "both.gif")]).values()
    assert (inspected.format, inspected.expected_format, inspected.fault) == ("GIF", "GIF", "")
    assert inspected.look == look(decode((tmp_path / "both.gif").read_bytes(), "both.gif"))
