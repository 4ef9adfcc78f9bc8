"""Options of whole runs: each mistake ends in one clear line and the right exit code, never in a traceback."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from project import BOTH_WAYS, Project, row, usage_error

ACCURACY = {"name": "accuracy", "metric": "accuracy", "min": 0.5}


def test_ini_twins(project: Project) -> None:
    project.suite([row(i, "no") for i in range(40)])
    project.thresholds(ACCURACY)
    project.pytester.makeini(
        "[pytest]\nmmsafety_model = parrot:Parrot\nmmsafety_thresholds = policy.yaml\nmmsafety_batch_size = 10\n"
    )
    result = project.pytester.runpytest_subprocess()
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert project.calls() == [10, 10, 10, 10]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model=embeded"], "--model: 'embeded' is not known; expected a checkpoint folder,*did you mean 'embedded'?"),
        (["--model=no_such_module:Target"], "--model: no_such_module:Target: cannot import no_such_module: ModuleNotFoundError:*"),
        (["--model=broken:Target"], "--model: broken:Target: cannot import broken: SyntaxError:*"),
        (["--model=parrot:Parot"], "--model: parrot has no 'Parot'; did you mean 'Parrot'?"),
        (["--model=parrot:CALLS"], "--model: parrot:CALLS is *; expected a class or object with generate(), or a function"),
        (["--judge=parrot:Juge"], "--judge: parrot has no 'Juge'"),
        (["--judge=parrot:Parrot"], "--judge: parrot:Parrot: Parrot is no judge; expected name, expectations and judge()"),
        (["--model-args=oops"], "--model-args: 'oops' is not name=value"),
        (["--batch-size=0"], "--batch-size: '0' is not a whole number from 1 to 100000"),
        (["--data=msa=nowhere"], "--data: msa: 'nowhere' is not a folder"),
        (["--data=msa=."], "--data: 'msa' is asked for by no collected suite"),
        (["--store=parrot.py"], "--store: *parrot.py cannot be used: file is not a database; expected a file of this *"),
        (["--store=cases"], "--store: *cases cannot be used: unable to open database file; expected *"),
        (["--thresholds=no/such.yaml"], "--thresholds: 'no/such.yaml' is neither a file nor one of *"),
        (["--thresholds=relaese"], "--thresholds: 'relaese' is neither a file nor one of *release*; did you mean 'release'?"),
        (["--thresholds=parrot.py"], "--thresholds: *parrot.py:*: not valid YAML: *"),
        (["--save-run=cases"], "--save-run: *cases is a folder, expected a file"),
        (["--save-run=/dev/full/run.json"], "--save-run: /dev/full/run.json cannot be written: /dev/full is not a folder"),
        (["--safety-report=parrot.py/x.html"], "--safety-report: *x.html cannot be written: *parrot.py is not a folder"),
        (["--safety-summary=/proc/summary.md"], "--safety-summary: /proc/summary.md cannot be written: *"),
        (["--store=/proc/store"], "--store: /proc/store cannot be used: *"),
        (["--store=parrot.py/store"], "--store: *parrot.py/store cannot be used: *"),
        (["--require-gates", "cases"], "--require-gates: there are no gates; give --thresholds"),
    ],
)  # fmt: skip
def test_an_option_that_cannot_be_used_is_one_line(project: Project, options: list[str], message: str) -> None:
    project.suite([row(1)])
    (project.path / "broken.py").write_text("def (:\n")
    said = usage_error(project.run_here(*options))
    assert re.fullmatch(re.escape(message).replace(r"\*", ".*"), said), said
    assert not project.calls()


@BOTH_WAYS
@pytest.mark.parametrize(
    ("gate", "message"),
    [
        (
            {"where": {"category": "onne"}},
            "*gate 'accuracy': no collected case has category: onne; did you mean 'one'?",
        ),
        ({"where": {"categry": "one"}}, "*no collected case has the tag 'categry'; did you mean 'category'?"),
    ],
)
def test_a_policy_that_matches_no_case_is_a_usage_error(
    project: Project, workers: tuple[str, ...], gate: dict[str, object], message: str
) -> None:
    project.suite([row(1)])
    said = usage_error(project.run(project.thresholds({**ACCURACY, **gate}), *workers))
    assert re.fullmatch(re.escape("--thresholds: " + message).replace(r"\*", ".*"), said), said
    assert not project.calls()


def test_data_that_no_suite_asks_for_is_a_usage_error_under_xdist_too(project: Project) -> None:
    project.suite([row(1)])
    (project.path / "folder").mkdir()
    assert usage_error(project.run("--data=msa=folder", "-n2")) == "--data: 'msa' is asked for by no collected suite"


def test_an_empty_model_is_not_a_run_without_one(project: Project) -> None:
    """As in ``pytest --model=$CHECKPOINT`` where nobody set the variable."""
    project.suite([row(1)])
    project.pytester.makepyfile(test_other="def test_other(): pass\n")
    usage_error(project.run_here(project.thresholds(ACCURACY), model=""))


def test_thresholds_without_a_model_are_said(project: Project) -> None:
    project.pytester.makepyfile(test_other="def test_other(): pass\n")
    usage_error(project.pytester.runpytest_inprocess(project.thresholds(ACCURACY), "--save-run=run.json"))


@pytest.mark.parametrize(
    ("code", "option"),
    [
        ("import sys\nsys.exit(0)\n", "--model=mine:Target"),
        ("class J:\n    def __init__(self): raise OSError('no key')\n", "--judge=mine:J"),
        ("def judge(cases, responses): return []\n", "--judge=mine:judge"),
    ],
    ids=["exit-at-import", "constructor", "function"],
)
def test_code_of_the_users_that_fails_is_one_line(project: Project, code: str, option: str) -> None:
    project.suite([row(1)])
    (project.path / "mine.py").write_text(code)
    usage_error(project.run_here(option))


def test_a_model_name_that_is_too_long(project: Project) -> None:
    project.suite([row(1)])
    usage_error(project.run_here(model="x" * 300))


def test_a_target_may_import_its_neighbours_when_it_needs_them(project: Project) -> None:
    project.suite([row(1)])
    project.pytester.makepyfile(
        neighbour="SAY = 'yes'\n",
        lazy="def answer(requests):\n    from neighbour import SAY\n    return [SAY for _ in requests]\n",
    )
    command = [sys.executable, "-P", "-m", "pytest", "--model=lazy:answer", "cases"]  # -P: as the command pytest
    done = subprocess.run(command, cwd=project.path, capture_output=True, text=True, check=False)
    assert "1 answered, 0 not as expected" in done.stdout


def test_arguments_that_a_function_cannot_take_are_said(project: Project) -> None:
    project.suite([row(1)])
    project.pytester.makepyfile(plain="def answer(requests):\n    return ['yes' for _ in requests]\n")
    assert project.run_here("--model-args=temperature=1", model="plain:answer").ret == pytest.ExitCode.USAGE_ERROR


@BOTH_WAYS
@pytest.mark.parametrize("name", ["mmsafety-controller", "mmsafety-runner"])
def test_a_part_of_the_plugin_cannot_be_left_out(project: Project, workers: tuple[str, ...], name: str) -> None:
    project.suite([row(1)])
    said = usage_error(project.run("-p", f"no:{name}", *workers))
    assert said == f"-p no:{name}: without it nothing is gated; leave it out, or leave out --model"
    assert not project.calls()


@pytest.mark.parametrize(
    ("file", "section", "assign"),
    [
        ("pytest.ini", "[pytest]", "{} = x"),
        ("tox.ini", "[pytest]", "{} = x"),
        ("setup.cfg", "[tool:pytest]", "{} = x"),
        ("pyproject.toml", "[tool.pytest.ini_options]", "{} = 'x'"),
        ("pyproject.toml", "[tool.pytest]", "{} = 'x'"),
    ],
)
def test_an_ini_key_that_is_not_known_is_an_error(project: Project, file: str, section: str, assign: str) -> None:
    project.pytester.makepyfile(test_other="def test_other(): pass\n")
    (project.path / file).write_text(f"{section}\n{assign.format('mmsafety_treshold')}\n")
    said = usage_error(project.pytester.runpytest_inprocess())
    assert said == f"{file}: mmsafety_treshold: unknown key; did you mean 'mmsafety_thresholds'?"


@BOTH_WAYS
def test_a_key_to_override_that_is_not_known_is_an_error(project: Project, workers: tuple[str, ...]) -> None:
    project.suite([row(1)])
    said = usage_error(project.run("-o", "mmsafety-batch-sise=3", *workers))
    assert said == "-o: mmsafety-batch-sise: unknown key; did you mean 'mmsafety_batch_size'?"
    assert project.run_here("-o", "mmsafety_batch_size=3", "-o", "console_output_style=count").ret == 0


@BOTH_WAYS
@pytest.mark.parametrize("flag", ["--setup-only", "--setup-plan"])
def test_cases_that_must_pass_are_not_left_out(project: Project, workers: tuple[str, ...], flag: str) -> None:
    project.suite([row(1, "no", must_pass=True)])
    said = usage_error(project.run(flag, *workers))
    assert said == f"{flag}: no answer would be looked at; not with --model (--collect-only shows what there is)"
    assert not project.calls()


def test_setups_can_be_shown(project: Project) -> None:
    project.suite([row(1, "no", must_pass=True)])
    assert project.run_here("--setup-show").ret == pytest.ExitCode.TESTS_FAILED
