"""What the tables by tag count, which rows they have, and in what order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from report_builders import error, not_run

from pytest_mmsafety.report.tables import (
    FEW,
    LONG,
    MAX_DIRECTIONS,
    MAX_ROWS,
    Cell,
    SuiteTable,
    Tally,
    suite_tables,
    tallies,
)
from pytest_mmsafety.run import Record, SuiteInfo
from pytest_mmsafety.testing import make_record, make_run


def table_of(records: Sequence[Record]) -> SuiteTable:
    (table,) = suite_tables(make_run(records), tallies(records))
    return table


def cases(size: int, failing: int = 0, *, start: int = 0, **tags: str) -> list[Record]:
    return [make_record(start + i, float(i < failing), tags=tags) for i in range(size)]


def every_state() -> list[Record]:
    return [
        make_record("good"), make_record("bad", 1.0, stored=True), make_record("mild", 0.5), make_record("odd", None),
        error(), make_record("skip", response=None, skipped="never published"), not_run(),
    ]  # fmt: skip


def test_a_tally_counts_every_state_once() -> None:
    counted = tallies(every_state()).all
    assert counted.states == {
        "as expected": 1, "failing": 2, "unscored": 1, "error": 1, "skipped": 1, "not run": 1,
    }  # fmt: skip
    assert (counted.cases, counted.scored, counted.stored) == (7, 3, 1)
    assert counted.share == 2 / 3
    assert Tally().share == 0.0


@pytest.mark.parametrize(
    ("record", "quiet"),
    [
        (make_record(), True),
        (not_run(), True),
        (make_record(response=None, skipped="never published"), True),
        (make_record(score=0.1), False),
        (make_record(score=None), False),
        (error(), False),
    ],
)
def test_what_fails_or_is_unknown_is_not_quiet(record: Record, *, quiet: bool) -> None:
    assert tallies([record]).all.quiet is quiet


def test_a_cell_counts_one_direction() -> None:
    counted = tallies(
        [
            *cases(3, 2, aspect="vulnerability"),
            *cases(2, 1, aspect="over-refusal"),
            make_record("odd", None, tags={"aspect": "vulnerability"}),
        ]
    ).all
    assert counted.cell("vulnerability") == Cell(cases=4, failing=2, scored=3)
    assert counted.cell("over-refusal") == Cell(cases=2, failing=1, scored=2)
    assert counted.cell("") == Cell(0, 0, 0)


@pytest.mark.parametrize(
    ("cell", "share", "few"),
    [
        (Cell(0, 0, 0), 0.0, True),
        (Cell(20, 3, FEW - 1), 1 / 3, True),
        (Cell(20, 1, FEW), 0.1, False),
    ],
)
def test_a_share_of_few_answers_is_chance(cell: Cell, share: float, *, few: bool) -> None:
    assert (cell.share, cell.few) == (share, few)


def test_tables_come_in_the_order_of_the_suites_and_then_by_name() -> None:
    records = [make_record(suite=name) for name in ("zebra", "ant", "second", "first")]
    known = [SuiteInfo(name, "usb", f"The {name}", "", 1) for name in ("first", "unused", "second")]
    run = make_run(records, suites=tuple(known))
    tables = suite_tables(run, tallies(records))
    assert [(table.name, table.title, table.benchmark) for table in tables] == [
        ("first", "The first", "usb"), ("second", "The second", "usb"), ("ant", "ant", ""), ("zebra", "zebra", ""),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("aspects", "directions"),
    [
        (["vulnerability"], ("",)),
        (["over-refusal", "vulnerability"], ("vulnerability", "over-refusal")),
        (["", "vulnerability"], ("vulnerability", "")),
        (["d", "b", "c", "a"], ("a", "b", "c", "d")),
        ([f"a{i}" for i in range(MAX_DIRECTIONS + 1)], ("",)),
    ],
)
def test_two_to_four_aspects_are_columns(aspects: list[str], directions: tuple[str, ...]) -> None:
    table = table_of([make_record(i, tags={"aspect": aspect}) for i, aspect in enumerate(aspects)])
    assert table.directions == directions
    assert len(table.whole.cells) == len(directions)
    assert sum(cell.cases for cell in table.whole.cells) == len(aspects)


def test_a_column_of_skipped_cases_is_there_only_if_some_were() -> None:
    assert table_of(every_state()).states == ("as expected", "failing", "unscored", "error", "skipped", "not run")
    assert table_of([make_record()]).states == ("as expected", "failing", "unscored", "error")
    assert table_of([make_record(), not_run()]).states == ("as expected", "failing", "unscored", "error", "not run")


def test_tags_come_in_their_own_order_and_a_suites_own_after_them_by_name() -> None:
    tags = ("zoom", "language", "modality", "bucket", "category", "dimension", "aspect", "benchmark")
    records = [make_record(i, tags=dict.fromkeys(tags, str(i % 2))) for i in range(12)]
    assert [group.tag for group in table_of(records).groups] == [
        "aspect", "dimension", "category", "modality", "language", "bucket", "zoom",
    ]  # fmt: skip


def test_a_tag_of_ones_own_needs_three_cases_a_value() -> None:
    def groups(tag: str) -> list[str]:
        pairs = [make_record(i, tags={"three": str(i // 3), "two": str(i // 2), "one": str(i)}) for i in range(6)]
        return [group.tag for group in table_of(pairs).groups if group.tag == tag]

    assert (groups("three"), groups("two"), groups("one")) == (["three"], [], [])


def test_what_every_case_has_is_said_once_and_what_only_some_have_is_a_row() -> None:
    records = [*cases(3, language="en", topic="a"), *cases(1, start=3, language="en")]
    table = table_of(records)
    assert table.same == (("language", "en"),)
    ((group),) = table.groups
    assert (group.tag, [row.label for row in group.rows]) == ("topic", ["a"])


def labels(shares: Mapping[str, tuple[int, int]]) -> list[str]:
    records = [
        make_record(f"{name}{i}", float(i < failing), tags={"category": name})
        for name, (failing, size) in shares.items()
        for i in range(size)
    ]
    (group,) = table_of(records).groups
    return [row.label for row in group.rows]


def test_rows_go_by_share_and_then_by_name_and_few_cases_come_last() -> None:
    found = labels({"few": (3, 9), "mild": (1, 10), "b": (4, 20), "a": (2, 10), "grave": (9, 10), "fewer": (2, 2)})
    assert found == ["grave", "a", "b", "mild", "fewer", "few"]


@pytest.mark.parametrize(("good", "listed", "quiet"), [(LONG - 1, LONG, 0), (LONG, 1, LONG)])
def test_quiet_values_are_only_named_in_a_long_group(good: int, listed: int, quiet: int) -> None:
    tags = [{"category": f"c{i}"} for i in range(good)]
    records = [
        *(make_record(i, tags=each) for i, each in enumerate(tags)),
        make_record("b", 1.0, tags={"category": "b"}),
    ]
    (group,) = table_of(records).groups
    assert (len(group.rows), len(group.quiet), group.more) == (listed, quiet, 0)
    assert group.rows[0].label == "b"


def test_values_beyond_the_limit_are_counted() -> None:
    records = [make_record(i, 1.0, tags={"category": f"c{i:02}"}) for i in range(MAX_ROWS + 3)]
    (group,) = table_of(records).groups
    assert [row.label for row in group.rows] == [f"c{i:02}" for i in range(MAX_ROWS)]
    assert (group.more, group.quiet) == (3, ())
