"""What a tired or hostile user does: each mistake ends in one clear line and the right exit code, never in a traceback."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import Project, row
from PIL import Image

from pytest_mmsafety.arguments import parse_count, parse_data, parse_pairs
from pytest_mmsafety.errors import SetupError

ACCURACY = {"name": "accuracy", "metric": "accuracy", "min": 0.5}
BOTH_WAYS = pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["one-process", "n2"])
HANG = 6.0
"""Seconds after which a run of a second is taken to hang."""


def plain(result: pytest.RunResult) -> str:
    """Everything that was said; fails if it was a traceback."""
    said = f"{result.stdout.str()}\n{result.stderr.str()}"
    assert "Traceback" not in said
    assert "INTERNALERROR" not in said
    return said


def usage_error(result: pytest.RunResult) -> str:
    """The one line of a run that could not start."""
    said = plain(result)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    lines = [line for line in said.splitlines() if line.startswith("ERROR: ")]
    assert len(lines) == 1
    return lines[0].removeprefix("ERROR: ")


def quick(project: Project, *args: str, model: str = "parrot:Parrot", timeout: float = HANG) -> pytest.RunResult:
    """As ``Project.run``; a failure, not a hang, if it takes long."""
    return project.pytester.runpytest_subprocess(f"--model={model}", *args, timeout=timeout)


# --- options


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_new_tokens", "--model-args: 'max_new_tokens' is not name=value"),
        ("=5", "--model-args: '=5' is not name=value"),
        (" =5", "--model-args: ' =5' is not name=value"),
        ("a=1,b", "--model-args: 'b' is not name=value"),
        ("a=1,a=2", "--model-args: 'a' is given twice"),
        ("a=1, a =2", "--model-args: 'a' is given twice"),
    ],
)
def test_model_args_are_pairs(text: str, message: str) -> None:
    with pytest.raises(SetupError) as error:
        parse_pairs("--model-args", text)
    assert str(error.value) == message


def test_model_args_keep_what_stands_behind_the_first_equals_sign() -> None:
    assert parse_pairs("--model-args", "a=b=c, d = 1 ,,e=") == {"a": "b=c", "d": "1", "e": ""}


@pytest.mark.parametrize("text", ["0", "-1", "abc", "", "1.5", "1e3", " 8", "100001", "9" * 5000, "²", "8\n", "None"])
def test_a_batch_size_is_a_whole_number(text: str) -> None:
    with pytest.raises(SetupError, match=r"--batch-size: .* is not a whole number from 1 to 100000"):
        parse_count("--batch-size", text, 100_000)


@pytest.mark.parametrize(("text", "size"), [("1", 1), ("100000", 100_000), ("008", 8), ("８", 8)])
def test_a_batch_size_of_any_script(text: str, size: int) -> None:
    assert parse_count("--batch-size", text, 100_000) == size


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["msa"], "--data: 'msa' is not NAME=PATH"),
        (["=x"], "--data: '=x' is not NAME=PATH"),
        (["msa="], "--data: 'msa=' is not NAME=PATH"),
        (["msa=nowhere"], "--data: msa: 'nowhere' is not a folder"),
        (["msa=file"], "--data: msa: 'file' is not a folder"),
        (["msa=.", "msa=.."], "--data: 'msa' is given twice: "),
    ],
)
def test_data_names_a_folder(tmp_path: Path, values: list[str], message: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SetupError) as error:
        parse_data(values, tmp_path)
    assert str(error.value).startswith(message)


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
        (["--save-run=/dev/full/run.json"], "--save-run: /dev/full/run.json: /dev/full is not a folder"),
        (["--safety-report=parrot.py/x.html"], "--safety-report: *x.html: *parrot.py is not a folder"),
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


def test_data_that_only_lies_where_a_suite_lies_is_not_asked_for(project: Project) -> None:
    from pytest_mmsafety.plugin.library import Library

    file = project.suite([row(1)])
    library = Library({"msa": file.parent})
    library.read(file)
    assert library.unused_data() == ["msa"]


def test_data_that_no_suite_asks_for_is_a_usage_error_under_xdist_too(project: Project) -> None:
    project.suite([row(1)])
    (project.path / "folder").mkdir()
    assert usage_error(project.run("--data=msa=folder", "-n2")) == "--data: 'msa' is asked for by no collected suite"


@pytest.mark.parametrize("model", ["parrot:Parrot.x", "a..b:c", "x/y/z", "::", ":x", "x:", " ", "checkpoint\n"])
def test_a_model_that_is_no_name_of_anything(project: Project, model: str) -> None:
    from pytest_mmsafety.targets.registry import find_target

    with pytest.raises(SetupError) as error:
        find_target(model, {}, project.path)
    assert str(error.value).startswith("--model: ")
    assert "\n" not in str(error.value)


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
    command = [sys.executable, "-P", "-m", "pytest", "--model=lazy:answer"]  # -P: as the command pytest
    done = subprocess.run(command, cwd=project.path, capture_output=True, text=True, check=False)
    assert "1 answered, 0 not as expected" in done.stdout


def test_arguments_that_a_function_cannot_take_are_said(project: Project) -> None:
    project.suite([row(1)])
    project.pytester.makepyfile(plain="def answer(requests):\n    return ['yes' for _ in requests]\n")
    assert project.run_here("--model-args=temperature=1", model="plain:answer").ret == pytest.ExitCode.USAGE_ERROR


# --- suites


@BOTH_WAYS
def test_a_broken_suite_is_one_line_and_the_others_are_judged_by_nobody(
    project: Project, workers: tuple[str, ...]
) -> None:
    project.suite([row(1)])
    project.suite([row(1), row(1)], name="other")
    result = project.run(project.thresholds(ACCURACY), *workers)
    assert result.ret in (pytest.ExitCode.INTERRUPTED, pytest.ExitCode.TESTS_FAILED)
    assert re.search(r"other\.jsonl:2: id: 'case-1' is used twice, first in line 1;", plain(result))
    if workers:
        result.stdout.fnmatch_lines(["not evaluated*accuracy*a suite could not be read: *other.jsonl:2: id:*"])


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("{id: a, prompt: 5, expected: yes}", "cases.0.prompt: 5: expected a valid string"),
        ("{id: a, prompt: p, expected: yes, imges: [x]}", "imges: unknown key; expected one of "),
        ("{id: a, prompt: p, expected: yes, images: [gone.png]}", "'gone.png' does not exist"),
        ("{id: a, prompt: p, expected: yes, images: [../../x.png]}", "'../../x.png' leads outside of "),
    ],
)
def test_a_wrong_case_ends_the_collection(project: Project, case: str, message: str) -> None:
    (project.path / "cases").mkdir()
    (project.path / "cases" / "demo.yaml").write_text(
        f"suite: demo\nbenchmark: b\ngroup_by: [benchmark]\ncases:\n  - {case}\n"
    )
    result = project.run_here()
    assert result.ret == pytest.ExitCode.INTERRUPTED
    said = plain(result)
    assert re.search(r"demo\.yaml:5: ", said)
    assert message.removeprefix("cases.0.") in said


def test_a_misspelt_key_is_named(tmp_path: Path) -> None:
    from pytest_mmsafety.errors import SuiteError
    from pytest_mmsafety.suites import read_suite

    (tmp_path / "d.yaml").write_text(
        "suite: d\nbenchmark: b\ngroup_by: [benchmark]\ncases:\n  - {id: a, promt: p, expected: yes}\n"
    )
    with pytest.raises(SuiteError, match=r"promt: unknown key; .* did you mean 'prompt'\?"):
        read_suite(tmp_path / "d.yaml")


@pytest.mark.parametrize("name", ["a\0b.png", "x" * 300, "loop", "."], ids=["zero", "long", "loop", "folder"])
def test_a_name_that_no_image_can_have_is_one_line(tmp_path: Path, name: str) -> None:
    from pytest_mmsafety.errors import SuiteError
    from pytest_mmsafety.suites import read_suite

    (tmp_path / "outside.txt").touch()
    folder = tmp_path / "cases"
    folder.mkdir()
    (folder / "loop").symlink_to("loop")
    (folder / "d.jsonl").write_text(json.dumps({**row(1), "images": [name]}))
    (folder / "d.yaml").write_text("suite: d\nbenchmark: b\ngroup_by: [category]\ncases: d.jsonl\n")
    with pytest.raises(SuiteError):
        read_suite(folder / "d.yaml")


@pytest.mark.parametrize("odd", ["\u2028", "\x0b", "\x0c", "\x85"])
def test_an_odd_line_end_inside_of_a_cell_is_text(tmp_path: Path, odd: str) -> None:
    from pytest_mmsafety.suites import read_suite

    (tmp_path / "d.csv").write_text(f"id,prompt,expected,category\na,one{odd}two,yes,c\n", encoding="utf-8")
    (tmp_path / "d.yaml").write_text("suite: d\nbenchmark: b\ngroup_by: [category]\ncases: d.csv\n")
    assert read_suite(tmp_path / "d.yaml").cases[0].prompt == f"one{odd}two"


def test_a_column_that_is_there_twice_is_said(tmp_path: Path) -> None:
    from pytest_mmsafety.errors import SuiteError
    from pytest_mmsafety.suites import read_suite

    (tmp_path / "d.csv").write_text("id,prompt,prompt,expected,category\na,one,two,yes,c\n")
    (tmp_path / "d.yaml").write_text("suite: d\nbenchmark: b\ngroup_by: [category]\ncases: d.csv\n")
    with pytest.raises(SuiteError):
        read_suite(tmp_path / "d.yaml")


@pytest.mark.parametrize("value", ["xfail", "skip", "timeout"])
def test_a_tag_is_never_a_mark_that_pytest_acts_upon(project: Project, value: str) -> None:
    project.suite([row(1, "no", must_pass=True, tags={"technique": value})])
    result = project.run_here()
    result.assert_outcomes(failed=1)


@pytest.mark.parametrize("tags", [{"technique": "a:b"}, {"technique": "f(x)"}, {"self": "x"}], ids=str)
def test_any_tag_is_collected_under_strict_markers(project: Project, tags: dict[str, str]) -> None:
    project.suite([row(1, tags=tags)])
    result = project.run_here("--strict-markers")
    plain(result)
    result.assert_outcomes(passed=1)


# --- images


@BOTH_WAYS
def test_a_bad_image_is_an_error_of_its_item_and_the_others_are_answered(
    project: Project, workers: tuple[str, ...]
) -> None:
    folder = project.path / "cases" / "图"
    folder.mkdir(parents=True)
    Image.effect_noise((80, 80), 50).save(folder / "好.png")
    whole = (folder / "好.png").read_bytes()
    (folder / "半.png").write_bytes(whole[:1500])
    Image.new("1", (9000, 9000)).save(folder / "大.png")
    images = ["图/好.png", "图/半.png", "图/大.png"]
    project.suite([row(i, category=f"g{i}", images=[image]) for i, image in enumerate(images)])
    result = project.run(project.thresholds(ACCURACY), *workers)
    plain(result)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(passed=1, errors=2, skipped=1)
    result.stdout.fnmatch_lines_random(
        [
            "1 of 1 cases without an answer: *半.png: damaged image: * (case-1)",
            "1 of 1 cases without an answer: *大.png: image of 9000 x 9000 pixels, at most 64,000,000 * (case-2)",
            "not evaluated *1 of 3 cases have an answer (2 in error)*",
        ]
    )


def test_an_image_that_goes_away_is_an_error(project: Project) -> None:
    (project.path / "cases").mkdir()
    image = project.path / "cases" / "a.png"
    Image.new("RGB", (4, 4)).save(image)
    project.suite([row(1, images=["a.png"]), row(2)])
    (project.path / "conftest.py").write_text(
        f"import os\ndef pytest_collection_finish(): os.unlink({str(image)!r}) if os.path.exists({str(image)!r}) else None\n"
    )
    result = project.run()
    plain(result)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["1 of 2 cases without an answer: *a.png: image cannot be read: No such file or directory (case-1)"]
    )


# --- text of any kind


@BOTH_WAYS
def test_chinese_names_and_windows_line_ends(project: Project, workers: tuple[str, ...]) -> None:
    folder = project.path / "cases"
    folder.mkdir()
    (folder / "测试.yaml").write_bytes(
        "suite: 测试\r\nbenchmark: 基准\r\ngroup_by: [category]\r\ncases: 题.csv\r\n".encode()
    )
    rows = "".join(f"{i},第{i}题 say: 是,yes,隐私 泄露\r\n" for i in range(4))
    (folder / "题.csv").write_bytes(("\ufeffid,prompt,expected,category\r\n" + rows).encode())
    (project.path / "阈值.yaml").write_bytes(
        "policy: 阈值\r\ngates:\r\n  - {name: 准确, metric: accuracy, min: 0.3, where: {category: 隐私 泄露}}\r\n".encode()
    )
    result = project.run("--thresholds=阈值.yaml", "--save-run=运行.json", "-v", *workers)
    plain(result)
    assert result.ret == pytest.ExitCode.OK
    run = json.loads((project.path / "运行.json").read_text(encoding="utf-8"))
    assert [record["response"] for record in run["records"]] == ["是"] * 4
    assert run["records"][0]["prompt"] == "第0题 say: 是"


# --- a selection of nothing


def test_a_selection_of_nothing_is_no_success(project: Project) -> None:
    project.suite([row(1)])
    result = project.run_here("-k", "no_such_group", project.thresholds(ACCURACY))
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED


def test_an_empty_folder_of_suites(project: Project) -> None:
    (project.path / "cases").mkdir()
    assert project.run_here().ret == pytest.ExitCode.NO_TESTS_COLLECTED


# --- gates must not get lost


def test_shipped_suites_from_an_empty_folder_are_gated(project: Project) -> None:
    result = project.run_here("--pyargs", "pytest_mmsafety", "--store=off")
    result.stdout.fnmatch_lines(["*target calls", "*awareness-overall*"])


def test_shipped_suites_from_an_empty_folder_are_gated_under_xdist(project: Project) -> None:
    result = project.run("--pyargs", "pytest_mmsafety", "--store=off", "--subset=10%", "-n2")
    result.stdout.fnmatch_lines(["*target calls", "*awareness-overall*"])


def test_a_linked_suite_is_gated_under_xdist(project: Project) -> None:
    file = project.suite([row(i, "no") for i in range(20)])
    (project.path / "elsewhere").mkdir()
    file.rename(project.path / "elsewhere" / "demo.yaml")
    file.symlink_to(project.path / "elsewhere" / "demo.yaml")
    result = project.run("cases/demo.yaml", project.thresholds(ACCURACY), "-n2")
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_a_linked_suite_is_collected(project: Project) -> None:
    file = project.suite([row(1)])
    (project.path / "elsewhere").mkdir()
    file.rename(project.path / "elsewhere" / "demo.yaml")
    file.symlink_to(project.path / "elsewhere" / "demo.yaml")
    project.run_here().assert_outcomes(passed=1)


def test_last_failed_is_not_judged_as_the_whole(project: Project) -> None:
    project.suite([row(i, "no" if i == 0 else "yes", category="a") for i in range(20)], name="one", must_pass=True)
    project.suite([row(i, "no", category="b") for i in range(40)], name="two")
    everything = project.run_here(project.thresholds(ACCURACY))
    everything.stdout.fnmatch_lines(["failed *accuracy*n=60*"])
    (project.path / ".pytest_cache/v/cache/lastfailed").write_text(json.dumps({"cases/one.yaml::a": True}))
    project.run_here("--lf", project.thresholds(ACCURACY)).stdout.fnmatch_lines(["not evaluated *accuracy*"])


def test_ordinary_tests_beside_suites(project: Project) -> None:
    project.suite([row(i) for i in range(20)])
    project.pytester.makepyfile(test_other="def test_other(): pass\ndef test_bad(): assert 0\n")
    for workers in ((), ("-n2",)):
        result = project.run("cases", "test_other.py", project.thresholds(ACCURACY), *workers)
        result.assert_outcomes(passed=3, failed=1)
        result.stdout.fnmatch_lines(["passed *accuracy*n=20*"])


@pytest.mark.parametrize(
    "options",
    [
        ("-p", "no:terminal"),
        ("-p", "no:xdist", "-p", "no:cacheprovider"),
        ("-n2", "--dist=each"),
        ("--maxfail=1", "cases", "cases/demo.yaml", "cases/demo.yaml::one"),
    ],
    ids=["no-terminal", "no-xdist-no-cache", "each", "named-twice"],
)
def test_odd_options_change_no_verdict(project: Project, options: tuple[str, ...]) -> None:
    project.suite([row(i) for i in range(20)])
    for threshold, code in ((0.5, pytest.ExitCode.OK), (0.99, pytest.ExitCode.TESTS_FAILED)):
        gate = {**ACCURACY, "min": threshold, "rule": "assurance"}
        result = project.run("--save-run=run.json", project.thresholds(gate), *options)
        plain(result)
        assert result.ret == code
        run = json.loads((project.path / "run.json").read_text())
        assert [gate["status"] for gate in run["gates"]] == ["passed" if threshold == 0.5 else "inconclusive"]


def test_listing_asks_nothing(project: Project) -> None:
    project.suite([row(i) for i in range(4)])
    result = project.run_here("--collect-only", "-q")
    assert result.ret == pytest.ExitCode.OK
    assert result.stdout.lines[0] == "cases/demo.yaml::one"
    assert not project.calls()


# --- kills, hangs, and two at once


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("number", ["SIGKILL", "SIGTERM"])
def test_a_killed_run_resumes_and_pays_for_nothing_twice(project: Project, number: str) -> None:
    project.pytester.makepyfile(
        slow="""
        import time
        def answer(requests):
            time.sleep(0.2)
            open("calls.txt", "a").write(f"{len(requests)}\\n")
            return ["yes" for _ in requests]
        """
    )
    project.suite([row(i, category=f"group-{i % 3}") for i in range(40)])
    command = [sys.executable, "-m", "pytest", "--model=slow:answer", "--batch-size=4", "--save-run=run.json"]
    process = subprocess.Popen(command, cwd=project.path, stdout=subprocess.DEVNULL)
    while len(project.calls()) < 3:
        time.sleep(0.02)
    process.send_signal(getattr(signal, number))
    process.wait(30)
    killed = sum(project.calls())
    assert not (project.path / "run.json").exists()
    result = project.run("--batch-size=4", model="slow:answer")
    assert result.ret == pytest.ExitCode.OK
    assert 40 <= sum(project.calls()) <= 44, "at most the batch in hand is asked again"
    assert killed < 40
    assert set(project.calls()) == {4}


def test_two_runs_share_one_store(project: Project) -> None:
    project.suite([row(i) for i in range(60)])
    project.run("--co", "-q")  # makes the store
    command = [sys.executable, "-m", "pytest", "--model=parrot:Parrot", "--batch-size=1", "-q"]
    both = [subprocess.Popen(command, cwd=project.path, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for process in both:
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0, output
        assert "60 answered, 0 not as expected" in output


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX limits")
def test_a_full_disk_is_said_and_fails_the_run(project: Project) -> None:
    project.suite([row(i, "yes " + "x" * 3000) for i in range(60)])
    (project.path / "conftest.py").write_text(
        "import resource\ndef pytest_configure(): resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
    )
    result = project.run("--save-run=run.json", project.thresholds(ACCURACY))
    plain(result)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            "note:   --store: *takes no more answers (*); later ones are in this run only",
            "passed *accuracy*n=60*",
            "--save-run: *run.json cannot be written: File too large",
        ]
    )
    assert not list(project.path.glob("*run.json*"))


def test_a_target_that_hangs_ends_with_its_timeout(project: Project) -> None:
    pytest.importorskip("pytest_timeout")
    project.pytester.makepyfile(stuck="import time\ndef answer(requests):\n    time.sleep(600)\n")
    project.pytester.makeconftest("import pytest_mmsafety.engine.engine\npytest_mmsafety.engine.engine.GRACE = 0.5\n")
    project.suite([row(1)])
    result = quick(project, "--timeout=1", model="stuck:answer", timeout=60)
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_duplicates_are_answered_twice(project: Project) -> None:
    project.suite([row(i) for i in range(20)])
    result = quick(project, "--keep-duplicates", "cases/demo.yaml", "cases/demo.yaml")
    result.assert_outcomes(passed=2)


def test_five_thousand_cases_in_one_group(project: Project) -> None:
    project.suite([row(i) for i in range(5000)])
    result = project.run_here("--batch-size=64", project.thresholds(ACCURACY))
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["*5000 answered, 0 not as expected*79 target calls"])


def test_thousands_of_tags_are_all_marks(project: Project) -> None:
    project.suite([row(i, category=f"category-{i}", tags={"technique": f"technique-{i}"}) for i in range(3000)])
    result = project.run_here("--collect-only", "-q", "-m", "technique-2999")
    result.stdout.fnmatch_lines(["cases/demo.yaml::category-2999", "1/3000 tests collected (2999 deselected)*"])


# --- other people's plugins


def plugin(project: Project, monkeypatch: pytest.MonkeyPatch, judges: str) -> None:
    """Install a distribution with entry points, in the project's folder."""
    info = project.path / "other-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[mmsafety.judges]\n{judges}\n")
    monkeypatch.setenv("PYTHONPATH", str(project.path))


def test_a_judge_of_the_same_name_is_said(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin(project, monkeypatch, "refusal = other:Refusal")
    project.suite([row(1)])
    plain(quick(project))


def test_a_judge_that_cannot_be_imported_is_said(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin(project, monkeypatch, "mine = no_such_module:Judge")
    project.suite([row(1, judges=["mine"])])
    assert "no_such_module" in plain(quick(project))
