"""Text from outside made visible, and numbers that can be compared by eye: for any text and any numbers."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from report_builders import spaced

from pytest_mmsafety.report.text import Clip, clip, count, first_upper, percent, percents, short, visible, whole_percent

UNSEEN = "\x00\x08\x0b\x1f\x7f\x9f\xad\u061c\u115f\u180e\u200b\u200e\u2028\u202e\u2060\u206f\u3164\ud800\udfff\ufeff"
HIDDEN = "\uffa0\ufff9\ufffb\U000e0000\U000e0041\U000e007f\U000e0100\U000e01ef"
BLANK = "\u034f\u1160\u17b4\u17b5\u180b\u180f\u2800\ufe00\ufe0e\ufe0f\U00016fe4\U0001d159"
JOINERS = "\u200c\u200d"
UNASSIGNED = "\u0378\u2065\ufdd0\ufff0\uffff\U000e0080\U000e0fff\U0010ffff"
PRIVATE = "\ue000\uf8ff\U000f0000\U0010fffd"
FORMAT = "\u0600\u06dd\u070f\u08e2\U000110bd\U00013430\U0001bca0\U0001d173"
ALL_UNSEEN = UNSEEN + HIDDEN + BLANK + UNASSIGNED + PRIVATE + FORMAT


@pytest.mark.parametrize("character", [*ALL_UNSEEN, *JOINERS])
def test_an_unseen_character_is_named_by_its_code(character: str) -> None:
    assert visible(f"a{character}b") == f"a⟨U+{ord(character):04X}⟩b"


@pytest.mark.parametrize("character", ["\t", "\n", " ", "\xa0", "\u3000", "é", "图", "𠀀", "。", "가", "👩"])
def test_a_character_that_people_write_with_is_kept(character: str) -> None:
    assert visible(f"a{character}b") == f"a{character}b"


def test_characters_of_a_category_without_a_shape_are_named() -> None:
    shapeless = {"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"}
    some = [*range(0x3000), *range(0x3000, 0x110000, 7)]
    unseen = (char for char in map(chr, some) if unicodedata.category(char) in shapeless)
    assert set(visible("".join(unseen))) == {"\t", "\n", *"⟨U+0123456789ABCDEF⟩"}


@pytest.mark.parametrize(
    "text",
    [
        "❤\ufe0f 👍🏽 ☎\ufe0f 1\ufe0f\u20e3 #\ufe0f\u20e3",
        "👩🏽\u200d🚀 👨\u200d👩\u200d👧\u200d👦 🏳\ufe0f\u200d🌈 ❤\ufe0f\u200d🔥",
        "🇨🇳🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
        "می\u200cخواهم",
        "क्\u200dष",
        "你好,世界。「图片」\u3000安全!",
    ],
)
def test_emoji_and_scripts_that_are_spelled_with_unseen_characters_are_kept(text: str) -> None:
    assert visible(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\u200d👩", "a⟨U+200D⟩👩"),
        ("👩\u200d\u200d👩", "👩⟨U+200D⟩⟨U+200D⟩👩"),
        ("👩\ufe0f\ufe0f", "👩\ufe0f⟨U+FE0F⟩"),
        ("1\ufe0f", "1⟨U+FE0F⟩"),
        ("م\u200c\u200cم", "م⟨U+200C⟩⟨U+200C⟩م"),
        ("م\u061cم\u200cم", "م⟨U+061C⟩م⟨U+200C⟩م"),
        ("🏴\U000e0067\U000e0067\U000e007f", "🏴⟨U+E0067⟩⟨U+E0067⟩⟨U+E007F⟩"),
        ("图\ufe00图\U000e0100", "图⟨U+FE00⟩图⟨U+E0100⟩"),
    ],
)
def test_unseen_characters_that_spell_nothing_are_named_beside_emoji_and_letters_too(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_only_a_whole_line_end_of_windows_becomes_a_line_feed() -> None:
    assert visible("a\r\nb\rc\n\r") == "a\nb⟨U+000D⟩c\n⟨U+000D⟩"


@given(st.text(st.characters(exclude_characters="⟨⟩\r") | st.sampled_from(ALL_UNSEEN + JOINERS + "👩❤م1")))
def test_what_was_written_out_can_be_read_back(text: str) -> None:
    shown = visible(text)
    assert visible(shown) == shown
    assert not set(shown) & set(ALL_UNSEEN) - {"\ufe0f"}
    assert re.sub("⟨U\\+([0-9A-F]+)⟩", lambda found: chr(int(found[1], 16)), shown) == text


@given(st.text(max_size=30), st.integers(0, 40))
def test_a_clip_is_the_beginning_and_says_what_is_left_out(text: str, limit: int) -> None:
    found = clip(text, limit)
    assert text.startswith(found.shown)
    assert len(found.shown) == min(len(text), limit)
    assert found.clipped == max(0, len(text) - limit)
    assert found.total == len(text)


def test_a_text_at_the_limit_is_whole() -> None:
    assert clip("abc", 3) == Clip("abc", 3)
    assert clip("abcd", 3) == Clip("abc", 4)


def test_counts_have_commas_and_names_keep_their_capitals() -> None:
    assert [count(number) for number in (0, 999, 20_000, 1_234_567)] == ["0", "999", "20,000", "1,234,567"]
    assert [first_upper(text) for text in ("aSD", "ASD rate", "", "已")] == ["ASD", "ASD rate", "", "已"]


@pytest.mark.parametrize(
    ("fingerprint", "shown"),
    [
        ("a1" * 16, "a1a1a1a1a1a1"),
        ("a" * 31, "a" * 31),
        ("A1" * 16, "A1" * 16),
        ("sha256:" + "a1" * 16, "sha256:" + "a1" * 16),
        ("a1" * 16 + "\n", "a1" * 16 + "\n"),
    ],
)
def test_only_a_whole_digest_is_cut(fingerprint: str, shown: str) -> None:
    assert short(fingerprint) == shown


@pytest.mark.parametrize(
    ("share", "one_decimal", "none"),
    [
        (0.0, "0 %", "0 %"),
        (1.0, "100 %", "100 %"),
        (0.25, "25.0 %", "25 %"),
        (0.004, "0.4 %", "< 1 %"),
        (0.0004, "< 0.1 %", "< 1 %"),
        (0.996, "99.6 %", "> 99 %"),
        (0.9996, "> 99.9 %", "> 99 %"),
        (0.994, "99.4 %", "99 %"),
    ],
)
def test_only_a_true_end_is_printed_as_one(share: float, one_decimal: str, none: str) -> None:
    assert spaced(percent(share)) == one_decimal
    assert spaced(whole_percent(share)) == none


@pytest.mark.parametrize(
    ("shares", "printed"),
    [
        ((0.05, 0.1), ["5.0 %", "10.0 %"]),
        ((0.05, 0.05), ["5.0 %", "5.0 %"]),
        ((0.0504, 0.05), ["5.04 %", "5.00 %"]),
        ((0.05004, 0.05), ["5.004 %", "5.000 %"]),
        ((0.050004, 0.05, 0.0), ["5.0004 %", "5.0000 %", "0 %"]),
        ((0.0500004, 0.05), ["5.0000 %", "5.0000 %"]),
        ((0.9999, 0.99999, 1.0), ["99.99 %", "> 99.99 %", "100 %"]),
    ],
)
def test_as_many_decimals_as_it_takes_and_no_more_than_four(shares: tuple[float, ...], printed: list[str]) -> None:
    assert [spaced(text) for text in percents(*shares)] == printed


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=6))
@example([1, 2, 10**6 - 1, 10**6, 0])
def test_shares_are_printed_alike_exactly_if_they_are_alike(millionths: list[int]) -> None:
    printed = percents(*(number / 10**6 for number in millionths))
    assert len(set(printed)) == len(set(millionths))
    for number, text in zip(millionths, printed, strict=True):
        assert (text == "0\N{NO-BREAK SPACE}%") is (number == 0)
        assert (text == "100\N{NO-BREAK SPACE}%") is (number == 10**6)


@given(st.floats(0, 1))
def test_a_printed_percentage_is_true_to_its_last_digit(share: float) -> None:
    sign, _, number = spaced(percent(share)).removesuffix(" %").rpartition(" ")
    if sign == "<":
        assert 0 < share < 0.001
    elif sign == ">":
        assert 0.999 < share < 1
    else:
        assert float(number) == pytest.approx(100 * share, abs=0.0501)
