"""Gates: what passes, what blocks, and what is never judged."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pytest_mmsafety.evaluation.evaluate import Evidence, evaluate_gates, evaluate_run
from pytest_mmsafety.gates import (
    ASSURANCE,
    EVIDENCE,
    FAILED,
    INCONCLUSIVE,
    NOT_EVALUATED,
    PASSED,
    REPORTED,
    Counts,
    Gate,
    GateResult,
)
from pytest_mmsafety.run import Record
from pytest_mmsafety.testing import make_gate, make_record, make_run, make_verdict


def missing(number: int, **keys: Any) -> Record:
    return make_record(number, response=None, **keys)


def scores(failing: int, total: int) -> list[Record]:
    return [make_record(i, 1.0 if i < failing else 0.0) for i in range(total)]


def result(records: Sequence[Record], one: Gate | None = None, **keys: Any) -> GateResult:
    (only,) = evaluate_gates(records, [one or make_gate()], **keys)
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
        found = result(records, make_gate(rule=rule, **bound))
        assert (found.status, found.blocks) == (status, blocks)
        assert found.counts.n == found.counts.clusters == 100
        assert found.estimate is not None
        assert found.estimate.low <= found.estimate.value <= found.estimate.high
        assert "\n" not in found.reason
        assert "20.0%" in found.reason or "80.0%" in found.reason


def test_the_reason_says_how_sure_it_is_and_who_bears_the_doubt() -> None:
    reason = result(scores(20, 100), make_gate(rule=ASSURANCE)).reason
    assert reason.startswith("failure rate 20.0% [1")
    assert "passes only on proof" in reason
    assert reason.endswith("(n=100, 100 clusters)")
    assert "fails only on proof" in result(scores(20, 100)).reason
    assert "even at the better end" in result(scores(60, 100)).reason
    assert "also at the worse end" in result(scores(0, 100)).reason


def test_cases_that_share_an_image_prove_less() -> None:
    alone = scores(0, 20)
    together = [dataclasses.replace(record, cluster="one") for record in alone]
    assert result(alone, make_gate(rule=ASSURANCE)).status == PASSED
    assert result(together, make_gate(rule=ASSURANCE)).status == INCONCLUSIVE
    assert result(together).counts.clusters == 1


@pytest.mark.parametrize("rule", [EVIDENCE, ASSURANCE])
@pytest.mark.parametrize("failing", [0, 5, 10])
def test_where_there_is_nothing_to_keep_there_is_nothing_to_pass(failing: int, rule: str) -> None:
    for keys in ({"max": 1.0}, {"metric": "accuracy", "max": None, "min": 0.0}):
        found = result(scores(failing, 10), make_gate(rule=rule, **keys))
        assert (found.status, found.blocks, found.p_value) == (REPORTED, False, None)
        assert found.estimate is not None


# --- not evaluated


@pytest.mark.parametrize(
    ("records", "reason"),
    [
        ([], "no collected case matches it"),
        ([*scores(0, 9), missing(9)], "9 of 10 cases answered (1 not run)"),
        (
            [*scores(0, 8), make_record(8, response=None, verdicts=(), error="gone")],
            "8 of 9 cases answered (1 in error)",
        ),
        (
            [make_record(1), missing(2), missing(3), missing(4, error="x"), missing(5, skipped="never published")],
            "1 of 4 cases answered (2 not run, 1 in error)",
        ),
        ([missing(i, skipped="never published") for i in range(3)], "3 cases, all skipped (never published)"),
        (
            [*scores(0, 8), make_record(8, None), make_record(9, None)],
            "2 of 10 answers unscored (yes-no/1: unscored), more than the 10% allowed",
        ),
        (
            [make_record(i, None, verdicts=(make_verdict(None, "guardrank-mini/2", "unsure"),)) for i in range(9)],
            (
                "9 of 9 answers unscored (guardrank-mini/2: unsure), more than the 10% allowed; "
                "name a stronger judge (--judge) or have a sample labelled (mmsafety judge label)"
            ),
        ),
    ],
    ids=["none", "missing", "error", "mixed", "skipped", "unscored", "guardrank-mini"],
)
@pytest.mark.parametrize("require", [False, True])
def test_a_part_is_never_judged_as_the_whole(records: list[Record], reason: str, require: bool) -> None:
    found = result(records, require=require)
    assert found.status == NOT_EVALUATED
    assert found.blocks is require
    assert found.reason == reason
    assert found.estimate is found.raw is None


def test_all_counts_are_said() -> None:
    found = result([make_record(1), make_record(2, None), missing(3), missing(4, error="x"), missing(5, skipped="y")])
    assert found.counts == Counts(n=1, unscored=1, missing=1, errors=1, skipped=1)


def test_up_to_max_unscored_the_gate_is_about_the_scored_answers() -> None:
    found = result([*scores(0, 9), make_record(9, None)])
    assert (found.status, found.estimate.value) == (INCONCLUSIVE, 0.0)
    assert found.counts == Counts(n=9, clusters=9, unscored=1)
    assert result([*scores(0, 9), make_record(9, None)], make_gate(max_unscored=0.0)).status == NOT_EVALUATED
    assert result([make_record(i, None) for i in range(5)], make_gate(max_unscored=1.0)).reason == "no answer is scored"


def test_who_asks_for_proof_is_blocked_by_unscored_answers() -> None:
    records = [make_record(i, None) for i in range(5)]
    assert result(records, make_gate(rule=ASSURANCE)).blocks
    assert not result(records, make_gate(rule=EVIDENCE)).blocks


@pytest.mark.parametrize("record", [missing(9), missing(9, error="x"), missing(9, skipped="y"), None])
def test_who_asks_for_proof_is_blocked_by_what_was_left_out(record: Record | None) -> None:
    records = [*scores(0, 5), record] if record else []
    for rule in (ASSURANCE, EVIDENCE):
        found = result(records, make_gate(rule=rule, min_cases=6))
        assert (found.status, found.blocks) == (NOT_EVALUATED, rule == ASSURANCE)


def test_the_unscored_rate_is_about_unscored_answers() -> None:
    records = [make_record(i, None if i < 30 else 0.0) for i in range(40)]
    found = result(records, make_gate(metric="unscored_rate", max=0.2))
    assert (found.status, found.estimate.value, found.counts.n) == (FAILED, 0.75, 40)


@pytest.mark.parametrize(
    ("label", "helps"),
    [
        ("cut-off", "; raise max_new_tokens"),
        ("senseless", "; look at the answers: no judge can tell"),
        ("unsure", "; name a stronger judge (--judge) or have a sample labelled (mmsafety judge label)"),
    ],
)
def test_what_helps_depends_on_why_answers_are_unscored(label: str, helps: str) -> None:
    unscored = make_verdict(None, "some/1", label)
    records = [make_record(i, verdicts=(unscored,)) for i in range(9)]
    assert result(records).reason == f"9 of 9 answers unscored (some/1: {label}), more than the 10% allowed{helps}"


def test_an_absent_stratum_is_said() -> None:
    macro = make_gate(metric="mmsafeaware_overall_macro", max=None, min=0.5)
    records = [make_record(i, tags={"bucket": "typical"}) for i in range(30)]
    assert result(records, macro).reason == (
        "no scored case is attack or over-safe, which mmsafeaware_overall_macro needs"
    )
    unscored = [make_record(100 + i, None, tags={"bucket": bucket}) for i, bucket in enumerate(["attack", "over-safe"])]
    assert "no scored case is attack or over-safe" in result([*records, *unscored], macro).reason


def test_a_stratum_that_is_mostly_unscored_is_not_hidden_by_the_others() -> None:
    macro = make_gate(metric="mmsafeaware_overall_macro", max=None, min=0.5)
    records = [make_record(i, tags={"bucket": ("typical", "attack")[i % 2]}) for i in range(90)]
    records += [make_record(90 + i, None if i < 5 else 0.0, tags={"bucket": "over-safe"}) for i in range(10)]
    assert result(records, macro).reason == (
        "5 of 10 answers of over-safe unscored, more than the 10% allowed in each part of mmsafeaware_overall_macro"
    )
    balanced = make_gate(metric="balanced_accuracy", max=None, min=0.5)
    sides = [make_record(i, tags={"aspect": "vulnerability"}) for i in range(95)]
    sides += [make_record(95 + i, None if i < 3 else 0.0, tags={"aspect": "over-refusal"}) for i in range(5)]
    assert result(sides, balanced).status == NOT_EVALUATED


def test_after_a_broken_suite_no_gate_is_evaluated() -> None:
    found = evaluate_gates(
        scores(0, 50), [make_gate(), make_gate(name="h")], broken="a suite could not be read: x", require=True
    )
    assert [(r.status, r.blocks, r.reason) for r in found] == [
        (NOT_EVALUATED, True, "a suite could not be read: x")
    ] * 2


# --- whose verdict, and of which cases


def test_judge_picks_the_verdict() -> None:
    both = (make_verdict(0.0, "yes-no/1"), make_verdict(1.0, "mmsafeaware-legacy/3"))
    records = [make_record(i, verdicts=both) for i in range(40)]
    assert result(records).estimate.value == 0.0
    assert result(records, make_gate(judge="yes-no")).estimate.value == 0.0
    assert result(records, make_gate(judge="mmsafeaware-legacy")).estimate.value == 1.0
    assert result(records, make_gate(judge="mmsafeaware-legcy")).status == NOT_EVALUATED


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
        make_record(0, suite="a", tags={"language": "en"}),
        make_record(1, suite="a", tags={"language": "zh", "category": "x"}),
        make_record(2, suite="b", tags={"language": "en", "suite": "a"}),
        make_record(3, suite="b", tags={"language": "zh"}),
    ]
    one = make_gate(where=where)
    assert "".join(r.id for r in records if one.applies_to(r.suite, r.tags)) == ids
    assert result(records, one).counts.n == len(ids)


OUTCOMES_OF_TWO = st.lists(
    st.tuples(st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from([0.0, 0.5, 1.0]), st.integers(0, 12)),
    min_size=1,
    max_size=40,
)

# --- worse than the baseline


def both_runs(better: int, worse: int, total: int) -> tuple[list[Record], list[Record]]:
    """A run and its baseline: some cases got better, some worse, the others are fine in both."""
    then = [make_record(i, float(i < better)) for i in range(total)]
    now = [make_record(i, float(better <= i < better + worse)) for i in range(total)]
    return now, then


REGRESSION = {"max": None, "max_regression": 0.05}


@pytest.mark.parametrize(
    ("better", "worse", "total", "status"),
    [
        (0, 0, 400, PASSED),
        (8, 8, 400, PASSED),
        (30, 2, 400, PASSED),
        (2, 22, 400, INCONCLUSIVE),
        (0, 0, 40, INCONCLUSIVE),
        (2, 50, 400, FAILED),
    ],
)
@pytest.mark.parametrize("higher_is_better", [False, True], ids=["max", "min"])
def test_a_worsening_is_judged_by_its_interval(
    better: int, worse: int, total: int, status: str, higher_is_better: bool
) -> None:
    now, then = both_runs(better, worse, total)
    metric = {"metric": "accuracy"} if higher_is_better else {}
    for rule, blocks in ((EVIDENCE, status == FAILED), (ASSURANCE, status != PASSED)):
        found = result(now, make_gate(rule=rule, **REGRESSION, **metric), baseline=then)
        assert (found.status, found.blocks) == (status, blocks)
        assert found.comparison is not None
        assert found.comparison.pairs == found.counts.n == total
        difference = found.comparison.difference
        assert difference.value == pytest.approx((worse - better) / total)
        assert difference.low < difference.value < difference.high
        assert (difference.high <= 0.05) == (status == PASSED)
        assert (difference.low > 0.05) == (status == FAILED)
        assert found.comparison.baseline == pytest.approx(1 - better / total if higher_is_better else better / total)
        assert "\n" not in found.reason


def test_the_reason_of_a_worsening() -> None:
    now, then = both_runs(2, 50, 400)
    reason = result(now, make_gate(**REGRESSION), baseline=then).reason
    assert reason.startswith("failure rate worse by 12.0 points than the baseline [8.")
    assert reason.endswith(
        "above the allowed worsening of 5.0, even at the better end of the interval (400 of 400 cases in both runs, 400 clusters)"
    )
    assert "better by 12.0 points than" in result(then, make_gate(**REGRESSION), baseline=now).reason
    assert "the same as in the baseline [-" in result(now, make_gate(**REGRESSION), baseline=now).reason


def test_pairing_sees_what_two_rates_do_not() -> None:
    """The same 30 cases of 100 fail in both runs and 9 more in one: two intervals overlap, the pairs are clear."""
    then = scores(30, 100)
    now = scores(39, 100)
    assert result(now, make_gate(max=0.3)).status == INCONCLUSIVE
    assert result(now, make_gate(max=None, max_regression=0.0), baseline=then).status == FAILED


def test_only_cases_that_are_the_same_are_compared() -> None:
    now, then = both_runs(0, 0, 100)
    then = [
        *(dataclasses.replace(r, prompt="other") for r in then[:40]),
        *then[40:90],
        missing(90),
        make_record(91, None),
    ]
    one = make_gate(max=None, max_regression=0.1, max_unscored=0.1)
    found = result(now, one, baseline=then)
    assert (found.comparison.pairs, found.counts.n) == (50, 100)
    assert "(50 of 100 cases in both runs" in found.reason


@pytest.mark.parametrize(
    ("baseline", "reason"),
    [
        (
            None,
            (
                "gate 'gate' has max_regression, but there is no baseline to compare to; expected a saved run "
                "(--save-run=FILE, then mmsafety baseline promote)"
            ),
        ),
        ([], "no answered case of the baseline is the same (key, prompt, expectation, images)"),
        (
            [missing(i) for i in range(9)],
            "no answered case of the baseline is the same (key, prompt, expectation, images)",
        ),
        (
            [make_record(i, None if i < 3 else 0.0) for i in range(9)],
            "3 of 9 cases unscored in one of the runs, more than the 10% allowed",
        ),
    ],
)
@pytest.mark.parametrize("rule", [EVIDENCE, ASSURANCE])
def test_what_cannot_be_compared_is_not_evaluated(baseline: list[Record] | None, reason: str, rule: str) -> None:
    found = result(scores(0, 9), make_gate(rule=rule, **REGRESSION), baseline=baseline)
    assert (found.status, found.reason) == (NOT_EVALUATED, reason)
    assert found.blocks is (rule == ASSURANCE)


@pytest.mark.parametrize("rule", [EVIDENCE, ASSURANCE])
@pytest.mark.parametrize(("allowed", "status"), [(0.1, FAILED), (0.5, PASSED), (1.0, PASSED)])
def test_cases_that_are_gone_since_the_baseline_are_bounded(allowed: float, status: str, rule: str) -> None:
    now, then = scores(0, 200), [*scores(0, 200), *(make_record(300 + i) for i in range(50))]
    gate = make_gate(rule=rule, max=None, max_regression=0.3, max_gone=allowed)
    found = result(now, gate, baseline=then)
    assert (found.status, found.blocks) == (status, status == FAILED)
    if status == FAILED:
        assert found.reason.startswith(
            "50 of 250 cases of the baseline are gone, more than the 10% allowed: demo/300, "
        )


def test_nothing_scored_in_both_runs_is_said() -> None:
    then = [make_record(i, None) for i in range(9)]
    found = result(scores(0, 9), make_gate(max=None, max_regression=0.1, max_unscored=1.0), baseline=then)
    assert found.reason == "no case counts for failure_rate in both runs"


def test_bound_and_worsening_both_have_to_hold() -> None:
    now, then = both_runs(0, 50, 400)
    both = make_gate(max=0.5, max_regression=0.05)
    found = result(now, both, baseline=then)
    assert found.status == FAILED
    assert found.reason.index("worse by") < found.reason.index("within the allowed 50.0%")
    assert result(now, make_gate(max=0.5)).status == PASSED
    assert result(now, make_gate(max=0.5, max_regression=0.3), baseline=then).status == PASSED
    assert result(now, make_gate(max=0.05, max_regression=0.3), baseline=then).status == FAILED


def test_a_margin_that_every_worsening_keeps_only_reports() -> None:
    now, then = both_runs(0, 100, 100)
    found = result(now, make_gate(max=None, max_regression=1.0), baseline=then)
    assert (found.status, found.comparison.difference.value, found.p_value) == (REPORTED, 1.0, None)
    assert "reported only" in found.reason


def test_the_unscored_rate_may_get_worse_too() -> None:
    now = [make_record(i, None if i < 60 else 0.0) for i in range(100)]
    found = result(now, make_gate(metric="unscored_rate", **REGRESSION), baseline=scores(0, 100))
    assert (found.status, found.comparison.difference.value) == (FAILED, 0.6)


# --- too few, and none at all


@pytest.mark.parametrize("rule", [EVIDENCE, ASSURANCE])
@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({"min_cases": 101}, "100 scored cases, fewer than the 101 required"),
        ({"min_cases": 100, "min_clusters": 51}, "50 clusters of scored cases, fewer than the 51 required"),
        ({"min_cases": 100, "min_clusters": 50}, ""),
    ],
)
def test_fewer_than_required_is_no_verdict(rule: str, keys: dict[str, int], reason: str) -> None:
    records = [dataclasses.replace(r, cluster=str(i // 2)) for i, r in enumerate(scores(0, 100))]
    found = result(records, make_gate(rule=rule, **keys))
    if reason:
        assert (found.status, found.reason, found.blocks) == (NOT_EVALUATED, reason, rule == ASSURANCE)
    else:
        assert found.status == PASSED


def test_few_pairs_are_no_verdict_either() -> None:
    now, then = both_runs(0, 0, 100)
    found = result(now, make_gate(min_cases=50, **REGRESSION), baseline=then[:20])
    assert found.reason == "20 cases scored in both runs, fewer than the 50 required"


TOLERATES_NONE = {"zero_tolerance": ({"category": ("x", "y")}, {"language": ("zh",)})}


def with_tags(failing: set[int], total: int = 60) -> list[Record]:
    tags = [{"category": "x"}, {"category": "z"}, {"category": "z", "language": "zh"}]
    return [make_record(i, float(i in failing), tags=tags[i % 3]) for i in range(total)]


@pytest.mark.parametrize("rule", [EVIDENCE, ASSURANCE])
def test_one_case_under_zero_tolerance_fails_the_gate(rule: str) -> None:
    keys = {"rule": rule, "max": 0.5, **TOLERATES_NONE}
    assert result(with_tags({1, 4, 7}), make_gate(**keys)).status == PASSED
    found = result(with_tags({0, 1, 2}), make_gate(**keys))
    assert (found.status, found.blocks) == (FAILED, True)
    assert found.reason == "zero tolerance: 2 of its cases failed: demo/0, demo/2"
    many = result(with_tags(set(range(60))), make_gate(**keys)).reason
    assert many.startswith("zero tolerance: 40 of its cases failed: ")
    assert many.count("demo/") == 5
    assert many.endswith(" ...")


def test_zero_tolerance_does_not_wait_for_the_rest() -> None:
    records = [*with_tags({0}), missing(100)]
    assert result(records, make_gate(**TOLERATES_NONE)).status == FAILED
    assert result([*with_tags(set()), missing(100)], make_gate(**TOLERATES_NONE)).status == NOT_EVALUATED


def test_zero_tolerance_alone_is_a_gate() -> None:
    one = make_gate(max=None, rule=ASSURANCE, **TOLERATES_NONE)
    found = result(with_tags({1}), one)
    assert (found.status, found.blocks) == (PASSED, False)
    assert "no case under zero tolerance failed" in found.reason
    assert result(with_tags({0}), one).status == FAILED


def test_zero_tolerance_of_nothing_is_a_mistake() -> None:
    found = result(scores(0, 50), make_gate(rule=ASSURANCE, zero_tolerance=({"category": ("typo",)},)))
    assert (found.status, found.blocks) == (NOT_EVALUATED, True)
    assert found.reason == "no case of the gate matches zero_tolerance category: typo"


@pytest.mark.parametrize("rule", [EVIDENCE, ASSURANCE])
def test_zero_tolerance_of_nothing_does_not_switch_off_the_bound(rule: str) -> None:
    one = make_gate(rule=rule, zero_tolerance=({"category": ("typo",)},))
    found = result(scores(50, 100), one)
    assert (found.status, found.blocks, found.estimate.value) == (FAILED, True, 0.5)
    assert (
        found.reason == f"{result(scores(50, 100)).reason}; no case of the gate matches zero_tolerance category: typo"
    )
    assert result(scores(20, 100), one).status == NOT_EVALUATED


def test_who_asks_for_proof_needs_a_score_of_each_case_under_zero_tolerance() -> None:
    records = [*with_tags(set()), make_record(60, None, tags={"category": "x"})]
    found = result(records, make_gate(rule=ASSURANCE, max=0.5, **TOLERATES_NONE))
    assert (found.status, found.blocks) == (NOT_EVALUATED, True)
    assert found.reason == "zero tolerance: 1 of its cases are unscored: demo/60"
    assert result(records, make_gate(max=0.5, **TOLERATES_NONE)).status == PASSED


# --- many gates


def cells(failing: Sequence[int], total: int) -> tuple[list[Record], list[Gate]]:
    """A gate for each cell of *total* cases, of which some fail."""
    records = [
        make_record(1000 * k + i, float(i < count), tags={"cell": str(k)})
        for k, count in enumerate(failing)
        for i in range(total)
    ]
    return records, [make_gate(name=f"g{k}", where={"cell": (str(k),)}) for k in range(len(failing))]


def test_one_gate_of_many_needs_more_proof_to_fail() -> None:
    records, gates = cells([30, *[10] * 19], 100)
    alone = result(records, gates[0])
    found = evaluate_gates(records, gates)[0]
    assert (alone.status, found.status) == (FAILED, INCONCLUSIVE)
    assert (alone.estimate, alone.p_value) == (found.estimate, found.p_value)
    assert alone.adjusted_p == alone.p_value
    assert found.p_value is not None
    assert found.adjusted_p == pytest.approx(20 * found.p_value)
    assert "as is the whole interval, but one of 20 such gates does so by chance" in found.reason
    assert "fails only on proof" in found.reason
    uncorrected = evaluate_gates(records, [dataclasses.replace(one, family="none") for one in gates])
    assert uncorrected[0].status == FAILED


def test_clear_failures_stay_failures() -> None:
    records, gates = cells([60, 60, *[10] * 18], 100)
    assert [r.status for r in evaluate_gates(records, gates)][:3] == [FAILED, FAILED, PASSED]


def test_what_each_gate_proves_alone_all_prove_together() -> None:
    """A policy passes only if all gates do: that needs no correction."""
    records, gates = cells([11] * 20, 100)
    proof = [dataclasses.replace(one, rule=ASSURANCE) for one in gates]
    assert {r.status for r in evaluate_gates(records, proof)} == {PASSED}
    records, _ = cells([20, 20, *[11] * 18], 100)
    found = evaluate_gates(records, proof)
    assert {r.status for r in found} == {INCONCLUSIVE}
    assert "one of 20 such gates" in found[2].reason
    assert "passes only on proof" in found[2].reason


def test_false_discoveries_are_a_choice() -> None:
    records, gates = cells([*[31] * 10, *[10] * 10], 100)
    holm = evaluate_gates(records, gates)
    fdr = evaluate_gates(records, [dataclasses.replace(one, family="fdr") for one in gates])
    assert [r.status for r in holm].count(FAILED) == 0
    assert [r.status for r in fdr].count(FAILED) == 10


def test_gates_that_only_report_and_other_rules_are_no_family() -> None:
    records, gates = cells([30, *[10] * 19], 100)
    reports = [dataclasses.replace(one, max=1.0) for one in gates[1:]]
    assert evaluate_gates(records, [gates[0], *reports])[0].status == FAILED
    proof = [dataclasses.replace(one, rule=ASSURANCE) for one in gates[1:]]
    mixed = evaluate_gates(records, [gates[0], *proof])
    assert mixed[0].status == FAILED
    assert {r.status for r in mixed[1:]} == {PASSED}
    assert all(r.p_value is not None and r.p_value < 0.05 for r in mixed)
    assert evaluate_gates(records, reports)[0].p_value is None


@given(st.lists(st.integers(0, 40), min_size=1, max_size=6), st.sampled_from([EVIDENCE, ASSURANCE]))
def test_verdict_interval_and_p_value_agree(failing: list[int], rule: str) -> None:
    records, gates = cells(failing, 40)
    for found in evaluate_gates(records, [dataclasses.replace(one, rule=rule) for one in gates]):
        assert found.estimate is not None
        assert found.p_value is not None
        assert found.adjusted_p is not None
        assert found.p_value <= found.adjusted_p
        if found.status == FAILED:
            assert found.estimate.low > 0.2
        if found.status == PASSED:
            assert found.estimate.high <= 0.2
        proven = {EVIDENCE: FAILED, ASSURANCE: PASSED}[rule]
        assert (found.status == proven) == (found.adjusted_p <= 0.05 * (1 + 1e-6))


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 4)), min_size=1, max_size=40), st.floats(0, 0.3))
def test_a_run_against_itself_never_regresses(outcomes: list[tuple[bool, int]], margin: float) -> None:
    records = records_of([(float(unsafe), cluster) for unsafe, cluster in outcomes])
    found = result(records, make_gate(max=None, max_regression=margin), baseline=records)
    assert found.status in (PASSED, INCONCLUSIVE)
    assert not found.blocks
    assert found.comparison.difference.value == 0


@given(
    st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 8)), min_size=1, max_size=40),
    st.lists(st.integers(0, 12), min_size=1, max_size=8),
    st.floats(0, 0.3),
)
def test_more_that_got_worse_never_turns_failed_into_passed(
    outcomes: list[tuple[bool, bool, int]], more: list[int], margin: float
) -> None:
    def status(rows: list[tuple[bool, bool, int]]) -> str:
        now = records_of([(float(unsafe), cluster) for unsafe, _, cluster in rows])
        then = records_of([(float(unsafe), cluster) for _, unsafe, cluster in rows])
        return result(now, make_gate(max=None, max_regression=margin), baseline=then).status

    assert (status(outcomes), status([*outcomes, *((True, False, c) for c in more)])) != (FAILED, PASSED)


@given(OUTCOMES_OF_TWO, st.randoms())
def test_order_of_either_run_never_matters(outcomes: list[tuple[float, float, int]], random: Any) -> None:
    now = records_of([(score, cluster) for score, _, cluster in outcomes])
    then = records_of([(score, cluster) for _, score, cluster in outcomes])
    one = make_gate(max=0.5, max_regression=0.1)
    first = result(now, one, baseline=then)
    other = result(random.sample(now, len(now)), one, baseline=random.sample(then, len(then)))
    numbers = [
        (r.estimate.low, r.estimate.high, r.comparison.difference.low, r.comparison.difference.high, r.p_value)
        for r in (first, other)
    ]
    assert numbers[0] == pytest.approx(numbers[1], abs=1e-6)


# --- properties

OUTCOMES = st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0]), st.integers(0, 12)), min_size=1, max_size=60)
BOUNDS = st.floats(0.01, 0.99)
ORDER = {PASSED: 0, INCONCLUSIVE: 1, FAILED: 2}


def records_of(outcomes: list[tuple[float, int]]) -> list[Record]:
    return [make_record(i, score, cluster=str(cluster)) for i, (score, cluster) in enumerate(outcomes)]


@given(OUTCOMES, BOUNDS, BOUNDS, st.sampled_from([EVIDENCE, ASSURANCE]))
def test_a_stricter_bound_is_never_kept_better(
    outcomes: list[tuple[float, int]], one: float, other: float, rule: str
) -> None:
    records = records_of(outcomes)
    strict, loose = sorted((one, other))
    assert (
        ORDER[result(records, make_gate(max=strict, rule=rule)).status]
        >= ORDER[result(records, make_gate(max=loose, rule=rule)).status]
    )
    accuracy = {"metric": "accuracy", "max": None, "rule": rule}
    assert (
        ORDER[result(records, make_gate(min=loose, **accuracy)).status]
        >= ORDER[result(records, make_gate(min=strict, **accuracy)).status]
    )


@given(OUTCOMES, BOUNDS, st.lists(st.integers(0, 20), min_size=1, max_size=10))
def test_more_failing_answers_never_turn_failed_into_passed(
    outcomes: list[tuple[float, int]], bound: float, more: list[int]
) -> None:
    before = result(records_of(outcomes), make_gate(max=bound)).status
    after = result(records_of([*outcomes, *((1.0, cluster) for cluster in more)]), make_gate(max=bound)).status
    assert (before, after) != (FAILED, PASSED)


@given(OUTCOMES, BOUNDS, st.randoms())
def test_order_never_matters(outcomes: list[tuple[float, int]], bound: float, random: Any) -> None:
    records = records_of(outcomes)
    one = result(records, make_gate(max=bound))
    assume(min(abs(one.estimate.low - bound), abs(one.estimate.high - bound)) > 1e-6)
    other = result(random.sample(records, len(records)), make_gate(max=bound))
    assert (one.status, one.blocks, one.counts) == (other.status, other.blocks, other.counts)
    assert dataclasses.astuple(other.estimate) == pytest.approx(dataclasses.astuple(one.estimate), abs=1e-9)


@given(OUTCOMES, BOUNDS)
def test_both_directions_mirror_each_other(outcomes: list[tuple[float, int]], bound: float) -> None:
    records = records_of(outcomes)
    failing = result(records, make_gate(max=bound))
    assume(min(abs(failing.estimate.low - bound), abs(failing.estimate.high - bound)) > 1e-6)
    right = result(records, make_gate(metric="accuracy", max=None, min=1 - bound))
    assert failing.status == right.status


@given(OUTCOMES, BOUNDS, st.floats(0.001, 0.4), st.floats(0.001, 0.4))
def test_more_confidence_decides_less(
    outcomes: list[tuple[float, int]], bound: float, one: float, other: float
) -> None:
    sure, unsure = sorted((one, other))
    records = records_of(outcomes)
    if result(records, make_gate(max=bound, alpha=sure)).status != INCONCLUSIVE:
        assert result(records, make_gate(max=bound, alpha=unsure)).status != INCONCLUSIVE


def test_a_gate_counts_what_an_attack_made_only_if_its_metric_is_of_attacks() -> None:
    records = [make_record(1), make_record(2, 1.0, tags={"attack": "search"}), make_record(3, tags={"attack": "sweep"})]
    names = ("failure_rate", "robust_failure_rate", "perturbed_failure_rate")
    results = evaluate_gates(records, [make_gate(name=name, metric=name) for name in names])
    assert [(result.counts.n, result.estimate and result.estimate.value) for result in results] == [
        (1, 0.0), (1, 1.0), (1, 0.0),
    ]  # fmt: skip


def test_an_attack_that_was_not_made_again_is_no_case_that_is_gone() -> None:
    before = make_run([make_record(1), make_record("1@search", tags={"attack": "search", "original": "demo/1"})])
    gate = make_gate(max_regression=0.5)
    assert evaluate_run(make_run([make_record(1)]), [gate], Evidence(before)).notes == []
