"""``--judge`` and ``--judge-args`` as their user meets them."""

from __future__ import annotations

import pytest
import tiny_guardrank
from judge_diary import DIARY, safe, saved
from project import BOTH_WAYS, Project
from tiny_guardrank import Files


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return tiny_guardrank.build(tmp_path_factory.mktemp("guardrank"))


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
    assert saved(project)["settings"]["judge_args"]["llm"] == "llama"
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
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        ["*2 answered*1 unscored*", "the run failed: the judge guardrank/1 failed on every answer*"]
    )
    reasons = [record["verdicts"][0]["reason"] for record in saved(project)["records"]]
    assert "--judge-args hallucination=evil.pt: evil.pt cannot be loaded: " in reasons[1]


def test_collecting_only_fetches_nothing(project: Project) -> None:
    project.pytester.makepyfile(diary=DIARY)
    project.suite([safe(1)])
    project.run_here("--judge=diary:Judge", "--judge-phase=after", "--collect-only", model="diary:Target")
    assert not (project.path / "diary.txt").exists()
