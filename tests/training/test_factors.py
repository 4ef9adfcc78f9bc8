"""The factors of GuardRank-mini: what each is trained on, how answers weigh, and that the judge computes the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mini_material import labelled, material

from pytest_mmsafety.errors import SetupError
from pytest_mmsafety.judges.guardrank_mini.features import EMBEDDED, features_of, request_meaning
from pytest_mmsafety.judges.guardrank_mini.weights import HEADS, Weights
from pytest_mmsafety.training.mini.held_out import BANDS, Calibrator, _arrays
from pytest_mmsafety.training.mini.linear import Linear
from pytest_mmsafety.training.mini.sources import LabelledAnswer
from pytest_mmsafety.training.mini.training import (
    DECLINING,
    NO_CONTENT,
    RAREST,
    Factors,
    Material,
    Trainer,
    _by_source_and_class,
    _Rows,
    _weights,
    _with_weak_refusals,
    choose,
    gather,
    margins,
)


@pytest.fixture(scope="module")
def known() -> Material:
    return material([*labelled("one"), *labelled("two")])


@pytest.fixture(scope="module")
def factors(known: Material) -> Factors:
    return Trainer(known, {}).train(everything(known))


def everything(of: Material) -> Any:
    return np.arange(len(of.answers))


def rows_of(answers: list[LabelledAnswer]) -> _Rows:
    return _Rows.of(material(answers), np.arange(len(answers)))


def same(one: Linear, other: Linear) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


# --- the judge and the training agree


def test_the_judge_gives_the_probabilities_that_the_training_calibrated(known: Material, factors: Factors) -> None:
    calibrators = {head: Calibrator(1.5 + i, 0.25 * i, -0.5 * i) for i, head in enumerate(HEADS)}
    weights = Weights(_arrays(factors, calibrators), {}, "")
    found = margins(factors, known, everything(known))
    for i, features in enumerate(known.features):
        given_ = weights.probabilities(features, known.requests[i])
        for head in HEADS:
            wanted = calibrators[head].probability(
                getattr(found, head)[i : i + 1], known.declines[i : i + 1].astype(float)
            )
            assert given_[head] == pytest.approx(wanted[0], abs=1e-6)


def test_a_request_that_is_not_known_counts_as_the_usual_one(known: Material, factors: Factors) -> None:
    weights = Weights(_arrays(factors, dict.fromkeys(HEADS, Calibrator(1.0, 0.0, 0.0))), {}, "")
    contributions = known.requests @ factors.content.request - factors.content.usual_request
    assert contributions.std() > 0.01
    assert contributions[known.refusal == 0].mean() == pytest.approx(0, abs=1e-9), "of the help that it was trained on"
    for i in (0, 3):
        with_, without = (weights._margins(known.features[i], request) for request in (known.requests[i], None))
        assert with_[1] - without[1] == pytest.approx(contributions[i], abs=1e-6)
        assert [with_[part] for part in (0, 2, 3)] == [without[part] for part in (0, 2, 3)], "only of the kind of harm"


def test_the_arrays_are_the_factors_by_row_and_the_bands_of_the_heads(factors: Factors) -> None:
    calibrators = {head: Calibrator(float(i), 2.0, 3.0) for i, head in enumerate(HEADS)}
    arrays = _arrays(factors, calibrators)
    for i, name in enumerate(("giving", "content", "refusal", "partial")):
        assert all(np.array_equal(arrays[field][i], getattr(getattr(factors, name), field)) for field in Linear._fields)
    assert arrays["calibration"].tolist() == [[0.0, 2.0, 3.0], [1.0, 2.0, 3.0], [2.0, 2.0, 3.0]]
    assert arrays["band"].tolist() == [list(BANDS[head]) for head in HEADS]


# --- what is learned


def test_each_factor_tells_its_labels_apart(known: Material, factors: Factors) -> None:
    found = margins(factors, known, everything(known))
    for head in HEADS:
        labels, margin = getattr(known, head), getattr(found, head)
        assert margin[labels == 1].min() > margin[labels == 0].max(), head
    assert (found.harm <= 0).all(), "the log of a probability"
    assert found.rows.tolist() == list(range(len(known.answers)))


def test_margins_of_some_answers_are_those_among_all(known: Material, factors: Factors) -> None:
    some = np.array([5, 0, 17])
    whole, part = margins(factors, known, everything(known)), margins(factors, known, some)
    assert part.harm == pytest.approx(whole.harm[some], abs=1e-12)
    assert part.refusal == pytest.approx(whole.refusal[some], abs=1e-12)


def test_answers_that_are_not_trained_on_change_nothing(known: Material, factors: Factors) -> None:
    wider = material([*known.answers, *labelled("three", 8, harm=True, refusal="none")])
    again = Trainer(wider, {}).train(everything(known))
    assert all(same(one, other) for one, other in zip(again[1:], factors[1:], strict=True))
    assert np.array_equal(again.idf, factors.idf)


def test_the_order_of_the_sources_changes_no_factor_much(known: Material, factors: Factors) -> None:
    again = Trainer(known, {}).train(everything(known)[::-1])
    one, other = (margins(found, known, everything(known)) for found in (factors, again))
    assert other.harm == pytest.approx(one.harm, abs=0.02)
    assert np.array_equal(again.idf, factors.idf)


def test_a_phrase_that_declines_counts_against_giving_in(factors: Factors) -> None:
    assert factors.giving.declines == DECLINING
    assert (factors.content.declines, factors.refusal.declines, factors.partial.declines) == (0.0, 0.0, 0.0)


def test_only_the_opening_tells_a_refusal(factors: Factors) -> None:
    assert factors.refusal.meaning[:EMBEDDED].any()
    assert not factors.refusal.meaning[EMBEDDED:].any()


def test_a_rare_n_gram_does_not_count() -> None:
    answers = [
        LabelledAnswer("s", f"q{i}", text, harm=True, refusal=None) for i, text in enumerate(["zz"] * 3 + ["aa"] * 4)
    ]
    data = rows_of(answers)
    of_z, of_a = (material(answers).features[i].buckets for i in (0, 6))
    only_z, only_a = np.setdiff1d(of_z, of_a), np.setdiff1d(of_a, of_z)
    assert RAREST == 4
    assert not data.idf[only_z].any()
    assert data.idf[only_a] == pytest.approx(np.float16(np.log(8 / 5) + 1))


def test_without_harmless_help_every_help_is_of_a_harmful_kind() -> None:
    """The second factor is then 1: it takes nothing from the first one."""
    answers = [a for a in [*labelled("one"), *labelled("two")] if a.harm or a.refusal != "none"]
    found = Trainer(material(answers), {}).train(np.arange(len(answers)))
    assert found.content.intercept == NO_CONTENT
    assert not any(np.any(column) for column in found.content[:-1])


def test_partial_refusals_that_are_not_labelled_leave_their_factor_empty() -> None:
    answers = [a._replace(refusal=a.refusal.replace("partial", "full")) for a in labelled("one") if a.refusal]
    found = Trainer(material(answers), {}).train(np.arange(len(answers)))
    assert not any(np.any(column) for column in found.partial)


def test_refusals_are_guessed_only_where_a_source_has_no_label_of_them() -> None:
    def answer(source: str, response: str, harm: bool | None, refusal: str | None = None) -> LabelledAnswer:
        return LabelledAnswer(source, "q", response, harm, refusal)

    data = rows_of(
        [
            answer("guessed", "take it", True),
            answer("guessed", "sorry, no", True),
            answer("guessed", "sorry, no", False),
            answer("guessed", "take it", False),
            answer("guessed", "sorry, no", None),
            answer("labelled", "sorry, no", False),
            answer("labelled", "take it", True, "none"),
            answer("labelled", "sorry, but", False, "partial"),
        ]
    )
    assert _with_weak_refusals(data).tolist() == [0, 0, 1, -1, -1, -1, 0, 1]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"harm": None}, "one: expected answers of both kinds, for harm and for refusal"),
        ({"harm": True}, "one: expected answers of both kinds"),
        ({"refusal": "none"}, "one: expected answers of both kinds"),
    ],
)
def test_labels_of_one_kind_teach_no_factor(change: dict[str, Any], said: str) -> None:
    answers = labelled("one", **change)
    with pytest.raises(SetupError, match=f"^{said}"):
        Trainer(material(answers), {}).train(np.arange(len(answers)))


def test_no_answers_are_named_as_such(known: Material) -> None:
    with pytest.raises(SetupError, match=r"^no answers to train on$"):
        Trainer(known, {}).train(np.array([], dtype=int))


# --- how answers weigh


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 4)), min_size=1, max_size=20))
def test_both_classes_weigh_the_same_and_repeated_questions_less(drawn: list[tuple[bool, int]]) -> None:
    data = rows_of([LabelledAnswer("s", f"q{q}", f"a {i}", harm, None) for i, (harm, q) in enumerate(drawn)])
    rows = np.arange(len(drawn))
    weights = _weights(data, rows, data.harm)
    for value in {harm for harm, _ in drawn}:
        inside = [(q, weight) for (harm, q), weight in zip(drawn, weights, strict=True) if harm == value]
        assert sum(weight for _, weight in inside) == pytest.approx(1)
        counts = [sum(q == other for other, _ in inside) for q, _ in inside]
        products = [weight * count**0.5 for (_, weight), count in zip(inside, counts, strict=True)]
        assert products == pytest.approx([products[0]] * len(products))


def test_sources_share_the_weight_of_their_class() -> None:
    kinds = [("a", True)] * 4 + [("b", True), ("a", False)] + [("c", False)] * 2
    data = rows_of([LabelledAnswer(s, f"q{i}", f"a {i}", harm, None) for i, (s, harm) in enumerate(kinds)])
    weights = _by_source_and_class(data, np.arange(8))
    assert weights.tolist() == [0.125] * 4 + [0.5, 0.5] + [0.25] * 2


# --- the teacher


def states_of(known: Material, seed: int = 0) -> dict[int, Any]:
    """Hidden states in which one of eight directions is harm."""
    noise = np.random.default_rng(seed).normal(size=(len(known.answers), 8)).astype(np.float32)
    noise[:, 2] += 3 * (known.harm == 1)
    return dict(enumerate(noise))


def test_the_student_repeats_the_teacher_in_features_of_its_own(known: Material, factors: Factors) -> None:
    taught = Trainer(known, states_of(known)).train(everything(known))
    student = Linear(*(a - b for a, b in zip(taught.giving, factors.giving, strict=True)))
    tfidf = _Rows.of(known, everything(known)).tfidf
    meaning = np.stack([features.meaning for features in known.features])
    scores = tfidf @ student.ngrams + meaning @ student.meaning
    assert scores[known.harm == 1].min() > np.median(scores[known.harm == 0])
    assert scores[known.harm == 1].mean() > scores[known.harm == 0].mean() + 1
    assert not student.request.any()
    assert (student.usual_request, student.declines) == (0.0, 0.0)
    assert all(same(getattr(taught, name), getattr(factors, name)) for name in ("content", "refusal", "partial"))


def test_states_of_answers_that_are_held_out_teach_nothing(known: Material) -> None:
    rows = np.flatnonzero(known.source == "one")
    states = states_of(known)
    own = {number: state for number, state in states.items() if number in rows}
    assert len(own) < len(states)
    assert same(Trainer(known, states).train(rows).giving, Trainer(known, own).train(rows).giving)
    poisoned = {number: state if number in rows else state + 1e3 for number, state in states.items()}
    assert same(Trainer(known, poisoned).train(rows).giving, Trainer(known, own).train(rows).giving)


# --- answers and their features


def test_gathered_material_is_of_the_answers_in_their_order() -> None:
    answers = [
        LabelledAnswer("b", "What is red?", "I'm sorry, but I cannot help with that.", harm=False, refusal="full"),
        LabelledAnswer("a", "为何？", "因为天空是蓝色的。", harm=None, refusal="none", language="zh"),
        LabelledAnswer("a", "What is red?", "A kite is.", harm=True, refusal=None),
        LabelledAnswer(
            "a", "What is blue?", "Sorry, I can't help with all of it, but look up.", harm=False, refusal="partial"
        ),
    ]
    told: list[tuple[int, int]] = []
    found = gather(answers, lambda i, n: told.append((i, n)))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert found.source.tolist() == ["b", "a", "a", "a"]
    assert found.question.tolist() == [0, 1, 0, 2]
    assert found.harm.tolist() == [0, -1, 1, 0]
    assert found.refusal.tolist() == [1, 0, -1, 1]
    assert found.partial.tolist() == [0, -1, -1, 1]
    assert found.declines.tolist() == [True, False, False, True]
    assert found.language.tolist() == ["en", "zh", "en", "en"]
    assert np.array_equal(found.requests[2], request_meaning("What is red?"))
    assert np.array_equal(found.features[1].meaning, features_of(answers[1].response).meaning)


def test_kinds_of_labels_are_taken_in_turn_from_each_source() -> None:
    answers = [
        LabelledAnswer(source, str(i), "r", harm=i < 2, refusal=("none", "full")[i % 2])
        for source in ("b", "a")
        for i in range(20)
    ]
    chosen = choose(answers, 6, seed=1)
    assert [answer.source for answer in chosen] == ["a"] * 6 + ["b"] * 6
    for source in ("a", "b"):
        kinds = [(answer.harm, answer.refusal) for answer in chosen if answer.source == source]
        assert len(set(kinds[:4])) == 4, "each kind once before any comes twice"
    assert choose([*answers, *answers], 6, seed=1) == chosen
    assert choose(answers, 6, seed=2) != chosen
    assert choose([], 6, seed=1) == []
