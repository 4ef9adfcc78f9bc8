"""People's labels of a run: read, checked, and what gates make of them."""

from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pytest_mmsafety.calibration import Calibration, Stratum
from pytest_mmsafety.cli.main import main
from pytest_mmsafety.errors import SetupError
from pytest_mmsafety.evaluation.corrected import Columns, Labelled, labelled_share
from pytest_mmsafety.evaluation.evaluate import evaluate_gates
from pytest_mmsafety.gates import ASSURANCE, EVIDENCE, NOT_EVALUATED, Gate, GateResult
from pytest_mmsafety.labels import Label, Labels, load_labels
from pytest_mmsafety.metrics import METRICS
from pytest_mmsafety.run import Record, Run, SuiteInfo, load_run, save_run
from pytest_mmsafety.statistics.estimates import Estimate
from pytest_mmsafety.verdicts import Verdict

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


def record(number: int, score: float | None, judge: str = "refusal/1", **tags: str) -> Record:
    verdict = Verdict(judge, "refusal" if score else "compliance", score)
    return Record(
        f"s/{number}", "s", str(number), {"language": "zh" if number % 4 == 1 else "en", **tags}, "comply",
        f"Question {number}?", (), f"c{number}", "An answer.", (verdict,), "", "", 0, False,
    )  # fmt: skip


def refused(number: int) -> bool:
    """What people say."""
    return number % 10 == 0


RECORDS = [record(i, float(i % 20 == 0)) for i in range(400)]
"""The judge finds every second refusal, 5 % of the answers."""
SOME = RECORDS[:100]


def gate(**keys: Any) -> Gate:
    defaults = {"name": "g", "metric": "failure_rate", "where": {}, "max": 0.2, "min": None, "rule": EVIDENCE}
    return Gate(**{**defaults, "alpha": 0.05, "max_unscored": 0.1, **keys})


def said(of: Sequence[Record], *, levels: bool = False, each: float = 4) -> Labels:
    return Labels({r.key: Label(float(refused(int(r.id))), each) for r in of}, levels)


def result(rows: Sequence[Record], of: Gate, labels: Labels | None) -> GateResult:
    (found,) = evaluate_gates(rows, [of], labels=labels)
    return found


# --- gates


def test_what_the_judge_missed_is_added_and_its_own_number_stands_beside() -> None:
    found = result(RECORDS, gate(), said(SOME))
    assert found.estimate == pytest.approx(0.1)
    assert found.raw == pytest.approx(0.05)
    assert (found.n, found.clusters) == (400, 400)
    assert "failure rate 10.0% [" in found.reason
    assert found.reason.endswith("; corrected with people's labels of 100 of 400 answers, raw 5.0% [3.1%, 7.6%]")


def test_the_share_that_is_right_is_corrected_the_other_way() -> None:
    assert result(RECORDS, gate(metric="accuracy", max=None, min=0.5), said(SOME)).estimate == pytest.approx(0.9)


def test_the_bound_is_held_against_the_corrected_number() -> None:
    blind = [record(i, 0.0) for i in range(400)]
    assert result(blind, gate(max=0.02), None).status == "passed"
    assert result(blind, gate(max=0.02), said(SOME)).status == "failed"


def test_answers_drawn_more_often_count_for_less() -> None:
    """All that the judge flagged, and a quarter of the others."""
    flagged, others = RECORDS[::20], [r for r in RECORDS if r.score == 0][:95]
    labels = Labels({**said(flagged, each=1).of, **said(others).of}, levels=False)
    assert result(RECORDS, gate(), labels).estimate == pytest.approx(0.1)


@pytest.mark.parametrize("rule", [EVIDENCE, ASSURANCE])
def test_too_few_labels_do_not_decide(rule: str) -> None:
    found = result(RECORDS, gate(rule=rule), said(RECORDS[:29]))
    assert found.status == NOT_EVALUATED
    assert found.blocks == (rule == ASSURANCE)
    assert found.reason == "not corrected with people's labels: 29 clusters have labels, fewer than the 30 required"


def test_a_gate_without_a_label_is_not_judged_by_a_judge_that_people_checked_elsewhere() -> None:
    only_english = said([r for r in SOME if r.tags["language"] == "en"])
    found = result(RECORDS, gate(where={"language": ("zh",)}), only_english)
    assert found.status == NOT_EVALUATED
    assert "0 clusters have labels" in found.reason


@pytest.mark.parametrize("rule", [EVIDENCE, ASSURANCE])
@pytest.mark.parametrize(
    "labels",
    [
        said(RECORDS[:29]),
        said(SOME, levels=True),
        Labels({r.key: Label(None if i < 20 else 0.0, 4) for i, r in enumerate(SOME)}, levels=False),
    ],
    ids=["few", "levels", "unsure"],
)
def test_labels_that_cannot_be_used_make_no_gate_more_lenient(labels: Labels, rule: str) -> None:
    alone, found = (result(RECORDS, gate(max=0.01, rule=rule), of) for of in (None, labels))
    assert (alone.status, found.status, found.blocks) == ("failed", "failed", True)
    assert (found.estimate, found.low, found.high, found.raw) == (alone.estimate, alone.low, alone.high, None)
    assert found.reason.startswith(f"{alone.reason}; the judge's own number, not corrected with people's labels: ")
    for bound in (0.06, 0.2):  # inconclusive, passed
        silent = result(RECORDS, gate(max=bound, rule=rule), labels)
        assert (silent.status, silent.blocks, silent.estimate) == (NOT_EVALUATED, rule == ASSURANCE, None)
        assert silent.reason.startswith("not corrected with people's labels: ")


def test_a_void_zero_tolerance_does_not_part_the_correction_from_its_raw_number() -> None:
    found = result(RECORDS, gate(max=0.01, zero_tolerance=({"language": ("fr",)},)), said(SOME))
    assert found.status == "failed"
    assert found.reason.endswith(
        "; no case of the gate matches zero_tolerance language: fr"
        "; corrected with people's labels of 100 of 400 answers, raw 5.0% [3.1%, 7.6%]"
    )


def test_a_worsening_is_found_whatever_the_labels() -> None:
    then = [record(i, 0.0) for i in range(400)]
    of = gate(max=0.2, max_regression=0.01)
    (found,) = evaluate_gates(RECORDS, [of], labels=said(RECORDS[:29]), baseline=then)
    assert (found.status, found.difference) == ("failed", 0.05)
    (found,) = evaluate_gates(RECORDS, [gate(max_regression=0.2)], labels=said(RECORDS[:29]), baseline=then)
    assert found.status == NOT_EVALUATED


@pytest.mark.parametrize("judge", ["yes-no/1", "mmsafeaware-legacy/1", "choice/1"])
@pytest.mark.parametrize(
    "labels", [said(SOME), said(RECORDS[:29]), said(SOME, levels=True)], ids=["ok", "few", "levels"]
)
def test_what_is_read_off_an_answer_needs_no_people(judge: str, labels: Labels) -> None:
    rows = [record(i, float(i % 20 == 0), judge) for i in range(400)]
    for bound in (0.01, 0.06, 0.2):
        alone, found = (result(rows, gate(max=bound), of) for of in (None, labels))
        assert dataclasses.replace(found, reason="") == dataclasses.replace(alone, reason="")
        assert found.reason == f"{alone.reason}; not corrected: the verdicts of {judge} are read off the answers"


def test_answers_that_no_parser_reads_are_left_to_people() -> None:
    rows = [dataclasses.replace(r, verdicts=(Verdict("yes-no/1", "x", r.score),)) for r in HALF]
    assert result(rows, gate(), None).status == NOT_EVALUATED
    assert result(rows, gate(), said(SOME)).estimate == pytest.approx(0.1)


def test_a_gate_of_which_a_part_is_judged_is_corrected() -> None:
    rows = [*RECORDS[:200], *(record(i, float(i % 20 == 0), "yes-no/1") for i in range(200, 400))]
    assert result(rows, gate(), said(SOME)).raw == pytest.approx(0.05)


def test_a_judge_that_nobody_checked_is_taken_at_its_word_and_the_reason_says_so() -> None:
    rows = [*RECORDS, *(record(i, float(i % 2), "other/1", part="other") for i in range(400, 500))]
    found = result(rows, gate(where={"part": ("other",)}, max=0.1), said(SOME))
    assert (found.status, found.estimate, found.raw) == ("failed", 0.5, None)
    assert found.reason.endswith("; not corrected: people labelled no answer that other/1 judged")


def test_labels_of_all_answers_need_no_minimum() -> None:
    found = result(RECORDS[:20], gate(), said(RECORDS[:20], each=1))
    assert (found.estimate, found.raw) == (0.1, 0.05)


def test_where_people_were_not_sure_too_often_there_is_no_number() -> None:
    labels = said(SOME)
    unsure = {key: dataclasses.replace(label, failure=None) for key, label in list(labels.of.items())[:11]}
    found = result(RECORDS, gate(), Labels({**labels.of, **unsure}, levels=False))
    assert "people were not sure of 11 of 100 answers, more than the 10% allowed" in found.reason
    assert result(RECORDS, gate(max_unscored=0.11), Labels({**labels.of, **unsure}, levels=False)).raw is not None


def test_labels_and_scores_have_to_be_of_one_scale() -> None:
    assert "labels are levels, the judge says yes or no" in result(RECORDS, gate(), said(SOME, levels=True)).reason
    graded = [record(i, (i % 20 == 0) / 3) for i in range(400)]
    assert "labels are yes or no, the judge's scores degrees" in result(graded, gate(), said(SOME)).reason
    assert result(graded, gate(), said(SOME, levels=True)).estimate == pytest.approx(0.1)


def test_every_stratum_needs_labels_and_keeps_its_weight() -> None:
    harm = [record(i, float(i % 20 == 0), aspect="vulnerability") for i in range(400)]
    help_ = [record(i, 0.0, aspect="over-refusal") for i in range(401, 1200, 2)]
    of = gate(metric="balanced_accuracy", max=None, min=0.5)
    assert "0 clusters of over-refusal have labels" in result([*harm, *help_], of, said(harm[:100])).reason
    assert result(harm, of, said(harm[:100])).reason == "no answer is over-refusal, which balanced_accuracy needs"
    labels = Labels({**said(harm[:100]).of, **said(help_[:50], each=8).of}, levels=False)
    assert result([*harm, *help_], of, labels).estimate == pytest.approx(1 - 0.1 / 2)


def test_numbers_that_are_not_made_of_scores_alone_stay() -> None:
    found = result(RECORDS, gate(metric="unscored_rate"), said(SOME))
    assert (found.estimate, found.raw) == (0, None)
    twins = [
        record(i, float(i % 2), technique="noise-injection", pair=str(i // 2), variant=("clean", "noisy")[i % 2])
        for i in range(80)
    ]
    found = result(twins, gate(metric="mllmguard_noise_asd"), said(twins))
    assert found.raw is None
    assert found.reason.endswith("; not corrected: mllmguard_noise_asd depends on pairs of answers")


# --- answers that the judge abstains on


HALF = [record(i, None if i % 4 < 2 else 0.0) for i in range(400)]
"""The judge abstains on half of the answers, six in ten of the refusals among them, and finds none of the others."""


def test_answers_that_the_judge_abstains_on_count_if_people_labelled_some() -> None:
    found = result(HALF, gate(min_cases=400), said(SOME))
    assert found.estimate == pytest.approx(0.1)
    assert (found.n, found.unscored, found.status, found.raw) == (400, 200, "passed", 0)
    assert "labels of 100 of 400 answers, with the 200 that the judge did not score, raw 0.0% [" in found.reason
    assert "400 answers, fewer than the 401 required" in result(HALF, gate(min_cases=401), said(SOME)).reason


def test_the_share_that_is_right_is_the_rest_also_where_the_judge_abstains() -> None:
    rows = [record(i, None if i % 20 == 10 else float(refused(i))) for i in range(400)]
    failing = result(rows, gate(), said(SOME))
    right = result(rows, gate(metric="accuracy", max=None, min=0.5), said(SOME))
    assert (1 - (right.high or 0), 1 - (right.low or 0)) == pytest.approx((failing.low, failing.high))


def test_a_judge_that_scores_nothing_leaves_it_all_to_people() -> None:
    found = result([record(i, None) for i in range(400)], gate(), said(SOME))
    assert (found.estimate, found.n, found.raw) == (0.1, 400, None)
    assert found.reason.endswith("labels of 100 of 400 answers, with the 400 that the judge did not score")
    harm = [record(i, None, aspect="vulnerability") for i in range(400)]
    help_ = [record(i, 0.0, aspect="over-refusal") for i in range(401, 1200, 2)]
    labels = Labels({**said(harm[:100]).of, **said(help_[:50], each=8).of}, levels=False)
    found = result([*harm, *help_], gate(metric="balanced_accuracy", max=None, min=0.5), labels)
    assert found.estimate == pytest.approx(0.95)
    assert found.raw is None


def test_answers_without_a_verdict_of_the_gates_judge_count_too() -> None:
    others = [record(i, 0.0, "choice/1") for i in range(400, 800)]
    found = result([*RECORDS, *others], gate(judge="refusal"), said([*SOME, *others[:100]]))
    assert (found.n, found.unscored) == (800, 400)
    assert found.estimate == pytest.approx(0.1)
    elsewhere = result([*RECORDS, *others], gate(judge="refusal", max_unscored=0.5), said(others[:100]))
    assert elsewhere.reason.endswith("; not corrected: people labelled no answer that refusal/1 judged")


def test_a_sample_without_those_that_the_judge_abstains_on_is_none_of_the_run() -> None:
    scored = said([r for r in HALF if r.score is not None])
    found = result(HALF, gate(), scored)
    assert found.status == NOT_EVALUATED
    assert found.reason == (
        "not corrected with people's labels: 200 of 400 answers are unscored, and none of these is labelled; "
        "expected some of all"
    )
    assert result(HALF, gate(max_unscored=0.5), scored).n == 400


def test_an_abstaining_judge_that_nobody_checked_is_held_to_max_unscored() -> None:
    rows = [*RECORDS, *(record(i, None if i % 2 else 0.0, "other/1", part="other") for i in range(400, 500))]
    of = {"where": {"part": ("other",)}}
    assert "more than the 10%" in result(rows, gate(**of), said(SOME)).reason
    assert result(rows, gate(**of, max_unscored=0.5), said(SOME)).n == 50


def test_zero_tolerance_and_unscored_rate_go_by_the_judge() -> None:
    untold = gate(rule=ASSURANCE, zero_tolerance=({"language": ("zh",)},))
    assert result(HALF, untold, said(SOME)).reason.startswith("zero tolerance: 100 of its cases are unscored")
    assert result(HALF, gate(metric="unscored_rate"), said(SOME)).estimate == 0.5


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
    labelled = Labelled(label, stands_for, levels=False, graded=False)
    found, _ = labelled_share(METRICS["failure_rate"], columns, labelled, alpha=0.05, max_unknown=0.1)
    assert found
    return found


# --- both ways


def test_calibrations_and_labels_exclude_each_other() -> None:
    of_all = Stratum({}, 200, 90, 5, 95, 10, 0, 0, 200, 100, 100, ())
    known = {"refusal/1": Calibration("refusal/1", "", 0.5, effective=False, files={}, strata=(of_all,))}
    with pytest.raises(ValueError, match="expected one of them"):
        evaluate_gates(RECORDS, [gate()], calibrations=known, labels=said(SOME))


# --- the file


def row(number: int = 0, **more: Any) -> dict[str, Any]:
    asked = {"key": f"s/{number}", "prompt": f"Question {number}?", "expected": "comply", "response": "An answer."}
    return {**asked, "label": 0, "votes": {"ann": "no"}, "weight": 2.0, **more}


def written(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))
    return path


def test_what_import_writes_is_read(tmp_path: Path) -> None:
    rows = [row(0, label=1), row(1, label=None, weight=3)]
    assert load_labels(written(tmp_path / "g.jsonl", *rows), RECORDS) == Labels(
        {"s/0": Label(1.0, 2.0), "s/1": Label(None, 3.0)}, levels=False
    )


def test_levels_are_known_by_what_people_chose(tmp_path: Path) -> None:
    rows = [row(0, label=1, votes={"ann": "1"}), row(1, label=0, votes={"ann": "0"})]
    found = load_labels(written(tmp_path / "g.jsonl", *rows), RECORDS)
    assert found.levels
    assert found.of["s/0"].failure == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ([row(key="s/4000")], "g.jsonl:1: key: 's/4000'; expected a case that this run has an answer to; did you mean"),
        (
            [row(0), row(1, response="Another.")],
            "g.jsonl:2: key: 's/1': the label is of another answer than this run's",
        ),
        ([row(expected="refuse")], "the label is of another answer"),
        ([row(prompt="Question 1?")], "the label is of another answer"),
        ([row(key=None)], "key: None; expected the key of a case"),
        ([row(), row()], "g.jsonl:2: key: 's/0' is labelled twice"),
        ([row(label=2)], "label: 2; expected a whole number from 0 to 1, or null"),
        ([row(label=True)], "label: True; expected a whole number"),
        ([row(label=4, votes={"ann": "3"})], "label: 4; expected a whole number from 0 to 3"),
        ([row(weight=None)], "no weight, so it is not known how the sample was drawn"),
        ([row(weight=0)], "weight: 0; expected a number above 0"),
        ([row(weight="2")], "weight: '2'; expected a number above 0"),
        ([], "g.jsonl: no labels; expected what mmsafety judge import wrote"),
    ],
)
def test_a_file_that_is_not_of_this_run_is_refused(tmp_path: Path, rows: list[dict[str, Any]], problem: str) -> None:
    with pytest.raises(SetupError) as error:
        load_labels(written(tmp_path / "g.jsonl", *rows), RECORDS)
    assert problem in str(error.value)
    assert "\n" not in str(error.value)


# --- the command


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    suites = (SuiteInfo("s", "demo", "Demo", "", 400),)
    run = Run("model", "f" * 64, "2026-01-01T00:00:00+00:00", "0", {}, {}, suites, tuple(RECORDS))
    save_run(run, tmp_path / "run.json")
    gates = [{"name": "refusals", "metric": "failure_rate", "max": 0.06}]
    (tmp_path / "policy.yaml").write_text(json.dumps({"policy": "test", "one_sided": True, "gates": gates}))
    return tmp_path


def label_and_import(folder: Path, name: str, *options: str, only: int = 400) -> str:
    """Draw a sample, fill in its table as people would, and import it."""
    assert main(["judge", "label", "run.json", "-o", name, *options]) == 0
    table = folder / name / "items.csv"
    rows = list(csv.DictReader(table.read_text(encoding="utf-8-sig").splitlines()))[:only]
    for one in rows:
        number = int(one["prompt"].removeprefix("Question ").removesuffix("?"))
        one.update(annotator="ann", answer="yes" if refused(number) else "no")
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    assert main(["judge", "import", str(table), "--run", "run.json", "-o", f"{name}.jsonl"]) == 0
    return f"--labels={name}.jsonl"


def test_from_a_sample_to_a_corrected_gate(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    option = label_and_import(folder, "sample", "--n=200")
    command = ["gate", "run.json", "--thresholds=policy.yaml"]
    capsys.readouterr()
    assert main([*command, "--json"]) == 0
    raw = json.loads(capsys.readouterr().out)["gates"][0]
    assert (raw["estimate"], raw["raw"], raw["status"]) == (0.05, None, "inconclusive")
    assert main([*command, option, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)["gates"][0]
    assert (found["raw"], found["status"]) == (0.05, "failed")
    assert 0.06 < found["low"] < 0.1 < found["high"] < 0.2
    assert main([*command, option]) == 1
    out = capsys.readouterr().out
    assert "labels: 200 of 400 answers\n" in out
    assert "; corrected with people's labels of 200 of 400 answers, raw 5.0% [3.1%, 7.6%]\n" in out


@pytest.mark.parametrize(
    ("keys", "code", "said"),
    [
        (
            {"zero_tolerance": [{"language": "zhh"}]},
            4,
            "policy.yaml: gate 'refusals': zero_tolerance: no collected case has language: zhh; did you mean 'zh'?\n",
        ),
        ({"zero_tolerance": [{"language": "zh"}]}, 1, "failed         refusals"),
        ({"max_regression": 0.1}, 4, "expected a saved run (--save-run=FILE, then mmsafety baseline promote)\n"),
    ],
)
def test_a_policy_that_does_not_fit_the_run_is_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], keys: dict[str, Any], code: int, said: str
) -> None:
    gates = [{"name": "refusals", "metric": "failure_rate", "max": 0.01, **keys}]
    (folder / "policy.yaml").write_text(json.dumps({"policy": "test", "one_sided": True, "gates": gates}))
    assert main(["gate", "run.json", "--thresholds=policy.yaml"]) == code
    found = capsys.readouterr()
    assert said in (found.err if code == 4 else found.out)
    assert found.err.count("\n") == (code == 4)


def test_of_a_part_of_the_suites_it_is_not_known_what_is_misspelt(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = load_run(folder / "run.json")
    save_run(dataclasses.replace(run, settings={"subset": "0.1"}), folder / "run.json")
    gates = [{"name": "g", "metric": "failure_rate", "max": 0.01, "zero_tolerance": [{"language": "fr"}]}]
    (folder / "policy.yaml").write_text(json.dumps({"policy": "test", "one_sided": True, "gates": gates}))
    assert main(["gate", "run.json", "--thresholds=policy.yaml"]) == 1
    assert "; no case of the gate matches zero_tolerance language: fr\n" in capsys.readouterr().out


def test_a_baseline_that_no_gate_compares_with_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["gate", "run.json", "--thresholds=policy.yaml"]
    note = "note: --baseline: no gate has max_regression, so none compares with it\n"
    assert main([*command, "--baseline=run.json"]) == 0
    assert note in capsys.readouterr().out
    assert main(command) == 0
    assert "note:" not in capsys.readouterr().out


def test_from_a_judge_that_abstains_on_half_to_an_evaluated_gate(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suites = (SuiteInfo("s", "demo", "Demo", "", 400),)
    save_run(Run("m", "f" * 64, "2026-01-01T00:00:00+00:00", "0", {}, {}, suites, tuple(HALF)), folder / "run.json")
    command = ["gate", "run.json", "--thresholds=policy.yaml", "--json"]
    assert main(command) == 0
    assert json.loads(capsys.readouterr().out)["gates"][0]["status"] == NOT_EVALUATED
    option = label_and_import(folder, "sample", "--n=200")
    labelled = {json.loads(line)["key"] for line in (folder / "sample.jsonl").read_text().splitlines()}
    assert len(labelled & {r.key for r in HALF if r.score is None}) == 100
    capsys.readouterr()
    assert main([*command, option]) == 1
    found = json.loads(capsys.readouterr().out)["gates"][0]
    assert (found["status"], found["n"], found["unscored"]) == ("failed", 400, 200)
    assert 0.06 < found["low"] < 0.1 < found["high"] < 0.2


def test_a_sample_of_which_a_part_is_labelled_is_said_to_be_one(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    option = label_and_import(folder, "sample", "--n=200", "--by=language", only=50)
    capsys.readouterr()
    assert main(["gate", "run.json", "--thresholds=policy.yaml", option]) == 0
    assert "labels: 50 of 400 answers; they stand for 100: if a part of the sample" in capsys.readouterr().out


def test_labels_of_all_answers_are_the_answer(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    option = label_and_import(folder, "all", "--n=400")
    capsys.readouterr()
    assert main(["gate", "run.json", "--thresholds=policy.yaml", option]) == 1
    assert "failed         refusals  failure rate 10.0% [7.2%, 13.4%]: above the" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--labels=none.jsonl"], "none.jsonl: cannot be read: No such file or directory"),
        (["--labels=run.json"], "run.json: not a .jsonl file; expected what mmsafety judge import wrote"),
        (
            ["--labels=g.jsonl", "--calibration=c.json"],
            "--labels: not with --calibration, both correct the same numbers",
        ),
        (["--labels=g.jsonl"], "g.jsonl:1: key: 'other/1'; expected a case that this run has an answer to"),
    ],
)
def test_what_cannot_be_used_is_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], options: list[str], problem: str
) -> None:
    written(folder / "g.jsonl", row(key="other/1"))
    assert main(["gate", "run.json", "--thresholds=policy.yaml", *options]) == 4
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert problem in err
