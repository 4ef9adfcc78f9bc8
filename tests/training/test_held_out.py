"""What a judge is worth on sources that it has not seen: nothing of them may reach it, and figures are counted by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mini_material import labelled, material
from scipy.special import expit, logit

from pytest_mmsafety.annotations.measures import Interval
from pytest_mmsafety.errors import SetupError
from pytest_mmsafety.training.mini.card import card_text
from pytest_mmsafety.training.mini.held_out import (
    BANDS,
    NO_PARTIAL,
    Calibrator,
    HeldOut,
    HeldOutConfig,
    _card,
    _coin,
    _figure,
    _halves,
    _stands_alone,
    calibrate,
    figures,
    held_out,
)
from pytest_mmsafety.training.mini.sources import LabelledAnswer
from pytest_mmsafety.training.mini.training import Margins, Material, Trainer

Labels = Sequence[bool | None]


def judged(*sources: tuple[str, str, Labels, Sequence[float]]) -> tuple[Material, list[HeldOut]]:
    """Answers by source and way of holding out, with labels of harm (and of refusals, the same) and margins."""
    answers, parts = [], []
    for source, how, labels, margins in sources:
        rows = np.arange(len(answers), len(answers) + len(labels))
        answers += [
            LabelledAnswer(
                source, f"{source} {how} {i}", f"a {i}", harm, None if harm is None else "full" if harm else "none"
            )
            for i, harm in enumerate(labels)
        ]
        values = np.array(margins, dtype=float)
        parts.append(HeldOut(source, how, Margins(rows, values, values, values)))
    return material(answers), parts


BALANCED: tuple[Labels, Sequence[float]] = (
    [True, True, True, False, False, False, False, True],
    [1.0] * 4 + [-1.0] * 4,
)
"""Margin 1: three of four do harm; margin -1: one of four."""


# --- nothing of what is tested reaches the judge


@pytest.fixture(scope="module")
def known() -> Material:
    return material([*labelled("one"), *labelled("two"), *labelled("three")])


def parts_of(of: Material) -> dict[tuple[str, str], Margins]:
    rows = np.arange(len(of.answers))
    return {(part.source, part.how): part.margins for part in held_out(Trainer(of, {}), rows, rows, lambda _: None)}


@pytest.fixture(scope="module")
def parts(known: Material) -> dict[tuple[str, str], Margins]:
    return parts_of(known)


def relabelled(of: Material, mask: Any) -> Material:
    """The same answers, the ones of *mask* with the opposite label of harm, among help alone."""
    turn = mask & (of.refusal == 0)
    return material([a._replace(harm=not a.harm) if flip else a for a, flip in zip(of.answers, turn, strict=True)])


def test_every_source_is_held_out_whole_and_by_its_questions(
    known: Material, parts: dict[tuple[str, str], Margins]
) -> None:
    assert list(parts) == [(source, how) for source in ("one", "three", "two") for how in ("source", "questions")]
    for (source, _), margins in parts.items():
        assert sorted(margins.rows) == np.flatnonzero(known.source == source).tolist()


def test_labels_of_a_source_change_nothing_of_what_is_said_of_it(
    known: Material, parts: dict[tuple[str, str], Margins]
) -> None:
    again = parts_of(relabelled(known, known.source == "one"))
    assert np.array_equal(again["one", "source"].harm, parts["one", "source"].harm)
    assert np.array_equal(again["one", "source"].refusal, parts["one", "source"].refusal)
    assert not np.array_equal(again["two", "source"].harm, parts["two", "source"].harm), "the others do learn from it"


def test_labels_of_half_of_the_questions_change_only_what_is_said_of_the_other_half(
    known: Material, parts: dict[tuple[str, str], Margins]
) -> None:
    first, second = _halves(known, np.flatnonzero(known.source == "one"))
    again = parts_of(relabelled(known, np.isin(np.arange(len(known.answers)), first)))["one", "questions"]
    before = parts["one", "questions"]
    assert again.rows.tolist() == before.rows.tolist() == [*first, *second]
    assert np.array_equal(again.harm[: len(first)], before.harm[: len(first)])
    assert not np.array_equal(again.harm[len(first) :], before.harm[len(first) :])


def test_a_question_that_two_sources_share_is_held_out_of_both() -> None:
    shared = [answer._replace(source="two") for answer in labelled("one")[:4]]
    of = material([*labelled("one"), *labelled("two"), *shared])
    mask = np.arange(len(of.answers)) >= len(of.answers) - len(shared)
    before, again = parts_of(of)["one", "source"], parts_of(relabelled(of, mask))["one", "source"]
    assert np.array_equal(before.harm, again.harm)


def test_halves_share_no_question_and_more_answers_move_none(known: Material) -> None:
    own = np.flatnonzero(known.source == "one")
    first, second = _halves(known, own)
    assert sorted([*first, *second]) == own.tolist()
    assert not set(known.question[first]) & set(known.question[second])
    assert all(_coin(known.answers[i].question) for i in first)
    assert 0.4 < np.mean([_coin(f"question {i}") for i in range(1000)]) < 0.6


def test_a_source_whose_others_teach_too_little_is_passed_over() -> None:
    of = material([*labelled("one"), *labelled("two", refusal="none")])
    told: list[str] = []
    rows = np.arange(len(of.answers))
    found = held_out(Trainer(of, {}), rows, rows, told.append)
    assert [(part.source, part.how) for part in found] == [
        ("one", "questions"),
        ("two", "source"),
        ("two", "questions"),
    ]
    assert told == [
        "without one", "without one, half of its questions at a time",
        "without two", "without two, half of its questions at a time",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("own", "others", "alone"),
    [
        (labelled("own"), labelled("other"), True),  # help of both kinds
        (labelled("own", harm=True), labelled("other"), False),
        (labelled("own", harm=True, language="zh"), labelled("other"), True),
        (labelled("own", harm=True, language="zh"), labelled("other", language="zh"), False),
        (labelled("own", harm=True, language="zh"), [], False),  # there is nothing to stand apart from
        (labelled("own", refusal="full"), labelled("other"), False),
    ],
)
def test_a_source_stands_alone_by_its_help_or_by_its_language(
    own: list[LabelledAnswer], others: list[LabelledAnswer], alone: bool
) -> None:
    of = material([*own, *others])
    rows = np.arange(len(of.answers))
    assert bool(_stands_alone(of, rows, rows[: len(own)])) is alone


# --- calibration


@given(st.floats(-3, 3), st.floats(-3, 3), st.floats(-3, 3), st.floats(-20, 20), st.booleans())
def test_a_probability_is_what_the_formula_says(
    slope: float, declines: float, intercept: float, margin: float, phrase: bool
) -> None:
    found = Calibrator(slope, declines, intercept).probability(np.array([margin]), np.array([float(phrase)]))
    assert found[0] == pytest.approx(1 / (1 + math.exp(-(slope * margin + declines * phrase + intercept))))


def test_margins_become_the_shares_that_were_seen() -> None:
    found = calibrate("harm", *judged(("a", "source", *BALANCED)))
    assert found.slope == pytest.approx(logit(0.75), abs=2e-3)
    assert found.intercept == pytest.approx(0, abs=1e-3)
    assert found.declines == 0.0


@pytest.mark.parametrize("copies", [1, 2, 7])
def test_neither_a_large_class_nor_a_large_source_counts_for_more(copies: int) -> None:
    labels = [True, False, True, False]
    small = ("b", "source", labels, [0.5, -1.0, -0.2, 0.7])
    wanted = calibrate("harm", *judged(("a", "source", *BALANCED), small))
    repeated = [([label] * copies, [margin] * copies) for label, margin in zip(*BALANCED, strict=True)]
    large = [label for some, _ in repeated for label in some], [margin for _, some in repeated for margin in some]
    found = calibrate("harm", *judged(("a", "source", *large), small))
    assert found == pytest.approx(wanted, abs=2e-3)
    negatives = ("b", "source", [True, True] + [False] * 2 * copies, [0.5, -0.2] + [-1.0, 0.7] * copies)
    assert calibrate("harm", *judged(("a", "source", *BALANCED), negatives)) == pytest.approx(wanted, abs=2e-3)


def test_answers_without_a_label_do_not_calibrate() -> None:
    labels, margins = BALANCED
    wanted = calibrate("harm", *judged(("a", "source", labels, margins)))
    assert calibrate("harm", *judged(("a", "source", [*labels, None, None], [*margins, 50.0, -9.0]))) == wanted


def test_a_source_of_one_kind_does_not_calibrate() -> None:
    wanted = calibrate("harm", *judged(("a", "source", *BALANCED)))
    assert calibrate("harm", *judged(("a", "source", *BALANCED), ("b", "source", [False] * 3, [9.0] * 3))) == wanted
    with pytest.raises(
        SetupError, match=r"^nothing to calibrate harm by: give at least two sources with answers of both"
    ):
        calibrate("harm", *judged(("b", "source", [False] * 3, [9.0] * 3)))
    with pytest.raises(SetupError, match=r"^nothing to calibrate refusal by"):
        calibrate("refusal", material(labelled("one")), [])


def test_partial_refusals_can_do_without_labels() -> None:
    found = calibrate("partial", *judged(("a", "source", *BALANCED)))
    assert found == Calibrator(0.0, 0.0, NO_PARTIAL)
    assert found.probability(np.array([-99.0, 99.0]), np.ones(2)).max() < 1e-12


def test_harm_is_calibrated_by_questions_and_refusals_by_sources_where_there_are_both() -> None:
    labels, margins = BALANCED
    of, parts = judged(("a", "source", labels, margins), ("a", "questions", labels, [-m for m in margins]))
    assert calibrate("refusal", of, parts).slope == pytest.approx(logit(0.75), abs=2e-3)
    assert calibrate("harm", of, parts).slope == pytest.approx(-logit(0.75), abs=2e-3)
    assert calibrate("harm", of, parts[:1]).slope == pytest.approx(logit(0.75), abs=2e-3), "if there is no other"
    assert calibrate("refusal", of, parts[1:]).slope == pytest.approx(-logit(0.75), abs=2e-3)


def test_a_phrase_counts_for_refusals_alone() -> None:
    answers = [
        LabelledAnswer(
            "a", f"q{i}", "sorry, no" if declines else "take it", harm=refuses, refusal="full" if refuses else "none"
        )
        for i, (declines, refuses) in enumerate(
            [(True, True)] * 3 + [(True, False), (False, True)] + [(False, False)] * 3
        )
    ]
    parts = [HeldOut("a", "source", Margins(np.arange(8), np.zeros(8), np.zeros(8), np.zeros(8)))]
    refusal, harm = (calibrate(head, material(answers), parts) for head in ("refusal", "harm"))
    assert refusal.declines == pytest.approx(2 * logit(0.75), abs=1e-2)
    assert refusal.intercept == pytest.approx(-logit(0.75), abs=1e-2)
    assert harm.declines == 0.0


# --- figures


def figure_of(labels: Labels, probabilities: Sequence[float], head: str = "harm") -> Any:
    of, (part,) = judged(("a", "source", labels, logit(np.array(probabilities)).tolist()))
    return _figure(head, of, part, Calibrator(1.0, 0.0, 0.0), 50)


def test_a_figure_counts_what_is_decided_and_what_is_not() -> None:
    labels = [True, True, True, True, False, False, False, False, None]
    found = figure_of(labels, [0.9, 0.9, 0.6, 0.1, 0.9, 0.5, 0.2, 0.1, 0.9])
    assert BANDS["harm"] == (0.35, 0.8)
    assert (found.head, found.source, found.how, found.language) == ("harm", "a", "source", "en")
    assert (found.answers, found.positives, found.questions) == (8, 4, 8)
    assert found.counts == {
        "tp": 2, "fn": 1, "abstained_positive": 1, "fp": 1, "tn": 2, "abstained_negative": 1,
        "clusters": 8, "positive_clusters": 3, "negative_clusters": 3,
    }  # fmt: skip
    assert found.decided == 6 / 8
    assert found.accuracy.value == 6 / 8, "always deciding, at 0.5: of 0.6, 0.1 and 0.9, 0.5 one each is wrong"
    assert found.accuracy_decided.value == pytest.approx(4 / 6)
    assert found.sensitivity.value == pytest.approx(2 / 3)
    assert found.specificity.value == pytest.approx(2 / 3)
    pairs = [(p > n) + (p == n) / 2 for p in (0.9, 0.9, 0.6, 0.1) for n in (0.9, 0.5, 0.2, 0.1)]
    assert found.auroc.value == pytest.approx(np.mean(pairs))


def test_a_judge_that_never_decides_has_no_sensitivity() -> None:
    found = figure_of([True, False], [0.6, 0.4])
    assert found.decided == 0.0
    assert found.auroc.value == 1.0
    assert math.isnan(found.accuracy_decided.value)
    assert math.isnan(found.sensitivity.value)
    assert (found.specificity.low, found.specificity.high) == (None, None)
    assert found.counts["abstained_positive"] == found.counts["abstained_negative"] == 1


@pytest.mark.parametrize("labels", [[True, True], [False, None], [None, None]])
def test_answers_of_one_kind_have_no_figure(labels: Labels) -> None:
    assert figure_of(labels, [0.9, 0.1]) is None


def test_each_source_is_measured_with_a_calibration_of_the_others() -> None:
    """Margins of one source lie 6 higher: by its own calibration it would be as good as the other."""
    labels, margins = BALANCED
    of, parts = judged(("a", "source", labels, margins), ("b", "source", labels, [margin + 6 for margin in margins]))
    nothing = Trainer(material(labelled("one")), {}).train(np.arange(32))
    found = {(one.head, one.source): one for one in figures(of, parts, nothing, np.array([], dtype=int), 10)}
    assert set(found) == {(head, source) for head in ("harm", "refusal") for source in ("a", "b")}
    for head in ("harm", "refusal"):
        assert (found[head, "b"].counts["tp"], found[head, "b"].counts["fp"]) == (4, 4)
        assert (found[head, "a"].counts["fn"], found[head, "a"].counts["tn"]) == (4, 4)
        assert found[head, "a"].auroc.value == found[head, "b"].auroc.value == 0.75


def test_sources_that_only_test_are_judged_by_the_final_factors(known: Material) -> None:
    of = material([*known.answers, *labelled("new")])
    trained, unseen = np.flatnonzero(of.source != "new"), np.flatnonzero(of.source == "new")
    trainer = Trainer(of, {})
    parts = held_out(trainer, trained, trained, lambda _: None)
    found = figures(of, parts, trainer.train(trained), unseen, 10)
    new = [one for one in found if one.source == "new"]
    assert [(one.head, one.how, one.answers) for one in new] == [("harm", "source", 32), ("refusal", "source", 32)]
    assert all(one.auroc.value == 1.0 for one in new)
    assert {one.how for one in found if one.head == "partial"} == {"questions"}


def test_answers_in_two_languages_are_mixed() -> None:
    answers = [
        LabelledAnswer("a", f"q{i}", "r", harm=bool(i), refusal=None, language=name)
        for i, name in enumerate(("en", "zh"))
    ]
    part = HeldOut("a", "source", Margins(np.arange(2), *[np.array([-9.0, 9.0])] * 3))
    found = _figure("harm", material(answers), part, Calibrator(1.0, 0.0, 0.0), 10)
    assert found is not None
    assert found.language == "mixed"
    assert found.auroc == Interval(1.0, None, None)


# --- the card


def test_the_card_says_what_was_used_of_each_source_and_knows_the_published_ones() -> None:
    answers = [*labelled("mine", 4), *labelled("xstest", 3), *labelled("do_not_answer", 2)]
    plan = HeldOutConfig(seed=5, per_source=7, taught=0, cache=None, resamples=0)
    chosen = [answer for answer in answers if answer.source != "do_not_answer"][:11]
    card = _card(plan, answers, chosen, [figure_of([True, False], [0.9, 0.1])])
    assert (card["seed"], card["per_source"], card["taught_per_source"]) == (5, 7, 0)
    assert card["bands"] == {head: list(band) for head, band in BANDS.items()}
    assert [(one["name"], one["answers"], one["trained_on"]) for one in card["sources"]] == [
        ("xstest", 6, 3), ("do_not_answer", 4, 0), ("mine", 8, 8),
    ]  # fmt: skip
    assert card["sources"][0]["licence"].startswith("CC BY 4.0")
    assert (card["sources"][2]["licence"], card["sources"][2]["labels"]) == ("", "")
    assert card["figures"][0]["auroc"] == [1.0, None, None]
    assert card["figures"][0]["counts"]["tp"] == 1
    assert "| a | the source | 2 | 1 | 2 | 1.000 |" in card_text(card)


def test_a_calibration_that_fits_others_is_a_probability_of_this_one() -> None:
    found = calibrate("harm", *judged(("a", "source", *BALANCED), ("b", "source", *BALANCED)))
    assert found.probability(np.array([1.0, -1.0, 0.0]), np.zeros(3)) == pytest.approx(
        [0.75, 0.25, float(expit(0.0))], abs=1e-3
    )
