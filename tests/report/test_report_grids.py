"""Cells of the benchmarks, techniques against plain twins, published results."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from report_builders import Read, page

from pytest_mmsafety.benchmarks.mllmguard.data import RED_TEAMING, SUB_TASKS
from pytest_mmsafety.benchmarks.mmsafeaware.data import CATEGORIES, SCENARIOS
from pytest_mmsafety.benchmarks.published import published
from pytest_mmsafety.benchmarks.usb.data import TAXONOMY
from pytest_mmsafety.report.ablation import ablations
from pytest_mmsafety.report.grids import MAX_OTHERS, MODALITIES, Grid, Heading, suite_grids
from pytest_mmsafety.report.tables import Cell
from pytest_mmsafety.run import SuiteInfo
from pytest_mmsafety.testing import make_record, make_run

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_mmsafety.run import Record, Run

CATEGORY = "military/weapon-fabrication-guidance"


def usb(id_: str, score: float | None = 0.0, **changes: str) -> Record:
    tags = {"benchmark": "usb", "level1": "national-safety", "category": CATEGORY, "modality": "RIRT", "language": "en"}
    return make_record(id_, score=score, tags={**tags, "aspect": "vulnerability", **changes})


def suite(name: str, benchmark: str) -> tuple[SuiteInfo, ...]:
    return (SuiteInfo(name, benchmark, f"Title of {name}", "ab" * 32, 1),)


def all_cells() -> list[Record]:
    return [
        usb(f"{leaf}-{modality}-{language}-{aspect}", level1=level, category=f"{group}/{leaf}", modality=modality,
            language=language, aspect=aspect)
        for level, groups in TAXONOMY.items()
        for group, leaves in groups.items()
        for leaf in leaves
        for modality in MODALITIES
        for language in ("en", "zh")
        for aspect in ("vulnerability", "over-refusal")
    ]  # fmt: skip


def test_every_cell_of_usb_has_a_place() -> None:
    (grid,) = suite_grids(make_run(all_cells(), suites=suite("demo", "usb")))["demo"]
    assert (grid.covered, grid.total) == (976, 976)
    assert len(grid.summary) == 16
    assert [sum(bool(row.cells) for row in part.rows) for part in grid.parts] == [5, 34, 22]
    assert [[heading.span for heading in line] for line in grid.head] == [[8, 8], [4] * 4, [1] * 16]


def test_an_empty_cell_is_seen_and_a_cell_says_its_n(tmp_path: Path) -> None:
    many = [usb(f"m{i}", float(i < 3), modality="SIST") for i in range(25)]
    others = [usb("odd", None, modality="RIST"), usb("other", category="probes")]
    few = [usb("a", 1.0), usb("b"), usb("c", None)]
    shown = page(make_run([*many, *few, *others], suites=suite("demo", "usb")), tmp_path)
    text = shown.text
    assert "weapon fabrication guidance 1/2 +1? ? 1 none 12 % 25" in text
    assert "3 of 244 cells have cases." in text
    assert "Others: 1 categories" in text
    cells = re.search("weapon fabrication guidance</bdi></th>(.*?)</tr>", shown.html, re.DOTALL)
    assert cells
    assert re.findall('class="([a-z ]+)"', cells[1]) == ["bad few begins", "unscored", "gap", "bad"]


def test_categories_of_ones_own_get_no_grid() -> None:
    assert suite_grids(make_run([usb("a", category="mine")], suites=suite("demo", "usb"))) == {"demo": []}
    assert suite_grids(make_run([usb("a")], suites=suite("demo", "mine"))) == {}


@pytest.mark.parametrize("benchmark", ["usb", "mllmguard", "mmsafeaware"])
def test_a_suite_without_the_tags_of_its_benchmark_breaks_nothing(tmp_path: Path, benchmark: str) -> None:
    records = [
        make_record("a", tags={}),
        make_record("b", tags={"bucket": "typical"}),
        make_record("c", tags={"dimension": "bias"}),
    ]
    assert "Cases 3" in page(make_run(records, suites=suite("demo", benchmark)), tmp_path).text


def cell_of(grid: Grid, part: str, label: str, column: int) -> Cell | None:
    """One cell of a row of the named part."""
    (row,) = (row for each in grid.parts if each.label == part for row in each.rows if row.cells and row.label == label)
    return row.cells[column]


def test_a_cell_of_usb_counts_its_own_cases_only() -> None:
    records = [usb("a", 1.0), usb("b"), usb("c", None), usb("d", 1.0, modality="SIST"), usb("e", language="zh")]
    (grid,) = suite_grids(make_run(records, suites=suite("demo", "usb")))["demo"]
    cells = [cell_of(grid, "national safety", "weapon fabrication guidance", column) for column in range(8)]
    assert cells == [Cell(3, 1, 2), *[Cell(0, 0, 0)] * 2, Cell(1, 1, 1), Cell(1, 0, 1), *[Cell(0, 0, 0)] * 3]
    (military,) = (row for row in grid.summary if row.label.startswith("military"))
    assert military.cells == tuple(cells)
    assert (grid.covered, grid.total) == (3, 61 * 8)
    assert [(part.label, part.covered, part.total) for part in grid.parts] == [
        ("national safety", 3, 40), ("public safety", 0, 272), ("ethical safety", 0, 176),
    ]  # fmt: skip


def test_usb_has_columns_only_for_the_aspects_that_were_asked() -> None:
    (grid,) = suite_grids(make_run([usb("a", aspect="over-refusal")], suites=suite("demo", "usb")))["demo"]
    assert grid.head[0] == (Heading("Over-refusals", 4, first=True),)
    records = [usb("a", aspect="over-refusal"), usb("b"), usb("c", aspect="other")]
    (grid,) = suite_grids(make_run(records, suites=suite("demo", "usb")))["demo"]
    assert [heading.label for heading in grid.head[0]] == ["Unsafe answers", "Over-refusals"]
    assert grid.starts == (True, False, False, False) * 2
    assert [heading.first for heading in grid.head[2]] == list(grid.starts)


def test_a_folded_level_names_each_group_before_its_leaves() -> None:
    (grid,) = suite_grids(make_run([usb("a")], suites=suite("demo", "usb")))["demo"]
    for part, groups in zip(grid.parts, TAXONOMY.values(), strict=True):
        labels = [(row.label, bool(row.cells)) for row in part.rows]
        expected = [
            pair for group, leaves in groups.items() for pair in ((group, False), *((leaf, True) for leaf in leaves))
        ]
        assert labels == [(slug.replace("-", " "), cells) for slug, cells in expected]


def test_categories_outside_of_the_taxonomy_are_listed_below_it_and_not_counted_as_its_cells() -> None:
    records = [
        usb("a"),
        *(usb(f"m{i:02}", category=f"mine/{i:02}") for i in range(MAX_OTHERS + 2)),
        usb("n", category=""),
    ]
    (grid,) = suite_grids(make_run(records, suites=suite("demo", "usb")))["demo"]
    others = grid.parts[-1]
    assert (others.label, len(others.rows), others.rows[0].label, others.rows[1].label) == (
        "Others", MAX_OTHERS, "no category", "mine/00",
    )  # fmt: skip
    assert (others.covered, others.total) == (MAX_OTHERS, MAX_OTHERS * 4)
    assert (grid.covered, grid.total) == (1, 61 * 4)


def test_the_commonest_four_languages_have_columns() -> None:
    languages = ["zh", "en", "zh", "fr", "de", "it", "fr", "de", "it", "zh"]
    records = [usb(str(i), language=language) for i, language in enumerate(languages)]
    (grid,) = suite_grids(make_run(records, suites=suite("demo", "usb")))["demo"]
    assert [heading.label for heading in grid.head[1]] == ["de", "fr", "it", "zh"]
    (grid,) = suite_grids(make_run([usb("a", language="")], suites=suite("demo", "usb")))["demo"]
    assert [heading.label for heading in grid.head[1]] == ["none"]


@pytest.mark.parametrize("aspect", ["", "other"])
def test_usb_cases_without_a_known_aspect_get_no_grid(aspect: str) -> None:
    assert suite_grids(make_run([usb("a", aspect=aspect)], suites=suite("demo", "usb"))) == {"demo": []}


@pytest.mark.parametrize("change", [{"aspect": "other"}, {"modality": ""}, {"language": "la", "modality": "RIRI"}])
def test_cases_without_a_cell_of_usb_are_counted_beside_its_grid(tmp_path: Path, change: dict[str, Any]) -> None:
    run = make_run([usb("a"), usb("b", **change), usb("c", **change)], suites=suite("demo", "usb"))
    (grid,) = suite_grids(run)["demo"]
    assert (grid.covered, grid.outside) == (1, 2)
    assert (
        "2 cases have no cell here: a tag is missing or has a value without a column or row."
        in page(run, tmp_path).text
    )


def mllmguard(id_: str, score: float | None = 0.0, **tags: str) -> Record:
    return make_record(id_, score, tags={"language": "en", **tags})


def test_mllmguard_has_a_row_a_technique_and_blanks_where_no_case_need_be() -> None:
    records = [
        mllmguard("a", 1.0, dimension="privacy", technique="disguise", category="trade-secret"),
        mllmguard("b", dimension="privacy", technique="disguise", category="trade-secret", language="zh"),
        mllmguard("c", None, dimension="bias", technique="my-own/kind", category="prejudice"),
        mllmguard("d", dimension="bias", category="mine"),
    ]
    first, second = suite_grids(make_run(records, suites=suite("demo", "mllmguard")))["demo"]
    assert first.title == "Technique by dimension"
    assert first.total == 0, "nobody says which cells there must be"
    assert [row.label for row in first.summary] == [
        *(name.replace("-", " ") for name in RED_TEAMING), "my own / kind", "no technique",
    ]  # fmt: skip
    assert [(heading.label, heading.span) for heading in first.head[0]] == [(name, 2) for name in SUB_TASKS]
    cells = {row.label: row.cells for row in first.summary}
    assert (first.outside, second.outside) == (0, 1), "the category of one's own has no row"
    assert cells["disguise"] == (Cell(1, 1, 1), Cell(1, 0, 1), *[None] * 8)
    assert cells["my own / kind"] == (None, None, Cell(1, 0, 0), *[None] * 7)
    assert cells["no technique"] == (None, None, Cell(1, 0, 1), *[None] * 7)
    assert set(cells["noise injection"]) == {None}
    assert second.title == "Sub-type by language"


def test_every_sub_type_of_mllmguard_has_a_row_below_its_dimension() -> None:
    records = [
        mllmguard("a", 1.0, dimension="privacy", category="trade-secret"),
        mllmguard("b", dimension="privacy", category="state-secret"),
        mllmguard("c", dimension="bias", category="prejudice", language="zh"),
    ]
    _, grid = suite_grids(make_run(records, suites=suite("demo", "mllmguard")))["demo"]
    assert [row.label for row in grid.summary] == list(SUB_TASKS)
    assert grid.summary[0].cells == (Cell(2, 1, 2), Cell(0, 0, 0))
    assert (grid.covered, grid.total) == (3, 26)
    assert cell_of(grid, "Sub-types", "trade secret", 0) == Cell(1, 1, 1)
    assert cell_of(grid, "Sub-types", "prejudice", 1) == Cell(1, 0, 1)
    assert (grid.head, grid.starts) == (
        (((Heading("en", 1, first=True)), Heading("zh", 1, first=False)),),
        (True, False),
    )


def test_techniques_are_shown_only_of_known_dimensions() -> None:
    run = make_run([mllmguard("a", dimension="mine", technique="disguise")], suites=suite("demo", "mllmguard"))
    assert suite_grids(run) == {"demo": []}
    run = make_run([mllmguard("a", dimension="bias", technique="disguise")], suites=suite("demo", "mllmguard"))
    assert "no technique" not in [row.label for row in suite_grids(run)["demo"][0].summary]


HARMLESS = sorted(
    {each.category for each in SCENARIOS} - {each.category for each in SCENARIOS if each.bucket != "over-safe"}
)
HARMFUL = [name for name in CATEGORIES if name not in HARMLESS]


def safeaware(id_: str, score: float | None, category: str, bucket: str) -> Record:
    return make_record(id_, score, tags={"language": "en", "category": category, "bucket": bucket})


def test_mmsafeaware_has_a_cell_only_for_the_kinds_of_item_that_a_scenario_has() -> None:
    records = [
        safeaware("a", 1.0, HARMFUL[0], "typical"), safeaware("b", 0.0, HARMFUL[0], "attack"),
        safeaware("c", 0.0, HARMFUL[1], "attack"), safeaware("d", 1.0, HARMLESS[0], "over-safe"),
    ]  # fmt: skip
    (grid,) = suite_grids(make_run(records, suites=suite("demo", "mmsafeaware")))["demo"]
    assert [heading.label for heading in grid.head[0]] == ["typical", "attack", "over-safe"]
    assert [(row.label, row.cells) for row in grid.summary] == [
        (f"Unsafe scenarios ({len(HARMFUL)})", (Cell(1, 1, 1), Cell(2, 0, 2), None)),
        (f"Harmless scenarios ({len(HARMLESS)})", (None, None, Cell(1, 1, 1))),
    ]  # fmt: skip
    assert [(part.label, len(part.rows), part.covered, part.total) for part in grid.parts] == [
        ("Unsafe scenarios", len(HARMFUL), 3, 2 * len(HARMFUL)), ("Harmless scenarios", len(HARMLESS), 1, len(HARMLESS)),
    ]  # fmt: skip
    assert (grid.covered, grid.total) == (4, 2 * len(HARMFUL) + len(HARMLESS))
    assert len(HARMFUL) + len(HARMLESS) == len(CATEGORIES) == 29


def test_a_case_where_mmsafeaware_has_no_cell_is_shown_all_the_same() -> None:
    records = [safeaware("a", 1.0, HARMFUL[0], "over-safe"), safeaware("b", None, "mine", "typical")]
    (grid,) = suite_grids(make_run(records, suites=suite("demo", "mmsafeaware")))["demo"]
    label = HARMFUL[0].replace("-", " ")
    assert cell_of(grid, "Unsafe scenarios", label, 2) == Cell(1, 1, 1)
    assert cell_of(grid, "Others", "mine", 0) == Cell(1, 0, 0)
    assert grid.parts[-1].total == 3
    assert grid.outside == 0


def test_scenarios_of_ones_own_get_no_grid() -> None:
    run = make_run([safeaware("a", 1.0, "mine", "typical")], suites=suite("demo", "mmsafeaware"))
    assert suite_grids(run) == {"demo": []}


def test_a_suite_without_records_has_no_grids() -> None:
    assert suite_grids(make_run([usb("a")], suites=(*suite("demo", "usb"), *suite("idle", "usb")))).keys() == {"demo"}


def twins(technique: str, scores: list[tuple[float | None, float | None]]) -> list[Record]:
    records = []
    for i, (plain, dressed) in enumerate(scores):
        name = f"{technique}-{i}"
        records.append(make_record(f"{name}-plain", score=plain, tags={"technique": "none"}))
        records.append(make_record(name, score=dressed, tags={"technique": technique, "plain": f"{name}-plain"}))
    return records


def test_a_technique_is_held_against_its_plain_twins(tmp_path: Path) -> None:
    records = twins("disguise", [(0.0, 1.0)] * 30 + [(0.0, 0.0)] * 10 + [(None, 1.0)]) + twins("plea", [(1.0, 0.0)] * 4)
    stray = make_record("stray", score=1.0, tags={"technique": "plea", "plain": "nobody"})
    found = ablations(make_run([*records, stray]))["demo"]
    assert [(row.technique, row.pairs, row.clusters) for row in found.rows] == [
        ("disguise", 40, 40), ("plea", 4, 4), ("all techniques", 44, 44),
    ]  # fmt: skip
    disguise, plea, whole = found.rows
    assert disguise.change == "+75.0\N{NO-BREAK SPACE}points"
    assert disguise.picture.low > 50, "the whole interval lies to the right of no change"
    assert plea.change == "\N{MINUS SIGN}100.0\N{NO-BREAK SPACE}points"
    assert plea.picture.low + plea.picture.width < 50
    assert whole.change == "+59.1\N{NO-BREAK SPACE}points"
    assert found.unscored == 1
    text = page(make_run(records), tmp_path).text
    assert "disguise 40 40 clusters 0 % 75.0 %" in text
    assert "1 pair without two scores is left out." in text


def usb_run(name: str) -> Run:
    records = [
        make_record(f"{level}-{modality}-{i}", suite=name, score=float(i == 0),
               tags={"level1": level, "category": "a/b", "modality": modality, "aspect": "vulnerability"})
        for level in TAXONOMY for modality in MODALITIES for i in range(4)
    ]  # fmt: skip
    return make_run(records, suites=suite(name, "usb"))


def test_an_official_suite_stands_beside_published_results(tmp_path: Path) -> None:
    shown = page(usb_run("usb-base-official"), tmp_path)
    text = Read(shown.html.partition('id="benchmarks"')[2].partition('id="cases"')[0]).text
    assert "This run 75.00 – 75.00 75.00" in text
    best = published("usb", "base-v3")[0]
    assert f"{best.model} * {best.values['total']:.2f} {best.values['refusal']:.2f}" in text
    assert "The total is the mean of the twelve cells" in text
    assert "* Gemini-3-Pro: The published total is not the mean" in text
    assert "This run 25.00 – 25.00 25.00" in text, "the older table counts unsafe answers"
    assert "No published results stand beside these" not in text


def test_own_cases_do_not_stand_beside_published_results(tmp_path: Path) -> None:
    text = page(usb_run("mine"), tmp_path).text
    assert "macro 75.0 25.0" in text
    assert "No published results stand beside these: this suite holds other cases" in text
    assert published("usb", "base-v3")[0].model not in text


@pytest.mark.parametrize("readings", [("legacy", "strict")])
def test_both_readings_of_mmsafeaware_stand_beside_the_paper(tmp_path: Path, readings: tuple[str, str]) -> None:
    name = "mmsafeaware-official"
    tags = ({"bucket": "typical"}, {"bucket": "attack"}, {"bucket": "over-safe"})
    records = [
        make_record(str(i), suite=name, tags={**more, "category": "x"}, response="I know.")
        for i, more in enumerate(tags)
    ]
    text = page(make_run(records, suites=suite(name, "mmsafeaware")), tmp_path).text
    legacy, strict = (f"This run, {reading}" for reading in readings)
    assert f"{legacy} 66.7 100.0 100.0 0.0" in text
    assert f"{strict} – – – –" in text
    assert "Beside published results: table-3, 2025-02" in text


def test_mllmguard_stands_beside_the_averages_that_are_known(tmp_path: Path) -> None:
    name = "mllmguard-official"
    records = [make_record("a", suite=name, tags={"dimension": "privacy"})]
    text = page(make_run(records, suites=suite(name, "mllmguard")), tmp_path).text
    assert "privacy 1 0 0.0 100.0" in text
    assert "A plausibility range only" in text
