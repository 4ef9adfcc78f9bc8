"""Suite files as a tired or hostile user writes them: one clear line with the place."""

from __future__ import annotations

from pathlib import Path

import pytest
from suite_files import row, write_suite

from pytest_mmsafety.errors import DataError
from pytest_mmsafety.suites import read_suite


def test_a_misspelt_key_is_named(tmp_path: Path) -> None:
    (tmp_path / "d.yaml").write_text(
        "suite: d\nbenchmark: b\ngroup_by: [benchmark]\ncases:\n  - {id: a, promt: p, expected: yes}\n"
    )
    with pytest.raises(DataError, match=r"promt: unknown key; .* did you mean 'prompt'\?"):
        read_suite(tmp_path / "d.yaml")


@pytest.mark.parametrize("name", ["a\0b.png", "x" * 300, "loop", "."], ids=["zero", "long", "loop", "folder"])
def test_a_name_that_no_image_can_have_is_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "loop").symlink_to("loop")
    file = write_suite(tmp_path, [row(1, images=[name])])
    with pytest.raises(DataError) as error:
        read_suite(file)
    assert str(error.value).startswith(f"{file.with_suffix('.jsonl')}:1: images: {name!r:.60} ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("odd", ["\u2028", "\x0b", "\x0c", "\x85"])
def test_an_odd_line_end_inside_of_a_cell_is_text(tmp_path: Path, odd: str) -> None:
    (tmp_path / "d.csv").write_text(f"id,prompt,expected,category\na,one{odd}two,yes,c\n", encoding="utf-8")
    (tmp_path / "d.yaml").write_text("suite: d\nbenchmark: b\ngroup_by: [category]\ncases: d.csv\n")
    assert read_suite(tmp_path / "d.yaml").cases[0].prompt == f"one{odd}two"


def test_a_column_that_is_there_twice_is_said(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("id,prompt,prompt,expected,category\na,one,two,yes,c\n")
    (tmp_path / "d.yaml").write_text("suite: d\nbenchmark: b\ngroup_by: [category]\ncases: d.csv\n")
    with pytest.raises(DataError) as error:
        read_suite(tmp_path / "d.yaml")
    assert str(error.value) == f"{tmp_path / 'd.csv'}:1: column 'prompt' is there twice"
