"""``mmsafety verify``: a run that was tampered with is found out, by the digest or by what is computed again."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from suite_files import row, write_suite, write_thresholds

from pytest_mmsafety.cli.main import main
from pytest_mmsafety.documents import strictly
from pytest_mmsafety.errors import SetupError
from pytest_mmsafety.evaluation.evaluate import Evidence, evaluate_run
from pytest_mmsafety.evaluation.verify import find_suites, verify_run
from pytest_mmsafety.images import digest_or_empty
from pytest_mmsafety.outcomes import Outcome
from pytest_mmsafety.policies import policy_named
from pytest_mmsafety.run import Run, RunFile, RunSettings, SuiteInfo, load_run, make_record, save_run
from pytest_mmsafety.suites import read_suite
from pytest_mmsafety.testing import make_run, make_verdict

GATES: list[dict[str, Any]] = [
    {"name": "right", "metric": "accuracy", "min": 0.5},
    {"name": "one", "metric": "accuracy", "min": 0.9, "where": {"category": "one"}, "rule": "assurance"},
    {"name": "no-worse", "metric": "failure_rate", "max_regression": 0.2, "family": "none"},
]
WRONG = frozenset({3, 17})


def a_run(folder: Path, wrong: frozenset[int] = WRONG, baseline: Run | None = None, **settings: Any) -> Run:
    """Of the suite in *folder*, gated by its ``policy.yaml``."""
    suite = read_suite(folder / "cases" / "demo.yaml")
    records = []
    for i, case in enumerate(suite.cases):
        verdict = make_verdict(float(i in wrong), reason="begins with yes", probabilities={"yes": 0.75, "no": 0.25})
        digests = tuple(map(digest_or_empty, case.images))
        records.append(
            make_record(case, Outcome(case.key, "yes", verdicts=(verdict,), image_digests=digests), suite.root)
        )
    info = SuiteInfo(suite.name, suite.benchmark, suite.title, suite.sha256, len(suite.cases))
    policy = policy_named("policy.yaml")
    given = {"baseline": "before.json"} if baseline else {}
    run = make_run(records, suites=(info,), policy=policy.name, settings=RunSettings("parrot", **given, **settings))
    return replace(run, gates=tuple(evaluate_run(run, policy.gates, Evidence(baseline)).results))


@pytest.fixture
def at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: a suite of 60 cases with four images, a policy, a baseline, and a run."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cases").mkdir()
    for i in range(4):
        Image.new("RGB", (8, 8), (i, 0, 0)).save(tmp_path / "cases" / f"{i}.png")
    rows = [
        row(i, category="one" if i % 2 else "two", **({"images": [f"{i}.png"]} if i < 4 else {})) for i in range(60)
    ]
    write_suite(tmp_path / "cases", rows)
    write_thresholds(tmp_path, *GATES)
    save_run(a_run(tmp_path, frozenset()), tmp_path / "before.json")
    save_run(a_run(tmp_path, baseline=load_run(tmp_path / "before.json")), tmp_path / "run.json")
    return tmp_path


def verify(capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, str, str]:
    code = main(["verify", "run.json", *options])
    return code, *capsys.readouterr()


ALL = ("--thresholds=policy.yaml", "--baseline=before.json")


def test_a_run_that_is_what_it_says_exits_0(at: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify(capsys, *ALL) == (0, "run.json: as recorded\n", "")


def test_what_could_not_be_checked_is_named(at: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = verify(capsys)
    assert code == 0
    assert out == (
        "not checked  gate no-worse: not recomputed: it compares with the baseline before.json (--baseline)\n"
        "not checked  thresholds: not compared (--thresholds)\n"
        "run.json: as recorded (2 things not checked)\n"
    )


# --- tampering

Content = dict[str, Any]


def first(content: Content) -> Content:
    """The record of the first failure."""
    record: Content = content["records"][3]
    return record


def verdict(content: Content) -> Content:
    found: Content = first(content)["verdicts"][0]
    return found


def drop(content: Content, index: int = 3) -> None:
    del content["records"][index]


def drop_all_failures(content: Content) -> None:
    content["records"] = [record for record in content["records"] if record["verdicts"][0]["score"] == 0]
    content["suites"][0]["collected"] = len(content["records"])


def double(content: Content) -> None:
    content["records"] += [{**one, "key": one["key"] + "b", "id": one["id"] + "b"} for one in content["records"][:2]]
    content["suites"][0]["collected"] += 2


def rename(content: Content) -> None:
    first(content).update(key="demo/other", id="other")


def pass_all(content: Content) -> None:
    for record in content["records"]:
        record["verdicts"][0]["score"] = 0.0


OF_RECORDS: dict[str, Callable[[Content], object]] = {
    "score": lambda c: verdict(c).update(score=0.0),
    "all scores": pass_all,
    "score below 0": lambda c: verdict(c).update(score=-1.0),
    "score as text": lambda c: verdict(c).update(score="0"),
    "score taken out": lambda c: verdict(c).update(score=None),
    "record removed": drop,
    "all failures removed": drop_all_failures,
    "record doubled": lambda c: c["records"].append(c["records"][0]),
    "records doubled under other keys": double,
    "key": rename,
    "key that is not suite/id": lambda c: first(c).update(key="demo/other"),
    "suite of a record": lambda c: first(c).update(suite="other", key="other/case-3"),
    "tag": lambda c: first(c)["tags"].update(category="two"),
    "tag added": lambda c: first(c)["tags"].update(aspect="over-refusal"),
    "expected": lambda c: first(c).update(expected="no"),
    "expected that is unknown": lambda c: first(c).update(expected="bogus"),
    "prompt": lambda c: first(c).update(prompt="harmless"),
    "cluster": lambda c: [record.update(cluster="one") for record in c["records"]],
    "error instead of an answer": lambda c: first(c).update(response=None, verdicts=[], error="gone"),
    "skipped instead of an answer": lambda c: first(c).update(response=None, verdicts=[], skipped="x"),
    "hash of an image": lambda c: first(c)["images"][0].update(sha256="0" * 64),
    "image removed": lambda c: first(c).update(images=[]),
    "name of an image": lambda c: first(c)["images"][0].update(name="../../etc/passwd"),
}
"""Found by the digest; and, if somebody writes a new digest, by what is computed or read again."""

ONLY_BY_DIGEST: dict[str, Callable[[Content], object]] = {
    "answer": lambda c: first(c).update(response="no"),
    "reasoning": lambda c: first(c).update(reasoning="I was told so"),
    "label of a verdict": lambda c: verdict(c).update(label="correct"),
    "reason of a verdict": lambda c: verdict(c).update(reason="fine"),
    "judge of a verdict": lambda c: verdict(c).update(judge="other/9"),
    "probability": lambda c: verdict(c).update(probabilities={"yes": 0.25, "no": 0.75}),
    "order of probabilities": lambda c: verdict(c).update(probabilities={"no": 0.25, "yes": 0.75}),
    "order of records": lambda c: c["records"].reverse(),
    "seconds": lambda c: first(c).update(seconds=9.0),
    "from the store": lambda c: first(c).update(stored=True),
}

OF_THE_REST: dict[str, Callable[[Content], object]] = {
    "status": lambda c: c["gates"][1].update(status="passed"),
    "blocks": lambda c: c["gates"][1].update(blocks=not c["gates"][1]["blocks"]),
    "reason of a gate": lambda c: c["gates"][1].update(reason="all is well"),
    "estimate": lambda c: c["gates"][0]["estimate"].update(value=1.0),
    "interval": lambda c: c["gates"][0]["estimate"].update(low=0.95),
    "estimate taken out": lambda c: c["gates"][0].update(estimate=None),
    "raw put in": lambda c: c["gates"][0].update(raw=c["gates"][0]["estimate"]),
    "counts": lambda c: c["gates"][0]["counts"].update(n=600),
    "unscored": lambda c: c["gates"][0]["counts"].update(unscored=1),
    "counts below 0": lambda c: c["gates"][0]["counts"].update(errors=-1),
    "p value": lambda c: c["gates"][1].update(p_value=0.0, adjusted_p=0.0),
    "comparison": lambda c: c["gates"][2]["comparison"].update(pairs=6),
    "difference": lambda c: c["gates"][2]["comparison"]["difference"].update(value=-0.5),
    "said to be stopped early": lambda c: c["gates"][1].update(decided_after=10),
    "bound": lambda c: c["gates"][1]["gate"].update(min=0.1),
    "rule": lambda c: c["gates"][1]["gate"].update(rule="evidence"),
    "where": lambda c: c["gates"][1]["gate"].update(where={"category": ["two"]}),
    "alpha": lambda c: c["gates"][1]["gate"].update(alpha=0.4),
    "metric that is unknown": lambda c: c["gates"][1]["gate"].update(metric="goodness"),
    "gate removed": lambda c: c["gates"].pop(1),
    "gate doubled": lambda c: c["gates"].append(c["gates"][1]),
    "policy": lambda c: c.update(policy="release"),
    "hash of a suite": lambda c: c["suites"][0].update(sha256="0" * 64),
    "benchmark": lambda c: c["suites"][0].update(benchmark="usb"),
    "collected": lambda c: c["suites"][0].update(collected=600),
    "samples": lambda c: c["settings"].update(samples=2),
    "subset": lambda c: c["settings"].update(subset=0.5),
    "suite could not be read": lambda c: c.update(broken="a suite could not be read"),
    "unknown key": lambda c: c.update(checked=True),
    "format": lambda c: c.update(format="mmsafety-run/1"),
    "digest": lambda c: c.update(digest="0" * 64),
    "digest taken out": lambda c: c.pop("digest"),
}


@pytest.mark.parametrize("how", [*OF_RECORDS, *ONLY_BY_DIGEST, *OF_THE_REST])
def test_a_run_that_was_tampered_with_is_found_out(at: Path, capsys: pytest.CaptureFixture[str], how: str) -> None:
    content = json.loads((at / "run.json").read_text())
    {**OF_RECORDS, **ONLY_BY_DIGEST, **OF_THE_REST}[how](content)
    (at / "run.json").write_text(json.dumps(content))
    if how not in OF_THE_REST:
        with pytest.raises(SetupError):
            load_run(at / "run.json")
    code, out, err = verify(capsys, *ALL)
    assert code in (1, 4)
    assert err.count("\n") == (code == 4)
    assert ("differs      " in out) == (code == 1)


@pytest.mark.parametrize("how", OF_RECORDS)
def test_records_with_a_new_digest_are_found_out_by_gates_and_suites(
    at: Path, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    content = json.loads((at / "run.json").read_text())
    OF_RECORDS[how](content)
    del content["format"], content["digest"]
    try:
        run = strictly(content, Run)
    except ValueError:
        return  # no program would write it
    save_run(run, at / "run.json")
    code, out, _ = verify(capsys, *ALL)
    assert code in (1, 4)
    assert "digest" not in out


def test_a_difference_is_one_line_that_says_what(at: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = json.loads((at / "run.json").read_text())
    content["gates"][1].update(status="passed", blocks=False)
    verdict(content).update(score=0.0)
    (at / "run.json").write_text(json.dumps(content))
    code, out, _ = verify(capsys, *ALL)
    assert code == 1
    assert "differs      gate one: status is passed, recomputed inconclusive\n" in out
    assert "differs      gate one: blocks is False, recomputed True\n" in out
    assert "differs      gate one: estimate.value is 0.933333, recomputed 0.966667\n" in out
    assert "differs      file: changed after it was saved: digest " in out
    assert out.endswith(" differences\n")


# --- what is on disk


def test_files_that_changed_since_are_named(at: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (at / "cases" / "0.png").unlink()
    Image.new("RGB", (8, 8), "white").save(at / "cases" / "1.png")
    code, _, err = verify(capsys, *ALL)
    assert (code, err.count("\n")) == (4, 1)  # a suite without its image cannot be read
    Image.new("RGB", (8, 8), "white").save(at / "cases" / "0.png")
    (at / "cases" / "demo.jsonl").write_text((at / "cases" / "demo.jsonl").read_text() + "\n")
    code, out, _ = verify(capsys, *ALL)
    assert code == 1
    assert "differs      suite demo: cases/demo.yaml is another than the run's: " in out
    assert "differs      suite demo: 2 images are others than those of the run: 0.png, 1.png\n" in out


def test_suites_may_lie_elsewhere(at: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (at / "cases").rename(at / "elsewhere")
    code, out, _ = verify(capsys, *ALL)
    assert code == 0
    assert out == (
        "not checked  suite demo: not compared: there is no such suite here (--cases)\n"
        "run.json: as recorded (1 thing not checked)\n"
    )
    assert verify(capsys, *ALL, "--cases", "elsewhere") == (0, "run.json: as recorded\n", "")
    assert verify(capsys, *ALL, "--cases", "elsewhere/demo.yaml") == (0, "run.json: as recorded\n", "")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--cases", "nowhere"], "mmsafety: 'nowhere' is neither a suite file nor one of "),
        (["--cases", "nowhere.yaml"], "mmsafety: nowhere.yaml: cannot be read: No such file"),
        (["--thresholds=none"], "mmsafety: --thresholds: 'none' is neither a file nor one of "),
        (["--baseline=none"], "mmsafety: --baseline: 'none' is not a saved run"),
        (["--baseline=policy.yaml"], "policy.yaml: not a run file: "),
    ],
)
def test_what_cannot_be_used_is_one_line(
    at: Path, capsys: pytest.CaptureFixture[str], options: list[str], problem: str
) -> None:
    code, out, err = verify(capsys, *options)
    assert (code, out, err.count("\n")) == (4, "", 1)
    assert problem in err


def test_another_baseline_is_found_out(at: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_run(a_run(at, frozenset(range(30))), at / "worse.json")
    code, out, _ = verify(capsys, "--thresholds=policy.yaml", "--baseline=worse.json")
    assert code == 1
    assert "differs      gate no-worse: comparison.baseline is 0, recomputed 0.5\n" in out


def test_other_thresholds_are_named(at: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changed = [{**GATES[0], "min": 0.6}, GATES[2], {"name": "new", "metric": "accuracy", "min": 0.2}]
    write_thresholds(at, *changed, {"name": "void", "metric": "accuracy", "min": 0.2, "where": {"category": "x"}})
    code, out, _ = verify(capsys, *ALL)
    assert code == 1
    assert out == (
        "differs      thresholds policy.yaml: gate right: other min than in the run\n"
        "differs      thresholds policy.yaml: gate new is not in the run\n"
        "differs      thresholds policy.yaml: gate one of the run is not in it\n"
        "run.json: 3 differences\n"
    )


# --- what a run needs besides its records


def lines(run: Run) -> list[str]:
    findings = verify_run(RunFile(run, "", ""), find_suites([]), policy_named("policy.yaml"))
    return [f"{finding.where}: {finding.problem}" for finding in findings]


def test_a_gate_that_an_early_stop_decided_is_named_and_its_family_with_it(at: Path) -> None:
    run = a_run(at, early_stop=True)
    (right,) = evaluate_run(run, [run.gates[0].gate]).results
    assert right.estimate
    gates = (replace(run.gates[0], decided_after=20, status="failed"), *run.gates[1:])
    gates = (gates[0], replace(gates[1], gate=replace(gates[1].gate, rule="evidence"), status="failed"), gates[2])
    found = lines(replace(run, gates=gates))
    assert "gate right: not recomputed: an early stop decided it" in found
    assert "gate one: only its numbers were recomputed, not its family: right" in found
    assert not any(line.startswith("gate one: status") for line in found)
    counts = replace(gates[1].counts, n=5)
    found = lines(replace(run, gates=(gates[0], replace(gates[1], counts=counts), gates[2])))
    assert "gate one: counts.n is 5, recomputed 30" in found


def test_a_gate_that_was_corrected_for_the_errors_of_its_judge_is_named(at: Path) -> None:
    found = lines(a_run(at, judge_errors=("yes-no/1",)))
    assert "gate right: not recomputed: it was corrected for the errors of yes-no/1" in found
    assert not any("errors" in line for line in lines(a_run(at, judge_errors=("other/1",))))


def test_required_gates_that_were_not_evaluated_block_again(at: Path) -> None:
    policy = policy_named("policy.yaml")
    run = a_run(at, require_gates=True)
    gates = evaluate_run(run, policy.gates, require=True).results
    assert gates[2].blocks
    assert lines(replace(run, gates=tuple(gates))) == []


def test_a_run_with_a_suite_that_could_not_be_read_is_what_it_says(at: Path) -> None:
    run = replace(a_run(at), broken="a suite could not be read: x.yaml")
    again = evaluate_run(run, policy_named("policy.yaml").gates).results
    assert {result.status for result in again} == {"not evaluated"}
    assert lines(replace(run, gates=tuple(again))) == []
    assert any(line.startswith("gate right: status is passed, recomputed not") for line in lines(run))


def test_words_of_another_version_are_no_difference(at: Path) -> None:
    run = a_run(at)
    other = replace(run, gates=tuple(replace(result, reason="put otherwise") for result in run.gates))
    assert any(": reason is put otherwise, recomputed " in line for line in lines(other))
    assert lines(replace(other, version="0.0.1")) == []


def test_samples_and_parts_of_suites_are_those_of_the_settings(at: Path) -> None:
    suite = read_suite(at / "cases" / "demo.yaml").subset(0.5).sampled(2)
    verdicts = (make_verdict(0.0),)
    records = [
        make_record(
            case, Outcome(case.key, "yes", verdicts=verdicts, image_digests=tuple(map(digest_or_empty, case.images))),
            suite.root,
        )
        for case in suite.cases
    ]  # fmt: skip
    info = SuiteInfo(suite.name, suite.benchmark, suite.title, suite.sha256, len(suite.cases))
    run = make_run(records, suites=(info,), policy="test", settings=RunSettings("parrot", subset=0.5, samples=2))
    assert not any(line.startswith("suite") for line in lines(run))
    other = replace(run, settings=replace(run.settings, subset=0.6))
    assert any("of its cases are not in the run" in line for line in lines(other))


def with_attack(run: Run, original: str = "") -> Run:
    """The run with a search of one case and a sweep of another, and a gate of neither."""
    tags = {"search": {"original": original or run.records[5].key}, "sweep": {"plain": run.records[7].id}}
    records = [
        replace(
            run.records[5 if mode == "search" else 7],
            key=f"demo/x@{mode}",
            id=f"x@{mode}",
            prompt="Changed",
            tags={**run.records[5].tags, "attack": mode, **of_mode},
        )
        for mode, of_mode in tags.items()
    ]
    suites = tuple(replace(suite, collected=suite.collected + 2) for suite in run.suites)
    return replace(run, records=(*run.records, *records), suites=suites)


def test_records_that_an_attack_made_are_no_records_of_no_case(at: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_run(with_attack(load_run(at / "run.json")), at / "run.json")
    assert verify(capsys, *ALL) == (0, "run.json: as recorded\n", "")


def test_an_attack_on_a_case_that_is_not_there_is_found(at: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_run(with_attack(load_run(at / "run.json"), original="demo/500"), at / "run.json")
    code, out, _ = verify(capsys, *ALL)
    assert code == 1
    assert "suite demo: 1 records of an attack are of no case of it: demo/x@search\n" in out


def test_a_record_that_only_calls_itself_attacked_is_still_of_no_case(
    at: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = with_attack(load_run(at / "run.json"))
    odd = replace(run.records[-1], tags={**run.records[-1].tags, "attack": "otherwise"})
    save_run(replace(run, records=(*run.records[:-1], odd)), at / "run.json")
    code, out, _ = verify(capsys, *ALL)
    assert code == 1
    assert "1 records are of no case of it: demo/x@sweep" in out
