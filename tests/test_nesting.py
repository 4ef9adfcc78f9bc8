"""Files nested so deeply that reading them could exhaust the stack: one line, whatever the depth."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from suite_files import row, write_suite, write_thresholds

from pytest_mmsafety.documents import DEEPEST, Document
from pytest_mmsafety.errors import MmsafetyError
from pytest_mmsafety.judge_errors import load_judge_errors
from pytest_mmsafety.labels import load_labels
from pytest_mmsafety.policies import read_policy
from pytest_mmsafety.run import load_run, save_run
from pytest_mmsafety.suites import read_suite
from pytest_mmsafety.targets.checkpoint.files import set_aside
from pytest_mmsafety.testing import make_record, make_run

LISTS: Callable[[int], str] = lambda depth: "[" * depth + "]" * depth  # noqa: E731
MAPPINGS: Callable[[int], str] = lambda depth: '{"a": ' * depth + "1" + "}" * depth  # noqa: E731
BLOCKS: Callable[[int], str] = lambda depth: "\n  " + "- " * depth + "1"  # noqa: E731


def refused(read: Callable[[Path], object], path: Path) -> str:
    with pytest.raises(MmsafetyError) as error:
        read(path)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400
    return str(error.value)


@pytest.mark.parametrize("nested", [LISTS, MAPPINGS, BLOCKS], ids=["lists", "mappings", "blocks"])
@pytest.mark.parametrize("depth", [DEEPEST + 1, 1000, 3000, 30_000])
def test_yaml_is_refused_at_its_line(tmp_path: Path, nested: Callable[[int], str], depth: int) -> None:
    suite, policy = write_suite(tmp_path, [row(1)]), write_thresholds(tmp_path, {"name": "a", "metric": "accuracy"})
    for path, read in ((suite, read_suite), (policy, read_policy)):
        lines = path.read_text()
        path.write_text(f"{lines}title: {nested(depth)}\n")
        said = refused(read, path)  # type: ignore[arg-type]
        assert f"{path}:" in said
        assert said.endswith(f"not valid YAML: nested more than {DEEPEST} deep")


def test_yaml_up_to_there_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(LISTS(DEEPEST))
    assert json.dumps(Document(tmp_path / "a.yaml").values) == LISTS(DEEPEST)


@pytest.mark.parametrize("nested", [LISTS, MAPPINGS], ids=["lists", "mappings"])
def test_json_is_refused_in_one_line(tmp_path: Path, nested: Callable[[int], str]) -> None:
    run = make_run([make_record()])
    suite, saved = write_suite(tmp_path, [row(1)]), tmp_path / "run.json"
    save_run(run, saved)
    text = saved.read_text()
    assert '"environment": {' in text
    for depth in [*range(150, 1100, 25), 3000, 100_000]:
        deep = nested(depth)
        suite.with_suffix(".jsonl").write_text(json.dumps(row(1))[:-1] + f', "tags": {deep}}}\n')
        refused(read_suite, suite)  # type: ignore[arg-type]
        (tmp_path / "g.jsonl").write_text(f'{{"key": "demo/1", "label": {deep}}}\n')
        refused(lambda path: load_labels(path, run.records), tmp_path / "g.jsonl")
        (tmp_path / "e.json").write_text(f'{{"format": "mmsafety-judge-errors/1", "judge": {deep}}}')
        refused(load_judge_errors, tmp_path / "e.json")
        saved.write_text(text.replace('"environment": {', f'"environment": {{"python": {deep}, ', 1))
        refused(load_run, saved)
        (tmp_path / "generation_config.json").write_text(f'{{"bad_words_ids": {deep}}}')
        assert set_aside(tmp_path) == []
