"""Cells of the benchmarks, techniques against plain twins, published results."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from report_builders import Read, page

from pytest_mmsafety.benchmarks.published import published
from pytest_mmsafety.benchmarks.usb.data import TAXONOMY
from pytest_mmsafety.report.ablation import ablations
from pytest_mmsafety.report.grids import MODALITIES, suite_grids
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
