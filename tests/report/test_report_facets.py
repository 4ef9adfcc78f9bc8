"""Lists to filter the cases by, and the tokens that tie cards to them."""

from __future__ import annotations

from collections.abc import Sequence

from report_builders import error

from pytest_mmsafety.gates import GateResult
from pytest_mmsafety.report.facets import MAX_OPTIONS, Facet, Facets, Option, applies_to, ordered
from pytest_mmsafety.report.states import state_of
from pytest_mmsafety.run import Record
from pytest_mmsafety.testing import make_gate, make_record, make_result


def lists(records: Sequence[Record], gates: Sequence[GateResult] = ()) -> list[Facet]:
    facets = Facets(gates)
    for record in records:
        facets.of(record, state_of(record))
    return list(facets.lists())


def test_a_card_carries_a_token_for_its_state_suite_tags_and_gates() -> None:
    gates = [make_result(where={"language": (language,)}) for language in ("zh", "en")] + [make_result()]
    facets = Facets(gates)
    first = make_record("a", 1.0, tags={"topic": "x", "language": "en"})
    assert facets.of(first, "failing") == "s1 t0 t1 t2 g1 g2"
    assert facets.of(make_record("b", tags={"language": "zh", "topic": "x"}), "as expected") == "s3 t0 t3 t2 g0 g2"
    assert facets.of(make_record("c", tags={}, suite="x"), "error") == "s0 t4 g2", "a suite x is no topic x"


def test_a_list_names_its_values_in_order_with_their_counts() -> None:
    records = [make_record(i, tags={"language": language}) for i, language in enumerate(("zh", "en", "zh"))]
    state, language = lists(records)
    assert state == Facet("State", (Option("s3", "as expected", 3),))
    assert language == Facet("Language", (Option("t2", "en", 1), Option("t1", "zh", 2)))


def test_state_and_gate_come_first_then_the_suite_the_standard_tags_and_the_others() -> None:
    tags = ("zoom", "bucket", "aspect", "language", "modality", "category", "dimension", "benchmark")
    records = [make_record(i, suite=f"s{i}", tags=dict.fromkeys(tags, f"v{i}")) for i in range(2)]
    assert [facet.label for facet in lists(records, [make_result()])] == [
        "State", "Gate", "Suite", "Benchmark", "Dimension", "Category", "Modality", "Language", "Aspect", "Bucket",
        "Zoom",
    ]  # fmt: skip


def test_one_state_is_offered_but_one_value_of_a_tag_is_not() -> None:
    found = lists([make_record(tags={"language": "en"})])
    assert [facet.label for facet in found] == ["State"]
    assert not lists([])


def test_states_are_offered_worst_first_and_only_those_that_occur() -> None:
    (state,) = lists([make_record("a"), error(), make_record("b", 1.0), make_record("c")])
    assert [(option.label, option.count) for option in state.options] == [
        ("error", 1), ("failing", 1), ("as expected", 2),
    ]  # fmt: skip


def test_a_gate_is_offered_in_its_place_if_one_of_the_cards_counts_for_it() -> None:
    gates = [
        make_result(name="zh", where={"language": ("zh",)}),
        make_result(name="all"),
        make_result(name="tomorrow", metric="of_tomorrow"),
        make_result(name="all"),
    ]
    _, gate = lists([make_record(tags={"language": "en"})], gates)
    assert gate == Facet("Gate", (Option("g1", "all", 1), Option("g3", "all", 1)))


def test_a_tag_with_too_many_values_gets_no_list() -> None:
    records = [make_record(i, tags={"id": str(i)}) for i in range(MAX_OPTIONS + 1)]
    assert [facet.label for facet in lists(records)] == ["State"]
    state, ids = lists(records[1:])
    assert (state.label, ids.label, len(ids.options)) == ("State", "Id", MAX_OPTIONS)


def test_a_tag_named_suite_is_not_the_suite() -> None:
    records = [make_record(i, suite=f"s{i % 2}", tags={"suite": f"x{i}"}) for i in range(3)]
    assert [(facet.label, len(facet.options)) for facet in lists(records)] == [("State", 1), ("Suite", 2), ("Suite", 3)]


def test_a_gate_applies_by_suite_tag_and_metric() -> None:
    record = make_record(tags={"language": "en", "aspect": "vulnerability"})
    assert applies_to(make_gate(), record)
    assert applies_to(make_gate(where={"suite": ("demo",), "language": ("zh", "en")}), record)
    assert applies_to(make_gate(metric="attack_success_rate"), record)
    assert not applies_to(make_gate(where={"suite": ("other",)}), record)
    assert not applies_to(make_gate(metric="over_refusal_rate"), record)
    assert not applies_to(make_gate(metric="of_tomorrow"), record)


def test_standard_tags_stand_first_whatever_the_order_in_the_run() -> None:
    tags = {"zoom": "1", "language": "en", "bucket": "2", "category": "c"}
    assert ordered(tags) == (("category", "c"), ("language", "en"), ("bucket", "2"), ("zoom", "1"))
