"""The table in the documentation, held to the catalogue."""

from __future__ import annotations

import re
from pathlib import Path

from pytest_mmsafety.perturbations import PERTURBATIONS

DOCS = Path(__file__).resolve().parents[2] / "docs/perturbations.md"


def test_the_table_says_what_the_catalogue_says() -> None:
    rows = [
        line.strip("| ").split(" | ") for line in DOCS.read_text(encoding="utf-8").splitlines() if line[:3] == "| `"
    ]
    assert [row[0].strip("`") for row in rows] == list(PERTURBATIONS)
    for (_, meaning, parameters, source), kind in zip(rows, PERTURBATIONS.values(), strict=True):
        assert meaning == kind.meaning + ("" if kind.graded else "; all or nothing")
        assert source == kind.source
        told = {name: tuple(values.split(", ")) for name, values in re.findall(r"`([\w-]+)`: ([^;|]+)", parameters)}
        assert told == {name: tuple(map(str, values)) for name, values in kind.settings.items()}
        assert ("`words`" in parameters) == kind.by_word
