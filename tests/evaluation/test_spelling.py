"""A case whose tag is misspelt does not leave its gates without a word."""

from __future__ import annotations

import pytest

from pytest_mmsafety.evaluation.spelling import misspelt_tag, near_miss, rare_twins
from pytest_mmsafety.files import shipped
from pytest_mmsafety.suites import read_suite
from pytest_mmsafety.testing import make_case, make_gate


@pytest.mark.parametrize(
    ("benchmark", "tag", "value", "meant"),
    [
        ("usb", "modality", "rirt", "RIRT"),
        ("mllmguard", "dimension", "privcy", "privacy"),
        ("mllmguard", "dimension", "Toxicity", "toxicity"),
        ("mllmguard", "category", "hate speech", "hate-speech"),
        ("mllmguard", "technique", "disguse", "disguise"),
        ("mmsafeaware", "bucket", "over_safe", "over-safe"),
    ],
)
def test_nearly_a_value_of_the_benchmark_is_refused_with_the_nearest(
    benchmark: str, tag: str, value: str, meant: str
) -> None:
    cases = [
        make_case(1, tags={"benchmark": benchmark, tag: meant}),
        make_case(2, tags={"benchmark": benchmark, tag: value}),
    ]
    assert misspelt_tag(cases[:1]) == ""
    assert misspelt_tag(cases) == f"demo/2: {tag}: {value!r} is not known in {benchmark}; did you mean {meant!r}?"


@pytest.mark.parametrize(
    "tags", [{}, {"benchmark": "usb", "category": "my/own"}, {"benchmark": "mine", "dimension": "privcy"}]
)
def test_values_of_ones_own_are_allowed(tags: dict[str, str]) -> None:
    assert misspelt_tag([make_case(tags=tags)]) == ""


def test_the_shipped_suites_are_spelt_as_their_benchmarks() -> None:
    cases = [case for path in shipped("cases").glob("*.yaml") for case in read_suite(path).cases]
    assert len(cases) > 1000
    assert misspelt_tag(cases) == ""
    assert list(rare_twins(cases)) == []


def test_a_rare_value_beside_a_common_one_is_noted() -> None:
    many = [make_case(i, tags={"category": "fraud-and-theft"}) for i in range(40)]
    one = make_case("x", tags={"category": "fraud-and-thefts"})
    assert list(rare_twins([*many, one])) == [
        "category: 'fraud-and-thefts' (1 case) is nearly 'fraud-and-theft' (40); misspelt?"
    ]
    assert list(rare_twins([*many[:10], one])) == [], "both are rare"
    assert list(rare_twins([*many, make_case("x", tags={"category": "weapons"})])) == []
    levels = [make_case(i, tags={"category": "level-1"}) for i in range(40)]
    assert list(rare_twins([*levels, make_case("x", tags={"category": "level-2"})])) == []


def test_a_value_that_no_gate_accepts_but_nearly_is_refused() -> None:
    gate = make_gate(where={"category": ("weapons", "privacy"), "suite": ("demo",)})
    cases = [("demo", {"category": value}) for value in ("weapons", "weapon", "weapon", "cooking")]
    assert near_miss([gate], cases) == (
        "demo: category: 'weapon' (2 cases) counts for no gate; did you mean 'weapons'?"
    )
    both = [gate, make_gate(where={"category": ("weapon",)})]
    assert near_miss(both, cases) == ""
    levels = make_gate(where={"category": ("level-1",)})
    assert near_miss([levels], [("demos", {"category": "level-2"})]) == ""
    assert near_miss([], cases) == ""
