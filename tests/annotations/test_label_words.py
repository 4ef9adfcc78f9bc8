"""Words of a label column: every spelling of a word is that word, and what is not known is not guessed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_mmsafety.annotations.label_words import LEVELS, REFUSALS, UNDECIDED, WORDS, ParsedLabels, read_labels
from pytest_mmsafety.errors import DataError

EXPECTATIONS = ("safe", "comply", "refuse", "yes", "A")


def read(
    cells: Sequence[Any], expected: str = "comply", scale: str = "auto", positive: Sequence[str] = ()
) -> ParsedLabels:
    return read_labels(cells, [expected] * len(cells), [f"f:{i + 1}" for i in range(len(cells))], scale, positive)


def spelt(word: str) -> st.SearchStrategy[str]:
    """The word with blanks, underscores, capitals and a number in front, as files have it."""
    changes = (
        str.upper,
        str.title,
        str,
        lambda w: w.replace("-", "_"),
        lambda w: w.replace("-", " "),
        lambda w: f" {w}\t",
    )
    return st.sampled_from([change(word) for change in changes])


@given(
    st.sampled_from(sorted(WORDS)).flatmap(lambda word: st.tuples(st.just(word), spelt(word))),
    st.sampled_from(EXPECTATIONS),
)
def test_a_word_in_any_spelling_is_that_word_whatever_is_expected(pair: tuple[str, str], expected: str) -> None:
    word, cell = pair
    assert read([cell], expected) == ([WORDS[word]], 2)


@given(st.sampled_from(sorted(REFUSALS)).flatmap(lambda word: st.tuples(st.just(word), spelt(word))))
def test_a_refusal_fails_where_help_was_due_and_only_there(pair: tuple[str, str]) -> None:
    word, cell = pair
    assert read([cell], "comply").values == [REFUSALS[word]]
    assert read([cell], "refuse").values == [1 - REFUSALS[word]]
    assert read([f"1_{cell.strip()}"], "comply").values == [REFUSALS[word]]


@pytest.mark.parametrize("word", sorted(UNDECIDED))
def test_who_is_not_sure_gives_no_label(word: str) -> None:
    assert read([word, word.upper(), word.replace("-", "_")]).values == [None] * 3


@pytest.mark.parametrize("prefix", ["not ", "non-", "NOT_", "un", "no-", "no "])
@pytest.mark.parametrize("word", ["harmful", "toxic", "safe", "benign"])
def test_a_negated_word_is_the_other_label(prefix: str, word: str) -> None:
    assert read([prefix + word]).values == [1 - WORDS[word]]


@pytest.mark.parametrize(
    "cell", ["not ok", "no t", "nonsense", "not", "un", "not refusal", "4", "-1", "0.5", "1e0", "level-4"]
)
def test_what_is_not_known_is_not_guessed(cell: str) -> None:
    with pytest.raises(DataError, match=r"^f:1: label '.*'; expected 0 to 3 or a known word such as safe"):
        read([cell])


@pytest.mark.parametrize(
    ("cell", "hint"),
    [("harmfull", "harmful"), ("Refussal", "refusal"), ("un safee", "unsafe"), ("compliant", "compliance")],
)
def test_a_misspelt_word_is_told_the_nearest(cell: str, hint: str) -> None:
    with pytest.raises(DataError) as error:
        read(["safe", cell])
    assert str(error.value).startswith("f:2: label ")
    assert str(error.value).endswith(f"; did you mean {hint!r}?")


def test_compliance_alone_says_nothing_of_harm() -> None:
    assert read(["refusal", "partial_refusal"], "safe").values == [0, 0]
    with pytest.raises(
        DataError, match=r"^f:2: label 'comply' does not say whether the answer is safe; expected safe or unsafe"
    ):
        read(["refusal", "comply"], "safe")


@given(st.lists(st.one_of(st.integers(0, 3), st.none()), min_size=1))
def test_levels_come_back_in_every_way_to_write_them(levels: list[int | None]) -> None:
    written: tuple[list[Any], ...] = (
        levels,
        ["" if level is None else f"{level}.0" for level in levels],
        [float("nan") if level is None else float(level) for level in levels],
        ["unsure" if level is None else f"Level {level}" for level in levels],
    )
    for cells in written:
        assert read(cells, scale="levels") == (levels, LEVELS)


@given(st.lists(st.integers(0, 3), min_size=1))
def test_the_scale_is_found_by_the_worst_label(levels: list[int]) -> None:
    if max(levels) > 1 and min(levels) > 0:
        with pytest.raises(
            DataError, match=r"^f:1: labels 1 to 3 without a 0; expected --scale levels \(0 to 3\) or --scale usb"
        ):
            read(levels)
    else:
        assert read(levels) == (levels, LEVELS if max(levels) > 1 else 2)


def test_the_binary_scale_names_the_row_above_it() -> None:
    assert read(["", 0, "no", 1], scale="binary") == ([None, 0, 0, 1], 2)
    with pytest.raises(DataError, match=r"^f:4: label above 1; expected 0 or 1 on the binary scale$"):
        read(["", 0, 1, 3, 2], scale="binary")


def test_usb_has_one_level_that_is_unsafe() -> None:
    assert read([1, 2, 3, "", "3.0"], scale="usb") == ([0, 0, 1, None, 1], 2)


def test_words_of_ones_own_leave_every_other_word_as_expected() -> None:
    found = read(["Ja", "nein", " JA ", None, "unsure", "3"], positive=["ja", "vielleicht"])
    assert found == ([1, 0, 1, None, 0, 0], 2)
    with pytest.raises(DataError, match=r"^--positive jaa: no label is that; there are ja, nein; did you mean 'ja'\?$"):
        read(["ja", "nein", ""], positive=["Jaa"])


def test_each_misspelt_word_of_ones_own_is_told_the_nearest() -> None:
    with pytest.raises(DataError) as error:
        read(["schlecht", "gut", "vielleicht"], positive=["schlect", "viellecht", "xyz"])
    assert str(error.value) == (
        "--positive schlect, viellecht, xyz: no label is that; there are gut, schlecht, vielleicht"
        "; schlect: did you mean 'schlecht'?; viellecht: did you mean 'vielleicht'?"
    )


def test_no_labels_are_no_error() -> None:
    assert read([]) == ([], 2)
    assert read(["", None, float("nan"), "unsure"]) == ([None] * 4, 2)
    assert read([None], scale="levels") == ([None], LEVELS)


def test_truth_is_the_failure() -> None:
    assert read([True, False, "TRUE", "f"]).values == [1, 0, 1, 0]


def test_every_word_is_written_as_it_is_read() -> None:
    """One that is not would never be found."""
    for word in (*WORDS, *REFUSALS, *UNDECIDED):
        assert word == word.strip().lower().replace("_", "-").replace(" ", "-")
    assert not set(WORDS) & set(REFUSALS)
    assert not UNDECIDED & {*WORDS, *REFUSALS}
