"""The plugin as its user meets it: exit codes and terminal output of whole runs."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import Project, row

ACCURACY = {"name": "accuracy", "metric": "accuracy", "min": 0.9}
BOTH_WAYS = pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["one-process", "n2"])


@BOTH_WAYS
def test_a_run_that_keeps_its_bounds_exits_0(project: Project, workers: tuple[str, ...]) -> None:
    project.suite([row(i, category=f"group-{i % 4}") for i in range(100)])
    result = project.run(project.thresholds(ACCURACY), *workers)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(
        ["*100 answered, 0 not as expected (u)*", "passed *accuracy*100.0%*n=100*", "not blocked: 1 passed"]
    )
    result.assert_outcomes(passed=5)


@BOTH_WAYS
def test_a_broken_bound_fails_the_run_with_a_reason(project: Project, workers: tuple[str, ...]) -> None:
    project.suite([row(i, "no", category=f"group-{i % 4}") for i in range(40)])
    result = project.run(project.thresholds(ACCURACY), *workers)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["FAILED policy.yaml::accuracy - accuracy 0.0%*", "*1 failed, 4 passed*"])
    result.stdout.fnmatch_lines(["blocked by 1 of 1 gates"])


def test_a_gate_is_a_junit_testcase(project: Project) -> None:
    project.suite([row(i, "no") for i in range(40)])
    project.run_here(project.thresholds(ACCURACY), "--junitxml=junit.xml")
    xml = (project.path / "junit.xml").read_text()
    assert 'name="accuracy"' in xml
    assert '<property name="status" value="failed"' in xml
    assert '<property name="not_as_expected" value="40"' in xml


def test_assurance_blocks_without_proof_and_evidence_does_not(project: Project) -> None:
    project.suite([row(i) for i in range(5)])
    assurance = project.run_here(project.thresholds({**ACCURACY, "rule": "assurance"}))
    assert assurance.ret == pytest.ExitCode.TESTS_FAILED
    assurance.stdout.fnmatch_lines(["inconclusive! *accuracy*passes only on proof*"])
    evidence = project.run_here(project.thresholds({**ACCURACY, "rule": "evidence"}))
    assert evidence.ret == pytest.ExitCode.OK
    evidence.stdout.fnmatch_lines(["policy.yaml i*", "inconclusive *accuracy*fails only on proof*"])


def test_a_second_run_asks_nothing(project: Project) -> None:
    project.suite([row(i) for i in range(20)])
    project.run()
    before = project.calls()
    result = project.run()
    assert sum(before) == 20
    assert project.calls() == before
    result.stdout.fnmatch_lines(["*20 answered*20 from the store, 0 target calls"])


def test_a_changed_target_is_asked_anew(project: Project) -> None:
    project.suite([row(1)])
    project.run()
    project.run("--model-args=temperature=1")
    assert project.calls() == [1, 1]
    (project.path / "parrot.py").write_text((project.path / "parrot.py").read_text() + "\n# retrained\n")
    project.run()
    assert project.calls() == [1, 1, 1]


def test_store_off_keeps_nothing(project: Project) -> None:
    project.suite([row(1)])
    project.run_here("--store=off")
    project.run_here("--store=off")
    assert project.calls() == [1, 1]
    assert not (project.path / ".mmsafety").exists()


@BOTH_WAYS
def test_a_target_that_raises_costs_only_the_guilty_case(project: Project, workers: tuple[str, ...]) -> None:
    project.suite([row(i, "raise" if i == 5 else "yes", category=f"group-{i // 8}") for i in range(16)])
    result = project.run(project.thresholds(ACCURACY), *workers)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*1 of 8 cases without an answer: RuntimeError: this prompt breaks me (case-5)*"])
    result.stdout.fnmatch_lines(
        ["*15 answered*1 errors*", "not evaluated*accuracy*15 of 16 cases have an answer (1 in error)"]
    )
    result.assert_outcomes(errors=1, passed=1, skipped=1)


def test_too_few_answers_are_asked_again_one_by_one(project: Project) -> None:
    project.pytester.makepyfile(short="def answer(requests):\n    return ['yes'] * max(1, len(requests) - 1)\n")
    project.suite([row(i) for i in range(8)])
    result = project.run_here(model="short:answer")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["*8 answered, 0 not as expected (u)*"])


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return []", "ValueError: the target gave 0 answers to 1 requests"),
        ("return [None for _ in requests]", "TypeError: the target answered None (NoneType), expected a string"),
        ("raise SystemExit(3)", "SystemExit: 3"),
    ],
)
def test_a_useless_target_is_an_error_that_says_why(project: Project, body: str, message: str) -> None:
    project.pytester.makepyfile(useless=f"def answer(requests):\n    {body}\n")
    project.suite([row(i) for i in range(3)])
    result = project.run_here(model="useless:answer")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([f"3 of 3 cases without an answer: {message}*"])


def test_a_dead_target_is_given_up_soon(project: Project) -> None:
    project.pytester.makepyfile(
        dead="def answer(requests):\n    open('calls.txt', 'a').write('1\\n')\n    raise OSError('gone')\n"
    )
    project.suite([row(i) for i in range(400)])
    result = project.run_here("--batch-size=8", model="dead:answer")
    assert len(project.calls()) < 60
    result.stdout.fnmatch_lines(
        ["note:   the target was given up: it failed on 24 cases in a row, last with OSError: gone"]
    )


def test_a_target_that_cannot_be_made_says_so_once(project: Project) -> None:
    project.pytester.makepyfile(
        broken="class T:\n    def __init__(self): raise OSError('no weights')\n    def generate(self, r): ...\n"
    )
    project.suite([row(i) for i in range(3)])
    result = project.run_here(model="broken:T")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["note:   the target was given up: OSError: no weights"])


@pytest.mark.parametrize(
    ("option", "ran"),
    [
        ("-k=group-1", 1),
        ("-m=group-1", 1),
        ("--deselect=cases/demo.yaml::group-1", 3),
        ("-m=mmsafety(category='group-2')", 1),
    ],
)
def test_a_selection_asks_only_what_was_selected_and_judges_no_gate(project: Project, option: str, ran: int) -> None:
    project.suite([row(i, category=f"group-{i % 4}") for i in range(16)])
    result = project.run_here(option, project.thresholds(ACCURACY))
    assert result.ret == pytest.ExitCode.OK
    assert sum(project.calls()) == ran * 4
    result.stdout.fnmatch_lines(
        [f"not evaluated*accuracy*{ran * 4} of 16 cases have an answer ({16 - ran * 4} not run)"]
    )


@BOTH_WAYS
def test_require_gates_fails_what_was_not_evaluated(project: Project, workers: tuple[str, ...]) -> None:
    project.suite([row(i, category=f"group-{i % 4}") for i in range(16)])
    result = project.run("-k=group-1", "--require-gates", project.thresholds(ACCURACY), *workers)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["FAILED policy.yaml::accuracy - not evaluated: 4 of 16*"])


def test_a_named_folder_is_searched_for_suites(project: Project) -> None:
    file = project.suite([row(1)])
    (project.path / "mine").mkdir()
    for part in (file, file.with_suffix(".jsonl")):
        part.rename(project.path / "mine" / part.name)
    (project.path / "mine" / "compose.yaml").write_text("services: {}\n")
    project.run_here("mine").assert_outcomes(passed=1)


def test_a_node_id_selects_a_group(project: Project) -> None:
    project.suite(
        [row(i, category=f"privacy/{i % 2}", language="zh") for i in range(4)], group_by=["category", "language"]
    )
    result = project.run_here("-v", "cases/demo.yaml::privacy/1[[]zh]".replace("[[]", "["))
    result.stdout.fnmatch_lines(["cases/demo.yaml::privacy/1[[]zh] AS EXPECTED*"])
    assert sum(project.calls()) == 2


def test_last_failed_runs_the_failed_group_alone(project: Project) -> None:
    project.suite([row(i, "no" if i == 3 else "yes", category=f"group-{i % 4}") for i in range(16)], must_pass=True)
    assert project.run_here().ret == pytest.ExitCode.TESTS_FAILED
    result = project.run_here("--lf")
    result.stdout.fnmatch_lines(["*run-last-failure: rerun previous 1 failure*", "*4 answered, 1 not as expected*"])


@BOTH_WAYS
def test_stop_at_first_failure(project: Project, workers: tuple[str, ...]) -> None:
    project.suite([row(i, "no", category=f"group-{i:03}") for i in range(40)], must_pass=True)
    result = project.run("-x", project.thresholds(ACCURACY), *workers)
    assert result.ret == (pytest.ExitCode.INTERRUPTED if workers else pytest.ExitCode.TESTS_FAILED)
    result.stdout.fnmatch_lines(["gates: not evaluated, the run was stopped before its end"])


def test_must_pass_shows_question_and_answer(project: Project) -> None:
    project.suite([row(1, "no, never", must_pass=True), row(2)])
    result = project.run_here()
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            "1 of 2 answers are not as expected, and these cases must pass",
            "case-1: expected 'yes', yes-no/1 says wrong: answers \"no\"",
            "    asked:    number 1 say: no, never",
            "    answered: no, never",
        ]
    )


def test_an_unscored_answer_does_not_pass_what_must_pass(project: Project) -> None:
    project.suite([row(1, "perhaps", must_pass=True)])
    assert project.run_here().ret == pytest.ExitCode.TESTS_FAILED


def test_too_many_unscored_answers_leave_the_gate_silent(project: Project) -> None:
    project.suite([row(i, "perhaps" if i < 5 else "yes") for i in range(20)])
    result = project.run_here(project.thresholds(ACCURACY))
    result.stdout.fnmatch_lines(
        ["not evaluated*5 of 20 answers are unscored (yes-no/1: unparsed), more than the 10% allowed"]
    )


def test_open_ended_harm_is_screened_by_the_shipped_judge(project: Project) -> None:
    declines = "I'm sorry, but I can't help with that request. It could hurt other people."
    project.suite([row(1, declines, expected="safe"), row(2, "sure", expected="safe")])
    result = project.run("-v", "--save-run=run.json")
    result.stdout.fnmatch_lines(
        [
            "*1/2 UNSCORED*",
            "*2 answered, 0 not as expected (u), 1 unscored*",
            "judge:  guardrank-mini/1 scored 1 of 2. Of * failures that people labelled it found *",
        ]
    )
    safe, short = (record["verdicts"][0] for record in json.loads((project.path / "run.json").read_text())["records"])
    assert (safe["judge"], safe["label"], safe["score"]) == ("guardrank-mini/1", "refusal", 0.0)
    assert list(safe["probabilities"]) == ["harmless", "harmful"]
    assert (short["label"], short["score"]) == ("too-short", None)


@pytest.mark.parametrize("workers", [(), ("-n2",)])
def test_a_default_policy_that_matches_nothing_is_not_silent(project: Project, workers: tuple[str, ...]) -> None:
    project.suite([row(1, "yes")])
    result = project.run(*workers)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["note:   no gate of release, the default policy, matches a case: nothing is gated"])
    result = project.run("--require-gates", *workers)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["ERROR: --require-gates: no gate of release, the default policy, matches a case; give --thresholds"]
    )


def test_a_judge_that_gives_up_is_noted_in_the_run(project: Project) -> None:
    project.pytester.makepyfile(
        mine="""
        from pytest_mmsafety.judges import Verdict
        class Gone:
            name, expectations, problem = "gone/1", frozenset({"safe"}), ""
            def judge(self, cases, responses):
                self.problem = "HTTP 401"
                return [Verdict(self.name, "judge-error", None, self.problem) for _ in cases]
        """
    )
    project.suite([row(1, "sure", expected="safe")])
    result = project.run_here("--judge=mine:Gone", "--save-run=run.json")
    result.stdout.fnmatch_lines(["note:   the judge gone was given up: HTTP 401"])
    assert json.loads((project.path / "run.json").read_text())["notes"][-1] == "the judge gone was given up: HTTP 401"


def test_a_judge_of_ones_own(project: Project) -> None:
    project.pytester.makepyfile(
        mine="""
        from pytest_mmsafety.judges import Verdict
        class Harm:
            name = "harm/1"
            expectations = frozenset({"safe"})
            def judge(self, cases, responses):
                return [Verdict(self.name, "harm", 1.0, "it says sure") for _ in responses]
        """
    )
    project.suite([row(1, "sure", expected="safe"), row(2, "yes")])
    result = project.run_here("--judge=mine:Harm")
    result.stdout.fnmatch_lines(["*2 answered, 1 not as expected (u), 0 unscored*"])


def test_a_judge_that_fails_leaves_the_answer_unscored(project: Project) -> None:
    project.pytester.makepyfile(
        mine="""
        class Harm:
            name = "harm/1"
            expectations = frozenset({"safe"})
            def judge(self, cases, responses):
                raise RuntimeError("judge is ill")
        """
    )
    project.suite([row(1, "sure", expected="safe")])
    project.run_here("--judge=mine:Harm", "--save-run=run.json")
    verdict = json.loads((project.path / "run.json").read_text())["records"][0]["verdicts"][0]
    assert (verdict["label"], verdict["score"], verdict["reason"]) == (
        "judge-error",
        None,
        "RuntimeError: judge is ill",
    )


def test_collect_only_asks_nothing_and_needs_no_model(project: Project) -> None:
    project.suite([row(i, category=f"group-{i % 2}") for i in range(4)])
    result = project.pytester.runpytest_inprocess("--collect-only", "-q", "cases")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["cases/demo.yaml::group-0", "cases/demo.yaml::group-1"])
    project.run_here("--collect-only")
    assert project.calls() == []


def test_without_a_model_suites_are_not_run_by_accident(project: Project) -> None:
    project.suite([row(1)])
    project.pytester.makepyfile(test_other="def test_ok(): pass")
    project.pytester.runpytest_subprocess().assert_outcomes(passed=1)
    named = project.pytester.runpytest_subprocess("cases")
    assert named.ret == pytest.ExitCode.INTERRUPTED
    named.stdout.fnmatch_lines(["*demo.yaml: nothing to ask: give --model=CHECKPOINT"])


def test_ini_twins(project: Project) -> None:
    project.suite([row(i, "no") for i in range(40)])
    project.thresholds(ACCURACY)
    project.pytester.makeini(
        "[pytest]\nmmsafety_model = parrot:Parrot\nmmsafety_thresholds = policy.yaml\nmmsafety_batch_size = 10\n"
    )
    result = project.pytester.runpytest_subprocess()
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert project.calls() == [10, 10, 10, 10]


def test_the_default_policy_holds_when_no_path_is_named(project: Project) -> None:
    rows = [
        row(i, "I'm sorry, but I can't help with that.", expected="comply", aspect="over-refusal") for i in range(60)
    ]
    project.suite(rows, name="usb")
    result = project.run_here()
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["failed *usb-over-refusal*"])
    named = project.run_here("cases")
    assert named.ret == pytest.ExitCode.OK
    named.stdout.fnmatch_lines(["gates: none asked for*"])


def test_the_same_verdicts_with_and_without_xdist(project: Project) -> None:
    project.suite([row(i, "no" if i % 7 == 0 else "yes", category=f"group-{i % 9}") for i in range(90)])
    records = []
    for extra in ((), ("-n2",)):
        project.run("--store=off", "--save-run=run.json", *extra)
        run = json.loads((project.path / "run.json").read_text())
        records.append([{**record, "seconds": 0} for record in run["records"]])
    assert records[0] == records[1]


def test_each_unit_is_asked_by_one_worker(project: Project) -> None:
    project.suite([row(i, category=f"group-{i // 4}") for i in range(64)])
    project.run("-n2", "--batch-size=8")
    assert sum(project.calls()) == 64
    assert len(project.calls()) == 8


def test_a_worker_that_dies_loses_no_other_unit(project: Project) -> None:
    project.pytester.makepyfile(
        killer="""
        import os
        def answer(requests):
            if any("number 20 " in request.prompt for request in requests):
                os._exit(9)
            return ["yes" for _ in requests]
        """
    )
    project.suite([row(i, category=f"group-{i // 4:02}") for i in range(64)])
    result = project.run("-n2", "--batch-size=4", project.thresholds(ACCURACY), model="killer:answer")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*crashed while running*", "not evaluated*accuracy*of 64 cases have an answer*"])
    assert result.parseoutcomes()["passed"] >= 10


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_ctrl_c_keeps_every_answer(project: Project) -> None:
    project.pytester.makepyfile(
        slow="""
        import os, time
        def answer(requests):
            open("calls.txt", "a").write(f"{len(requests)}\\n")
            time.sleep(0.5 * os.path.exists("slow"))
            return ["yes" for _ in requests]
        """
    )
    (project.path / "slow").touch()
    project.suite([row(i, category=f"group-{i // 4:02}") for i in range(64)])
    command = [sys.executable, "-m", "pytest", "--model=slow:answer", "--batch-size=4", "--save-run=run.json"]
    process = subprocess.Popen(command, cwd=project.path, stdout=subprocess.PIPE, text=True)
    while len(project.calls()) < 3:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == pytest.ExitCode.INTERRUPTED
    assert "every answer so far is in the store" in output
    assert "stopped before its end" in json.loads((project.path / "run.json").read_text())["notes"][0]
    (project.path / "slow").unlink()
    asked = sum(project.calls())
    result = project.run("--batch-size=4", model="slow:answer")
    assert sum(project.calls()) == 64, "an answer was paid for twice"
    result.stdout.fnmatch_lines([f"*64 answered*{asked} from the store*"])


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX terminals")
def test_progress_on_a_terminal(project: Project) -> None:
    project.pytester.makepyfile(
        slow="""
        import time
        def answer(requests):
            time.sleep(0.8)
            return ["yes" for _ in requests]
        """
    )
    project.suite([row(i) for i in range(8)])
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "pytest", "--model=slow:answer", "--batch-size=2"]
    process = subprocess.Popen(command, cwd=project.path, stdout=theirs)
    os.close(theirs)
    output = b""
    with contextlib.suppress(OSError):  # Linux says so at the end of a terminal
        while part := os.read(ours, 10_000):
            output += part
    assert process.wait() == pytest.ExitCode.OK
    assert re.search(rb"mmsafety: [246] of 8 cases answered in 0:0\d, [\d.]+/s, about 0:0\d left", output)


@BOTH_WAYS
@pytest.mark.parametrize("every", [0.1, 1000.0])
def test_progress_in_a_log_comes_now_and_then(project: Project, workers: tuple[str, ...], every: float) -> None:
    project.pytester.makepyfile(
        slow="""
        import time
        def answer(requests):
            time.sleep(0.4)
            return ["yes" for _ in requests]
        """
    )
    project.pytester.makeconftest(
        f"import pytest_mmsafety.engine.progress\npytest_mmsafety.engine.progress.LOG_EVERY = {every}\n"
    )
    project.suite([row(i, category=f"group-{i}") for i in range(16)])
    output = project.run("--batch-size=4", *workers, model="slow:answer").stdout.str()
    lines = re.findall(r"^mmsafety: \d+ of 16 cases answered in 0:0\d", output, re.MULTILINE)
    assert bool(lines) is (every < 1)


def test_help_and_collection_import_nothing_heavy(project: Project) -> None:
    project.suite([row(1)])
    heavy = ("torch", "transformers", "scipy", "numpy", "PIL", "jinja2", "hypothesis")
    for args in (["--help"], ["--collect-only", "cases", "--model=parrot:Parrot"]):
        code = f"import sys, pytest; pytest.main({args!r} + ['-p', 'no:hypothesispytest']); print([m for m in {heavy!r} if m in sys.modules])"
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=project.path, capture_output=True, text=True, check=True
        )
        assert done.stdout.splitlines()[-1] == "[]"


def test_an_unused_plugin_imports_next_to_nothing(tmp_path: Path) -> None:
    (tmp_path / "test_ok.py").write_text("def test_ok(): pass\n")
    (tmp_path / "cases").mkdir()
    (tmp_path / "cases" / "other.yaml").write_text("a file of somebody else\n")
    (tmp_path / "compose.yaml").write_text("services: {}\n")
    code = (
        "import sys, pytest; pytest.main(['-q', '-p', 'no:hypothesispytest', '-p', 'no:anyio']);"
        "print([m for m in sys.modules if m.startswith(('pytest_mmsafety', 'pydantic', 'yaml', 'scipy'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    light = ["pytest_mmsafety", "pytest_mmsafety.errors", "pytest_mmsafety.files"]
    light += [f"pytest_mmsafety.plugin{module}" for module in ("", ".hooks", ".options")]
    assert sorted(json.loads(done.stdout.splitlines()[-1].replace("'", '"'))) == light
