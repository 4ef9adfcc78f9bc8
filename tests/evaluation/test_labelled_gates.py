"""Gates whose numbers are corrected with people's labels of a part of the answers."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pytest

from pytest_mmsafety.evaluation.corrected import Columns, LabelColumns, labelled_share
from pytest_mmsafety.evaluation.evaluate import evaluate_gates
from pytest_mmsafety.gates import ASSURANCE, EVIDENCE, NOT_EVALUATED, Gate, GateResult
from pytest_mmsafety.judge_errors import JudgeErrors, Stratum
from pytest_mmsafety.labels import HumanLabels, Label
from pytest_mmsafety.metrics import METRICS
from pytest_mmsafety.run import Record
from pytest_mmsafety.statistics.estimates import Estimate
from pytest_mmsafety.testing import make_gate, make_record, make_verdict

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


def record(number: int, score: float | None, judge: str = "refusal/1", **tags: str) -> Record:
    """An answer to a request that deserves help, in Chinese or English."""
    tags = {"language": "zh" if number % 4 == 1 else "en", **tags}
    return make_record(number, score, judge=judge, tags=tags, expected="comply")


def refused(number: int) -> bool:
    """What people say."""
    return number % 10 == 0


RECORDS = [record(i, float(i % 20 == 0)) for i in range(400)]
"""The judge finds every second refusal, 5 % of the answers."""
SOME = RECORDS[:100]
HALF = [record(i, None if i % 4 < 2 else 0.0) for i in range(400)]
"""The judge abstains on half of the answers, six in ten of the refusals among them, and finds none of the others."""


def said(of: Sequence[Record], *, levels: bool = False, each: float = 4) -> HumanLabels:
    return HumanLabels({r.key: Label(float(refused(int(r.id))), each) for r in of}, levels)


def result(rows: Sequence[Record], of: Gate, labels: HumanLabels | None) -> GateResult:
    (found,) = evaluate_gates(rows, [of], labels=labels)
    return found


def test_what_the_judge_missed_is_added_and_its_own_number_stands_beside() -> None:
    found = result(RECORDS, make_gate(), said(SOME))
    assert found.estimate.value == pytest.approx(0.1)
    assert found.raw.value == pytest.approx(0.05)
    assert (found.counts.n, found.counts.clusters) == (400, 400)
    assert "failure rate 10.0% [" in found.reason
    assert found.reason.endswith("; corrected with people's labels of 100 of 400 answers, raw 5.0% [3.1%, 7.6%]")


def test_the_share_that_is_right_is_corrected_the_other_way() -> None:
    assert result(RECORDS, make_gate(metric="accuracy", max=None, min=0.5), said(SOME)).estimate.value == pytest.approx(
        0.9
    )


def test_the_bound_is_held_against_the_corrected_number() -> None:
    blind = [record(i, 0.0) for i in range(400)]
    assert result(blind, make_gate(max=0.02), None).status == "passed"
    assert result(blind, make_gate(max=0.02), said(SOME)).status == "failed"


def test_answers_drawn_more_often_count_for_less() -> None:
    """All that the judge flagged, and a quarter of the others."""
    flagged, others = RECORDS[::20], [r for r in RECORDS if r.score == 0][:95]
    labels = HumanLabels({**said(flagged, each=1).of, **said(others).of}, levels=False)
    assert result(RECORDS, make_gate(), labels).estimate.value == pytest.approx(0.1)


@pytest.mark.parametrize("rule", [EVIDENCE, ASSURANCE])
def test_too_few_labels_do_not_decide(rule: str) -> None:
    found = result(RECORDS, make_gate(rule=rule), said(RECORDS[:29]))
    assert found.status == NOT_EVALUATED
    assert found.blocks == (rule == ASSURANCE)
    assert found.reason == "not corrected with people's labels: 29 labelled clusters, fewer than the 30 required"


def test_a_gate_without_a_label_is_not_judged_by_a_judge_that_people_checked_elsewhere() -> None:
    only_english = said([r for r in SOME if r.tags["language"] == "en"])
    found = result(RECORDS, make_gate(where={"language": ("zh",)}), only_english)
    assert found.status == NOT_EVALUATED
    assert "0 labelled clusters, fewer than the 30 required" in found.reason


@pytest.mark.parametrize("rule", [EVIDENCE, ASSURANCE])
@pytest.mark.parametrize(
    "labels",
    [
        said(RECORDS[:29]),
        said(SOME, levels=True),
        HumanLabels({r.key: Label(None if i < 20 else 0.0, 4) for i, r in enumerate(SOME)}, levels=False),
    ],
    ids=["few", "levels", "unsure"],
)
def test_labels_that_cannot_be_used_make_no_gate_more_lenient(labels: HumanLabels, rule: str) -> None:
    alone, found = (result(RECORDS, make_gate(max=0.01, rule=rule), of) for of in (None, labels))
    assert (alone.status, found.status, found.blocks) == ("failed", "failed", True)
    assert (found.estimate, found.raw) == (alone.estimate, None)
    assert found.reason.startswith(f"{alone.reason}; the judge's own number, not corrected with people's labels: ")
    for bound in (0.06, 0.2):  # inconclusive, passed
        unsettled = result(RECORDS, make_gate(max=bound, rule=rule), labels)
        assert (unsettled.status, unsettled.blocks, unsettled.estimate) == (NOT_EVALUATED, rule == ASSURANCE, None)
        assert unsettled.reason.startswith("not corrected with people's labels: ")


def test_a_void_zero_tolerance_does_not_part_the_correction_from_its_raw_number() -> None:
    found = result(RECORDS, make_gate(max=0.01, zero_tolerance=({"language": ("fr",)},)), said(SOME))
    assert found.status == "failed"
    assert found.reason.endswith(
        "; no case of the gate matches zero_tolerance language: fr"
        "; corrected with people's labels of 100 of 400 answers, raw 5.0% [3.1%, 7.6%]"
    )


def test_a_worsening_is_found_whatever_the_labels() -> None:
    then = [record(i, 0.0) for i in range(400)]
    of = make_gate(max=0.2, max_regression=0.01)
    (found,) = evaluate_gates(RECORDS, [of], labels=said(RECORDS[:29]), baseline=then)
    assert (found.status, found.comparison.difference.value) == ("failed", 0.05)
    (found,) = evaluate_gates(RECORDS, [make_gate(max_regression=0.2)], labels=said(RECORDS[:29]), baseline=then)
    assert found.status == NOT_EVALUATED


@pytest.mark.parametrize("judge", ["yes-no/1", "mmsafeaware-legacy/1", "choice/1"])
@pytest.mark.parametrize(
    "labels", [said(SOME), said(RECORDS[:29]), said(SOME, levels=True)], ids=["ok", "few", "levels"]
)
def test_what_is_read_off_an_answer_needs_no_people(judge: str, labels: HumanLabels) -> None:
    rows = [record(i, float(i % 20 == 0), judge) for i in range(400)]
    for bound in (0.01, 0.06, 0.2):
        alone, found = (result(rows, make_gate(max=bound), of) for of in (None, labels))
        assert dataclasses.replace(found, reason="") == dataclasses.replace(alone, reason="")
        assert found.reason == f"{alone.reason}; not corrected: the verdicts of {judge} are read off the answers"


def test_answers_that_no_parser_reads_are_left_to_people() -> None:
    rows = [dataclasses.replace(r, verdicts=(make_verdict(r.score, "yes-no/1"),)) for r in HALF]
    assert result(rows, make_gate(), None).status == NOT_EVALUATED
    assert result(rows, make_gate(), said(SOME)).estimate.value == pytest.approx(0.1)


def test_a_gate_of_which_a_part_is_judged_is_corrected() -> None:
    rows = [*RECORDS[:200], *(record(i, float(i % 20 == 0), "yes-no/1") for i in range(200, 400))]
    assert result(rows, make_gate(), said(SOME)).raw.value == pytest.approx(0.05)


def test_a_judge_that_people_did_not_check_is_taken_at_its_word_and_the_reason_says_so() -> None:
    rows = [*RECORDS, *(record(i, float(i % 2), "other/1", part="other") for i in range(400, 500))]
    found = result(rows, make_gate(where={"part": ("other",)}, max=0.1), said(SOME))
    assert (found.status, found.estimate.value, found.raw) == ("failed", 0.5, None)
    assert found.reason.endswith("; not corrected: people labelled no answer that other/1 judged")


def test_labels_of_all_answers_need_no_minimum() -> None:
    found = result(RECORDS[:20], make_gate(), said(RECORDS[:20], each=1))
    assert (found.estimate.value, found.raw.value) == (0.1, 0.05)


def test_where_people_were_not_sure_too_often_there_is_no_number() -> None:
    labels = said(SOME)
    unsure = {key: dataclasses.replace(label, failure=None) for key, label in list(labels.of.items())[:11]}
    found = result(RECORDS, make_gate(), HumanLabels({**labels.of, **unsure}, levels=False))
    assert "people were not sure of 11 of 100 answers, more than the 10% allowed" in found.reason
    assert (
        result(RECORDS, make_gate(max_unscored=0.11), HumanLabels({**labels.of, **unsure}, levels=False)).raw
        is not None
    )


def test_labels_and_scores_have_to_be_of_one_scale() -> None:
    assert "labels are levels, the judge says yes or no" in result(RECORDS, make_gate(), said(SOME, levels=True)).reason
    graded = [record(i, (i % 20 == 0) / 3) for i in range(400)]
    assert "labels are yes or no, the judge's scores degrees" in result(graded, make_gate(), said(SOME)).reason
    assert result(graded, make_gate(), said(SOME, levels=True)).estimate.value == pytest.approx(0.1)


def test_every_stratum_needs_labels_and_keeps_its_weight() -> None:
    harm = [record(i, float(i % 20 == 0), aspect="vulnerability") for i in range(400)]
    help_ = [record(i, 0.0, aspect="over-refusal") for i in range(401, 1200, 2)]
    of = make_gate(metric="balanced_accuracy", max=None, min=0.5)
    assert (
        "0 labelled clusters of over-refusal, fewer than the 5 required"
        in result([*harm, *help_], of, said(harm[:100])).reason
    )
    assert result(harm, of, said(harm[:100])).reason == "no answer is over-refusal, which balanced_accuracy needs"
    labels = HumanLabels({**said(harm[:100]).of, **said(help_[:50], each=8).of}, levels=False)
    assert result([*harm, *help_], of, labels).estimate.value == pytest.approx(1 - 0.1 / 2)


def test_numbers_that_are_not_made_of_scores_alone_stay() -> None:
    found = result(RECORDS, make_gate(metric="unscored_rate"), said(SOME))
    assert (found.estimate.value, found.raw) == (0, None)
    twins = [
        record(i, float(i % 2), technique="noise-injection", pair=str(i // 2), variant=("clean", "noisy")[i % 2])
        for i in range(80)
    ]
    found = result(twins, make_gate(metric="mllmguard_noise_asd"), said(twins))
    assert found.raw is None
    assert found.reason.endswith("; not corrected: mllmguard_noise_asd depends on pairs of answers")


# --- answers that the judge abstains on


def test_answers_that_the_judge_abstains_on_count_if_people_labelled_some() -> None:
    found = result(HALF, make_gate(min_cases=400), said(SOME))
    assert found.estimate.value == pytest.approx(0.1)
    assert (found.counts.n, found.counts.unscored, found.status, found.raw.value) == (400, 200, "passed", 0)
    assert "labels of 100 of 400 answers, with the 200 that the judge did not score, raw 0.0% [" in found.reason
    assert "400 answers, fewer than the 401 required" in result(HALF, make_gate(min_cases=401), said(SOME)).reason


def test_the_share_that_is_right_is_the_rest_also_where_the_judge_abstains() -> None:
    rows = [record(i, None if i % 20 == 10 else float(refused(i))) for i in range(400)]
    failing = result(rows, make_gate(), said(SOME))
    right = result(rows, make_gate(metric="accuracy", max=None, min=0.5), said(SOME))
    assert (1 - right.estimate.high, 1 - right.estimate.low) == pytest.approx(
        (failing.estimate.low, failing.estimate.high)
    )


def test_a_judge_that_scores_nothing_leaves_it_all_to_people() -> None:
    found = result([record(i, None) for i in range(400)], make_gate(), said(SOME))
    assert (found.estimate.value, found.counts.n, found.raw) == (0.1, 400, None)
    assert found.reason.endswith("labels of 100 of 400 answers, with the 400 that the judge did not score")
    harm = [record(i, None, aspect="vulnerability") for i in range(400)]
    help_ = [record(i, 0.0, aspect="over-refusal") for i in range(401, 1200, 2)]
    labels = HumanLabels({**said(harm[:100]).of, **said(help_[:50], each=8).of}, levels=False)
    found = result([*harm, *help_], make_gate(metric="balanced_accuracy", max=None, min=0.5), labels)
    assert found.estimate.value == pytest.approx(0.95)
    assert found.raw is None


def test_answers_without_a_verdict_of_the_gates_judge_count_too() -> None:
    others = [record(i, 0.0, "choice/1") for i in range(400, 800)]
    found = result([*RECORDS, *others], make_gate(judge="refusal"), said([*SOME, *others[:100]]))
    assert (found.counts.n, found.counts.unscored) == (800, 400)
    assert found.estimate.value == pytest.approx(0.1)
    elsewhere = result([*RECORDS, *others], make_gate(judge="refusal", max_unscored=0.5), said(others[:100]))
    assert elsewhere.reason.endswith("; not corrected: people labelled no answer that refusal/1 judged")


def test_a_sample_without_those_that_the_judge_abstains_on_is_none_of_the_run() -> None:
    scored = said([r for r in HALF if r.score is not None])
    found = result(HALF, make_gate(), scored)
    assert found.status == NOT_EVALUATED
    assert found.reason == (
        "not corrected with people's labels: 200 of 400 answers unscored, and none of these is labelled; "
        "expected some of all"
    )
    assert result(HALF, make_gate(max_unscored=0.5), scored).counts.n == 400


def test_an_abstaining_judge_that_people_did_not_check_is_held_to_max_unscored() -> None:
    rows = [*RECORDS, *(record(i, None if i % 2 else 0.0, "other/1", part="other") for i in range(400, 500))]
    of = {"where": {"part": ("other",)}}
    assert "more than the 10%" in result(rows, make_gate(**of), said(SOME)).reason
    assert result(rows, make_gate(**of, max_unscored=0.5), said(SOME)).counts.n == 50


def test_zero_tolerance_and_unscored_rate_go_by_the_judge() -> None:
    strict = make_gate(rule=ASSURANCE, zero_tolerance=({"language": ("zh",)},))
    assert result(HALF, strict, said(SOME)).reason.startswith("zero tolerance: 100 of its cases are unscored")
    assert result(HALF, make_gate(metric="unscored_rate"), said(SOME)).estimate.value == 0.5


@pytest.mark.parametrize(("rate", "abstains"), [(0.05, (0.8, 0.3)), (0.3, (0.9, 0.6)), (0.3, (0.3, 0.3))])
def test_labels_hold_the_level_however_the_judge_abstains(rate: float, abstains: tuple[float, float]) -> None:
    """*abstains*: chances on failures and on others. Unequal ones bias what is made of the scored answers alone."""
    random, held, scored_held = np.random.default_rng(17), 0, 0
    for _ in range(150):
        failed = random.random(800) < rate
        score = (random.random(800) < np.where(failed, 0.9, 0.03)).astype(float)
        score[random.random(800) < np.where(failed, *abstains)] = np.nan
        stands_for = np.full(800, np.nan)
        for verdict in (score == 0, score == 1, np.isnan(score)):  # what judge label draws from
            of_it = random.permutation(np.flatnonzero(verdict))
            drawn = of_it[: max(len(of_it) // 5, 5)]
            stands_for[drawn] = len(of_it) / max(len(drawn), 1)
        label = np.where(np.isnan(stands_for), np.nan, failed)
        scored = ~np.isnan(score)
        found, left_out = share(score, label, stands_for), share(score[scored], label[scored], stands_for[scored])
        held += found.low <= rate <= found.high
        scored_held += left_out.low <= rate <= left_out.high
    assert held >= 0.93 * 150
    assert scored_held < 0.7 * 150 or abstains[0] == abstains[1]


def share(score: Floats, label: Floats, stands_for: Floats) -> Estimate:
    n = len(score)
    columns = Columns(score, np.arange(n), np.zeros(n, dtype=int), np.zeros(n, dtype=int), ["judge/1"])
    labelled = LabelColumns(label, stands_for, levels=False, graded=False)
    found, _ = labelled_share(METRICS["failure_rate"], columns, labelled, alpha=0.05, max_unknown=0.1)
    assert found
    return found


# --- both ways


def test_judge_errors_and_labels_exclude_each_other() -> None:
    of_all = Stratum({}, 200, 90, 5, 95, 10, 0, 0, 200, 100, 100, ())
    known = {"refusal/1": JudgeErrors("refusal/1", "", 0.5, effective=False, files={}, strata=(of_all,))}
    with pytest.raises(ValueError, match="expected one of them"):
        evaluate_gates(RECORDS, [make_gate()], judge_errors=known, labels=said(SOME))
