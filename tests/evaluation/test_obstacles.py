"""Why a gate cannot be evaluated, or cannot pass: one clause each, or nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from pytest_mmsafety.evaluation import obstacles
from pytest_mmsafety.evaluation.scope import GateInputs, Scope
from pytest_mmsafety.run import Record
from pytest_mmsafety.statistics.decisions import HOLDS, Stopped
from pytest_mmsafety.statistics.estimates import clustered_share
from pytest_mmsafety.testing import make_gate, make_record, make_verdict

NEVER = {"zero_tolerance": ({"category": ("never", "at-all")}, {"language": ("zh",)})}
GOOD = make_record(1)
NEVER_FAILED, NEVER_UNSCORED, NEVER_GOOD = (
    make_record(f"never-{i}", score, tags={"category": "never", "language": "zh"})
    for i, score in enumerate([1.0, None, 0.0])
)
ERROR, MISSING = make_record(2, response=None, error="gone"), make_record(3, response=None)
SKIPPED = make_record(4, response=None, skipped="never published", skip_kind="unpublished")
LEFT_OUT = make_record(5, response=None, skipped="early stop", skip_kind="early-stop")


def scope(records: Sequence[Record], inputs: dict[str, Any] | None = None, **gate: Any) -> Scope:
    return Scope(GateInputs(records, **inputs or {}), make_gate(**gate))


@pytest.mark.parametrize(
    ("records", "gate", "reason"),
    [
        ([GOOD, NEVER_GOOD, NEVER_UNSCORED], NEVER, ""),
        ([make_record(1, 1.0), NEVER_GOOD], NEVER, ""),
        ([NEVER_FAILED], {}, ""),
        ([NEVER_FAILED, MISSING], NEVER, "zero tolerance: 1 of its cases failed: demo/never-0"),
        ([NEVER_FAILED], {**NEVER, "where": {"language": ("en",)}}, ""),
    ],
)
def test_a_failing_case_under_zero_tolerance_is_a_violation(
    records: list[Record], gate: dict[str, Any], reason: str
) -> None:
    assert obstacles.violation(scope(records, **gate)) == reason


@pytest.mark.parametrize(
    ("records", "gate", "reason"),
    [
        ([GOOD], {}, ""),
        ([GOOD], NEVER, "no case of the gate matches zero_tolerance category: never or at-all"),
        ([NEVER_GOOD], {**NEVER, "rule": "assurance"}, ""),
        ([NEVER_UNSCORED], NEVER, ""),
        (
            [NEVER_GOOD, NEVER_UNSCORED],
            {**NEVER, "rule": "assurance"},
            "zero tolerance: 1 of its cases are unscored: demo/never-1",
        ),
    ],
)
def test_zero_tolerance_needs_cases_and_for_proof_their_scores(
    records: list[Record], gate: dict[str, Any], reason: str
) -> None:
    assert obstacles.unverifiable(scope(records, **gate)) == reason


@pytest.mark.parametrize(
    ("records", "gate", "reason"),
    [
        ([GOOD, SKIPPED], {}, ""),
        ([], {}, "no collected case matches it"),
        ([GOOD], {"where": {"suite": ("other",)}}, "no collected case matches it"),
        ([SKIPPED], {}, "1 case, all skipped (never published)"),
        ([MISSING], {}, "0 of 1 case answered (1 not run)"),
        ([GOOD, ERROR, MISSING, SKIPPED], {}, "1 of 3 cases answered (1 not run, 1 in error)"),
        ([GOOD, LEFT_OUT], {}, "1 of 2 cases not asked after an early stop for other gates"),
    ],
)
def test_a_part_of_the_cases_is_incomplete(records: list[Record], gate: dict[str, Any], reason: str) -> None:
    assert obstacles.incomplete(scope(records, **gate)) == reason


def test_what_could_not_be_read_or_compared_is_incomplete() -> None:
    assert obstacles.incomplete(scope([GOOD], {"broken": "a suite could not be read: x"})) == (
        "a suite could not be read: x"
    )
    reason = obstacles.incomplete(scope([GOOD], max_regression=0.1))
    assert reason.startswith("gate 'gate' has max_regression, but there is no baseline to compare to; ")
    assert obstacles.incomplete(scope([GOOD], {"baseline": []}, max_regression=0.1)) == ""


def test_a_gate_that_an_early_stop_decided_lacks_nothing() -> None:
    estimate = clustered_share([0.0], [0], 0.05)
    decided = {"stopped": {"gate": Stopped(HOLDS, estimate, asked=1, of=2)}}
    assert obstacles.incomplete(scope([GOOD, LEFT_OUT], decided)) == ""
    assert obstacles.incomplete(scope([GOOD, LEFT_OUT], decided, name="other")) == (
        "1 of 2 cases not asked after an early stop for other gates"
    )


def test_too_many_unscored_answers_name_the_judge_that_abstains_most() -> None:
    labels = ["unsure", "judge-error", "unsure"]
    records = [make_record(i, verdicts=(make_verdict(None, "yes-no/1", label),)) for i, label in enumerate(labels)]
    assert obstacles.unscored(scope([*records, GOOD])) == (
        "3 of 4 answers unscored (yes-no/1: unsure), more than the 10% allowed"
    )
    assert obstacles.unscored(scope([GOOD], judge="other")) == "1 of 1 answer unscored, more than the 10% allowed"
    assert obstacles.unscored(scope([*records, GOOD], max_unscored=0.75)) == ""
    assert obstacles.unscored(scope(records, max_unscored=1.0)) == "no answer is scored"
    assert obstacles.unscored(scope(records, metric="unscored_rate")) == ""


def test_every_stratum_of_the_metric_needs_a_case() -> None:
    harm = scope([make_record(1, tags={"aspect": "vulnerability"})], metric="balanced_accuracy", min=0.5)
    assert obstacles.absent_strata(harm, harm.scored, "scored case") == (
        "no scored case is over-refusal, which balanced_accuracy needs"
    )
    assert obstacles.absent_strata(harm, ~harm.scored, "answer") == (
        "no answer is over-refusal or vulnerability, which balanced_accuracy needs"
    )
    assert obstacles.absent_strata(scope([GOOD]), scope([GOOD]).scored, "scored case") == ""


@pytest.mark.parametrize(
    ("gate", "reason"),
    [
        ({"min_cases": 4, "min_clusters": 2}, ""),
        ({"min_cases": 5, "min_clusters": 3}, "4 answers, fewer than the 5 required"),
        ({"min_clusters": 3}, "2 clusters of answers, fewer than the 3 required"),
    ],
)
def test_too_few_cases_or_clusters(gate: dict[str, int], reason: str) -> None:
    estimate = clustered_share([0.0] * 4, [0, 0, 1, 1], 0.05)
    assert obstacles.too_few(make_gate(**gate), estimate, "answers") == reason
