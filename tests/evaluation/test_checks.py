"""Gates held against the cases and the baseline at hand, before anything is evaluated."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_mmsafety.errors import SetupError
from pytest_mmsafety.evaluation.checks import (
    check_baseline,
    check_gates,
    idle_baseline,
    idle_judge_errors,
    missing_baseline,
    misspelt_tolerance,
    unmatched_reason,
)
from pytest_mmsafety.run import RunSettings
from pytest_mmsafety.testing import make_gate, make_record, make_run

CASES = [
    ("usb", {"language": "zh", "aspect": "vulnerability"}),
    ("aware", {"language": "en", "aspect": "over-refusal"}),
]


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({}, ""),
        ({"where": {"language": ("zh", "fr")}}, ""),
        ({"where": {"langage": ("zh",)}}, "no collected case has the tag 'langage'; did you mean 'language'?"),
        (
            {"where": {"aspect": ("over-refusl",)}},
            "no collected case has aspect: over-refusl; did you mean 'over-refusal'?",
        ),
        ({"where": {"suite": ("awre",)}}, "no collected case has suite: awre; did you mean 'aware'?"),
        ({"where": {"language": ("xx",)}}, "no collected case has language: xx"),
        (
            {"metric": "attack_success_rate", "where": {"language": ("en",)}},
            "no collected case matches its filters and counts for attack_success_rate",
        ),
        (
            {"where": {"language": ("en",), "suite": ("usb",)}},
            "no collected case matches its filters and counts for failure_rate",
        ),
    ],
)
def test_a_gate_without_cases_says_what_is_nearest(keys: dict[str, Any], reason: str) -> None:
    assert unmatched_reason(make_gate(**keys), CASES) == reason


def test_gates_of_which_none_has_a_case_are_refused_by_the_first() -> None:
    gates = [make_gate(name="f", where={"language": ("fr",)}), make_gate(name="g", where={"suite": ("other",)})]
    with pytest.raises(SetupError) as error:
        check_gates(gates, CASES, "p.yaml", whole=False)
    assert str(error.value) == ("--thresholds: p.yaml: matches no case; gate 'f': no collected case has language: fr")
    check_gates([*gates, make_gate()], CASES, "p.yaml", whole=False)
    check_gates(gates, [], "p.yaml", whole=False)


def test_a_misspelt_zero_tolerance_is_refused_only_where_the_suites_are_whole() -> None:
    gates = [make_gate(zero_tolerance=({"language": ("fr",)},))]
    with pytest.raises(SetupError) as error:
        check_gates(gates, CASES, "p.yaml", whole=True)
    assert str(error.value) == ("--thresholds: p.yaml: gate 'gate': zero_tolerance: no collected case has language: fr")
    check_gates(gates, CASES, "p.yaml", whole=False)


TOLERATING = [("a", {"category": "medical-advice"}), ("a", {"category": "weapons"}), ("b", {"category": "privacy"})]
OF_A = {"where": {"suite": ("a",)}}


@pytest.mark.parametrize(
    ("keys", "filters", "problem"),
    [
        ({}, [], ""),
        (OF_A, [{"category": ("medical-advice",)}], ""),
        (OF_A, [{"category": ("privacy",)}], ""),
        ({"where": {"suite": ("c",)}}, [{"category": ("medical-advise",)}], ""),
        (
            OF_A,
            [{"category": ("weapons",)}, {"category": ("medical-advise",)}],
            "zero_tolerance: no collected case has category: medical-advise; did you mean 'medical-advice'?",
        ),
        (OF_A, [{"category": ("xyz",)}], "zero_tolerance: no collected case has category: xyz"),
        (OF_A, [{"category": ("weapons",)}, {"category": ("xyz",)}], ""),
        (
            {},
            [{"catgory": ("weapons",)}],
            "zero_tolerance: no collected case has the tag 'catgory'; did you mean 'category'?",
        ),
    ],
)
def test_a_misspelt_zero_tolerance_is_told_from_one_for_other_suites(
    keys: dict[str, Any], filters: list[dict[str, tuple[str, ...]]], problem: str
) -> None:
    assert misspelt_tolerance(make_gate(**keys, zero_tolerance=tuple(filters)), TOLERATING) == problem


def test_without_a_baseline_one_line_names_the_gate() -> None:
    assert missing_baseline([make_gate(), make_gate(name="h", max_regression=0.05)]).startswith(
        "gate 'h' has max_regression"
    )
    assert missing_baseline([make_gate()]) == ""


def test_a_baseline_that_no_gate_compares_with_is_noted() -> None:
    assert idle_baseline([make_gate()]) == "--baseline: no gate has max_regression, so none compares with it"
    assert idle_baseline([make_gate(), make_gate(max_regression=0.05)]) == ""


def test_a_baseline_that_is_needed_has_to_be_there_and_of_the_same_kind() -> None:
    run, gates = make_run([make_record()]), [make_gate(max_regression=0.05)]
    other = make_run([make_record()], target="other")
    warm = make_run([make_record()], settings=RunSettings("scripted", {"temperature": "1"}))
    with pytest.raises(SetupError, match=r"^--baseline: gate 'gate' has max_regression, but there is no baseline"):
        check_baseline(run, gates, None, frozenset())
    check_baseline(run, [make_gate()], None, frozenset())
    check_baseline(run, gates, run, frozenset())
    check_baseline(run, gates, other, frozenset())
    with pytest.raises(
        SetupError, match=r"^--baseline: .*temperature.*\(compare all the same: --baseline-allow=decoding\)$"
    ):
        check_baseline(run, gates, warm, frozenset())
    check_baseline(run, gates, warm, frozenset({"decoding"}))


def test_errors_of_a_judge_that_judged_nothing_are_named() -> None:
    run = make_run([make_record(1, judge="refusal/1"), make_record(2, judge="yes-no/1")])
    assert idle_judge_errors(run, ["refusal/1"]) == []
    (note,) = idle_judge_errors(run, ["refusal/1", "refusal/9"])
    assert note == (
        "--judge-errors: refusal/9 judged no answer of this run, so its errors correct nothing; "
        "judged by refusal/1, yes-no/1"
    )
    assert idle_judge_errors(make_run(), ["refusal/9"])[0].endswith("judged by no judge")
