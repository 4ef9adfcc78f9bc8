"""mmsafety judge label: which answers are drawn, and the tables they are written to."""

from __future__ import annotations

import csv
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from label_runs import HUNDRED, answer, complaint, ok, saved

from pytest_mmsafety.annotations.sample import AT_LEAST, _allocate, draw, item_name, run_name
from pytest_mmsafety.testing import make_run


def test_a_sample_is_in_proportion_and_of_every_stratum() -> None:
    sample = draw(HUNDRED, 50, 0, ["verdict"], "binary")
    drawn = Counter(item.record.verdicts[0].label for item in sample.items)
    assert drawn == {"compliance": 45, "refusal": 5}
    few = draw(HUNDRED, 20, 0, ["verdict"], "binary")
    assert Counter(item.record.verdicts[0].label for item in few.items)["refusal"] == AT_LEAST
    assert sum(item.weight for item in few.items) == pytest.approx(100), "weights undo the minimum"
    assert {item.weight for item in few.items} == {90 / 15, 10 / 5}


@given(st.lists(st.integers(1, 60), min_size=1, max_size=12), st.integers(1, 200))
def test_allocation(sizes: list[int], total: int) -> None:
    total = max(total, len(sizes))
    given = _allocate(sizes, total)
    assert sum(given) == min(total, sum(sizes))
    assert all(1 <= share <= size for share, size in zip(given, sizes, strict=True))


def test_a_sample_depends_on_its_arguments_alone() -> None:
    shuffled = list(HUNDRED.records)
    random.Random(1).shuffle(shuffled)
    first = draw(HUNDRED, 30, 3, ["language"], "binary")
    assert draw(HUNDRED, 30, 3, ["language"], "binary") == first
    assert [item.name for item in draw(HUNDRED, 30, 4, ["language"], "binary").items] != [i.name for i in first.items]
    assert [item.record.key for item in first.items] != sorted(item.record.key for item in first.items)


def test_an_item_has_one_name_in_every_sample_of_a_run_and_another_in_another_run() -> None:
    of_all = {item.record.key: item.name for item in draw(HUNDRED, 100, 0, [], "binary").items}
    of_some = {item.record.key: item.name for item in draw(HUNDRED, 20, 9, ["language"], "levels").items}
    assert of_some.items() <= of_all.items()
    other = replace(HUNDRED, records=(answer(0, "Changed."), *HUNDRED.records[1:]))
    assert run_name(other) != run_name(HUNDRED)
    assert item_name(run_name(other), answer(1)) != of_all["demo/1"]


def test_answers_that_are_not_there_are_not_drawn() -> None:
    run = make_run([answer(0, None, error="broken"), answer(1), answer(2, "")])
    assert {item.record.id for item in draw(run, 200, 0, [], "binary").items} == {"1", "2"}


def test_what_an_attack_made_is_not_drawn() -> None:
    made = [answer(i, tags={"attack": mode}) for i, mode in enumerate(("search", "universal", "sweep"), 100)]
    kept = answer(103, tags={"attack": "regression"})
    sample = draw(make_run([answer(1), *made, kept]), 9, 1, (), "binary")
    assert sorted(item.record.id for item in sample.items) == ["1", "103"]
    assert [item.weight for item in sample.items] == [1, 1]


def test_a_table_that_is_opened_computes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run([answer(0, "=1+1"), answer(1, '图\n"quoted", text'), answer(2, "@SUM(A1)")])
    ok(capsys, "label", saved(run, tmp_path), "-o", tmp_path / "out")
    content = (tmp_path / "out" / "items.csv").read_bytes()
    assert content.startswith(b"\xef\xbb\xbf")
    cells = {row["response"] for row in csv.DictReader(content.decode("utf-8-sig").splitlines(keepends=True))}
    assert cells == {"'=1+1", '图\n"quoted", text', "'@SUM(A1)"}


def test_another_sample_does_not_overwrite_the_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, out = saved(HUNDRED, tmp_path), tmp_path / "out"
    first = ok(capsys, "label", run, "-o", out, "--n", 20)
    assert ok(capsys, "label", run, "-o", out, "--n", 20) == first
    assert "another sample lies there" in complaint(capsys, "label", run, "-o", out, "--n", 21)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--n", "0"], "--n 0: expected a number from 1 on"),
        (["--n", "1"], "makes 4 strata"),
        (["--by", "langage"], "did you mean 'language'?"),
    ],
)
def test_bad_options_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    assert said in complaint(capsys, "label", saved(HUNDRED, tmp_path), "-o", tmp_path / "out", *options)
