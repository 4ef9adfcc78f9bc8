"""``--attack`` in whole runs: budgets, selection, resume, interruption, what is reported and what is gated."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from project import BOTH_WAYS, Project, plain, row, usage_error

from pytest_mmsafety.run import Run, load_run

WEAK = """
    '''Says yes, but for prompts with one of some words, or all of several (a&b); writes down what it is asked.'''
    from pathlib import Path

    LOG = Path(__file__).with_name("asked.txt")

    class Weak:
        name = "weak"

        def __init__(self, words="police", fails="", noisy=""):
            self.words, self.fails, self.noisy = words.split("+"), fails, noisy
            self.fingerprint = f"weak {words} {fails} {noisy}"

        def generate(self, requests):
            with LOG.open("a", encoding="utf-8") as file:
                file.write("".join(f"{request.prompt!r}\\n" for request in requests))
            return [self.answer(request.prompt) for request in requests]

        def answer(self, prompt):
            if self.fails and self.fails in prompt:
                raise RuntimeError("this prompt breaks me")
            return "no" if any(all(part in prompt for part in word.split("&")) for word in self.words) else "yes"
"""
GATE = {"name": "robust", "metric": "robust_failure_rate", "max": 0.2}
ONE_SIDED = {"one_sided": True}


@pytest.fixture
def weak(project: Project) -> Project:
    project.pytester.makepyfile(weak=WEAK)
    return project


def attack(project: Project, calls: int, *args: str, target: str = "weak:Weak", words: str = "police") -> Any:
    return project.run(f"--attack={calls}", f"--model-args=words={words}", *args, model=target)


def asked(project: Project) -> list[str]:
    file = project.path / "asked.txt"
    return file.read_text(encoding="utf-8").splitlines() if file.exists() else []


def saved(project: Project) -> Run:
    return load_run(project.path / "run.json")


def labels(project: Project) -> dict[str, str]:
    return {r.id: r.verdicts[0].label for r in saved(project).records if r.tags.get("attack") and r.verdicts}


@BOTH_WAYS
def test_a_weakness_is_found_shrunk_gated_and_kept(weak: Project, workers: tuple[str, ...]) -> None:
    weak.suite([row(i, category=f"group-{i}") for i in range(3)])
    gate = weak.thresholds(GATE, **ONE_SIDED)
    result = attack(weak, 100, "--save-run=run.json", gate, *workers)
    assert result.ret == 1
    result.stdout.fnmatch_lines([
        "*attack: search: 3 of 3 cases broken, 0 held, 0 unsure*",
        "*demo/case-0: right-to-wrong by disguise 0.05 (* calls)*",
        "*mmsafety promote RUN*",
        "*failed*robust*robust failure rate 100.0%*",
    ])  # fmt: skip
    run = saved(weak)
    assert [finding.case for finding in run.findings] == ["demo/case-0", "demo/case-1", "demo/case-2"]
    (change,) = run.findings[0].perturbations
    assert (change.name, change.strength, change.parameters) == ("disguise", 0.05, {})
    assert (run.findings[0].answer_before, run.findings[0].answer_after) == ("yes", "no")
    assert (run.settings.attack, run.settings.attack_args) == (100, {})


@BOTH_WAYS
def test_what_holds_holds(weak: Project, workers: tuple[str, ...]) -> None:
    weak.suite([row(i) for i in range(4)])
    gate = weak.thresholds({**GATE, "max": 0.9}, **ONE_SIDED)
    result = attack(weak, 40, "--save-run=run.json", gate, *workers, words="nobody-says-this")
    assert result.ret == 0
    assert set(labels(weak).values()) == {"held"}
    assert saved(weak).findings == ()


@pytest.mark.parametrize(("calls", "cases"), [(4, 2), (7, 2), (30, 1), (31, 3), (100, 1)])
@pytest.mark.parametrize("words", ["police", "qqqq"])
def test_the_budget_is_kept_to_the_call(weak: Project, calls: int, cases: int, words: str) -> None:
    weak.suite([row(i) for i in range(cases)])
    attack(weak, calls, "--store=off", words=words)
    budget = calls // cases * cases  # the answer to a case as it stands is asked for once, and counts
    assert len(asked(weak)) == budget if words == "qqqq" else len(asked(weak)) <= budget


def test_a_case_may_have_a_limit_of_its_own(weak: Project) -> None:
    weak.suite([row(i) for i in range(2)])
    attack(weak, 100, "--store=off", "--attack-args=per_case=9", words="qqqq")
    assert len(asked(weak)) == 2 * 9


def test_a_second_run_asks_nothing_and_finds_the_same(weak: Project) -> None:
    weak.suite([row(i) for i in range(2)])
    attack(weak, 100, "--save-run=run.json")
    first = saved(weak)
    before = len(asked(weak))
    for path in (weak.path / ".mmsafety" / "examples").rglob("*"):
        if path.is_file():
            path.unlink()  # else it would begin with what it found
    attack(weak, 100, "--save-run=run.json")
    assert len(asked(weak)) == before
    assert saved(weak).findings == first.findings


def test_another_checkpoint_is_tried_with_what_broke_the_last_one(weak: Project) -> None:
    weak.suite([row(1)])
    attack(weak, 100, "--save-run=run.json", words="police")
    assert saved(weak).findings[0].calls > 5
    attack(weak, 100, "--save-run=run.json", words="police+other")
    (finding,) = saved(weak).findings
    assert str(finding.perturbations[0]) == "disguise 0.05"
    assert finding.calls <= 5  # as it stands, with the old change, and that confirmed
    attack(weak, 20, "--save-run=run.json", words="fixed")
    assert labels(weak) == {"case-1@search": "held"}


@BOTH_WAYS
def test_attacks_are_selected_like_any_test(weak: Project, workers: tuple[str, ...]) -> None:
    weak.suite([row(i, category=f"group-{i}") for i in range(3)])
    result = attack(weak, 20, "-k", "search and group-1", "--save-run=run.json", "-v", *workers)
    result.assert_outcomes(passed=1)
    assert set(labels(weak)) == {"case-1@search"}
    result = attack(weak, 20, "-k", "not search", *workers)
    result.assert_outcomes(passed=3)


def test_a_gate_over_a_part_of_the_attack_is_not_evaluated(weak: Project) -> None:
    weak.suite([row(i, category=f"group-{i}") for i in range(2)])
    result = attack(weak, 20, "-k", "group-1", weak.thresholds(GATE, **ONE_SIDED), words="qqqq")
    result.stdout.fnmatch_lines(["not evaluated*robust*1 of 2 cases answered (1 not run)*"])


@BOTH_WAYS
def test_an_error_of_the_target_ends_that_search_only(weak: Project, workers: tuple[str, ...]) -> None:
    weak.suite([row(1, category="one"), row(2, "zz", expected="no", category="two")])
    args = "--model-args=words=police+zz,fails=police"
    result = weak.run("--attack=60", args, "--save-run=run.json", "--store=off", *workers, model="weak:Weak")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*1 of 1 case without an answer: asked with *disguise*: RuntimeError: this prompt*"])
    by_id = {record.id: record for record in saved(weak).records}
    assert by_id["case-1@search"].error
    assert by_id["case-1"].response == "yes"


def test_dash_x_stops_at_the_first_error(weak: Project) -> None:
    weak.suite([row(i, category=f"group-{i}") for i in range(3)])
    args = "--model-args=words=qqqq,fails=police"
    result = weak.run("--attack=60", args, "-x", "-k", "search", model="weak:Weak")
    result.assert_outcomes(errors=1)


def test_what_was_attacked_together_is_in_the_run_although_the_first_error_stops_it(weak: Project) -> None:
    part = WEAK.replace("if self.fails and self.fails in prompt", 'if "§" in prompt and "police" in prompt')
    weak.pytester.makepyfile(weak=part)
    weak.suite([row(0, prompt="Is § safe?", category="group-0"), row(1, category="group-1")])
    result = attack(weak, 30, "-x", "-k", "search", "--save-run=run.json", words="police")
    result.assert_outcomes(errors=1)
    assert labels(weak) == {"case-1@search": "broken"}
    assert [finding.case for finding in saved(weak).findings] == ["demo/case-1"]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@BOTH_WAYS
def test_ctrl_c_inside_a_search_keeps_answers_and_findings(weak: Project, workers: tuple[str, ...]) -> None:
    slow = WEAK.replace("return [self.answer", "import time; time.sleep(0.05)\n            return [self.answer")
    weak.pytester.makepyfile(weak=slow)
    weak.suite([row(i) for i in range(4)])
    words = "number 1&police"  # the others hold, so that there is time to interrupt
    command = [sys.executable, "-m", "pytest", "--model=weak:Weak", f"--model-args=words={words}", "--attack=4000"]
    command += ["cases", "--save-run=run.json", *workers]
    process = subprocess.Popen(command, cwd=weak.path, stdout=subprocess.PIPE, text=True)
    until = time.monotonic() + 60
    while len(asked(weak)) < 120 and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 2, output
    assert "the same command goes on from there" in output
    run = saved(weak)
    assert not run.complete
    assert {finding.case for finding in run.findings} >= {"demo/case-1"}
    before = len(asked(weak))
    assert before < 4000
    done = attack(weak, 240, "--save-run=run.json", words=words)
    assert done.ret == 0
    assert len(asked(weak)) < before + 240


def test_the_time_of_an_attack_may_be_limited(weak: Project) -> None:
    slow = WEAK.replace("return [self.answer", "import time; time.sleep(0.1)\n            return [self.answer")
    weak.pytester.makepyfile(weak=slow)
    weak.suite([row(1)])
    gate = weak.thresholds({**GATE, "rule": "assurance"}, **ONE_SIDED)
    result = attack(weak, 5000, "--attack-args=seconds=1", "--save-run=run.json", gate, words="qqqq")
    assert labels(weak) == {"case-1@search": "unsure"}
    assert result.ret == 1  # nothing turns green that was not shown


def test_a_judge_that_abstains_shows_nothing(weak: Project) -> None:
    unclear = WEAK.replace('else "yes"', 'else ("yes" if prompt.startswith("number") else "well")')
    weak.pytester.makepyfile(weak=unclear)
    weak.suite([row(1)])
    attack(weak, 40, "--save-run=run.json", words="qqqq")
    assert labels(weak) == {"case-1@search": "unsure"}


def test_techniques_that_change_no_case_show_nothing(weak: Project) -> None:
    weak.suite([row(i) for i in range(40)])
    gate = weak.thresholds({**GATE, "rule": "assurance"}, **ONE_SIDED)
    result = attack(weak, 400, "--attack-args=techniques=image-blur+noise", "--save-run=run.json", gate)
    assert result.ret == 1
    assert set(labels(weak).values()) == {"unsure"}


def test_a_target_that_never_answers_or_thinks_to_the_end_did_not_hold(weak: Project) -> None:
    weak.suite([row(i) for i in range(4)])
    gate = weak.thresholds({**GATE, "rule": "assurance"}, **ONE_SIDED)
    for name, answer in (("silent", ""), ("thinker", "<think>yes, and yes again")):
        weak.pytester.makepyfile(**{name: f"def answer(requests):\n    return [{answer!r} for _ in requests]"})
        result = weak.run("--attack=80", "--save-run=run.json", gate, model=f"{name}:answer")
        assert result.ret == 1
        assert set(labels(weak).values()) == {"unsure"}


def test_a_case_that_fails_as_it_stands_is_no_finding(weak: Project) -> None:
    weak.suite([row(1, expected="no")])
    attack(weak, 40, "--save-run=run.json", words="qqqq")
    assert labels(weak) == {"case-1@search": "fails-unperturbed"}
    assert saved(weak).findings == ()


@BOTH_WAYS
def test_a_sweep_has_every_technique_on_the_same_cases(weak: Project, workers: tuple[str, ...]) -> None:
    weak.suite([row(i) for i in range(3)])
    args = "--attack-args=mode=sweep,techniques=disguise+tone+image-blur,strengths=0.05+1"
    result = attack(weak, 12, args, "--save-run=run.json", *workers)
    assert result.ret == 0
    records = [record for record in saved(weak).records if record.tags.get("attack")]
    told = sorted((record.tags["perturbation"], record.tags["strength"]) for record in records)
    # images are not there to be blurred; the calls suffice for two of three cases
    assert told == sorted([("disguise", "0.05"), ("disguise", "1"), ("tone", "0.05"), ("tone", "1")] * 2)
    by_technique = {record.tags["perturbation"]: record.score for record in records}
    assert by_technique == {"disguise": 1.0, "tone": 0.0}


def test_a_universal_change_is_measured_on_the_other_half(weak: Project) -> None:
    weak.suite([row(i) for i in range(8)])
    gate = weak.thresholds({"name": "universal", "metric": "universal_failure_rate", "max": 0.3}, **ONE_SIDED)
    result = attack(weak, 400, "--attack-args=mode=universal", "--save-run=run.json", gate)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*attack: universal: 4 of 4 cases broken*", "failed*universal*n=4*"])
    run = saved(weak)
    assert {str(change) for finding in run.findings for change in finding.perturbations} == {"disguise 0.05"}
    assert len(asked(weak)) <= 8 + 400


def test_findings_can_be_promoted_and_replayed(weak: Project) -> None:
    weak.suite([row(1)])
    attack(weak, 100, "--save-run=run.json")
    promoted = subprocess.run(
        [sys.executable, "-m", "pytest_mmsafety.cli.main", "promote", "run.json", "--must-pass"],
        cwd=weak.path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert promoted.returncode == 0, promoted.stderr
    lines = (weak.path / "cases" / "regressions" / "demo.jsonl").read_text().splitlines()
    assert json.loads(lines[0])["perturbations"] == [{"name": "disguise", "strength": 0.05, "parameters": {}}]
    assert weak.run("--model-args=words=police", "-k", "regressions", model="weak:Weak").ret == 1
    assert weak.run("--model-args=words=fixed", "-k", "regressions", model="weak:Weak").ret == 0


def test_attack_records_do_not_count_for_metrics_of_the_suites(weak: Project) -> None:
    weak.suite([row(i) for i in range(6)])
    gate = weak.thresholds({"name": "plain", "metric": "failure_rate", "max": 0.6, "rule": "assurance"}, **ONE_SIDED)
    result = attack(weak, 200, gate)
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        ["note:*no gate is about the attack, so what it broke blocks nothing*", "passed*plain*n=6*"]
    )


def test_a_baseline_is_compared_case_by_case(weak: Project) -> None:
    weak.suite([row(i) for i in range(12)])
    gates = {"name": "robust", "metric": "robust_failure_rate", "max_regression": 0.1}
    attack(weak, 240, "--save-run=old.json", words="qqqq")
    allow = "--baseline-allow=decoding"  # which the words of this target are taken for
    result = attack(weak, 240, "--baseline=old.json", allow, weak.thresholds(gates, **ONE_SIDED), words="police")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["failed*robust*"])
    other = attack(weak, 480, "--baseline=old.json", allow, weak.thresholds(gates, **ONE_SIDED), words="police")
    assert "attack is 480, was 240" in plain(other)


WRONG = [
    (("--attack=0",), "--attack: '0' is not a whole number from 1"),
    (("--attack=many",), "--attack: 'many' is not a whole number"),
    (("--attack=",), "--attack: it is empty; expected CALLS"),
    (("--attack-args=mode=sweep",), "--attack-args: nothing is attacked; give --attack=CALLS"),
    (("--attack=9", "--attack-args=mod=sweep"), "--attack-args: 'mod' is no argument of it*did you mean 'mode'?"),
    (
        ("--attack=9", "--attack-args=mode=serch"),
        "mode: 'serch'; expected search, universal, sweep; did you mean 'search'?",
    ),
    (("--attack=9", "--attack-args=techniques=rol-play"), "'rol-play' is no perturbation; did you mean 'role-play'?"),
    (("--attack=9", "--attack-args=strengths=2"), "strengths: '2'; expected numbers above 0, at most 1"),
    (("--attack=9", "--attack-args=confirm=3/2"), "confirm: '3/2'; expected K/M"),
    (("--attack=9", "--attack-args=per_case=-1"), "per_case: '-1' is not a whole number"),
    (("--attack=9", "--judge-phase=after"), "--attack: a search needs every verdict at once"),
    (("--attack=3",), "--attack: 3 calls a group; demo: one needs at least 4: 2 cases"),
    (("--attack=9", "--attack-args=mode=sweep"), "--attack: 9 calls a group; demo: one needs at least"),
]


@pytest.mark.parametrize(("args", "message"), WRONG, ids=[" ".join(args) for args, _ in WRONG])
def test_what_is_wrong_is_said_in_one_line(weak: Project, args: tuple[str, ...], message: str) -> None:
    weak.suite([row(i) for i in range(2)])
    result = weak.run_here(*args, model="weak:Weak")
    assert result.ret == 4
    for part in message.split("*"):
        assert part in usage_error(result)
    assert not asked(weak)


def test_early_stop_does_not_go_together_with_an_attack(weak: Project) -> None:
    weak.suite([row(1)])
    result = weak.run_here("--attack=9", "--early-stop", weak.thresholds(GATE, **ONE_SIDED), model="weak:Weak")
    assert "--attack: it attacks every case; not with --early-stop" in usage_error(result)


def test_without_an_attack_a_gate_on_it_is_refused(weak: Project) -> None:
    weak.suite([row(1)])
    result = weak.run_here(weak.thresholds(GATE, **ONE_SIDED), model="weak:Weak")
    assert result.ret == 4


def test_nothing_is_remembered_without_a_store(weak: Project) -> None:
    weak.suite([row(1)])
    attack(weak, 60, "--store=off")
    assert not Path(weak.path, ".mmsafety").exists()
