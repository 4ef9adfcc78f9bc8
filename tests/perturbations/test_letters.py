"""Changes of letters: how many, which, and nothing else."""

from __future__ import annotations

import unicodedata
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_mmsafety.cases import Change, Parameter
from pytest_mmsafety.perturbations import PERTURBATIONS, perturb, words_of
from pytest_mmsafety.testing import make_case

PROMPT = "Which of these travellers should answer the question, A or B? 请问哪一位？"
REPLACING = ("unicode-confusable", "random-capital-letters", "leetspeak", "diacritic")
INSERTING = {"insert-punctuation": ",", "character-space": " ", "zero-width": "\u200b"}
LETTERS = (*REPLACING, *INSERTING, "char-swap")


def changed(name: str, strength: float, prompt: str = PROMPT, **parameters: Parameter) -> str:
    return perturb(make_case(prompt=prompt, expected="safe"), [Change(name, strength, parameters)]).prompt


def places(name: str, strength: float, prompt: str = PROMPT) -> set[int]:
    """Where in *prompt* something was replaced or put in."""
    after = changed(name, strength, prompt)
    if name == "diacritic":
        after = "".join(letter for letter in unicodedata.normalize("NFC", after))
    found, at = set(), 0
    for index, letter in enumerate(prompt):
        if name in INSERTING:
            if after[at] != letter:
                found.add(index)
                at += 1
        elif after[at] != letter or (name == "diacritic" and after[at + 1 : at + 2] == "\u0301"):
            found.add(index)
            at += after[at + 1 : at + 2] == "\u0301"
        at += 1
    return found


def test_all_of_them_are_here() -> None:
    assert {name for name, kind in PERTURBATIONS.items() if kind.by_word} == {*LETTERS, "typographic-transfer"}


@pytest.mark.parametrize("name", [*REPLACING, *INSERTING])
def test_a_stronger_change_has_all_of_a_weaker_one(name: str) -> None:
    steps = [places(name, step / 20) for step in range(21)]
    assert steps[0] == set()
    assert len(steps[1]) >= 1
    assert all(weaker <= stronger for weaker, stronger in pairwise(steps))
    assert len(steps[20]) > 10


def test_swaps_are_nested_too() -> None:
    steps = [changed("char-swap", step / 20) for step in range(21)]
    apart = [sum(a != b for a, b in zip(PROMPT, step, strict=True)) for step in steps]
    assert apart == sorted(apart)
    assert apart[0] == 0
    assert apart[1] == 2


@pytest.mark.parametrize("name", LETTERS)
def test_one_word_at_the_weakest_is_one_place(name: str) -> None:
    start, end = words_of(PROMPT)[3]
    assert PROMPT[start:end] == "travellers"
    after = changed(name, 0.05, words=(3,))
    tail = len(PROMPT) - end
    assert (after[:start], after[-tail:]) == (PROMPT[:start], PROMPT[-tail:])
    word = after[start:-tail]
    if name in INSERTING:
        assert word.replace(INSERTING[name], "", 1) == "travellers"
    elif name == "char-swap":
        assert sorted(word) == sorted("travellers") != list(word)
    else:
        plain = unicodedata.normalize("NFD", word) if name == "diacritic" else word
        plain = plain.replace("\u0301", "", 1) if name == "diacritic" else plain
        assert sum(a != b for a, b in zip(plain, "travellers", strict=True)) == (name != "diacritic")
        assert word != "travellers"


@pytest.mark.parametrize("name", LETTERS)
def test_words_that_are_not_there_and_no_words(name: str) -> None:
    assert changed(name, 1.0, words=()) == PROMPT
    assert changed(name, 1.0, words=(999,)) == PROMPT


@pytest.mark.parametrize("name", LETTERS)
@given(words=st.sets(st.integers(0, 11)), strength=st.floats(0.01, 1))
def test_other_words_stay(name: str, words: set[int], strength: float) -> None:
    prompt = "one two three four five six seven eight nine ten eleven twelve"
    after = changed(name, strength, prompt, words=tuple(words))
    if name != "character-space":
        pairs = zip(prompt.split(), after.split(), strict=True)
        assert {index for index, (before, now) in enumerate(pairs) if before != now} <= words


@pytest.mark.parametrize("name", LETTERS)
def test_letters_of_options_stay(name: str) -> None:
    after = changed(name, 1.0, "A. cat\nB. dog\nReply with A or B.")
    assert after.startswith("A. ")
    assert "\nB. " in after
    assert after.endswith("B.")


def test_a_lookalike_is_another_letter() -> None:
    assert changed("unicode-confusable", 1.0, "pace") == "\u0440\u0430\u0441\u0435"
    assert unicodedata.normalize("NFKC", changed("unicode-confusable", 1.0, "一人大")) == "一人大"
    assert changed("unicode-confusable", 1.0, "一人大") != "一人大"


@pytest.mark.parametrize("name", ["leetspeak", "diacritic", "char-swap", "random-capital-letters"])
def test_not_for_chinese(name: str) -> None:
    assert changed(name, 1.0, "请问哪一位？") == "请问哪一位？"


@pytest.mark.parametrize("name", INSERTING)
def test_chinese_is_set_apart(name: str) -> None:
    assert changed(name, 1.0, "请问，人") == f"请{INSERTING[name]}问，人"


def test_marks_and_accents() -> None:
    assert changed("insert-punctuation", 1.0, "cat", mark="hyphen") == "c-a-t"
    assert changed("diacritic", 1.0, "ao", accent="diaeresis") == "äö"
    assert changed("leetspeak", 1.0, "test") == "7357"
