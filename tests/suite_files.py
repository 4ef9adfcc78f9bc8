"""Suites and thresholds as files, for every test that has them read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def row(number: int, say: str = "yes", **more: Any) -> dict[str, Any]:
    """A case that expects yes and whose prompt makes the parrot of ``tests/runs`` say *say*."""
    return {
        "id": f"case-{number}",
        "prompt": f"number {number} say: {say}",
        "expected": "yes",
        "category": "one",
        **more,
    }


def write_suite(folder: Path, rows: Sequence[dict[str, Any]], name: str = "demo", **header: Any) -> Path:
    """Write ``NAME.yaml`` into *folder*, with *rows* in a JSONL file beside it."""
    folder.mkdir(exist_ok=True)
    keys = {"suite": name, "benchmark": "demo", "group_by": ["category"], "cases": f"{name}.jsonl", **header}
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return _write_yaml(folder / f"{name}.yaml", keys)


def write_thresholds(folder: Path, *gates: dict[str, Any], **keys: Any) -> Path:
    """Write ``policy.yaml`` with *gates* into *folder*."""
    return _write_yaml(folder / "policy.yaml", {"policy": "test", "gates": list(gates), **keys})


def _write_yaml(file: Path, keys: dict[str, Any]) -> Path:
    file.write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in keys.items()))
    return file
