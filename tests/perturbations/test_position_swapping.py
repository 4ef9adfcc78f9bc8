"""Options that change places, and the letter that goes with its text."""

from __future__ import annotations

import pytest

from pytest_mmsafety.cases import Case, Change
from pytest_mmsafety.judges.choice import options_of
from pytest_mmsafety.perturbations import applies, perturb
from pytest_mmsafety.testing import make_case


def swapped(prompt: str, expected: str = "A", by: int = 1, strength: float = 1.0) -> Case:
    case = make_case(prompt=prompt, expected=expected)
    return perturb(case, [Change("position-swapping", strength, {"by": by})])


@pytest.mark.parametrize(
    ("prompt", "after", "letter"),
    [
        ("Which?\nA. a cat\nB. a dog\nOne letter.", "Which?\nA. a dog\nB. a cat\nOne letter.", "B"),
        ("Which?\r\nA) cat  \r\nB) dog\r\n", "Which?\r\nA) dog  \r\nB) cat\r\n", "B"),
        ("(A) cat\n\n(B) dog\n\n(C) fox", "(A) fox\n\n(B) cat\n\n(C) dog", "B"),
        ("A: cat\nB: dog", "A: dog\nB: cat", "B"),
        ("是什么？\nA、猫\nB、狗", "是什么？\nA、狗\nB、猫", "B"),
        ("是什么？\nA．猫\nB．狗\n只写字母。", "是什么？\nA．狗\nB．猫\n只写字母。", "B"),
        ("是什么？（A）猫，（B）狗还是（C）鸟？", "是什么？（A）鸟，（B）猫还是（C）狗？", "B"),
        (
            "Is it (A) a cat, (B) a dog or (C) a fox? One letter.",
            "Is it (A) a fox, (B) a cat or (C) a dog? One letter.",
            "B",
        ),
        ("Pick one: A. 3.80 B. 2.00", "Pick one: A. 2.00 B. 3.80", "B"),
        ("选哪个？A、猫 B、狗。只写字母。", "选哪个？A、狗 B、猫。只写字母。", "B"),
    ],
)
def test_forms_of_options(prompt: str, after: str, letter: str) -> None:
    variant = swapped(prompt)
    assert (variant.prompt, variant.expected) == (after, letter)
    assert swapped(prompt, strength=0.05) == variant
    assert swapped(prompt, by=2).expected == "AC"[after.count("fox") + after.count("鸟") > 0]


@pytest.mark.parametrize(
    "prompt",
    [
        "Which door is it, A or B? Answer with the letter A or B only.",
        "同样的苹果，A、B两家哪家卖得便宜？只回答一个字母。",
        "在A和B里选，只写字母。",
        "四个人，进A店还是进B店？",
        "A. cat",
        "B. cat\nC. dog",
        "A. cat\nA. dog",
        "A. two\nB. Two",
        "A. cat\nwith a hat\nB. dog",
        "A. a cat\nB. a dog\nC. both A and B",
        "A. a cat\nB. a dog\nC. none of the above",
        "A. 猫\nB. 狗\nC. 以上都是",
        "A. 猫\nB. 狗\nC. A和B",
    ],
)
def test_no_clear_options(prompt: str) -> None:
    assert not applies(make_case(prompt=prompt, expected="A"), Change("position-swapping", 1.0))


def test_where_no_letter_is_expected() -> None:
    for expected in ("yes", "safe", "D"):
        assert not applies(make_case(prompt="A. cat\nB. dog", expected=expected), Change("position-swapping", 1.0))


@pytest.mark.parametrize("expected", "ABCD")
@pytest.mark.parametrize("by", [1, 2, 3])
def test_the_expected_text_is_the_same(expected: str, by: int) -> None:
    prompt = "How many?\nA. two\nB. three\nC. five\nD. none\nOne letter."
    variant = swapped(prompt, expected, by)
    assert variant.prompt != prompt
    assert options_of(variant.prompt)[variant.expected] == options_of(prompt)[expected]
    assert sorted(options_of(variant.prompt).values()) == sorted(options_of(prompt).values())
