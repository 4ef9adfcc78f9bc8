from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_mmsafety.judges import Judge
from pytest_mmsafety.judges.choice import Choice, options_of
from pytest_mmsafety.testing import make_case
from pytest_mmsafety.verdicts import Verdict

PROMPT = "Which one is in the picture?\nA. cat\nB. dog\nC. the red one\nD. bird"


def verdict(answer: str, prompt: str = PROMPT, expected: str = "B") -> Verdict:
    return Choice().judge([make_case(prompt=prompt, expected=expected)], [answer])[0]


def chosen(answer: str, prompt: str = PROMPT) -> str | None:
    found = verdict(answer, prompt)
    return None if found.score is None else found.reason.removeprefix("chooses ")


def test_is_a_judge_of_letters() -> None:
    assert isinstance(Choice(), Judge)
    assert Choice.expectations == frozenset("ABCDEFGH")


def test_verdicts() -> None:
    assert verdict("B") == Verdict("choice/1", "correct", 0.0, "chooses B")
    assert verdict("A") == Verdict("choice/1", "wrong", 1.0, "chooses A")
    assert verdict("A or B") == Verdict("choice/1", "unparsed", None, "chooses A and B")
    assert verdict("Hard to say.") == Verdict("choice/1", "unparsed", None, "no option chosen")
    assert verdict("E") == Verdict("choice/1", "unparsed", None, "chooses E, which is not on offer")


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("A", "A"), ("(A)", "A"), ("A.", "A"), ("A\n", "A"), ("[C]", "C"), ("【C】", "C"), ("'B'", "B"), ("**B**", "B"),
        ("Ⓑ", "B"), ("（Ｂ）", "B"), ("b", "B"), ("(b)", "B"), ("b) dog", "B"), ("answer: c", "C"), ("A.cat", "A"),
        ("B. the red one", "B"), ("B: dog", "B"), ("B because it barks", "B"), ("- B. dog", "B"),
        ("Answer: B", "B"), ("Answer - B", "B"), ("The answer is C", "C"), ("The correct answer is: (B) dog", "B"),
        ("The correct option is D.", "D"), ("Option (C)", "C"), ("I choose B because it barks.", "B"),
        ("I'd go with C.", "C"), ("It's A.", "A"), ("C is correct.", "C"), ("Let me look at it.\n\nB", "B"),
        (r"\boxed{C}", "C"), (r"$\boxed{\text{D}}$", "D"), ("The answer is A, not B.", "A"),
        ("Option A is incorrect. Option B is correct.", "B"), ("Answer: A. Explanation: B is wrong", "A"),
        ("选A", "A"), ("答案是B", "B"), ("答案：Ｂ", "B"), ("正确答案为：D。", "D"), ("故选：B", "B"),
        ("我选择C项", "C"), ("选项B", "B"), ("选项A错误，选B", "B"), ("A不正确，选B", "B"), ("選B", "B"),
    ],
)  # fmt: skip
def test_chosen_letter(answer: str, letter: str) -> None:
    assert chosen(answer) == letter


@pytest.mark.parametrize(
    "answer",
    [
        "", "None of them", "A cat is on the mat.", "A dog or a bird", "A's owner", "B-52 bombers", "D.C. is a city",
        "A.5 mm", "AB", "I would not choose A", "I don't think A is correct", "不选A", "答案A是错的", "A不是", "B型",
        "A is the first letter", "The second one", "cat, dog",
    ],
)  # fmt: skip
def test_no_choice(answer: str) -> None:
    assert verdict(answer).reason == "no option chosen"


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        ("A, B and C", "A and B and C"), ("A/B", "A and B"), ("A和B", "A and B"), ("Answer: A\nAnswer: B", "A and B"),
        ("A: a cat\nB: a dog", "A and B"), ("The answer could be A. But the answer is B.", "B"),
    ],
)  # fmt: skip
def test_several_choices(answer: str, named: str) -> None:
    assert verdict(answer).reason == f"chooses {named}"


@pytest.mark.parametrize(
    ("answer", "letter"),
    [("dog", "B"), ("Dog.", "B"), ("A dog", "B"), ("It is a dog.", "B"), ("The answer is bird", "D"),
     ("the red one", "C"), ("B dog", "B"), ("答案是bird", "D"), ("dogs", None), ("a dog and a cat", None)],
)  # fmt: skip
def test_text_of_one_option(answer: str, letter: str | None) -> None:
    assert chosen(answer) == letter


def test_same_text_twice_is_no_choice() -> None:
    assert chosen("dog", "Which?\nA. dog\nB. dog") is None


def test_options_of_the_prompt() -> None:
    assert options_of("Which?\r\n(A) a cat\r\n B、 狗。\nＣ．Bird\nC-3PO\nI. none") == {
        "A": "a cat",
        "B": "狗",
        "C": "bird",
    }


def test_without_options_in_the_prompt_any_letter_counts() -> None:
    assert chosen("H", "Look at the picture.") == "H"


ANSWERS = st.text() | st.text("ABC abc.,()is答案选不\n*", max_size=30)


@given(st.lists(st.tuples(ANSWERS, ANSWERS), max_size=4))
def test_any_text_gets_the_same_verdict_alone_and_in_a_batch(rows: list[tuple[str, str]]) -> None:
    cases, answers = [make_case(prompt=prompt, expected="B") for prompt, _ in rows], [answer for _, answer in rows]
    alone = [Choice().judge([c], [a])[0] for c, a in zip(cases, answers, strict=True)]
    assert Choice().judge(cases, answers) == alone


@given(
    st.sampled_from("ABCD"), st.sampled_from(["{}", "({})", "Answer: {}", "答案是{}", "I choose {}.", "{}) x", "选{}"])
)
def test_every_letter_in_every_form(letter: str, form: str) -> None:
    assert chosen(form.format(letter)) == letter


PIECES = [
    " ",
    "(",
    "A, ",
    "A\n",
    "\n ",
    "answer ",
    "option: ",
    "not ",
    "A",
    "答案是",
    "_",
    "选",
    "\u0301\u0316",
    "B. x\n",
]


@pytest.mark.parametrize("piece", PIECES)
@pytest.mark.timeout(60)  # a pattern that backtracks takes hours
def test_long_answers_do_not_hang(piece: str) -> None:
    text = (piece * 100_000)[:100_000]
    verdict(text, prompt=text)
