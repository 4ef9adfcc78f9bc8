"""Judges of one's own, made by name."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from pytest_mmsafety.judges.registry import make_judge

OWN = """
from pytest_mmsafety.testing import ScriptedJudge

class Heavy(ScriptedJudge):
    def __init__(self, args=None):
        super().__init__()
        self.fingerprint = f"weights of {(args or {}).get('version', '1')}"
"""


def test_make_judge_gives_arguments_as_a_mapping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "own_heavy_judge.py").write_text(OWN)
    judge: Any = make_judge("own_heavy_judge:Heavy", tmp_path, {"version": "7"})
    assert judge.fingerprint == "weights of 7"
