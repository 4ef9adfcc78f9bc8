"""Suites as pytest collects them: what is wrong is one line, and collecting asks nothing."""

from __future__ import annotations

import json
import re

import pytest
from project import BOTH_WAYS, Project, plain, row

ACCURACY = {"name": "accuracy", "metric": "accuracy", "min": 0.5}


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


def test_listing_asks_nothing(project: Project) -> None:
    project.suite([row(i) for i in range(4)])
    result = project.run_here("--collect-only", "-q")
    assert result.ret == pytest.ExitCode.OK
    assert result.stdout.lines[0] == "cases/demo.yaml::one"
    assert not project.calls()


def test_a_linked_suite_is_collected(project: Project) -> None:
    file = project.suite([row(1)])
    (project.path / "elsewhere").mkdir()
    file.rename(project.path / "elsewhere" / "demo.yaml")
    file.symlink_to(project.path / "elsewhere" / "demo.yaml")
    project.run_here().assert_outcomes(passed=1)


@BOTH_WAYS
@pytest.mark.parametrize("target", ["/", "elsewhere"])
def test_a_link_out_of_the_folder_is_not_followed(project: Project, workers: tuple[str, ...], target: str) -> None:
    project.suite([row(1)])
    (project.path / "elsewhere").mkdir()
    (project.path / "elsewhere" / "test_other.py").write_text("def test_other(): pass\n")
    link = project.path / "cases" / "link"
    link.symlink_to(project.path / target)
    result = project.run(project.thresholds(ACCURACY), *workers, "--continue-on-collection-errors")
    assert f"{link}: it is a link to {link.resolve()}, which is not part of this folder" in plain(result)
    result.assert_outcomes(passed=1, skipped=1, errors=1)
    result.stdout.fnmatch_lines(["not evaluated*accuracy*a suite could not be read: *link*"])


def test_a_link_within_the_folder_is_followed(project: Project) -> None:
    file = project.suite([row(1)])
    (project.path / "cases" / "deep").mkdir()
    for one in (file, file.with_suffix(".jsonl")):
        one.rename(one.parent / "deep" / one.name)
    (project.path / "cases" / "link").symlink_to("deep")
    assert "'demo' is also the name of" in plain(project.run_here())


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


def test_thousands_of_tags_are_all_marks(project: Project) -> None:
    project.suite([row(i, category=f"category-{i}", tags={"technique": f"technique-{i}"}) for i in range(3000)])
    result = project.run_here("--collect-only", "-q", "-m", "technique-2999")
    result.stdout.fnmatch_lines(["cases/demo.yaml::category-2999", "1/3000 tests collected (2999 deselected)*"])


def test_five_thousand_cases_in_one_group(project: Project) -> None:
    project.suite([row(i) for i in range(5000)])
    result = project.run_here("--batch-size=64", project.thresholds(ACCURACY))
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["*5000 answered, 0 not as expected*79 target calls"])


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
