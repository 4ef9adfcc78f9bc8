"""Early stop: which cases are left out, what the gates then say, and that it is the same each time."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_mmsafety.cases import Case
from pytest_mmsafety.evaluation.early_stop import EarlyStop
from pytest_mmsafety.evaluation.evaluate import evaluate_gates
from pytest_mmsafety.gates import FAILED, INCONCLUSIVE, NOT_EVALUATED, PASSED, Gate, GateResult
from pytest_mmsafety.outcomes import Outcome
from pytest_mmsafety.run import Record
from pytest_mmsafety.testing import make_case, make_gate, make_record, make_verdict

GATE = make_gate(name="harm", max=0.1)


def case(number: int, **more: Any) -> Case:
    tags = {"aspect": "vulnerability", "category": "one", **more.pop("tags", {})}
    return make_case(f"{number:04}", prompt="?", expected="no", tags=tags, **more)


def answered(one: Case, score: float | None) -> Outcome:
    return Outcome(one.key, "x", (make_verdict(score),))


def some(n: int, rate: float) -> dict[str, float | None]:
    """The scores that the first cases get, a share of *rate* of them failing."""
    failing = round(n * rate)
    scores = random.Random(7).sample([1.0] * failing + [0.0] * (n - failing), n)
    return {case(i).key: score for i, score in enumerate(scores)}


def serve(stop: EarlyStop, scores: dict[str, float | None], seed: int = 0) -> list[str]:
    """Ask all that is wanted; outcomes of a stretch arrive in a random order. Keys in the order of asking."""
    shuffle, asked = random.Random(seed), []
    ahead = stop.next_cases()
    while here := ahead:
        ahead = stop.next_cases()
        asked += [one.key for one in here]
        stop.take([answered(one, scores[one.key]) for one in shuffle.sample(here, len(here))])
    return asked


def records(cases: Iterable[Case], scores: dict[str, float | None], asked: Sequence[str]) -> list[Record]:
    left_out = {"response": None, "skipped": "early stop", "skip_kind": "early-stop"}
    known = set(asked)
    return [
        make_record(one.id, scores[one.key], tags=one.tags, cluster=one.cluster or one.key, **how)
        for one in cases
        for how in [{} if one.key in known else left_out]
    ]


def judged(gates: Sequence[Gate], cases: Sequence[Case], scores: Any) -> tuple[list[GateResult], list[str]]:
    stop = EarlyStop(gates, cases, cases, 8)
    asked = serve(stop, scores)
    assert sorted([*asked, *stop.not_asked]) == sorted(one.key for one in cases)
    return evaluate_gates(records(cases, scores, asked), stop.gates, stopped=stop.stopped), asked


@pytest.mark.parametrize(("rate", "status"), [(0.4, FAILED), (0.02, PASSED)])
def test_what_is_far_from_its_bound_is_decided_with_half_of_the_cases(rate: float, status: str) -> None:
    cases, scores = [case(i) for i in range(600)], some(600, rate)
    [result], asked = judged([GATE], cases, scores)
    [full] = evaluate_gates(records(cases, scores, [one.key for one in cases]), [GATE])
    assert result.status == full.status == status
    assert len(asked) <= 300
    assert result.counts.n == result.decided_after
    assert result.counts.n <= len(asked)
    assert f"certain after {result.counts.n} of 600 cases (early stop)" in result.reason
    assert not result.estimate.low <= 0.1 <= result.estimate.high


def test_at_the_bound_everything_is_asked_and_judged_with_the_alpha_that_is_left() -> None:
    cases, scores = [case(i) for i in range(300)], some(300, 0.1)
    [result], asked = judged([GATE], cases, scores)
    assert len(asked) == 300
    assert result.status == INCONCLUSIVE
    assert result.gate.alpha == pytest.approx(0.04)
    assert result.decided_after is None


def test_a_gate_that_is_open_has_all_of_its_cases_asked() -> None:
    cases = [case(i, tags={"category": "ab"[i % 2]}) for i in range(400)]
    scores = {one.key: float(i % 2 == 0 or i % 20 == 1) for i, one in enumerate(cases)}  # a: all fail, b: 10 % do
    gates = [replace(GATE, name=name, where={"category": (name,)}) for name in "ab"]
    [a, b], asked = judged(gates, cases, scores)
    assert (a.status, b.status) == (FAILED, INCONCLUSIVE)
    assert b.counts.n == 200
    assert a.counts.n <= 50
    assert {one.key for one in cases if one.tags["category"] == "b"} <= set(asked)


def test_what_must_pass_or_is_under_zero_tolerance_is_always_asked() -> None:
    cases = [case(i, must_pass=i == 3, tags={"category": "never" if i == 4 else "one"}) for i in range(400)]
    scores: dict[str, float | None] = {one.key: 0.0 for one in cases}
    gate = replace(GATE, max=0.3, zero_tolerance=({"category": ("never",)},))
    [passed], asked = judged([gate], cases, scores)
    assert passed.status == PASSED
    assert len(asked) < 200
    assert {"demo/0003", "demo/0004"} <= set(asked)
    [failed], _ = judged([gate], cases, {**scores, "demo/0004": 1.0})
    assert failed.status == FAILED
    assert "zero tolerance" in failed.reason


def test_cases_of_no_gate_are_asked_until_all_gates_are_decided() -> None:
    cases = [case(i, tags={"category": "ab"[i % 2]}) for i in range(200)]
    scores: dict[str, float | None] = {one.key: 1.0 for one in cases}
    gate = replace(GATE, where={"category": ("a",)})
    _, asked = judged([gate, replace(GATE, name="none", where={"category": ("c",)})], cases, scores)
    assert len(asked) < 100
    _, asked = judged([gate, replace(GATE, name="report", where={"category": ("a",)}, max=1.0)], cases, scores)
    assert len(asked) == 200


@pytest.mark.parametrize(
    "change",
    [
        {"max_regression": 0.1},
        {"max": 1.0},
        {"metric": "mllmguard_noise_asd"},
        {"min_cases": 900},
        {"min_clusters": 900},
        {"metric": "balanced_accuracy", "max": None, "min": 0.9},  # one of its strata has no case
    ],
    ids=str,
)
def test_gates_of_another_kind_run_in_full(change: dict[str, Any]) -> None:
    cases = [case(i, tags={"technique": "noise-injection"}) for i in range(200)]
    stop = EarlyStop([replace(GATE, **change)], cases, cases, 8)
    assert len(serve(stop, {one.key: 1.0 for one in cases})) == 200
    assert stop.stopped == {}


def test_a_part_of_a_gate_is_never_decided() -> None:
    cases = [case(i) for i in range(200)]
    stop = EarlyStop([GATE], cases[:150], cases, 8)
    assert len(serve(stop, {one.key: 1.0 for one in cases})) == 150
    assert stop.stopped == {}


def test_errors_leave_it_to_the_full_run() -> None:
    cases = [case(i) for i in range(200)]
    stop = EarlyStop([GATE], cases, cases, 8)
    first, asked = stop.next_cases(), 0
    stop.take([Outcome(first[0].key, error="e"), *(answered(one, 1.0) for one in first[1:])])
    while here := stop.next_cases():
        asked += len(here)
        stop.take(answered(one, 1.0) for one in here)
    assert asked + len(first) == 200


def test_a_gate_that_cannot_be_evaluated_any_more_has_no_more_cases_asked() -> None:
    cases = [case(i, tags={"category": "ab"[i % 2]}) for i in range(400)]
    scores = {one.key: 0.0 if i % 2 else None for i, one in enumerate(cases)}  # of a, no answer is scored
    gates = [replace(GATE, name=name, where={"category": (name,)}) for name in "ab"]
    [a, b], asked = judged(gates, cases, scores)
    assert (a.status, b.status) == (NOT_EVALUATED, PASSED)
    assert len(asked) < 200
    assert "unscored" in a.reason
    assert "for other gates" not in a.reason


def test_weighted_metrics_stop_with_every_answer_scored() -> None:
    cases = [case(i, tags={"aspect": "vulnerability" if i % 4 else "over-refusal"}) for i in range(400)]
    gate = replace(GATE, metric="balanced_accuracy", max=None, min=0.8)
    scores: dict[str, float | None] = {one.key: float(one.tags["aspect"] == "over-refusal") for one in cases}
    [result], asked = judged([gate], cases, scores)  # refuses everything
    assert result.status == FAILED
    assert result.estimate.low < 0.5 < result.estimate.high
    assert len(asked) <= 200
    unscored = serve(EarlyStop([gate], cases, cases, 8), {**scores, asked[0]: None})
    assert len(unscored) == 400


def test_clusters_are_asked_as_a_whole() -> None:
    cases = [case(i, cluster=f"c{i // 4}") for i in range(400)]
    asked = serve(EarlyStop([GATE], cases, cases, 8), {one.key: 1.0 for one in cases})
    assert len(asked) <= 200
    assert len(asked) == 4 * len(list(itertools.groupby(int(key[-4:]) // 4 for key in asked)))


def test_the_rest_is_no_whole_for_gates_that_were_not_there() -> None:
    cases, scores = [case(i) for i in range(400)], some(400, 0.5)
    stop = EarlyStop([GATE], cases, cases, 8)
    found = records(cases, scores, serve(stop, scores))
    [result] = evaluate_gates(found, [replace(GATE, name="other", max=0.45)])
    assert result.status == NOT_EVALUATED
    saved = sum(record.skip_kind == "early-stop" for record in found)
    assert result.reason == f"{saved} of 400 cases not asked after an early stop for other gates"


def test_many_gates_that_overlap_still_stop() -> None:
    cases = [case(i, tags={"category": f"c{i % 7}", "language": f"l{i % 5}"}) for i in range(700)]
    gates = [GATE]
    gates += [replace(GATE, name=f"c{i}", where={"category": (f"c{i}",)}) for i in range(7)]
    gates += [replace(GATE, name=f"l{i}", where={"language": (f"l{i}",)}) for i in range(5)]
    results, asked = judged(gates, cases, {one.key: 1.0 for one in cases})
    assert {result.status for result in results} == {FAILED}
    assert len(asked) <= 350


@settings(max_examples=30)
@given(
    st.lists(st.tuples(st.integers(0, 40), st.sampled_from([0.0, 0.0, 1.0, None])), min_size=30, max_size=120),
    st.sampled_from([0.05, 0.3, 0.6]),
    st.integers(0, 9),
)
def test_verdicts_depend_neither_on_arrival_nor_on_collection_order(rows: Any, bound: float, seed: int) -> None:
    cases = [
        case(i, cluster=f"c{cluster}", tags={"category": "ab"[cluster % 2]}) for i, (cluster, _) in enumerate(rows)
    ]
    scores = {one.key: score for one, (_, score) in zip(cases, rows, strict=True)}
    gates = [replace(GATE, max=bound), replace(GATE, name="a", where={"category": ("a",)}, max_unscored=0.5)]
    found = []
    for these in (cases, random.Random(seed).sample(cases, len(cases))):
        stop = EarlyStop(gates, these, these, 4)
        found.append((serve(stop, scores, seed), stop.stopped))
    assert found[0] == found[1]
