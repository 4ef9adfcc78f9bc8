"""Data that nobody may redistribute: tests that read it are skipped where it is not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

FOLDER = Path(os.environ.get("MMSAFETY_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))


def shared(name: str) -> Path:
    """The folder of that name below the shared data."""
    if not (FOLDER / name).is_dir():
        pytest.skip(f"no data at {FOLDER / name}")
    return FOLDER / name
