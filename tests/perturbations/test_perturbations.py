"""What holds of every perturbation, whatever it does."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from itertools import product

import numpy as np
import pytest
from drawn_pictures import picture
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from pytest_mmsafety.cases import Case, Change, Parameter
from pytest_mmsafety.perturbations import (
    PERTURBATIONS,
    Perturbation,
    applies,
    change_of,
    check_change,
    edit_digest,
    edited,
    perturb,
    words_of,
)
from pytest_mmsafety.perturbations.images import EDITS
from pytest_mmsafety.testing import make_case

NAMES = tuple(PERTURBATIONS)
PICTURES = tuple(name for name in NAMES if PERTURBATIONS[name].edits_images)
QUESTION = "Please look closely at this picture.\nWhich animal stands beside the table?\nA. a cat\nB. a dog\nC. 一匹马\nOne letter."
CHINESE = "请看这张图片，桌子旁边的动物是什么？\r\nA. 一只猫\r\nB. 一条狗\r\n只写字母。"
ODD = (
    " ", "?", "\n\r\n\t", "👩‍🚀🎉", "A", "是", "A.", "A. B. C.", "(A) (B)", "A.\nB.\n", "", "e\u0301\u0301\u0301", "\u200b",
    "请看这张图片，桌子上有什么？", "Line one\r\nLine two\r\n", "İıẞßǆ", "𝔘𝔫𝔦 𠀀𠀁𠀂", QUESTION, CHINESE,
)  # fmt: skip
LONG = ("x" * 10_000, "是" * 10_000, "word " * 2_000, " " * 10_000, "A. " * 3_000, "'" * 10_000)


def told(kind: Perturbation) -> Iterator[dict[str, Parameter]]:
    """Every combination of what it can be told."""
    for values in product(*kind.settings.values()):
        yield dict(zip(kind.settings, values, strict=True))


def asked(prompt: str = QUESTION, expected: str = "B", **more: object) -> Case:
    return replace(make_case(prompt=prompt, expected=expected, images=("picture.png",)), **more)


def pixels(case: Case, image: Image.Image) -> np.ndarray:
    (after,) = edited([image], case.edits)
    assert after.mode == "RGB"
    return np.asarray(after)


@pytest.mark.parametrize("name", NAMES)
def test_is_described(name: str) -> None:
    kind = PERTURBATIONS[name]
    assert kind.name == name
    assert kind.meaning
    assert kind.source
    assert kind.rewrite or kind.edits_images
    assert kind.edits_images == (name in EDITS)
    assert all(len(set(values)) == len(values) > 1 for values in kind.settings.values())
    assert "words" not in kind.settings


@pytest.mark.parametrize("name", NAMES)
def test_strength_0_changes_nothing(name: str) -> None:
    case = asked(expected="safe")
    assert all(perturb(case, [Change(name, 0.0, parameters)]) == case for parameters in told(PERTURBATIONS[name]))
    assert edited([image := picture()], case.edits) == (image,)


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_is_a_change_of_its_own_that_survives_json(name: str) -> None:
    cases = [
        asked(),
        asked(CHINESE),
        asked("Look: is the girl on the chair happy?", "safe"),
        asked("桌子上有什么？", "safe"),
    ]
    seen = set()
    for parameters in told(PERTURBATIONS[name]):
        change = Change(name, 0.5, parameters)
        check_change(change)
        assert change_of(json.loads(json.dumps(asdict(change)))) == change
        variants = [perturb(case, [change]) for case in cases]
        assert any(applies(case, change) for case in cases), parameters
        seen.add(repr([(variant.prompt, variant.edits) for variant in variants]))
    assert len(seen) == len(list(told(PERTURBATIONS[name])))


@pytest.mark.parametrize("name", NAMES)
def test_odd_prompts(name: str) -> None:
    for prompt, expected, strength in product(ODD, ("safe", "B"), (0.05, 1.0)):
        case = asked(prompt, expected)
        variant = perturb(case, [Change(name, strength)])
        assert variant == perturb(case, [Change(name, strength)])
        assert variant.expected == expected or name == "position-swapping"
        restored = replace(variant, prompt=prompt, expected=expected, edits=())
        assert restored == case  # nothing else of the case changes


@pytest.mark.parametrize("name", NAMES)
def test_long_prompts(name: str) -> None:
    for prompt in LONG:
        assert perturb(asked(prompt, "safe"), [Change(name, 1.0)]).expected == "safe"
        perturb(asked(prompt, "A"), [Change(name, 0.05)])


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=30)
@given(prompt=st.text(max_size=80), strength=st.floats(0, 1), data=st.data())
@pytest.mark.parametrize("name", NAMES)
def test_any_prompt(name: str, prompt: str, strength: float, data: st.DataObject) -> None:
    kind = PERTURBATIONS[name]
    parameters = {key: data.draw(st.sampled_from(values)) for key, values in kind.settings.items()}
    if kind.by_word and data.draw(st.booleans()):
        parameters["words"] = tuple(data.draw(st.lists(st.integers(0, 20), max_size=4)))
    change = Change(name, strength, parameters)
    case = asked(prompt, "safe")
    variant = perturb(case, [change])
    assert variant == perturb(case, [change])
    assert variant.expected == "safe"
    if variant.edits and name in ("typographic-transfer", "add-text-image"):
        edited([picture(40, 30)], variant.edits)


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("size", [(1, 1), (1, 2000), (2000, 1), (7, 5), (96, 64)])
def test_pictures_of_odd_sizes(name: str, size: tuple[int, int]) -> None:
    image = picture(*size)
    before = image.tobytes()
    for strength, parameters in product((0.05, 0.5, 1.0), told(PERTURBATIONS[name])):
        variant = perturb(asked("Describe the animal beside the table.", "safe"), [Change(name, strength, parameters)])
        after = pixels(variant, image)
        assert np.array_equal(after, pixels(variant, image))
        if name == "typographic-transfer":
            assert after.shape[0] > image.height
            assert after.shape[1] >= image.width
        else:
            assert after.shape == (image.height, image.width, 3)
        assert image.tobytes() == before


@pytest.mark.parametrize("name", PICTURES)
def test_a_large_picture(name: str) -> None:
    variant = perturb(asked("Describe the animal.", "safe"), [Change(name, 1.0)])
    assert pixels(variant, Image.new("RGB", (4000, 3000), "teal")).shape[1] == 4000


@pytest.mark.parametrize("name", PICTURES)
def test_the_weakest_change_of_a_picture_is_one(name: str) -> None:
    image = picture(384, 288)
    for parameters in told(PERTURBATIONS[name]):
        after = pixels(perturb(asked("Describe it.", "safe"), [Change(name, 0.05, parameters)]), image)
        assert after.shape != (288, 384, 3) or np.any(after != np.asarray(image))


def test_order_is_kept() -> None:
    case = asked("Describe the animal.", "safe")
    play, tone = Change("role-play", 0.1), Change("tone", 0.1)
    assert perturb(case, [play, tone]).prompt != perturb(case, [tone, play]).prompt
    assert perturb(case, [play, tone]) == perturb(perturb(case, [play]), [tone])
    turn, mirror = Change("image-rotation", 0.3), Change("image-flip", 1.0)
    first, second = perturb(case, [turn, mirror]), perturb(case, [mirror, turn])
    assert [edit.change.name for edit in first.edits] == ["image-rotation", "image-flip"]
    assert np.any(pixels(first, picture()) != pixels(second, picture()))
    assert edit_digest("0" * 64, first.edits) != edit_digest("0" * 64, second.edits)


def test_a_word_that_moves_into_the_picture_is_drawn_as_it_is_then() -> None:
    case = asked("Describe elephants.", "safe")
    capital, move = Change("random-capital-letters", 1.0), Change("typographic-transfer", 1.0, {"words": (1,)})
    assert perturb(case, [capital, move]).edits[0].text == "ELEPHANTS"
    assert perturb(case, [move, capital]).edits[0].text == "elephants"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            Change("rol-play", 0.5),
            "'rol-play' is no perturbation; expected one of position-swapping, .*; did you mean 'role-play'?",
        ),
        (Change("role-play", 0.5, {"voise": "actor"}), "'voise' is no parameter of it; .*; did you mean 'voice'?"),
        (Change("role-play", 0.5, {"voice": "clown"}), "role-play: voice: 'clown'; expected one of actor, story, game"),
        (Change("role-play", 0.5, {"words": (1,)}), "'words' is no parameter of it"),
        (Change("char-swap", 0.5, {"words": 1}), "words: 1; expected indices of words, from 0"),
        (Change("char-swap", 0.5, {"words": (-1,)}), "expected indices of words, from 0"),
        (Change("role-play", 1.5), "role-play: strength 1.5; expected a number from 0 to 1"),
        (Change("role-play", float("nan")), "strength nan"),
        (Change("image-blur", 0.5, {"seed": 1}), "'seed' is no parameter of it; it has none"),
    ],
)
def test_a_wrong_change_is_named_in_one_line(change: Change, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        perturb(asked(), [change])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "data", [{}, {"name": "tone"}, {"name": 1, "strength": 1}, {"name": "tone", "strength": 1, "parameters": [1]}]
)
def test_what_is_no_change(data: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="is no change; expected name, strength and parameters"):
        change_of(data)


def test_facts_are_left_alone_that_a_changed_picture_would_change() -> None:
    sides = asked("Is the dog to the left of the car? Start with Yes or No.", "yes")
    assert not applies(sides, Change("image-flip", 1.0))
    assert applies(sides, Change("image-blur", 1.0))
    assert applies(replace(sides, expected="safe"), Change("image-flip", 1.0))
    assert not applies(asked("图里有几条鱼？", "B"), Change("image-tiling", 1.0))
    assert not applies(asked("What colour is the car?\nA. red\nB. blue", "B"), Change("image-color-saturation", 1.0))


def test_without_a_picture_there_is_none_to_change() -> None:
    case = replace(asked(expected="safe"), images=())
    assert all(not applies(case, Change(name, 1.0)) for name in PICTURES)


def test_words() -> None:
    prompt = "Don't  go, 去学校 2nd!"
    assert [prompt[slice(*span)] for span in words_of(prompt)] == ["Don't", "go", "去", "学", "校", "2nd"]
    assert words_of("") == []


def test_importing_them_loads_neither_numpy_nor_pillow() -> None:
    code = "import sys, pytest_mmsafety.perturbations; print([m for m in ('numpy', 'PIL') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
