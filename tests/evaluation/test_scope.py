"""The cases of one gate in a run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pytest_mmsafety.evaluation.scope import GateInputs, Scope, known
from pytest_mmsafety.evaluation.table import ABSENT, CHANGED
from pytest_mmsafety.gates import Counts
from pytest_mmsafety.labels import HumanLabels, Label
from pytest_mmsafety.testing import make_gate, make_record, make_verdict

HARM, HELP = {"aspect": "vulnerability"}, {"aspect": "over-refusal"}
RECORDS = [
    make_record(0, 0.0, tags=HARM, cluster="a"),
    make_record(1, 1.0, tags=HARM, cluster="a"),
    make_record(2, None, tags=HARM, judge="refusal/1"),
    make_record(3, 1.0, tags=HELP, judge="refusal/1"),
    make_record(4, tags=HARM, response=None),
    make_record(5, tags=HARM, response=None, error="gone"),
    make_record(6, tags=HARM, response=None, skipped="no image", skip_kind="no-image"),
]


def scope(**gate: Any) -> Scope:
    return Scope(GateInputs(RECORDS), make_gate(**gate))


def numbers(mask: Any) -> list[int]:
    return np.flatnonzero(mask).tolist()


def test_from_all_cases_to_the_scored_ones() -> None:
    harm = scope(metric="attack_success_rate")
    assert numbers(harm.cases) == [0, 1, 2, 4, 5, 6]
    assert numbers(harm.answered) == [0, 1, 2]
    assert numbers(harm.scored) == [0, 1]
    assert harm.records(harm.scored) == RECORDS[:2]
    assert harm.counts == Counts(n=2, unscored=1, skipped=1, errors=1, missing=1)
    assert numbers(scope(where={"aspect": ("over-refusal",)}).cases) == [3]


def test_scores_and_judges_are_those_of_the_gates_judge() -> None:
    judge, names = scope(judge="refusal").judges
    assert (judge.tolist(), names) == ([-1, -1, 0, 0, -1, -1, -1], ["refusal/1"])
    assert numbers(scope(judge="refusal").scored) == [3]
    judge, names = scope().judges
    assert (judge.tolist(), names) == ([0, 0, 1, 1, -1, -1, -1], ["yes-no/1", "refusal/1"])


def test_values_are_what_a_case_contributes_to_the_metric() -> None:
    assert scope(metric="accuracy", min=0.5).values[:4] == pytest.approx([1.0, 0.0, np.nan, 0.0], nan_ok=True)
    assert known(scope().values).tolist() == [True, True, False, True, False, False, False]


def test_a_share_keeps_clusters_and_the_weights_of_strata() -> None:
    one = scope(metric="balanced_accuracy", min=0.5)
    share = one.share(one.values, one.scored)
    assert (share.value, share.n, share.clusters) == (0.25, 3, 2)
    strata, weights = one.strata(one.scored)
    assert sorted(set(strata.tolist())) == sorted(weights)
    assert set(weights.values()) == {0.5}
    columns = one.columns(one.scored)
    assert columns.values.tolist() == [1.0, 0.0, 0.0]
    assert columns.judge.tolist() == [0, 0, 1]
    assert columns.strata.tolist() == strata.tolist()


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ((), []),
        (({"aspect": ("over-refusal",)},), [3]),
        (({"aspect": ("over-refusal",)}, {"suite": ("demo",), "aspect": ("vulnerability",)}), [0, 1, 2, 3, 4, 5, 6]),
    ],
)
def test_a_case_that_matches_one_filter_is_under_zero_tolerance(filters: Any, found: list[int]) -> None:
    assert numbers(scope(zero_tolerance=filters).under_zero_tolerance) == found


def test_each_record_is_found_in_the_baseline() -> None:
    baseline = [make_record(1, 0.0), make_record(0, prompt="Another?")]
    inputs = GateInputs(RECORDS[:3], baseline)
    assert inputs.match.tolist() == [CHANGED, 0, ABSENT]
    assert inputs.earlier.records == baseline


def test_labels_stand_beside_the_records() -> None:
    labels = HumanLabels({"demo/1": Label(1.0, 4.0), "demo/3": Label(None, 2.0)}, levels=False)
    failure, stands_for = GateInputs(RECORDS[:4], labels=labels).human
    assert failure == pytest.approx([np.nan, 1.0, np.nan, np.nan], nan_ok=True)
    assert stands_for == pytest.approx([np.nan, 4.0, np.nan, 2.0], nan_ok=True)
    assert not known(GateInputs(RECORDS[:4]).human[1]).any()


def test_a_second_verdict_counts_only_for_its_own_judge() -> None:
    verdicts = (make_verdict(0.0, "yes-no/1"), make_verdict(1.0, "refusal/1"))
    inputs = GateInputs([make_record(verdicts=verdicts)])
    assert [Scope(inputs, make_gate(judge=judge)).scores.tolist() for judge in ("", "refusal")] == [[0.0], [1.0]]
