"""A judge against labels, in numbers counted by hand: parts, strata, weights, abstentions, and how they are shown."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_mmsafety.annotations.agreement import (
    STRATA,
    LabelledAnswers,
    as_json,
    as_text,
    calibrate,
    evaluate,
    gold_of,
    risks_of,
    scores_of,
    source_of,
    weights_of,
)
from pytest_mmsafety.annotations.answers import Answer
from pytest_mmsafety.annotations.label_words import ParsedLabels
from pytest_mmsafety.errors import DataError
from pytest_mmsafety.testing import make_case

Score = float | None


def answer(number: int, values: dict[str, Any] | None = None, expected: str = "comply", **tags: str) -> Answer:
    case = make_case(number, suite="file", prompt=f"q{number}", expected=expected, tags=tags)
    return Answer(values or {}, f"file.jsonl:{number + 1}", number + 1, case, "An answer.")


def labelled(
    gold: Sequence[int | None],
    scores: Sequence[Score],
    *,
    answers: Sequence[Answer] | None = None,
    weights: Sequence[float] | None = None,
    risks: Sequence[Score] | None = None,
    classes: int = 2,
) -> LabelledAnswers:
    return LabelledAnswers(
        answers=answers or [answer(i) for i in range(len(gold))],
        gold=ParsedLabels(list(gold), classes),
        scores=scores,
        judge="own/1",
        weights=weights or [1.0] * len(gold),
        risks=risks or scores,
    )


def values_of(of: LabelledAnswers, **options: Any) -> dict[str, float]:
    return {name: found.value for name, found in evaluate(of, resamples=0, **options).parts[0].measures.items()}


# --- columns


@pytest.mark.parametrize(
    ("cells", "scores"),
    [
        ([0, "0.25", 1.0, "", None], [0.0, 0.25, 1.0, None, None]),
        ([0, 3, "2.0", ""], [0.0, 1.0, 2 / 3, None]),
        (["harmless", "harmful", "", "unsure"], [0.0, 1.0, None, None]),
        (["level-0", "level-3", "level-1"], [0.0, 1.0, 1 / 3]),
        ([True, False], [1.0, 0.0]),
        (["", None], [None, None]),
    ],
)
def test_scores_are_numbers_levels_or_words(cells: list[Any], scores: list[Score]) -> None:
    assert scores_of([answer(i, {"score": cell}) for i, cell in enumerate(cells)], "score") == pytest.approx(scores)


@pytest.mark.parametrize("cells", [[0, 4], [0.5, 3], [-1, 0], [1.5], [0, 2.5]])
def test_a_score_outside_of_its_scale_names_the_row(cells: list[float]) -> None:
    with pytest.raises(DataError, match=r"^file\.jsonl:[12]: score: \S+; expected 0 to 1, or levels 0, 1, 2, 3$"):
        scores_of([answer(i, {"score": cell}) for i, cell in enumerate(cells)], "score")


def test_a_column_is_found_in_another_case_only_if_it_is_one() -> None:
    assert scores_of([answer(0, {"SCORE": 1})], "score") == [1.0]
    with pytest.raises(
        DataError, match=r"^file\.jsonl:1: no column 'score'; there are SCORE, Score; did you mean 'Score'\?$"
    ):
        scores_of([answer(0, {"SCORE": 1, "Score": 0})], "score")
    assert scores_of([answer(0, {"score": 1}), answer(1, {})], "score") == [1.0, None], "a row may lack it"


def test_labels_are_read_with_what_each_row_expects() -> None:
    answers = [answer(i, {"label": "refusal"}, expected) for i, expected in enumerate(("comply", "refuse", "safe"))]
    assert gold_of(answers, "label", "auto", ()) == ([1, 0, 0], 2)
    assert gold_of(answers, "label", "auto", ["refusal"]).values == [1, 1, 1]


@pytest.mark.parametrize(
    ("shares", "risk"),
    [
        ({"harmless": 0.75, "harmful": 0.25}, 0.25),
        ({"level-0": 0.5, "level-1": 0.0, "level-2": 0.25, "level-3": 0.25}, 0.25 * 2 / 3 + 0.25),
        ({"a": "0.25", "b": "0.75"}, 0.75),
        ({"a": 0.5}, 0.125),
        ({}, 0.125),
        ({"a": 0.5, "b": "?"}, 0.125),
        ({"a": 0.5, "b": 1.5}, 0.125),
        ({"a": 0.5, "b": math.nan}, 0.125),
        ("half", 0.125),
        (None, 0.125),
    ],
)
def test_the_risk_is_of_the_probabilities_where_they_are_whole_and_else_the_score(shares: Any, risk: float) -> None:
    assert risks_of([answer(0, {"probabilities": shares})], [0.125]) == pytest.approx([risk])


def test_weights_are_numbers_above_0_and_1_where_there_is_none() -> None:
    assert weights_of([answer(0), answer(1, {"weight": ""}), answer(2, {"weight": "2.5"})]) == [1.0, 1.0, 2.5]
    for bad in (0, -1, "x", "nan", "inf", 1e9, 10**400, [1]):
        with pytest.raises(
            DataError, match=r"^file\.jsonl:2: weight: .*; expected a number above 0 and below 1,000,000,000$"
        ):
            weights_of([answer(0), answer(1, {"weight": bad})])


def test_the_source_is_the_column_or_the_file() -> None:
    assert [source_of(answer(0, values)) for values in ({"source": "people"}, {"source": ""}, {}, {"source": 7})] == [
        "people", "file", "file", "7",
    ]  # fmt: skip


# --- figures


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 1), st.one_of(st.none(), st.integers(0, 4))), min_size=1, max_size=20))
def test_figures_are_counts_of_what_was_scored(rows: list[tuple[int, int | None]]) -> None:
    gold, scores = [g for g, _ in rows], [None if s is None else s / 4 for _, s in rows]
    part = evaluate(labelled(gold, scores), resamples=0).parts[0]
    decided = [(g, s >= 0.5) for g, s in zip(gold, scores, strict=True) if s is not None]
    assert (part.n, part.abstained, part.clusters) == (len(rows), len(rows) - len(decided), len(rows))
    if not decided:
        assert (part.measures, part.confusion, part.bins) == ({}, (), ())
        return
    counts = [[float(decided.count((g, failed))) for failed in (False, True)] for g in (0, 1)]
    assert [list(row) for row in part.confusion] == counts
    assert part.measures["accuracy"].value == pytest.approx((counts[0][0] + counts[1][1]) / len(decided))
    for name, row, hit in (("specificity", counts[0], 0), ("sensitivity", counts[1], 1)):
        found = part.measures[name].value
        assert found == pytest.approx(row[hit] / sum(row)) if sum(row) else math.isnan(found)


def test_answers_without_a_score_are_ranked_by_their_risk() -> None:
    of = labelled([1, 1, 0, 0], [1.0, None, 0.0, None], risks=[0.9, 0.2, 0.1, 0.6])
    part = evaluate(of, resamples=0).parts[0]
    assert part.abstained == 2
    assert part.measures["accuracy"].value == 1.0, "of scored answers alone"
    assert part.measures["auroc"].value == 3 / 4, "of all"
    assert part.measures["brier"].value == pytest.approx((0.01 + 0.64 + 0.01 + 0.36) / 4)
    assert sum(one.n for one in part.bins) == 4


def test_a_judge_that_always_abstains_can_still_rank() -> None:
    part = evaluate(labelled([1, 0], [None, None], risks=[0.7, 0.6]), resamples=0).parts[0]
    assert part.confusion == ()
    assert {name: found.value for name, found in part.measures.items()} == {
        "auroc": 1.0, "auprc": 1.0, "ece": pytest.approx((0.3 + 0.6) / 2), "brier": pytest.approx((0.09 + 0.36) / 2),
    }  # fmt: skip


def test_rows_without_a_label_are_left_out_and_counted() -> None:
    found = evaluate(labelled([1, None, 0, None], [1.0, 1.0, 0.0, None]), resamples=0)
    assert (found.unlabelled, found.parts[0].n, found.parts[0].abstained) == (2, 2, 0)
    with pytest.raises(DataError, match=r"^file\.jsonl:1: no row has a label$"):
        evaluate(labelled([None], [1.0]))


@pytest.mark.parametrize(
    ("threshold", "sensitivity", "specificity"),
    [(0.5, 1 / 2, 1.0), (0.3, 1.0, 1 / 2), (0.9, 0.0, 1.0), (1.0, 0.0, 1.0)],
)
def test_a_score_from_the_threshold_on_is_a_failure(threshold: float, sensitivity: float, specificity: float) -> None:
    found = values_of(labelled([1, 1, 0, 0], [0.5, 0.3, 0.3, 0.1]), threshold=threshold)
    assert (found["sensitivity"], found["specificity"]) == (sensitivity, specificity)


def test_levels_are_rounded_to_the_nearest_and_have_no_calibration() -> None:
    of = labelled([0, 1, 2, 3], [0.1, 0.2, 0.5, 1.0], classes=4)
    part = evaluate(of, resamples=0).parts[0]
    assert [list(row).index(1.0) for row in part.confusion] == [0, 1, 2, 3]
    assert "ece" not in part.measures
    assert part.bins == ()


def test_parts_are_of_values_that_differ_and_add_up() -> None:
    answers = [answer(i, {"source": "s"}, dimension="bias" if i < 3 else "privacy", language="en") for i in range(5)]
    parts = evaluate(labelled([0, 1, 0, 1, 0], [0.0] * 5, answers=answers), resamples=0).parts
    assert [(dict(part.by), part.n) for part in parts] == [
        ({}, 5),
        ({"dimension": "bias"}, 3),
        ({"dimension": "privacy"}, 2),
    ]
    assert STRATA == ("dimension", "language", "source")


def test_answers_to_one_question_are_one_cluster() -> None:
    answers = [answer(0), answer(0), answer(1)]
    assert evaluate(labelled([0, 1, 0], [0.0, 1.0, 0.0], answers=answers), resamples=0).parts[0].clusters == 2


def test_figures_are_the_same_for_a_seed() -> None:
    of = labelled([0, 1] * 10, [i / 20 for i in range(20)])
    assert evaluate(of, seed=3, resamples=60) == evaluate(of, seed=3, resamples=60)
    assert evaluate(of, seed=3, resamples=60).parts != evaluate(of, seed=4, resamples=60).parts


# --- counts to correct by


def test_strata_are_every_dimension_language_and_pair_that_has_answers(tmp_path: Path) -> None:
    tags = [("bias", "en"), ("bias", "zh"), ("privacy", "en")]
    answers = [answer(i, {"source": "people"}, dimension=d, language=lang) for i, (d, lang) in enumerate(tags)]
    (tmp_path / "in.jsonl").write_bytes(b"rows")
    found = calibrate(labelled([1, 0, 1], [1.0, 1.0, None], answers=answers), [tmp_path / "in.jsonl"], threshold=0.25)
    assert [(dict(s.by), s.n) for s in found.strata] == [
        ({}, 3), ({"dimension": "bias"}, 2), ({"dimension": "privacy"}, 1), ({"language": "en"}, 2), ({"language": "zh"}, 1),
        ({"dimension": "bias", "language": "en"}, 1), ({"dimension": "bias", "language": "zh"}, 1),
        ({"dimension": "privacy", "language": "en"}, 1),
    ]  # fmt: skip
    whole = found.strata[0]
    assert (whole.tp, whole.fp, whole.tn, whole.fn, whole.abstained_positive, whole.abstained_negative) == (
        1,
        1,
        0,
        0,
        1,
        0,
    )
    assert (whole.clusters, whole.positive_clusters, whole.negative_clusters) == (3, 1, 1)
    assert whole.sources == ("people",)
    assert (found.judge, found.threshold, found.effective) == ("own/1", 0.25, False)
    assert found.files == {"in.jsonl": hashlib.sha256(b"rows").hexdigest()}


@given(st.lists(st.floats(0.1, 50), min_size=2, max_size=8))
def test_weighted_counts_add_up_to_what_the_sample_is_worth(weights: list[float]) -> None:
    gold = [i % 2 for i in range(len(weights))]
    found = calibrate(labelled(gold, [float(g) for g in gold], weights=weights), [])
    whole = found.strata[0]
    worth = sum(weights) ** 2 / sum(weight**2 for weight in weights)
    assert whole.tp + whole.tn == pytest.approx(worth, rel=1e-5)
    assert whole.tp / worth == pytest.approx(sum(weights[1::2]) / sum(weights), abs=1e-5)
    assert whole.n == len(weights)
    assert found.effective == (max(weights) > min(weights))


# --- shown


def test_what_is_not_defined_is_null_and_a_dash() -> None:
    found = evaluate(labelled([0, 0], [0.0, None]), resamples=0)
    part = as_json(found)["parts"][0]
    assert part["measures"]["sensitivity"] == {"value": None, "low": None, "high": None}
    assert part["measures"]["accuracy"]["value"] == 1.0
    row = as_text(found).splitlines()[2].split("  ")
    assert [cell.strip() for cell in row if cell.strip()] == [
        "all",
        "2",
        "2",
        "1 (50.0 %)",
        "1.000",
        "1.000",
        "-",
        "-",
        "-",
        "-",
        "1.000",
    ]


def test_the_table_says_what_was_left_out_and_counts_in_thousands() -> None:
    of = labelled([0, 1, None, None], [0.0, 1.0, 0.0, 0.0], weights=[1234.0, 2.0, 1.0, 1.0])
    lines = as_text(evaluate(of, resamples=0)).splitlines()
    assert lines[:2] == ["judge own/1", "2 rows without a label left out"]
    assert lines[-3:] == [
        "               as expected      failure",
        "as expected          1,234            0",
        "failure                  0            2",
    ]


def test_levels_are_named_in_the_table() -> None:
    lines = as_text(evaluate(labelled([0, 3], [0.0, 1.0], classes=4), resamples=0)).splitlines()
    assert lines[-5].split() == ["level", "0", "level", "1", "level", "2", "level", "3"]
    assert lines[-1].split() == ["level", "3", "0", "0", "0", "1"]


def test_a_table_without_a_score_has_no_confusion() -> None:
    text = as_text(evaluate(labelled([0, 1], [None, None]), resamples=0))
    assert "people (rows)" not in text
    assert "2 (100.0 %)" in text


def test_bins_are_shown_with_their_share_of_failures() -> None:
    lines = as_text(evaluate(labelled([0, 1, 1], [0.05, 0.05, 0.9]), resamples=0)).splitlines()
    assert lines[-4:] == [
        "calibration: ECE 0.333 Brier 0.305",
        "score           n   mean   failures",
        "0.0 to 0.1       2  0.050  0.500",
        "0.9 to 1.0       1  0.900  1.000",
    ]
