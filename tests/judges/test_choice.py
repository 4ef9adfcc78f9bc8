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
    assert verdict("B") == Verdict("choice/2", "correct", 0.0, "chooses B")
    assert verdict("A") == Verdict("choice/2", "wrong", 1.0, "chooses A")
    assert verdict("A or B") == Verdict("choice/2", "unparsed", None, "chooses A and B")
    assert verdict("Hard to say.") == Verdict("choice/2", "unparsed", None, "no option chosen")
    assert verdict("E") == Verdict("choice/2", "unparsed", None, "chooses E, which is not on offer")


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
    [
        (
            "The correct answer is B.\n\nHere's why:\n\n* **A:** red is not the colour.\n* **B:** green is.\n* **C:** blue is not.",
            "B",
        ),
        ("~~A~~ B", "B"),
        ("<answer>B</answer>", "B"),
        ("<think>\nThe answer is A? Hmm.\n</think>\n\nB", "B"),
        ("<|begin_of_box|>B<|end_of_box|>", "B"),
        ("B\n\n- A: no cat here\n- B: it barks\n- C: not red", "B"),
        ("**B**\n\nExplanation:\n- A. wrong\n- C. wrong\n- D. wrong", "B"),
        ("B. dog\n\nA is not there.\n* A: no\n* B: yes\n* C: no", "B"),
        ("A. cat - no\nB. dog - yes\nC. no\nD. no\n\nSo the answer is B.", "B"),
        ("Question: Which one?\nA. cat\nB. dog\nC. the red one\nD. bird\nAnswer: D", "D"),
        ('{"answer": "B"}', "B"),
        ('{"answer": "b"}', "B"),
        ('```json\n{"reason": "A is wrong", "answer": "C"}\n```', "C"),
        ("{'answer': 'D'}", "D"),
        ('{"answer": "dog"}', "B"),
        ('{"choice": "(B) dog"}', "B"),
        ("<answer>b</answer>", "B"),
        ("<answer>\nB\n</answer>", "B"),
        ("The cat is A. <answer>B</answer>", "B"),
        ("<answer>B. dog</answer>", "B"),
        ("<answer>dog</answer>", "B"),
        ("<answer>(B)</answer>", "B"),
        ("<answer>B", "B"),
        ("\\boxed{b}", "B"),
        ("The answer is $\\boxed{\\mathbf{B}}$", "B"),
        ("\\(\\boxed{B}\\)", "B"),
        ("\\boxed{B. dog}", "B"),
        ("$$\\boxed{B}$$", "B"),
        ("Answer: A. Final answer: B", "B"),
        ("I considered (A) at first. Final answer: B", "B"),
        ("最终答案：B", "B"),
        ("**Final Answer: B**", "B"),
        ("The final answer is B.", "B"),
        ("<del>A</del> B", "B"),
        ("<s>A</s> C", "C"),
        ("A\u0336 B", "B"),
        ("\\sout{A} B", "B"),
        ("~~The answer is A.~~ The answer is B.", "B"),
        ("[[B]]", "B"),
        ("［Ｂ］", "B"),
        ("答：B", "B"),
        ("答：Ｂ。", "B"),
        ("【答案】B", "B"),
        ("根据图片，答案是：B。", "B"),
        ("我认为是B。", "B"),
        ("正确的是B", "B"),
        ("B选项正确", "B"),
        ("B是正确的", "B"),
        ("应选B", "B"),
        ("答案为（B）", "B"),
        ("答案是b", "B"),
        ("选b", "B"),
        ("我选的是B", "B"),
        ("the answer is (b).", "B"),
        ("option b", "B"),
        ("the answer is c.", "C"),
        ("b.", "B"),
        ("answer: (c) the red one", "C"),
        ("the answer is a cat", "A"),
        ("B) dog", "B"),
        ("> B", "B"),
        ("1. B", "B"),
        ("- B", "B"),
        ("# B", "B"),
        ("Answer:\nB", "B"),
        ("Answer:\n\n**B. dog**", "B"),
        ("Ans: B", "B"),
        ("The best option would be B", "B"),
        ("B is right.", "B"),
        ("Correct answer: B\n\nA: cat\nB: dog\nC: red\nD: bird", "B"),
        ("**Answer: B**\n\n**A.** no\n**C.** no", "B"),
        ("B, because A is wrong", "B"),
        ("B (dog)", "B"),
        ("B - dog", "B"),
        ("B – dog", "B"),
        ("<b>B</b>", "B"),
        ("<p>B</p>", "B"),
        ("The answer is <strong>B</strong>.", "B"),
    ],
)
def test_final_answer_is_read(answer: str, letter: str) -> None:
    assert chosen(answer) == letter


@pytest.mark.parametrize(
    "answer",
    [
        "答案是A。等等，选B",
        "Answer: A → wait, B",
        "A. cat\nB. dog\nC. the red one\nD. bird",
        '{"answer": ["A","B"]}',
        '{"answer": "A or B"}',
        "The answer is A. <answer>B</answer>",
        "<answer>A</answer><answer>B</answer>",
        "\\boxed{A} \\boxed{B}",
        "Answer: A. No, B.",
        "A... actually B",
        "A -> B",
        "A, wait, C",
        "The answer is A. On second thought, B.",
        "I choose A. Sorry, I mean B.",
        "答案是A，不对，应该是B",
        "选A，等等，选B",
        "A or maybe B",
        "Answer: A? B?",
        "Final answer: A. Wait, B",
        "选A或B",
        "A、B都对",
        "A and B are both there.",
        "None of the above",
        "It could be A or B",
        "E",
        "B\nA",
        "Answer: B\nA",
    ],
)
def test_what_is_taken_back_or_doubtful_is_unscored(answer: str) -> None:
    assert verdict(answer).label == "unparsed"
    assert verdict(answer).score is None


def test_a_list_of_the_options_that_breaks_off_chooses_none() -> None:
    assert verdict("A. cat\nB. dog\nC. the red one\nD. bird\nA. cat\nB").score is None
    assert verdict("A. cat\nB. dog\n\nA. cat\nB. dog").reason == "chooses A and B"


def test_a_thought_that_never_ended_is_cut_off() -> None:
    assert verdict("<think>The answer is B").label == "cut-off"
    assert verdict("<think>The answer is B").score is None


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
    "wait, ",
    "→ ",
    "- A: x\n",
    "Answer: A ",
]


@pytest.mark.parametrize("piece", PIECES)
@pytest.mark.timeout(60)  # a pattern that backtracks takes hours
def test_long_answers_do_not_hang(piece: str) -> None:
    text = (piece * 100_000)[:100_000]
    verdict(text, prompt=text)
