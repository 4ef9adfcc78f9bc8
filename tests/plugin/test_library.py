"""The suites that a session has read."""

from __future__ import annotations

from pathlib import Path

from suite_files import row, write_suite

from pytest_mmsafety.plugin.library import Library


def test_data_that_only_lies_where_a_suite_lies_is_not_asked_for(tmp_path: Path) -> None:
    file = write_suite(tmp_path, [row(1)])
    library = Library({"msa": file.parent})
    library.read(file)
    assert library.unused_data() == ["msa"]
