"""What a change did to a prompt, marked word by word."""

from __future__ import annotations

import pytest

from pytest_mmsafety.report.word_diff import AROUND, MAX_CHANGED, MAX_WORDS, Piece, word_diff


def marked(before: str, after: str) -> tuple[str, str]:
    """Both sides, what changed in brackets."""
    diff = word_diff(before, after)
    one, other = (
        "".join(f"[{piece.text}]" if piece.kind == "changed" else piece.text for piece in side)
        for side in (diff.before, diff.after)
    )
    return one, other


@pytest.mark.parametrize(
    ("before", "after", "one", "other"),
    [
        ("the same", "the same", "the same", "the same"),
        ("", "", "", ""),
        ("", "new", "", "[new]"),
        ("one two", "Please: one two", "one two", "[Please: ]one two"),
        ("one two", "one two!", "one two", "one two[!]"),
        ("one two three", "one 2 three", "one [two] three", "one [2] three"),
        ("one two three", "one three", "one [two ]three", "one three"),
        ("say hello now", "say h e l l o now", "say [hello] now", "say [h e l l o] now"),
        ("a b c d", "a X Y d", "a [b c] d", "a [X Y] d"),
        ("这是图片", "这是大图片", "这是图片", "这是[大]图片"),
        ("aa bb", "aa\u200bx bb", "aa bb", "aa[\u200bx] bb"),
    ],
)
def test_whole_words_are_marked(before: str, after: str, one: str, other: str) -> None:
    assert marked(before, after) == (one, other)


def test_what_stays_the_same_is_shortened_but_not_beside_a_change() -> None:
    long = "".join(f"{i:04} " for i in range(200))
    diff = word_diff(f"{long}then {long}", f"{long}now {long}")
    head, change, tail = diff.after
    assert (head.text, head.left_out, head.rest) == ("", 1_000 - AROUND, long[-AROUND:])
    assert change == Piece("changed", "now")
    assert (tail.text, tail.left_out, tail.rest) == (f" {long}"[:AROUND], 1_001 - AROUND, "")


def test_a_text_without_a_change_is_shortened_in_its_middle() -> None:
    (piece,) = word_diff("x" * 1_000, "x" * 1_000).before
    assert piece == Piece("same", "x" * AROUND, 1_000 - 2 * AROUND, "x" * AROUND)


def test_a_long_change_is_cut() -> None:
    (piece,) = word_diff("", "y" * 5_000).after
    assert (len(piece.text), piece.left_out) == (MAX_CHANGED, 4_000)


def test_changes_all_over_a_long_text_are_one() -> None:
    words = [f"w{i}" for i in range(MAX_WORDS)]
    diff = word_diff(" ".join(words), " ".join(word.upper() for word in words))
    assert [piece.kind for piece in diff.before] == ["changed"]
