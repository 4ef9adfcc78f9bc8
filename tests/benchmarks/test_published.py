"""Published results: every figure is there, and the totals are what their caveats say they are."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import nnls

import pytest_mmsafety.benchmarks.published
from pytest_mmsafety.benchmarks.published import PublishedRow, published
from pytest_mmsafety.errors import SetupError

FOLDER = Path(pytest_mmsafety.benchmarks.published.__file__).with_suffix("")
TABLES = {
    ("usb", "base-v1"): 17,
    ("usb", "hard-v1"): 17,
    ("usb", "base-v3"): 22,
    ("usb", "hard-v2"): 17,
    ("mmsafeaware", "table-1"): 10,
    ("mmsafeaware", "table-2"): 4,
    ("mmsafeaware", "table-3"): 8,
    ("mllmguard", "sdeval-asd"): 5,
    ("mllmguard", "sdeval-par"): 5,
    ("mllmguard", "guardrank"): 2,
}
CELLS = [f"{level}-{modality}" for level in ("NS", "PS", "ES") for modality in ("RIRT", "SIRT", "RIST", "SIST")]
#: Rows of base-v3 whose total is not the mean of the cells, with that mean.
OTHER_TOTAL = {"Claude-Sonnet4": 90.48, "Qwen3.6-Plus": 86.74, "Gemini-3-Flash": 68.85, "Gemini-3-Pro": 60.28}
HALF_A_DIGIT = 0.06
"""Of a total with one decimal, computed from columns with one decimal."""


def by_model(benchmark: str, table: str) -> dict[str, PublishedRow]:
    return {row.model: row for row in published(benchmark, table)}


def by_plain_name(table: str) -> dict[str, PublishedRow]:
    """By the letters and digits of the model: ``Claude35-sonnet2`` is ``Claude3.5-Sonnet2``."""
    return {"".join(filter(str.isalnum, row.model.lower())): row for row in published("usb", table)}


def cell_mean(row: PublishedRow) -> float:
    return sum(row.values[cell] for cell in CELLS) / len(CELLS)


def micro(unsafe: float, over_safety: float) -> float:
    return (1026 * unsafe + 497 * over_safety) / 1523


def two_to_one(unsafe: float, over_safety: float) -> float:
    return (2 * unsafe + over_safety) / 3


@pytest.mark.parametrize(("benchmark", "table"), TABLES)
def test_every_row_is_there_and_says_where_it_is_from(benchmark: str, table: str) -> None:
    rows = published(benchmark, table)
    assert len(rows) == TABLES[benchmark, table] == len({row.model for row in rows})
    for row in rows:
        assert (row.benchmark, row.table) == (benchmark, table)
        assert row.values
        assert all(0 <= value <= 100 for value in row.values.values())
        assert row.direction in ("higher", "lower")
        assert row.metric
        assert row.vintage
        assert row.source
        assert row.caveat


@pytest.mark.parametrize("benchmark", ["usb", "mmsafeaware", "mllmguard"])
def test_without_a_table_all_of_them(benchmark: str) -> None:
    tables = [table for known, table in TABLES if known == benchmark]
    assert published(benchmark) == tuple(row for table in tables for row in published(benchmark, table))


def test_every_file_is_a_table_and_every_row_caveat_has_its_row() -> None:
    assert {file.stem for file in FOLDER.glob("*.csv")} == {f"{benchmark}-{table}" for benchmark, table in TABLES}
    for entry in json.loads((FOLDER / "tables.json").read_text(encoding="utf-8")):
        models = by_model(entry["benchmark"], entry["table"])
        for model, caveat in entry["models"].items():
            assert models[model].caveat.endswith(caveat)


@pytest.mark.parametrize("table", ["base-v1", "hard-v1", "base-v3", "hard-v2"])
def test_usb_rows_are_whole(table: str) -> None:
    """Twelve cells and a total; metric, subset and version agree with the table's name."""
    for row in published("usb", table):
        assert list(row.values)[:13] == [*CELLS, "total"]
        assert ("refusal" in row.values) == (row.subset == "base")
        assert table.startswith(f"{row.subset}-")
        is_first = table.endswith("v1")
        assert (row.metric, row.direction) == (
            ("attack success rate", "lower") if is_first else ("safety rate", "higher")
        )


@pytest.mark.parametrize("table", ["base-v3", "hard-v2"])
def test_later_usb_totals_are_cell_means_but_for_four(table: str) -> None:
    odd = {row.model: row for row in published("usb", table) if abs(row.values["total"] - cell_mean(row)) > 0.015}
    assert set(odd) == (set(OTHER_TOTAL) if table == "base-v3" else set())
    for model, row in odd.items():
        assert cell_mean(row) == pytest.approx(OTHER_TOTAL[model], abs=0.006)
        assert f"is {OTHER_TOTAL[model]};" in row.caveat


@pytest.mark.parametrize("table", ["base-v1", "hard-v1"])
def test_first_usb_totals_are_pooled(table: str) -> None:
    """Not the mean of the cells, but one set of cell weights explains all 17 totals."""
    rows = published("usb", table)
    gaps = [abs(row.values["total"] - cell_mean(row)) for row in rows]
    assert max(gaps) < 4
    assert sum(gap > 0.015 for gap in gaps) == 16, "one row of each table meets the mean by chance"
    cells = np.array([[row.values[cell] for cell in CELLS] for row in rows])
    totals = np.array([row.values["total"] for row in rows])
    weights, _ = nnls(cells, totals)
    assert weights.sum() == pytest.approx(1, abs=0.003)
    assert np.abs(cells @ weights - totals).max() < 0.17


@pytest.mark.parametrize(("attacked", "safe"), [("base-v1", "base-v3"), ("hard-v1", "hard-v2")])
def test_vintages_of_usb_are_near_complements_but_other_data(attacked: str, safe: str) -> None:
    old, new = by_plain_name(attacked), by_plain_name(safe)
    assert set(old) <= set(new)
    gaps = [abs(row.values[cell] + new[model].values[cell] - 100) for model, row in old.items() for cell in CELLS]
    assert max(gaps) < 2.5
    assert sum(gap > 0.015 for gap in gaps) > len(gaps) / 2


def test_refusal_of_september_2025_is_that_of_the_first_table() -> None:
    old, new = by_plain_name("base-v1"), by_plain_name("base-v3")
    for model, row in old.items():
        assert new[model].values["refusal_2025_09"] == row.values["refusal"]
    assert sum("refusal_2025_09" in row.values for row in new.values()) == len(old)
    kept = {model for model in old if new[model].values["refusal"] == old[model].values["refusal"]}
    assert kept == {"claude35sonnet2", "gemini15pro"}


def test_total_of_mmsafeaware_table_1_is_the_mean_of_three() -> None:
    for row in published("mmsafeaware", "table-1"):
        *columns, total = row.values.values()
        assert list(row.values) == ["typical", "attack", "over_safety", "overall"]
        assert sum(columns) / 3 == pytest.approx(total, abs=HALF_A_DIGIT)


def test_mmsafeaware_table_2_changes_its_formula_between_columns() -> None:
    for row in published("mmsafeaware", "table-2"):
        before = row.values["unsafe_before"], row.values["over_safety_before"]
        after = row.values["unsafe_after"], row.values["over_safety_after"]
        assert micro(*before) == pytest.approx(row.values["overall_before"], abs=HALF_A_DIGIT)
        assert two_to_one(*after) == pytest.approx(row.values["overall_after"], abs=HALF_A_DIGIT)
        assert two_to_one(*before) != pytest.approx(row.values["overall_before"], abs=HALF_A_DIGIT)
        assert micro(*after) != pytest.approx(row.values["overall_after"], abs=HALF_A_DIGIT)


def test_mmsafeaware_table_3_has_a_formula_for_prompts_and_another_for_the_rest() -> None:
    for row in published("mmsafeaware", "table-3"):
        is_prompt = row.model.endswith("+Prompt")
        right, wrong = (micro, two_to_one) if is_prompt else (two_to_one, micro)
        columns = row.values["unsafe"], row.values["over_safety"]
        assert right(*columns) == pytest.approx(row.values["overall"], abs=HALF_A_DIGIT)
        assert wrong(*columns) != pytest.approx(row.values["overall"], abs=HALF_A_DIGIT)
        assert ("Overall is micro" in row.caveat) == is_prompt


def test_perturbation_makes_every_mllmguard_score_worse() -> None:
    for row in published("mllmguard"):
        original = row.values.get("original")
        if original is None:
            continue
        assert row.caveat.startswith("A plausibility range only")
        worse = [value > original if row.direction == "lower" else value < original for value in row.values.values()]
        assert worse == [False] + [True] * (len(worse) - 1)


def test_spot_checks_against_the_sources() -> None:
    assert by_model("usb", "base-v1")["GPT-4o"].values["PS-SIST"] == 74.04
    assert by_model("usb", "base-v3")["Claude-Sonnet4"].values["refusal"] == 18.30
    assert by_model("mmsafeaware", "table-1")["Claude-3"].values["over_safety"] == 1.1
    assert by_model("mllmguard", "sdeval-par")["GPT-4o"].values == {"original": 40.38, "dynamic": 24.71}
    judges = by_model("mllmguard", "guardrank")
    assert {name: row.values["accuracy"] for name, row in judges.items()} == {"GuardRank": 78.5, "GPT-4": 42.78}


@pytest.mark.parametrize(
    ("benchmark", "table", "message"),
    [
        (
            "mmsafeawre",
            None,
            "'mmsafeawre' is no benchmark; .* mllmguard, mmsafeaware, usb; did you mean 'mmsafeaware'",
        ),
        ("usb", "base-v2", "'base-v2' is no table of usb; .*hard-v2; did you mean 'base-v"),
        ("usb", "table-1", "'table-1' is no table of usb; expected one of base-v1, hard-v1, base-v3, hard-v2$"),
        ("usb", "", "'' is no table of usb"),
    ],
)
def test_an_unknown_name_is_a_setup_error(benchmark: str, table: str | None, message: str) -> None:
    with pytest.raises(SetupError, match=message):
        published(benchmark, table)


def test_a_row_cannot_be_changed() -> None:
    row = published("usb", "base-v1")[0]
    with pytest.raises(dataclasses.FrozenInstanceError):
        row.model = "mine"  # type: ignore[misc]
    with pytest.raises(TypeError):
        row.values["total"] = 0.0  # type: ignore[index]


def test_the_plugin_does_not_load_it() -> None:
    code = "import sys, pytest_mmsafety.plugin.hooks; sys.exit('pytest_mmsafety.benchmarks.published' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
