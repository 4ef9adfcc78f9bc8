"""Names that ``--model`` may get, and that are no target's."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pytest_mmsafety.errors import SetupError
from pytest_mmsafety.targets.registry import find_target


@pytest.mark.parametrize("model", ["cockatoo:Bird.x", "a..b:c", "x/y/z", "::", ":x", "x:", " ", "checkpoint\n"])
def test_a_model_that_is_no_name_of_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "cockatoo.py").write_text("class Bird: ...\n")
    with pytest.raises(SetupError) as error:
        find_target(model, {}, tmp_path)
    assert str(error.value).startswith("--model: ")
    assert "\n" not in str(error.value)
