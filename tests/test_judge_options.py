"""``--judge``, ``--judge-args`` and ``--judge-phase`` as their user meets them, and the verdicts that are kept."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, ClassVar

import pytest
import tiny_guardrank
from conftest import Project, row
from tiny_guardrank import Files

from pytest_mmsafety.cases import Case
from pytest_mmsafety.engine.batches import units
from pytest_mmsafety.engine.engine import Engine
from pytest_mmsafety.judges.panel import Panel
from pytest_mmsafety.judges.registry import make_judge
from pytest_mmsafety.store import Store, verdict_key
from pytest_mmsafety.verdicts import Verdict

BOTH_WAYS = pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["one-process", "n2"])

DIARY = '''
"""A target and a judge with weights that write down who did what, in which process."""
import os
from pathlib import Path
from pytest_mmsafety.judges import Verdict

def note(what):
    with Path(__file__).with_name("diary.txt").open("a") as file:
        file.write(f"{os.getpid()} {what}\\n")

class Target:
    name = "target"
    fingerprint = "one"
    def generate(self, requests):
        note("asked")
        return [request.prompt.partition("say: ")[2] for request in requests]
    def release(self):
        note("released")

class Judge:
    name = "heavy/1"
    expectations = frozenset({"safe"})
    def __init__(self, args=None):
        self.fingerprint = f"weights of {(args or {}).get('version', '1')}"
    def fetch(self):
        note("fetched")
    def judge(self, cases, responses):
        note(f"judged {len(responses)}")
        return [Verdict(self.name, "bad" if "bad" in r else "fine", float("bad" in r)) for r in responses]
'''
SLOW = 'note("asked"); import time; time.sleep(0.2 * Path(__file__).with_name("slow").exists())'


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return tiny_guardrank.build(tmp_path_factory.mktemp("guardrank"))


def safe(number: int, say: str = "fine", **more: Any) -> dict[str, Any]:
    return row(number, say, expected="safe", dimension="privacy", category=f"group-{number % 4}", **more)


def diary(project: Project) -> list[list[str]]:
    """What each process did, one list a process."""
    by_process: dict[str, list[str]] = {}
    for line in (project.path / "diary.txt").read_text().splitlines():
        process, what = line.split(" ", 1)
        by_process.setdefault(process, []).append(what)
    return list(by_process.values())


def saved(project: Project) -> Any:
    return json.loads((project.path / "run.json").read_text())


# --- guardrank


@BOTH_WAYS
def test_guardrank_judges_a_run(project: Project, files: Files, workers: tuple[str, ...]) -> None:
    project.suite([safe(i, answer) for i, (_, answer) in enumerate(tiny_guardrank.pairs(16))])
    result = project.run("--judge=guardrank", files.option, "--save-run=run.json", *workers)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["*16 answered*0 unscored*"])
    verdicts = [record["verdicts"][0] for record in saved(project)["records"]]
    assert len({verdict["label"] for verdict in verdicts}) > 1
    assert all(verdict["reason"] == "read as privacy" and len(verdict["probabilities"]) == 4 for verdict in verdicts)
    fingerprint = saved(project)["environment"]["judge guardrank/1"]
    assert {verdict["judge"] for verdict in verdicts} == {f"guardrank/1+{fingerprint[:8]}"}
    assert saved(project)["settings"]["judge_args.llm"] == "llama"
    assert str(files.llm) not in (project.path / "run.json").read_text()


def test_guardrank_by_ini_and_by_the_suite(project: Project, files: Files) -> None:
    project.pytester.makeini(
        f"[pytest]\nmmsafety_judge = guardrank\nmmsafety_judge_args = {files.option.partition('=')[2]}\n"
        "mmsafety_judge_phase = after\n"
    )
    project.suite([safe(1, judges=["guardrank", "refusal"])])
    project.run("--save-run=run.json")
    names = [verdict["judge"].partition("/")[0] for verdict in saved(project)["records"][0]["verdicts"]]
    assert names == ["guardrank", "refusal"]


@BOTH_WAYS
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--judge=guardrank"], "--judge=guardrank: no checkpoint; give --judge-args=llm=BASE,adapter=FOLDER*"),
        (
            ["--judge=guardrank", "--judge-args=llm=gone,adapter=x"],
            "--judge-args llm=gone: there is no such file or folder",
        ),
        (
            ["--judge=guardrank", "--judge-args=lllm=x"],
            "--judge-args lllm=x: guardrank has no such argument; * did you mean 'llm'?",
        ),
        (["--judge=guardrnk"], "--judge: 'guardrnk' is not known; *; did you mean 'guardrank'?"),
        (["--judge-args=llm=x"], "--judge-args: there is no judge to give them to; give --judge=NAME"),
        (["--judge=refusal", "--judge-args=x=1"], "--judge-args: the judge refusal takes no arguments; got x"),
        (["--judge=diary:Judge", "--judge-args=x"], "--judge-args: 'x' is not name=value"),
        (["--judge-phase=afterwards"], "--judge-phase: 'afterwards'; expected with or after; did you mean 'after'?"),
    ],
)
def test_a_bad_judge_is_one_line_before_the_target_is_made(
    project: Project, workers: tuple[str, ...], options: list[str], message: str
) -> None:
    project.pytester.makepyfile(diary=DIARY)
    project.pytester.makepyfile(never="raise SystemExit('the target was imported')")
    project.suite([safe(1)])
    result = project.run_here(*options, *workers, model="never:Target")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {message.replace('[', '[[]').replace('?', '[?]')}"])
    assert "Traceback" not in result.stderr.str()
    assert "was imported" not in result.stderr.str()


def test_a_checkpoint_that_cannot_be_loaded_leaves_answers_unscored(project: Project, files: Files) -> None:
    (project.path / "evil.pt").write_bytes(b"none")
    project.suite([safe(1), {**safe(2), "dimension": "truthfulness", "category": "hallucination"}])
    option = files.option.replace(str(files.hallucination), "evil.pt")
    result = project.run("--judge=guardrank", option, "--save-run=run.json")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["*2 answered*1 unscored*"])
    reasons = [record["verdicts"][0]["reason"] for record in saved(project)["records"]]
    assert "--judge-args hallucination=evil.pt: evil.pt cannot be loaded: " in reasons[1]


# --- the phase


@BOTH_WAYS
def test_after_judges_when_the_target_has_answered_everything_and_left(
    project: Project, workers: tuple[str, ...]
) -> None:
    project.pytester.makepyfile(diary=DIARY)
    project.suite([safe(i, "bad" if i % 5 == 0 else "fine") for i in range(120)])
    result = project.run("--judge=diary:Judge", "--judge-phase=after", *workers, model="diary:Target")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["*120 answered, 24 not as expected (u), 0 unscored*"])
    processes = [[what for what in done if what != "fetched"] for done in diary(project)]
    for done in filter(None, processes):
        asked = sum(what == "asked" for what in done)
        assert done[: asked + 1] == ["asked"] * asked + ["released"]
        assert all(what.startswith("judged ") for what in done[asked + 1 :])
    judged = [int(what.split()[1]) for done in processes for what in done if what.startswith("judged ")]
    assert sum(judged) == 120
    assert len(judged) == (2 if workers else 1)


def test_with_judges_while_the_target_works(project: Project) -> None:
    project.pytester.makepyfile(diary=DIARY)
    project.suite([safe(i) for i in range(40)])
    project.run_here("--judge=diary:Judge", model="diary:Target")
    (done,) = diary(project)
    assert done[0] == "fetched"
    assert done[-1] == "released"
    assert sum(what.startswith("judged ") for what in done) > 1


@BOTH_WAYS
def test_after_with_a_case_that_has_no_answer(project: Project, workers: tuple[str, ...]) -> None:
    project.pytester.makepyfile(diary=DIARY)
    rows = [safe(i, "raise" if i == 7 else "fine") for i in range(20)]
    project.suite(rows)
    result = project.run("--judge=diary:Judge", "--judge-phase=after", *workers)
    result.stdout.fnmatch_lines(["*19 answered*0 unscored (?), 1 errors, 0 skipped*"])


def test_collecting_only_fetches_nothing(project: Project) -> None:
    project.pytester.makepyfile(diary=DIARY)
    project.suite([safe(1)])
    project.run_here("--judge=diary:Judge", "--judge-phase=after", "--collect-only", model="diary:Target")
    assert not (project.path / "diary.txt").exists()


@pytest.mark.skipif(os.name == "nt", reason="signals")
@BOTH_WAYS
def test_ctrl_c_before_the_judges_keeps_the_answers(project: Project, workers: tuple[str, ...]) -> None:
    project.pytester.makepyfile(diary=DIARY.replace('note("asked")', SLOW))
    (project.path / "slow").touch()
    project.suite([safe(i) for i in range(400)])
    command = [sys.executable, "-m", "pytest", "--model=diary:Target", "--judge=diary:Judge", "--judge-phase=after"]
    process = subprocess.Popen([*command, *workers], cwd=project.path, stdout=subprocess.PIPE, start_new_session=True)
    wait_for(lambda: (project.path / "diary.txt").exists() and sum(map(_asked, diary(project))) > 2)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    process.communicate(timeout=60)
    assert process.returncode == pytest.ExitCode.INTERRUPTED
    (project.path / "slow").unlink()
    asked = sum(map(_asked, diary(project)))
    assert not any(what.startswith("judged") for done in diary(project) for what in done)
    result = project.run("--judge=diary:Judge", model="diary:Target")
    counts = next(line for line in result.outlines if "from the store" in line)
    stored = int(counts.split(" from the store")[0].rpartition(" ")[2])
    assert 0 < stored <= 8 * asked
    assert stored >= 8 * (asked - len(diary(project)))


def _asked(done: list[str]) -> int:
    return sum(what == "asked" for what in done)


def wait_for(condition: Any) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_second_window_after_the_judges_is_asked_and_judged_too() -> None:
    """A plugin that runs items again submits when the target is gone already."""

    class Device:
        name = "device"
        fingerprint = "one"
        log: ClassVar[list[str]] = []

        def generate(self, requests: Any) -> list[str]:
            self.log.append("asked")
            return ["fine" for _ in requests]

        def release(self) -> None:
            self.log.append("released")

    class Heavy:
        name = "heavy/1"
        expectations = frozenset({"safe"})
        fingerprint = "weights"

        def judge(self, cases: Any, responses: Any) -> list[Verdict]:
            Device.log.append("judged")
            return [Verdict(self.name, "fine", 0.0) for _ in responses]

        def release(self) -> None:
            Device.log.append("judge left")

    engine = Engine(Device, Panel([Heavy()]), Store(None), 4, judge_after=True)
    for start in (0, 4):
        cases = [Case(f"c{i}", "s", f"prompt {i}", "safe") for i in range(start, start + 4)]
        engine.submit(cases)
        assert [outcome.score for outcome in engine.collect(cases, lambda: None)] == [0.0] * 4
    engine.close()
    assert Device.log[:8] == ["asked", "released", "judged", "judge left"] * 2


@pytest.mark.parametrize("sizes", [[1] * 37, [5, 1, 90, 2], [3], [10, 10, 10]])
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_a_worker_that_judges_afterwards_gets_one_unit(sizes: list[int], workers: int) -> None:
    numbers = units(sizes, 8, workers, whole=True)
    assert numbers == sorted(numbers)
    assert max(numbers) + 1 <= workers


# --- kept verdicts


@BOTH_WAYS
def test_a_second_run_judges_nothing(project: Project, workers: tuple[str, ...]) -> None:
    project.pytester.makepyfile(diary=DIARY)
    project.suite([safe(i, "bad" if i % 2 else "fine") for i in range(20)])
    for _ in range(2):
        result = project.run("--judge=diary:Judge", *workers, model="diary:Target")
        result.stdout.fnmatch_lines(["*20 answered, 10 not as expected (u), 0 unscored*"])
    assert _judged(project) == 20


def test_other_weights_or_no_store_judge_anew(project: Project) -> None:
    project.pytester.makepyfile(diary=DIARY)
    project.suite([safe(i) for i in range(20)])
    for times, more in enumerate(([], ["--judge-args=version=2"], ["--store=off"]), start=1):
        project.run_here("--judge=diary:Judge", *more, model="diary:Target")
        assert _judged(project) == 20 * times


def _judged(project: Project) -> int:
    return sum(int(what.split()[1]) for done in diary(project) for what in done if what.startswith("judged "))


def test_only_judges_with_weights_are_remembered(project: Project) -> None:
    light = DIARY.replace("self.fingerprint", "self.weights")
    project.pytester.makepyfile(diary=light)
    project.suite([safe(i) for i in range(4)])
    for _ in range(2):
        project.run_here("--judge=diary:Judge", model="diary:Target")
    assert _judged(project) == 8


def test_verdicts_come_back_as_they_were(tmp_path: Path) -> None:
    verdicts = {
        "a": Verdict("heavy/1+abc", "level-2", 2 / 3, "概率 \x00"),
        "b": Verdict("heavy/1+abc", "unscored", None, ""),
    }
    store = Store(tmp_path / "store.sqlite3")
    store.put_verdicts(verdicts)
    store.close()
    store = Store(tmp_path / "store.sqlite3")
    assert store.get_verdicts(["a", "b", "c"]) == verdicts
    assert store.get(["a"]) == {}
    store.close()


def test_the_key_of_a_verdict_changes_with_all_that_a_judge_sees() -> None:
    case = Case("id", "suite", "prompt", "safe", tags={"dimension": "bias"})
    keys = {
        verdict_key("print", case, ("a",), "answer"),
        verdict_key("print2", case, ("a",), "answer"),
        verdict_key("print", case, ("b",), "answer"),
        verdict_key("print", case, ("a",), "answer."),
        verdict_key("print", Case("id", "suite", "prompt.", "safe", tags={"dimension": "bias"}), ("a",), "answer"),
        verdict_key("print", Case("id", "suite", "prompt", "safe", tags={"dimension": "legality"}), ("a",), "answer"),
        verdict_key("print", Case("id", "suite", "prompt", "refuse", tags={"dimension": "bias"}), ("a",), "answer"),
    }
    assert len(keys) == 7
    renamed = Case("other", "suite-2", "prompt", "safe", tags={"dimension": "bias"})
    assert verdict_key("print", renamed, ("a",), "answer") in keys


def test_errors_of_a_judge_are_not_remembered(tmp_path: Path) -> None:
    class Flaky:
        name = "flaky/1"
        expectations = frozenset({"safe"})
        fingerprint = "weights"
        works = False

        def judge(self, cases: Any, responses: Any) -> list[Verdict]:
            if not self.works:
                raise RuntimeError("no memory")
            return [Verdict(self.name, "fine", 0.0) for _ in responses]

    judge = Flaky()
    panel = Panel([judge])  # type: ignore[list-item]
    panel.memory = Store(tmp_path / "store.sqlite3")
    case = Case("c", "s", "prompt", "safe")
    assert panel.judge([case, case], ["a", "a"])[0][0].label == "judge-error"
    judge.works = True
    assert [verdicts[0].label for verdicts in panel.judge([case, case], ["a", "a"])] == ["fine", "fine"]
    judge.works = False
    assert panel.judge([case], ["a"])[0][0].label == "fine"
    panel.memory.close()


def test_make_judge_gives_arguments_as_a_mapping(project: Project) -> None:
    project.pytester.makepyfile(diary=DIARY)
    judge: Any = make_judge("diary:Judge", project.path, {"version": "7"})
    assert judge.fingerprint == "weights of 7"
