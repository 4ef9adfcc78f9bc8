"""What happens to the pixels."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from drawn_pictures import picture
from PIL import Image

from pytest_mmsafety.cases import Change, Parameter
from pytest_mmsafety.perturbations import edited, perturb, transfer
from pytest_mmsafety.testing import make_case

MONOTONE = (
    ("noise", {}), ("diffusion-noise", {}), ("image-blur", {}), ("image-resizing", {}),
    ("image-brightness", {"direction": "darker"}), ("image-brightness", {"direction": "brighter"}),
    ("image-contrast", {"direction": "lower"}), ("image-contrast", {"direction": "higher"}),
    ("image-color-saturation", {"direction": "lower"}), ("image-color-saturation", {"direction": "higher"}),
)  # fmt: skip


def after(
    name: str, strength: float, image: Image.Image, prompt: str = "Describe it.", **told: Parameter
) -> np.ndarray:
    case = make_case(prompt=prompt, expected="safe", images=("picture.png",))
    (result,) = edited([image], perturb(case, [Change(name, strength, told)]).edits)
    return np.asarray(result, np.float64)


@pytest.mark.parametrize(("name", "told"), MONOTONE)
def test_a_stronger_change_changes_more(name: str, told: dict[str, Parameter]) -> None:
    image = picture(192, 128).resize((384, 288), Image.Resampling.BICUBIC)
    changes = [np.abs(after(name, step / 20, image, **told) - np.asarray(image)).mean() for step in range(1, 21)]
    assert all(one <= other + 0.05 for one, other in pairwise(changes)), changes
    assert 0 < changes[0] < changes[-1] / 3


def test_compression_grows_over_all() -> None:
    image = picture(384, 288)
    few, half, all_ = (
        np.abs(after("image-compression", s, image) - np.asarray(image)).mean() for s in (0.05, 0.5, 1.0)
    )
    assert 0 < few < half < all_


def test_diffusion_follows_its_schedule() -> None:
    grey = Image.new("RGB", (200, 200), (160, 160, 160))
    betas = [1e-5 + (5e-3 - 1e-5) / (1 + np.exp(-u)) for u in np.linspace(-6, 6, 1000)]
    for strength in (0.15, 0.3):
        kept = np.prod([1 - beta for beta in betas[: round(999 * strength) + 1]])
        noisy = after("diffusion-noise", strength, grey)
        assert noisy.mean() == pytest.approx(127.5 + np.sqrt(kept) * 32.5, abs=0.3)
        assert noisy.std() == pytest.approx(127.5 * np.sqrt(1 - kept), rel=0.02)


def test_seeds_differ_and_stay() -> None:
    for name in ("noise", "diffusion-noise", "image-shuffling"):
        first, second = after(name, 0.5, picture(), seed=0), after(name, 0.5, picture(), seed=1)
        assert np.any(first != second)
        assert np.array_equal(first, after(name, 0.5, picture(), seed=0))


def test_turned_upside_down() -> None:
    image = picture()
    for direction in ("left", "right"):
        turned = after("image-rotation", 1.0, image, direction=direction)
        assert np.abs(turned - np.asarray(image.rotate(180), np.float64)).mean() < 1
    assert np.any(
        after("image-rotation", 0.1, image, direction="left") != after("image-rotation", 0.1, image, direction="right")
    )
    left, right = (after("image-rotation", 0.5, image, direction=d).mean(axis=(1, 2)) for d in ("left", "right"))
    assert left[20] > left[44]  # red, which grows to the right, is at the top once that is turned left
    assert right[20] < right[44]


def test_a_flip_is_whole_and_its_own_inverse() -> None:
    image = picture()
    for axis in ("horizontal", "vertical"):
        once = after("image-flip", 0.05, image, axis=axis)
        assert np.array_equal(once, after("image-flip", 1.0, image, axis=axis))
        again = after("image-flip", 1.0, Image.fromarray(once.astype(np.uint8)), axis=axis)
        assert np.array_equal(again, np.asarray(image))


def test_shuffling_keeps_all_patches_and_weaker_moves_fewer() -> None:
    image = picture(128, 128)
    moved = []
    for step in range(1, 21):
        shuffled = after("image-shuffling", step / 20, image)
        assert np.array_equal(np.sort(shuffled, axis=None), np.sort(np.asarray(image), axis=None))
        moved.append(np.any(shuffled != np.asarray(image), axis=2).sum())
    assert moved == sorted(moved)


def test_grey_at_full_desaturation() -> None:
    grey = after("image-color-saturation", 1.0, picture())
    assert np.ptp(grey, axis=2).max() == 0


def test_an_inset_stands_in_its_corner() -> None:
    black = Image.new("RGB", (100, 100))
    assert after("image-inset", 1.0, black, corner="top-left")[:30, :30].max() == 0
    assert after("image-inset", 1.0, black, corner="bottom-right")[:30, :30].min() == 255
    assert after("image-inset", 1.0, black)[40:60, 40:60].max() == 0


def test_a_crop_keeps_its_side() -> None:
    image = picture()
    assert (
        after("image-crop", 1.0, image, side="left")[..., 0].mean()
        < after("image-crop", 1.0, image, side="right")[..., 0].mean()
    )


# --- words


def moved(prompt: str, strength: float = 0.05, **told: Parameter) -> tuple[str, str]:
    case = make_case(prompt=prompt, expected="safe", images=("picture.png",))
    variant = perturb(case, [Change("typographic-transfer", strength, told)])
    return variant.prompt, variant.edits[0].text if variant.edits else ""


def test_words_move_into_the_picture() -> None:
    prompt = "Tell me how the elephant crossed a river."
    assert moved(prompt) == ("Tell me how the [the text below the picture] crossed a river.", "elephant")
    assert moved(prompt, place="top")[0] == "Tell me how the [the text above the picture] crossed a river."
    assert moved(prompt, words=(4, 5)) == ("Tell me how the [the text below the picture] a river.", "elephant crossed")
    assert moved(prompt, words=(4, 7)) == (
        "Tell me how the [phrase 1 below the picture] crossed a [phrase 2 below the picture].",
        "1. elephant\n2. river",
    )
    assert moved("Is it?") == ("Is it?", "")


def test_stronger_moves_more_words_and_all_of_the_fewer() -> None:
    prompt = "Tell me how the elephant crossed a river while children waited near wooden boats."
    texts = [{line.split(". ")[-1] for line in moved(prompt, step / 20)[1].split("\n")} for step in range(1, 21)]
    assert all(fewer <= more for fewer, more in pairwise(texts))
    assert len(texts[0]) == 1
    assert len(texts[-1]) > 5


def test_options_and_forms_stay() -> None:
    prompt = "Which animal?\nA. elephant\nB. crocodile\nAnswer with the letter only."
    assert (
        moved(prompt, 1.0)[0]
        == "Which [the text below the picture]?\nA. elephant\nB. crocodile\nAnswer with the letter only."
    )


def test_chinese_needs_its_font(monkeypatch: pytest.MonkeyPatch) -> None:
    prompt = "请告诉我怎么去火车站。"
    monkeypatch.setattr(transfer, "has_font", lambda: False)
    assert moved(prompt) == (prompt, "")
    assert after("add-text-image", 1.0, picture(), prompt).tolist() == np.asarray(picture()).tolist()
    monkeypatch.setattr(transfer, "has_font", lambda: True)
    rest, drawn = moved(prompt)
    assert drawn
    assert drawn in prompt
    assert rest == prompt.replace(drawn, "【图下方的词】")


def test_the_band_has_the_words_and_the_picture_stays() -> None:
    image = picture(384, 288)
    below = after("typographic-transfer", 0.05, image, "Tell me how the elephant went.")
    assert np.array_equal(below[:288], np.asarray(image))
    assert below[288:].min() < 64
    above = after("typographic-transfer", 0.05, image, "Tell me how the elephant went.", place="top")
    assert np.array_equal(above[-288:], np.asarray(image))


def test_a_label_grows_and_stands_where_it_is_told() -> None:
    image = Image.new("RGB", (384, 288), "teal")
    covered = [np.any(after("add-text-image", s, image) != np.asarray(image), axis=2).sum() for s in (0.05, 0.2, 1.0)]
    assert covered == sorted(covered)
    assert len(set(covered)) == 3
    top = after("add-text-image", 0.5, image, place="top")
    assert np.array_equal(top[100:], np.asarray(image)[100:])
