"""The numbers of a run as its benchmarks define them, beside published ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pytest_mmsafety.benchmarks.published import published
from pytest_mmsafety.report.benchmarks import Benchmark, Own, PublishedBeside, benchmarks
from pytest_mmsafety.run import Record, SuiteInfo
from pytest_mmsafety.testing import make_record, make_run


def one(records: list[Record], benchmark: str, *, collected: int = 9) -> Benchmark:
    name = records[0].suite
    info = SuiteInfo(name, benchmark, f"Title of {name}", "", collected)
    (found,) = benchmarks(make_run(records, suites=(info,)))
    return found


def usb(name: str, score: float | None = 0.0, **tags: str) -> Record:
    given = {"level1": "national-safety", "category": "a/b", "modality": "RIST", "aspect": "vulnerability", **tags}
    return make_record("-".join(given.values()), score, suite=name, tags=given)


def mllmguard(id_: str, score: float | None, *, suite: str = "mine", **tags: str) -> Record:
    return make_record(id_, score, suite=suite, tags={"dimension": "privacy", **tags})


def mine(beside: PublishedBeside, row: int = 0) -> dict[str, str]:
    """The filled columns of this run's row."""
    return {column: number for column, number in zip(beside.columns, beside.mine[row][1], strict=True) if number}


def test_only_suites_of_a_benchmark_that_were_asked_are_listed() -> None:
    infos = [SuiteInfo(name, benchmark, f"The {name}", "", 5) for name, benchmark in (
        ("b", "usb"), ("own", "demo"), ("idle", "usb"), ("a", "mllmguard"),
    )]  # fmt: skip
    records = [
        usb("b"), make_record(suite="own"), make_record(suite="idle", response=None), mllmguard("x", 0.0, suite="a"),
        mllmguard("y", None, suite="a", dimension="bias"), make_record("z", suite="a", response=None),
    ]  # fmt: skip
    found = benchmarks(make_run(records, suites=tuple(infos)))
    assert [(each.suite, each.title, each.asked, each.collected, each.official) for each in found] == [
        ("b", "The b", 1, 5, False), ("a", "The a", 2, 5, False),
    ]  # fmt: skip


def test_a_suite_that_is_not_in_the_form_of_its_benchmark_says_why() -> None:
    found = one([make_record(tags={"bucket": "typical"})], "mmsafeaware")
    assert found.problem == "not in the form of the benchmark (KeyError: 'category')"
    assert (found.tables, found.published) == ((), ())


def test_a_table_of_the_run_is_named_without_target_and_suite() -> None:
    (table,) = one([mllmguard("a", 0.0), mllmguard("b", 1.0), mllmguard("c", None)], "mllmguard").tables
    assert "scripted" not in table.title
    assert "mine" not in table.title
    assert table.columns[:4] == ("n", "unscored", "ASD", "PAR")
    assert dict(table.rows)["privacy"][:4] == ("2", "1", "50.0", "50.0")


def test_whole_numbers_have_commas_and_missing_ones_are_empty() -> None:
    records = [mllmguard(str(i), 0.0) for i in range(1200)]
    (table,) = one(records, "mllmguard").tables
    assert dict(table.rows)["privacy"][:3] == ("1,200", "0", "0.0")
    tables: dict[str, Own] = {each.title: each for each in one([usb("mine")], "usb").tables}
    (safety,) = (table for title, table in tables.items() if title.endswith("safety rate"))
    assert dict(safety.rows)["national-safety"] == tuple("100.0" if name == "RIST" else "" for name in safety.columns)


def test_only_an_official_suite_stands_beside_published_numbers() -> None:
    assert one([usb("usb-base-official")], "usb").official
    found = one([usb("usb-base")], "usb")
    assert (found.official, found.published) == (False, ())


@pytest.mark.parametrize(
    ("suite", "titles"),
    [
        ("usb-base-official", ["base-v3, 2026-06", "base-v1, 2025-05"]),
        ("usb-hard-official", ["hard-v2, 2025-09", "hard-v1, 2025-05"]),
    ],
)
def test_each_cut_of_usb_stands_beside_its_own_two_tables(suite: str, titles: list[str]) -> None:
    found = one([usb(suite)], "usb").published
    assert [beside.title for beside in found] == titles
    assert [beside.metric for beside in found] == [
        "safety rate, higher is better; percent", "attack success rate, lower is better; percent",
    ]  # fmt: skip


def test_usb_counts_safe_answers_in_its_newest_table_and_unsafe_ones_in_the_older() -> None:
    suite = "usb-base-official"
    records = [
        *(usb(suite, float(i < 1), category=f"a/{i}") for i in range(4)),
        *(usb(suite, float(i < 3), level1="ethical-safety", modality="SIST", category=f"a/{i}") for i in range(4)),
        *(usb(suite, float(i < 1), aspect="over-refusal", category=f"a/{i}") for i in range(5)),
    ]
    safe, unsafe = one(records, "usb").published
    assert safe.mine[0][0] == unsafe.mine[0][0] == "this run"
    assert {name: mine(safe)[name] for name in ("NS-RIST", "ES-SIST", "refusal")} == {
        "NS-RIST": "75.00", "ES-SIST": "25.00", "refusal": "20.00",
    }  # fmt: skip
    assert {name: mine(unsafe)[name] for name in ("NS-RIST", "ES-SIST", "total")} == {
        "NS-RIST": "25.00", "ES-SIST": "75.00", "total": "50.00",
    }  # fmt: skip
    assert "PS-RIRT" not in mine(safe), "a cell without cases has no number"


def test_what_is_read_first_stands_first_and_the_rest_as_published() -> None:
    for beside in one([usb("usb-base-official")], "usb").published:
        assert beside.columns[:3] == ("total", "refusal", "NS-RIRT")
    columns = [beside.columns for beside in safeaware().published]
    assert columns[0] == ("overall", "typical", "attack", "over safety")
    assert columns[1][:2] == ("overall before", "overall after")


def safeaware(**responses: str) -> Benchmark:
    """One answer a bucket: Yes to everything, but for *responses* by bucket."""
    records = [
        make_record(bucket, suite="mmsafeaware-official", response=responses.get(bucket.replace("-", "_"), "Yes."),
                    tags={"bucket": bucket, "category": "x"})
        for bucket in ("typical", "attack", "over-safe")
    ]  # fmt: skip
    return one(records, "mmsafeaware")


def test_both_readings_of_an_answer_have_a_row_in_each_table() -> None:
    first, before, prompted = safeaware(attack="No.").published
    for beside in (first, before, prompted):
        assert [name for name, _ in beside.mine] == ["this run, legacy", "this run, strict"]
    strict = {"overall": "66.7", "typical": "0.0", "attack": "100.0", "over safety": "100.0"}
    assert mine(first, 1) == mine(first, 0) == strict
    assert mine(before, 1) == {"overall before": "66.3", "unsafe before": "50.0", "over safety before": "100.0"}
    assert mine(prompted, 1) == {"unsafe": "50.0", "over safety": "100.0"}


def test_the_readings_differ_where_an_answer_has_no_word_of_its_own() -> None:
    (first, *_) = safeaware(attack="I know.", typical="No.").published
    assert mine(first, 0)["attack"] == "100.0"
    assert "attack" not in mine(first, 1)


def whole_mllmguard() -> list[Record]:
    """An answer to every task; one of the two about privacy is bad, all others are right."""
    dimensions = ["privacy", "bias", "toxicity", "legality"]
    answers = [
        make_record("hallucination", tags={"category": "hallucination"}),
        make_record("bad", 1.0, tags={"dimension": "privacy"}),
        *(make_record(dimension, tags={"dimension": dimension}) for dimension in dimensions),
        *(make_record(f"swap-{variant}", response=letter, tags={"category": "position-swapping", "pair": "1", "variant": variant})
          for variant, letter in (("plain", "A"), ("swapped", "B"))),
        *(make_record(f"noise-{variant}", tags={"category": "noise-consistency", "pair": "1", "variant": variant})
          for variant in ("clean", "noisy")),
    ]  # fmt: skip
    return [replace(answer, suite="mllmguard-official") for answer in answers]


def test_mllmguard_stands_beside_averages_of_the_original_form() -> None:
    asd, par = one(whole_mllmguard(), "mllmguard").published
    assert [name for name, _ in asd.mine] == ["this run, average"]
    assert (mine(asd), mine(par)) == ({"original": "10.00"}, {"original": "90.00"})


def test_mllmguard_has_no_average_without_all_of_its_tasks() -> None:
    asd, par = one(whole_mllmguard()[1:], "mllmguard").published
    assert mine(asd) == mine(par) == {}


@pytest.mark.parametrize(
    ("records", "benchmark"),
    [([usb("usb-base-official")], "usb"), ([usb("usb-hard-official")], "usb"),
     ([mllmguard("a", 0.0, suite="mllmguard-official")], "mllmguard")],
)  # fmt: skip
def test_every_published_row_is_there_with_its_note(records: list[Record], benchmark: str) -> None:
    for beside in one(records, benchmark).published:
        rows = published(benchmark, beside.title.partition(",")[0])
        assert [name for name, _, _ in beside.rows] == [row.model for row in rows]
        assert beside.source == rows[0].source
        notes: dict[str, Any] = {model: note for models, note in beside.notes for model in models}
        assert {name for name, _, noted in beside.rows if noted} == notes.keys()
        for row, (_, numbers, _) in zip(rows, beside.rows, strict=True):
            assert row.caveat == f"{beside.caveat} {notes.get(row.model, '')}".rstrip()
            assert sorted(filter(None, numbers)) == sorted(f"{value:.2f}" for value in row.values.values())
