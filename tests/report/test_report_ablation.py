"""Techniques against plain twins: which cases make a pair, and how the rows are made of them."""

from __future__ import annotations

from report_builders import spaced

from pytest_mmsafety.report.ablation import MAX_ROWS, AblationRow, ablations
from pytest_mmsafety.run import Record
from pytest_mmsafety.testing import make_record, make_run


def pair(id_: str, plain: float | None, dressed: float | None, suite: str = "demo", **tags: str) -> list[Record]:
    return [
        make_record(f"{id_}-plain", plain, suite=suite),
        make_record(id_, dressed, suite=suite, tags={"plain": f"{id_}-plain", **tags}),
    ]


def rows(*pairs: list[Record]) -> list[AblationRow]:
    return list(ablations(make_run([record for two in pairs for record in two]))["demo"].rows)


def test_a_row_gives_both_shares_and_their_difference() -> None:
    (row,) = rows(*(pair(str(i), float(i < 1), float(i < 3), technique="disguise") for i in range(4)))
    assert (row.technique, row.pairs, row.clusters) == ("disguise", 4, 4)
    assert [spaced(text) for text in (row.plain, row.with_it, row.change)] == ["25.0 %", "75.0 %", "+50.0 points"]
    assert spaced(row.interval) == "-24.2 to +93.2 points"
    assert row.picture.label == f"disguise: {row.change}, {row.interval}"
    assert row.picture.zero == 50.0
    assert row.picture.estimate == 75.0


def test_a_technique_that_changes_nothing_says_so() -> None:
    (row,) = rows(pair("a", 0.0, 0.0, technique="plea"), pair("b", 1.0, 1.0, technique="plea"))
    assert row.change == "no change"
    assert row.picture.estimate == 50.0


def test_the_technique_is_named_by_its_tag_or_else_by_its_bucket() -> None:
    found = rows(
        pair("a", 0.0, 1.0, technique="disguise", bucket="attack"),
        pair("b", 0.0, 1.0, bucket="attack"),
        pair("c", 0.0, 1.0),
    )
    assert [row.technique for row in found] == ["attack", "disguise", "with a technique", "all techniques"]


def test_all_techniques_are_summed_up_only_if_there_are_several() -> None:
    one, other = pair("a", 0.0, 1.0, technique="x"), pair("b", 0.0, 0.0, technique="y")
    assert [row.technique for row in rows(one)] == ["x"]
    found = rows(one, other)
    assert [(row.technique, row.pairs, spaced(row.with_it)) for row in found] == [
        ("x", 1, "100 %"), ("y", 1, "0 %"), ("all techniques", 2, "50.0 %"),
    ]  # fmt: skip


def test_the_pictures_of_one_table_have_the_same_scale() -> None:
    found = rows(*(pair(f"a{i}", 0.0, 1.0, technique="x") for i in range(9)), pair("b", 0.0, 0.0, technique="y"))
    assert {(row.picture.start, row.picture.end) for row in found} == {(found[0].picture.start, found[0].picture.end)}


def test_pairs_of_one_plain_picture_are_one_cluster() -> None:
    plain = make_record("plain", cluster="one picture")
    dressed = [make_record(i, float(i < 2), tags={"plain": "plain", "technique": "x"}) for i in range(4)]
    (row,) = rows([plain, *dressed])
    assert (row.pairs, row.clusters) == (4, 1)


def test_more_techniques_than_room_still_count_in_the_sum() -> None:
    found = rows(*(pair(f"t{i:02}", 0.0, 1.0, technique=f"t{i:02}") for i in range(MAX_ROWS + 5)))
    assert [row.technique for row in found] == [*(f"t{i:02}" for i in range(MAX_ROWS)), "all techniques"]
    assert found[-1].pairs == MAX_ROWS + 5


def test_a_pair_needs_two_scores() -> None:
    broken = [make_record("p"), make_record("e", response=None, error="broken", tags={"plain": "p"})]
    records = [*pair("a", None, 1.0), *pair("b", 1.0, None), *broken, *pair("c", 0.0, 1.0)]
    found = ablations(make_run(records))["demo"]
    assert ([row.pairs for row in found.rows], found.unscored) == ([1], 3)


def test_a_suite_whose_pairs_have_no_scores_has_no_rows() -> None:
    found = ablations(make_run(pair("a", None, 1.0)))["demo"]
    assert (found.rows, found.unscored) == ((), 1)


def test_a_twin_is_looked_for_in_its_own_suite_and_is_another_case() -> None:
    elsewhere = make_record("a", tags={"plain": "b-plain"}, suite="other")
    itself = make_record("self", tags={"plain": "self"})
    nowhere = make_record("n", tags={"plain": "nobody"})
    assert ablations(make_run([elsewhere, itself, nowhere, make_record("b-plain")])) == {}


def test_each_suite_has_its_own_table() -> None:
    found = ablations(make_run([*pair("a", 0.0, 1.0), *pair("a", 1.0, None, suite="other")]))
    assert {suite: (len(table.rows), table.unscored) for suite, table in found.items()} == {
        "demo": (1, 0), "other": (0, 1),
    }  # fmt: skip
