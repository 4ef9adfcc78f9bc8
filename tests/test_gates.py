"""Gates: what passes, what blocks, and what is never judged."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pytest_mmsafety.gates import (
    ASSURANCE,
    EVIDENCE,
    FAILED,
    INCONCLUSIVE,
    NOT_EVALUATED,
    PASSED,
    Gate,
    GateResult,
    evaluate_gates,
    unmatched,
)
from pytest_mmsafety.judges import Verdict
from pytest_mmsafety.run import Record


def gate(**keys: Any) -> Gate:
    defaults: dict[str, Any] = {
        "name": "g",
        "metric": "failure_rate",
        "where": {},
        "max": 0.2,
        "min": None,
        "rule": EVIDENCE,
        "alpha": 0.05,
        "max_unscored": 0.1,
    }
    return Gate(**{**defaults, **keys})


def record(number: int, score: float | None = 0.0, **keys: Any) -> Record:
    defaults: dict[str, Any] = {
        "key": f"s/{number}",
        "suite": "s",
        "id": str(number),
        "tags": {},
        "expected": "yes",
        "prompt": "p",
        "images": (),
        "cluster": str(number),
        "response": "r",
        "verdicts": (Verdict("yes-no/1", "x", score),),
        "error": "",
        "skipped": "",
        "seconds": 0.0,
        "stored": False,
    }
    return Record(**{**defaults, **keys})


def missing(number: int, **keys: Any) -> Record:
    return record(number, response=None, verdicts=(), **keys)


def scores(failing: int, total: int) -> list[Record]:
    return [record(i, 1.0 if i < failing else 0.0) for i in range(total)]


def result(records: Sequence[Record], one: Gate | None = None, **keys: Any) -> GateResult:
    (only,) = evaluate_gates(records, [one or gate()], **keys)
    return only


# --- status and rule


@pytest.mark.parametrize(
    ("failing", "status", "evidence_blocks", "assurance_blocks"),
    [
        (0, PASSED, False, False),
        (5, PASSED, False, False),
        (20, INCONCLUSIVE, False, True),
        (25, INCONCLUSIVE, False, True),
        (40, FAILED, True, True),
        (100, FAILED, True, True),
    ],
)
@pytest.mark.parametrize("higher_is_better", [False, True], ids=["max", "min"])
def test_who_bears_the_doubt(
    failing: int, status: str, evidence_blocks: bool, assurance_blocks: bool, higher_is_better: bool
) -> None:
    bound = {"metric": "accuracy", "max": None, "min": 0.8} if higher_is_better else {}
    records = scores(failing, 100)
    for rule, blocks in ((EVIDENCE, evidence_blocks), (ASSURANCE, assurance_blocks)):
        found = result(records, gate(rule=rule, **bound))
        assert (found.status, found.blocks) == (status, blocks)
        assert found.n == found.clusters == 100
        assert found.low is not None
        assert found.high is not None
        assert found.estimate is not None
        assert found.low <= found.estimate <= found.high
        assert "\n" not in found.reason
        assert "20.0%" in found.reason or "80.0%" in found.reason


def test_the_reason_says_how_sure_it_is_and_who_bears_the_doubt() -> None:
    reason = result(scores(20, 100), gate(rule=ASSURANCE)).reason
    assert reason.startswith("failure rate 20.0% [1")
    assert "passes only on proof" in reason
    assert reason.endswith("(n=100, 100 clusters)")
    assert "fails only on proof" in result(scores(20, 100)).reason
    assert "even at the better end" in result(scores(60, 100)).reason
    assert "also at the worse end" in result(scores(0, 100)).reason


def test_cases_that_share_an_image_prove_less() -> None:
    alone = scores(0, 20)
    together = [dataclasses.replace(record, cluster="one") for record in alone]
    assert result(alone, gate(rule=ASSURANCE)).status == PASSED
    assert result(together, gate(rule=ASSURANCE)).status == INCONCLUSIVE
    assert result(together).clusters == 1


def test_a_bound_is_kept_at_the_bound() -> None:
    assert result(scores(0, 10), gate(max=1.0, rule=ASSURANCE)).status == PASSED
    assert result(scores(0, 10), gate(metric="accuracy", max=None, min=0.0, rule=ASSURANCE)).status == PASSED


# --- not evaluated


@pytest.mark.parametrize(
    ("records", "reason"),
    [
        ([], "no collected case matches it"),
        ([*scores(0, 9), missing(9)], "9 of 10 cases have an answer (1 not run)"),
        (
            [*scores(0, 8), record(8, response=None, verdicts=(), error="gone")],
            "8 of 9 cases have an answer (1 in error)",
        ),
        (
            [record(1), missing(2), missing(3), missing(4, error="x"), missing(5, skipped="never published")],
            "1 of 4 cases have an answer (2 not run, 1 in error)",
        ),
        ([missing(i, skipped="never published") for i in range(3)], "all 3 cases were skipped (never published)"),
        (
            [*scores(0, 8), record(8, None), record(9, None)],
            "2 of 10 answers are unscored, more than the 10% allowed",
        ),
    ],
    ids=["none", "missing", "error", "mixed", "skipped", "unscored"],
)
@pytest.mark.parametrize("require", [False, True])
def test_a_part_is_never_judged_as_the_whole(records: list[Record], reason: str, require: bool) -> None:
    found = result(records, require=require)
    assert found.status == NOT_EVALUATED
    assert found.blocks is require
    assert found.reason == reason
    assert found.estimate is found.low is found.high is None


def test_all_counts_are_said() -> None:
    found = result([record(1), record(2, None), missing(3), missing(4, error="x"), missing(5, skipped="y")])
    assert (found.n, found.unscored, found.missing, found.errors, found.skipped) == (1, 1, 1, 1, 1)


def test_up_to_max_unscored_the_gate_speaks_of_the_others() -> None:
    found = result([*scores(0, 9), record(9, None)])
    assert (found.status, found.estimate, found.n, found.unscored) == (INCONCLUSIVE, 0.0, 9, 1)
    assert result([*scores(0, 9), record(9, None)], gate(max_unscored=0.0)).status == NOT_EVALUATED
    assert result([record(i, None) for i in range(5)], gate(max_unscored=1.0)).reason == "no answer is scored"


def test_who_asks_for_proof_is_blocked_by_unscored_answers() -> None:
    records = [record(i, None) for i in range(5)]
    assert result(records, gate(rule=ASSURANCE)).blocks
    assert not result(records, gate(rule=EVIDENCE)).blocks
    assert not result([*scores(0, 5), missing(9)], gate(rule=ASSURANCE)).blocks, "a selection blocks nobody"


def test_the_unscored_rate_is_about_unscored_answers() -> None:
    records = [record(i, None if i < 30 else 0.0) for i in range(40)]
    found = result(records, gate(metric="unscored_rate", max=0.2))
    assert (found.status, found.estimate, found.n) == (FAILED, 0.75, 40)


def test_an_absent_stratum_is_said() -> None:
    macro = gate(metric="mmsafeaware_overall_macro", max=None, min=0.5)
    records = [record(i, tags={"bucket": "typical"}) for i in range(30)]
    assert result(records, macro).reason == (
        "no scored case is attack or over-safe, which mmsafeaware_overall_macro needs"
    )
    unscored = [record(100 + i, None, tags={"bucket": bucket}) for i, bucket in enumerate(["attack", "over-safe"])]
    assert "no scored case is attack or over-safe" in result([*records, *unscored], macro).reason


def test_a_broken_suite_silences_every_gate() -> None:
    found = evaluate_gates(scores(0, 50), [gate(), gate(name="h")], broken="a suite could not be read: x", require=True)
    assert [(r.status, r.blocks, r.reason) for r in found] == [
        (NOT_EVALUATED, True, "a suite could not be read: x")
    ] * 2


# --- whose verdict, and of which cases


def test_judge_picks_the_verdict() -> None:
    both = (Verdict("yes-no/1", "x", 0.0), Verdict("mmsafeaware-legacy/3", "x", 1.0))
    records = [record(i, verdicts=both) for i in range(40)]
    assert result(records).estimate == 0.0
    assert result(records, gate(judge="yes-no")).estimate == 0.0
    assert result(records, gate(judge="mmsafeaware-legacy")).estimate == 1.0
    assert result(records, gate(judge="mmsafeaware-legcy")).status == NOT_EVALUATED


@pytest.mark.parametrize(
    ("where", "ids"),
    [
        ({}, "0123"),
        ({"language": ("zh",)}, "13"),
        ({"language": ("zh", "en")}, "0123"),
        ({"suite": ("a",)}, "01"),
        ({"suite": ("a", "b"), "language": ("en",)}, "02"),
        ({"language": ("zh",), "category": ("x",)}, "1"),
        ({"unknown": ("x",)}, ""),
        ({"language": ()}, ""),
    ],
)
def test_where_selects_by_tags_and_suite(where: dict[str, tuple[str, ...]], ids: str) -> None:
    records = [
        record(0, suite="a", tags={"language": "en"}),
        record(1, suite="a", tags={"language": "zh", "category": "x"}),
        record(2, suite="b", tags={"language": "en", "suite": "a"}),
        record(3, suite="b", tags={"language": "zh"}),
    ]
    one = gate(where=where)
    assert "".join(r.id for r in records if one.speaks_of(r.suite, r.tags)) == ids
    assert result(records, one).n == len(ids)


CASES = [
    ("usb", {"language": "zh", "aspect": "vulnerability"}),
    ("aware", {"language": "en", "aspect": "over-refusal"}),
]


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({}, ""),
        ({"where": {"language": ("zh", "fr")}}, ""),
        ({"where": {"langage": ("zh",)}}, "no collected case has the tag 'langage'; did you mean 'language'?"),
        (
            {"where": {"aspect": ("over-refusl",)}},
            "no collected case has aspect: over-refusl; did you mean 'over-refusal'?",
        ),
        ({"where": {"suite": ("awre",)}}, "no collected case has suite: awre; did you mean 'aware'?"),
        ({"where": {"language": ("xx",)}}, "no collected case has language: xx"),
        (
            {"metric": "attack_success_rate", "where": {"language": ("en",)}},
            "no collected case matches it and is one that attack_success_rate speaks of",
        ),
        (
            {"where": {"language": ("en",), "suite": ("usb",)}},
            "no collected case matches it and is one that failure_rate speaks of",
        ),
    ],
)
def test_a_gate_without_cases_says_what_is_nearest(keys: dict[str, Any], reason: str) -> None:
    assert unmatched(gate(**keys), CASES) == reason


# --- properties

OUTCOMES = st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0]), st.integers(0, 12)), min_size=1, max_size=60)
BOUNDS = st.floats(0.01, 0.99)
ORDER = {PASSED: 0, INCONCLUSIVE: 1, FAILED: 2}


def records_of(outcomes: list[tuple[float, int]]) -> list[Record]:
    return [record(i, score, cluster=str(cluster)) for i, (score, cluster) in enumerate(outcomes)]


@given(OUTCOMES, BOUNDS, BOUNDS, st.sampled_from([EVIDENCE, ASSURANCE]))
def test_a_stricter_bound_is_never_kept_better(
    outcomes: list[tuple[float, int]], one: float, other: float, rule: str
) -> None:
    records = records_of(outcomes)
    strict, loose = sorted((one, other))
    assert (
        ORDER[result(records, gate(max=strict, rule=rule)).status]
        >= ORDER[result(records, gate(max=loose, rule=rule)).status]
    )
    accuracy = {"metric": "accuracy", "max": None, "rule": rule}
    assert (
        ORDER[result(records, gate(min=loose, **accuracy)).status]
        >= ORDER[result(records, gate(min=strict, **accuracy)).status]
    )


@given(OUTCOMES, BOUNDS, st.lists(st.integers(0, 20), min_size=1, max_size=10))
def test_more_failing_answers_never_turn_failed_into_passed(
    outcomes: list[tuple[float, int]], bound: float, more: list[int]
) -> None:
    before = result(records_of(outcomes), gate(max=bound)).status
    after = result(records_of([*outcomes, *((1.0, cluster) for cluster in more)]), gate(max=bound)).status
    assert (before, after) != (FAILED, PASSED)


@given(OUTCOMES, BOUNDS, st.randoms())
def test_order_never_matters(outcomes: list[tuple[float, int]], bound: float, random: Any) -> None:
    records = records_of(outcomes)
    one = result(records, gate(max=bound))
    assert one.low is not None
    assert one.high is not None
    assume(min(abs(one.low - bound), abs(one.high - bound)) > 1e-6)
    other = result(random.sample(records, len(records)), gate(max=bound))
    assert (one.status, one.blocks, one.n, one.clusters) == (other.status, other.blocks, other.n, other.clusters)
    assert (other.estimate, other.low, other.high) == pytest.approx((one.estimate, one.low, one.high), abs=1e-9)


@given(OUTCOMES, BOUNDS)
def test_both_directions_mirror_each_other(outcomes: list[tuple[float, int]], bound: float) -> None:
    records = records_of(outcomes)
    failing = result(records, gate(max=bound))
    assert failing.low is not None
    assert failing.high is not None
    assume(min(abs(failing.low - bound), abs(failing.high - bound)) > 1e-6)
    right = result(records, gate(metric="accuracy", max=None, min=1 - bound))
    assert failing.status == right.status


@given(OUTCOMES, BOUNDS, st.floats(0.001, 0.4), st.floats(0.001, 0.4))
def test_more_confidence_decides_less(
    outcomes: list[tuple[float, int]], bound: float, one: float, other: float
) -> None:
    sure, unsure = sorted((one, other))
    records = records_of(outcomes)
    if result(records, gate(max=bound, alpha=sure)).status != INCONCLUSIVE:
        assert result(records, gate(max=bound, alpha=unsure)).status != INCONCLUSIVE
