"""A run held against an earlier one: what is compared, what is refused, and how a run becomes a baseline."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import Project, row

from pytest_mmsafety.baselines import Difference, parse_allowed, refusal, setting_differences
from pytest_mmsafety.cli.main import main
from pytest_mmsafety.errors import SetupError

WORKERS = pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["one process", "xdist"])
GATE: dict[str, Any] = {"name": "no-worse", "metric": "accuracy", "max_regression": 0.1}


def rows(wrong: int, n: int = 60, **more: Any) -> list[dict[str, Any]]:
    """Cases of which the first *wrong* are answered no when ``ANSWER=no``... by the prompt itself."""
    return [row(number, say="no" if number < wrong else "yes", **more) for number in range(n)]


@pytest.fixture
def before(project: Project) -> Project:
    """A project whose target answered everything rightly, saved as before.json; from now on it answers as told."""
    project.suite(rows(0))
    assert project.run_here("--save-run=before.json", "cases").ret == 0
    return project


def answers_no(project: Project, share: float) -> None:
    """From now on the target gives a wrong answer to this share of the cases."""
    project.pytester.makepyfile(
        parrot=f"""
class Parrot:
    name = "parrot 2"
    def generate(self, requests):
        return ["no" if int(r.prompt.split()[1]) < {60 * share} else "yes" for r in requests]
"""
    )


@WORKERS
def test_a_run_against_itself_does_not_regress(before: Project, workers: tuple[str, ...]) -> None:
    result = before.run(before.thresholds(GATE), "--baseline=before.json", "cases", *workers)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["passed *no-worse*"])


@WORKERS
def test_a_regression_fails_with_its_size(before: Project, workers: tuple[str, ...]) -> None:
    answers_no(before, 0.4)
    result = before.run(before.thresholds(GATE), "--baseline=before.json", "cases", *workers)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["failed *no-worse*40.0*"])


def test_a_gate_on_regression_needs_a_baseline(before: Project) -> None:
    result = before.run_here(before.thresholds(GATE), "cases")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["ERROR: --baseline: gate 'no-worse' has max_regression, but there is no baseline*"])


@pytest.mark.parametrize(
    ("spec", "problem"),
    [("after.json", "neither a saved run nor a baseline: none was promoted"), ("calls.txt", "not a run file")],
)
def test_a_baseline_that_is_none(before: Project, spec: str, problem: str) -> None:
    calls = before.calls()
    result = before.run_here(before.thresholds(GATE), f"--baseline={spec}", "cases")
    assert result.ret == 4
    result.stderr.fnmatch_lines([f"ERROR: --baseline: *{problem}*"])
    assert before.calls() == calls


@pytest.mark.parametrize(
    ("options", "suite", "problem"),
    [
        (["--model-args=temperature=1"], rows(0), "model_args.temperature is 1, was not set *baseline-allow=decoding)"),
        ([], rows(1), "1 cases have another prompt, image or expectation: demo/case-0 *baseline-allow=cases)"),
        ([], rows(0, expected="no"), "60 cases have*: demo/case-0, demo/case-1, demo/case-2 ...*"),
        ([], [{**r, "id": f"x{r['id']}"} for r in rows(0)], "no case is in both*"),
    ],
    ids=["decoding", "prompt", "expectation", "other cases"],
)
def test_what_differs_is_refused_before_the_target_is_asked(
    before: Project, options: list[str], suite: list[dict[str, Any]], problem: str
) -> None:
    calls = before.calls()
    before.suite(suite)
    result = before.run_here(before.thresholds(GATE), "--baseline=before.json", *options, "cases")
    assert result.ret == 4
    assert before.calls() == calls
    result.stderr.fnmatch_lines([f"*--baseline: {problem}"])


def test_what_differs_is_refused_under_xdist(before: Project) -> None:
    before.suite(rows(1))
    result = before.run(before.thresholds(GATE), "--baseline=before.json", "cases", "-n2")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*--baseline: 1 cases have another prompt*"])


def test_what_differs_can_be_allowed(before: Project) -> None:
    before.suite(rows(1))
    result = before.run_here(
        before.thresholds(GATE), "--baseline=before.json", "--baseline-allow=cases", "cases", "-rA"
    )
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*no-worse*59*"])


def test_new_and_gone_cases_are_no_difference(before: Project) -> None:
    before.suite([*rows(0)[10:], row(200)])
    assert before.run_here(before.thresholds(GATE), "--baseline=before.json", "cases").ret == 0


def test_another_judge_is_not_compared(before: Project) -> None:
    saved = json.loads((before.path / "before.json").read_text())
    for record in saved["records"]:
        record["verdicts"][0]["judge"] = "yes-no/0"
    (before.path / "before.json").write_text(json.dumps(saved))
    result = before.run_here(before.thresholds(GATE), "--baseline=before.json", "--require-gates", "cases")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["note: *not compared with the baseline: judged by yes-no/1, was yes-no/0*"])


def cli(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(list(arguments))
    return code, *capsys.readouterr()


def test_promote_find_and_list(
    before: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(before.path)
    code, out, err = cli(capsys, "baseline", "promote", "before.json", "--name=rc-1", "--why=shipped in May")
    assert (code, err) == (0, "")
    assert out.startswith(f"{before.path / 'reports' / 'baselines' / 'rc-1.json'}\n")
    assert before.run_here(before.thresholds(GATE), "--baseline=rc-1", "cases").ret == 0
    assert "did you mean 'rc-1'?" in before.run_here(before.thresholds(GATE), "--baseline=rc1", "cases").stderr.str()
    capsys.readouterr()
    _, out, _ = cli(capsys, "baseline", "list")
    assert out.count("\n") == 1
    assert "rc-1  parrot of 20" in out
    assert out.endswith(": shipped in May\n")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda run: run["records"][0].update(response=None), "1 of 60 cases have no answer"),
        (lambda run: run.update(format="other"), "not a run file"),
    ],
)
def test_what_is_not_promoted(
    before: Project,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    change: Any,
    problem: str,
) -> None:
    monkeypatch.chdir(before.path)
    saved = json.loads((before.path / "before.json").read_text())
    change(saved)
    (before.path / "before.json").write_text(json.dumps(saved))
    code, _, err = cli(capsys, "baseline", "promote", "before.json", "--why=x")
    assert code == 4
    assert problem in err
    assert not (before.path / "reports").exists()


def test_a_run_that_its_gates_block_is_promoted_only_anyway(
    before: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(before.path)
    answers_no(before, 1)
    gate = {"name": "right", "metric": "accuracy", "min": 0.9}
    assert before.run_here(before.thresholds(gate), "--save-run=after.json", "cases").ret == 1
    assert cli(capsys, "baseline", "promote", "after.json", "--why=x")[2].endswith(
        "after.json: its own gates block: right; promote another run, or say --anyway\n"
    )
    assert cli(capsys, "baseline", "promote", "after.json", "--why=x", "--anyway")[0] == 0


def test_gate_judges_a_saved_run_with_the_same_exit_codes(
    before: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(before.path)
    answers_no(before, 0.4)
    assert before.run_here("--save-run=after.json", "cases").ret == 0
    before.thresholds(GATE, {"name": "right", "metric": "accuracy", "min": 0.3})
    code, out, _ = cli(capsys, "gate", "before.json", "--thresholds=policy.yaml", "--baseline=before.json")
    assert code == 0
    assert "not blocked: 2 passed" in out
    code, out, _ = cli(capsys, "gate", "after.json", "--thresholds=policy.yaml", "--baseline=before.json", "--json")
    assert code == 1
    document = json.loads(out)
    assert document["blocks"] is True
    assert [gate["status"] for gate in document["gates"]] == ["failed", "passed"]
    assert document["gates"][0]["difference"] == pytest.approx(0.4)
    assert cli(capsys, "gate", "after.json", "--thresholds=policy.yaml")[0] == 4
    assert cli(capsys, "gate", "none.json", "--thresholds=policy.yaml")[0] == 4
    before.thresholds({"name": "right", "metric": "accuracy", "min": 0.3, "where": {"category": "onee"}})
    assert "did you mean 'one'?" in cli(capsys, "gate", "after.json", "--thresholds=policy.yaml")[2]


def test_kinds_of_differences() -> None:
    found = setting_differences(
        {"model": "a", "judge": "", "model_args.seed": "1", "batch_size": "8"},
        {"model": "b", "judge": "x:y", "model_args.dtype": "float32", "batch_size": "16", "target_calls": "3"},
    )
    assert [(difference.kind, difference.text) for difference in found] == [
        ("judge", "judge is not set, was x:y"),
        ("decoding", "model_args.dtype is not set, was float32"),
    ]
    assert refusal(found, frozenset({"decoding", "judge"})) == ""
    assert refusal([Difference("cases", "c")], frozenset({"judge"})).endswith("--baseline-allow=cases)")
    with pytest.raises(SetupError, match="'judges'; expected some of decoding, judge, cases; did you mean 'judge'"):
        parse_allowed("judges")
    assert parse_allowed(" decoding,,judge ") == {"decoding", "judge"}


def test_secrets_are_not_compared_by_value(tmp_path: Path) -> None:
    assert setting_differences({"model_args.api_key": "***"}, {"model_args.api_key": "***"}) == []
