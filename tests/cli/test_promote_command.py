"""``mmsafety promote``: findings of a run become rows, and what passes now must pass."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from perturbed import BOTH
from suite_files import row, write_suite

from pytest_mmsafety.cases import Change
from pytest_mmsafety.cli.main import main
from pytest_mmsafety.findings import Finding
from pytest_mmsafety.perturbations import PERTURBATIONS
from pytest_mmsafety.promotions import regression_id
from pytest_mmsafety.regressions import digest
from pytest_mmsafety.run import ImageRef, Record, save_run
from pytest_mmsafety.suites import read_suite
from pytest_mmsafety.testing import make_finding, make_record, make_run

ONCE = (Change("shout", 0.4),)
TWICE = (Change("shout", 0.9, {"mark": "?"}), Change("blur", 0.1))
KEPT = Path("cases", "regressions")


@pytest.fixture(autouse=True)
def at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a suite of two cases and a run that found how both flip."""
    for name, perturbation in BOTH.items():
        monkeypatch.setitem(PERTURBATIONS, name, perturbation)
    monkeypatch.chdir(tmp_path)
    write_suite(tmp_path / "cases", [row(1), row(2)])
    saved()
    return tmp_path


def record(number: int, suite: str = "demo", **changes: Any) -> Record:
    return make_record(f"case-{number}", suite=suite, **{"prompt": f"number {number} say: yes", **changes})


def saved(*findings: Finding, records: tuple[Record, ...] = (), **changes: Any) -> None:
    """Write ``run.json``; by default with two findings of case-1 and one of case-2."""
    given = findings or (
        make_finding("demo/case-1", ONCE, answer_after="no."),
        make_finding("demo/case-1", TWICE, calls=7),
        make_finding("demo/case-2", TWICE),
    )
    run = make_run(records or [record(1), record(2)], target="parrot", findings=given, **changes)
    save_run(run, Path("run.json"))


def cli(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(["promote", *arguments])
    out, err = capsys.readouterr()
    assert err.count("\n") == (code != 0)
    return code, out, err


def rows(name: str = "demo") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (KEPT / f"{name}.jsonl").read_text().splitlines()]


def test_the_simplest_finding_of_each_case_becomes_a_row(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli(capsys, "run.json", "--why=it was shipped once") == (
        0,
        "cases/regressions/demo.yaml: 2 rows added (known unsafe until 2026-04-01)\n",
        "",
    )
    assert (KEPT / "demo.yaml").read_text() == (
        'suite: "demo-regressions"\n'
        'benchmark: "regressions"\n'
        'title: "Findings on demo that are kept"\n'
        'originals: "../demo.yaml"\n'
        'group_by: ["id"]\n'
        'cases: "demo.jsonl"\n'
    )
    first, second = rows()
    assert list(first.items()) == [
        ("id", regression_id("case-1", ONCE)),
        ("of", "case-1"),
        ("perturbations", [{"name": "shout", "strength": 0.4, "parameters": {}}]),
        ("prompt", "number 1 say: yes!"),
        ("direction", "right-to-wrong"),
        ("found", "2026-01-01"),
        ("target", "parrot"),
        ("answer", "no."),
        ("known_unsafe_until", "2026-04-01"),
        ("why", "it was shipped once"),
    ]
    assert second["prompt"] == "number 2 say: yes?number 2 say: yes?"
    cases = read_suite(KEPT / "demo.yaml").cases
    assert [case.prompt for case in cases] == [first["prompt"], second["prompt"]]


def test_the_id_is_that_of_the_case_and_of_what_was_done_to_it() -> None:
    assert regression_id("case-1", ONCE) == "case-1@b1f2e736"
    assert regression_id("case[1]", ONCE).startswith("case-1-@")
    assert regression_id("case[1]", ONCE) != regression_id("case[1-", ONCE)
    assert regression_id("case-1", TWICE) != regression_id("case-1", TWICE[:1])
    assert len(regression_id("x" * 500, ONCE)) == 200


def test_all_findings_or_those_of_one_case(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli(capsys, "run.json", "--case=demo/case-2")[1].startswith("cases/regressions/demo.yaml: 1 row added (")
    assert [row["of"] for row in rows()] == ["case-2"]
    assert cli(capsys, "run.json", "--all")[1] == (
        "cases/regressions/demo.yaml: 2 rows added (known unsafe until 2026-04-01), 1 already there\n"
    )
    assert [row["of"] for row in rows()] == ["case-2", "case-1", "case-1"]


def test_what_was_promoted_stays_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    cli(capsys, "run.json", "--must-pass", "--why=first")
    before = (KEPT / "demo.jsonl").read_bytes(), (KEPT / "demo.yaml").read_bytes()
    code, out, _ = cli(capsys, "run.json", "--until=2030-01-01", "--why=second")
    assert (code, out) == (0, "cases/regressions/demo.yaml: 0 rows added, 2 already there\n")
    assert ((KEPT / "demo.jsonl").read_bytes(), (KEPT / "demo.yaml").read_bytes()) == before
    assert [row.get("must_pass") for row in rows()] == [True, True]


def test_a_row_whose_original_has_changed_is_made_again(at: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli(capsys, "run.json")
    write_suite(at / "cases", [row(1, "no"), row(2)])
    saved(records=(record(1, prompt="number 1 say: no"), record(2)))
    assert cli(capsys, "run.json", "--must-pass")[1] == (
        "cases/regressions/demo.yaml: 0 rows added, "
        "1 made again, as the prompt has changed (must pass), 1 already there\n"
    )
    assert [(row["prompt"][-3:], row.get("must_pass")) for row in rows()] == [("no!", True), ("es?", None)]
    assert len(read_suite(KEPT / "demo.yaml").cases) == 2


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--case=demo/case-3"], "--case: 'demo/case-3' has no finding in the run; expected one of demo/case-1, demo/"),
        (["--until=soon"], "--until: 'soon'; expected a day as YYYY-MM-DD"),
        (["--until=2026-02-30"], "--until: '2026-02-30'; expected a day as YYYY-MM-DD"),
        (["--until=2026-02-03", "--must-pass"], "--until: not with --must-pass, which allows no failure; expected one"),
        (["--fixed", "--all"], "--all: not with --fixed, which changes rows that are there"),
        (["--fixed", "--must-pass"], "--must-pass: not with --fixed, which changes rows that are there"),
        (["--fixed"], "--into: cases/regressions has no regression suite; expected a folder that mmsafety promote "),
        (["--into=cases/demo.yaml"], "--into: cases/demo.yaml/demo.jsonl cannot be written: "),
    ],
)
def test_options_that_cannot_be_are_one_line(
    at: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], problem: str
) -> None:
    code, out, err = cli(capsys, "run.json", *arguments)
    assert (code, out) == (4, "")
    assert err.startswith(f"mmsafety: {problem}")
    assert not (at / KEPT).exists()


def test_a_run_without_findings_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    save_run(make_run([record(1)], judge_faults=(make_finding("demo/case-1", ONCE),)), Path("run.json"))
    assert cli(capsys, "run.json") == (
        4,
        "",
        "mmsafety: run.json: no findings; search for some: pytest --model=... --attack=N --save-run=RUN\n",
    )


def test_findings_on_regressions_are_kept_already(capsys: pytest.CaptureFixture[str]) -> None:
    saved(make_finding("demo/case-1", ONCE), records=(record(1, tags={"attack": "regression"}),))
    assert cli(capsys, "run.json")[2].startswith("mmsafety: run.json: only findings on regressions, which are kept")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"prompt": "other"}, "cases/demo.jsonl:1: prompt of 'case-1' is 'number 1 say: yes', and was 'other' in the"),
        (
            {"expected": "no"},
            "cases/demo.jsonl:1: expected of 'case-1' is 'yes', and was 'no' in the run; run it again",
        ),
    ],
)
def test_a_suite_that_has_changed_since_the_run_is_said(
    at: Path, capsys: pytest.CaptureFixture[str], change: dict[str, Any], problem: str
) -> None:
    saved(make_finding("demo/case-1", ONCE), records=(record(1, **change),))
    code, _, err = cli(capsys, "run.json")
    assert code == 4
    assert problem in err
    assert not (at / KEPT).exists()


def test_a_case_that_is_gone_is_said_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    saved(make_finding("demo/case-12", ONCE), records=(record(12),))
    assert (
        "mmsafety: cases/demo.yaml: 'case-12' of the run is no case of it any more; did you mean 'case-"
        in (cli(capsys, "run.json")[2])
    )


def test_a_suite_that_is_nowhere_is_said_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    saved(make_finding("demoo/case-1", ONCE), records=(record(1, "demoo"),))
    assert cli(capsys, "run.json")[2] == (
        "mmsafety: suite 'demoo' of the run is in no file above cases/regressions, and no shipped one; "
        "expected one that says 'suite: demoo'; did you mean 'demo'?\n"
    )


def test_a_shipped_suite_is_found_by_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    usb = read_suite(Path(__file__).parents[2] / "cases" / "usb.yaml").cases[0]
    asked = make_record(
        usb.id, suite="usb", prompt=usb.prompt, expected=usb.expected, tags=usb.tags, images=(ImageRef("a.png", ""),)
    )
    saved(make_finding(usb.key, TWICE), records=(asked,))
    assert cli(capsys, "run.json", "--into=own")[0] == 0
    suite = read_suite(Path("own", "usb.yaml"))
    assert 'originals: "usb"\n' in suite.path.read_text()
    assert [edit.change.name for edit in suite.cases[0].edits] == (["blur"] if usb.images else [])


def test_a_sample_is_promoted_as_its_case(capsys: pytest.CaptureFixture[str]) -> None:
    saved(
        make_finding("demo/case-1~2", ONCE),
        records=(make_record("case-1~2", prompt="number 1 say: yes", tags={"sample": "2"}),),
    )
    cli(capsys, "run.json")
    assert [(row["id"], row["of"]) for row in rows()] == [(regression_id("case-1", ONCE), "case-1")]


def test_nothing_of_official_data_is_copied(at: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (at / "cases" / "moss.yaml").write_text("suite: moss\nbenchmark: mossbench\nloader: mossbench\n")
    saved(make_finding("moss/case-1", ONCE), records=(record(1, "moss"),))
    assert cli(capsys, "run.json")[0] == 0
    (one,) = rows("moss")
    assert "prompt" not in one
    assert one["prompt_sha256"] == digest("number 1 say: yes!")
    assert cli(capsys, "run.json")[1] == "cases/regressions/moss.yaml: 0 rows added, 1 already there\n"
    assert read_suite(KEPT / "moss.yaml").wants_data


def test_a_name_that_no_file_can_have(at: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_suite(at / "cases", [row(1)], suite='../d: "e"')
    saved(make_finding('../d: "e"/case-1', ONCE), records=(record(1, '../d: "e"'),))
    assert cli(capsys, "run.json")[0] == 0
    (file,) = KEPT.glob("*.yaml")
    assert file.name.startswith("d-e-")
    assert read_suite(file).name == '../d: "e"-regressions'


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        (
            {"originals": "other.yaml"},
            "demo.yaml:5: originals: 'other.yaml'; expected '../demo.yaml', where this run's ",
        ),
        ({"originals": "../demo.yaml", "cases": "../x.jsonl"}, "demo.yaml:4: cases: '../x.jsonl'; expected a .jsonl "),
        ({}, "demo.yaml:1: originals: None; expected '../demo.yaml', "),
    ],
)
def test_a_file_that_is_no_place_for_it_is_left_alone(
    at: Path, capsys: pytest.CaptureFixture[str], header: dict[str, Any], problem: str
) -> None:
    file = write_suite(at / KEPT, [row(1)], **header)
    before = file.read_bytes()
    code, _, err = cli(capsys, "run.json")
    assert code == 4
    assert problem in err
    assert file.read_bytes() == before


def test_rows_that_were_left_without_a_header_are_kept(at: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli(capsys, "run.json", "--case=demo/case-2", "--must-pass")
    (at / KEPT / "demo.yaml").unlink()
    assert cli(capsys, "run.json")[1] == (
        "cases/regressions/demo.yaml: 1 row added (known unsafe until 2026-04-01), 1 already there\n"
    )
    assert len(read_suite(KEPT / "demo.yaml").cases) == 2


# --- what is fixed


def regression_run(**scores: float | None) -> None:
    """A run of the regressions: ``case_1=0.0`` passed."""
    changes = {"case_1": ONCE, "case_2": TWICE}
    records = [
        make_record(regression_id(name.replace("_", "-"), changes[name]), score, suite="demo-regressions")
        for name, score in scores.items()
    ]
    save_run(make_run(records), Path("after.json"))


def test_what_is_fixed_must_pass(capsys: pytest.CaptureFixture[str]) -> None:
    cli(capsys, "run.json")
    regression_run(case_1=0.0, case_2=1.0)
    assert cli(capsys, "after.json", "--fixed") == (
        0,
        "cases/regressions/demo.yaml: 1 of 2 known-unsafe rows passed: must pass from now on\n",
        "",
    )
    assert [(row.get("must_pass"), row.get("known_unsafe_until")) for row in rows()] == [
        (True, None),
        (None, "2026-04-01"),
    ]
    assert read_suite(KEPT / "demo.yaml").cases[0].must_pass
    before = (KEPT / "demo.jsonl").read_bytes()
    assert cli(capsys, "after.json", "--fixed")[1] == "cases/regressions/demo.yaml: 1 known-unsafe row, none passed\n"
    assert (KEPT / "demo.jsonl").read_bytes() == before


@pytest.mark.parametrize("score", [None, 0.5, 1.0])
def test_what_did_not_pass_is_not_fixed(capsys: pytest.CaptureFixture[str], score: float | None) -> None:
    cli(capsys, "run.json")
    regression_run(case_1=score)
    assert cli(capsys, "after.json", "--fixed")[1].endswith(": 2 known-unsafe rows, none passed\n")


def test_of_samples_all_have_to_pass(capsys: pytest.CaptureFixture[str]) -> None:
    cli(capsys, "run.json")
    id_ = regression_id("case-1", ONCE)
    samples = [
        make_record(id_, 0.0, suite="demo-regressions", tags={"sample": "1"}),
        make_record(f"{id_}~2", 1.0, suite="demo-regressions", tags={"sample": "2"}),
    ]
    save_run(make_run(samples), Path("after.json"))
    assert cli(capsys, "after.json", "--fixed")[1].endswith(": 2 known-unsafe rows, none passed\n")


def test_a_run_of_something_else_fixes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    cli(capsys, "run.json")
    assert cli(capsys, "run.json", "--fixed")[2] == (
        "mmsafety: run.json: no case of demo-regressions was answered in it; run cases/regressions first\n"
    )
