"""The model card: every number of the card is in its text, and what is not known is a dash."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_mmsafety.training.mini.card import TITLES, card_text

SHARES = st.floats(0, 1).map(lambda value: round(value, 3))
INTERVALS = st.lists(SHARES, min_size=3, max_size=3)


def source(name: str = "one", **changes: Any) -> dict[str, Any]:
    known = {"licence": "MIT", "labels": "two people", "answers": 120, "trained_on": 80}
    return {"name": name, **known, **changes}


def figure(**changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "head": "harm", "source": "one", "how": "source", "language": "en",
        "answers": 96, "positives": 24, "questions": 48, "decided": 0.875,
        "auroc": [0.911, 0.822, 0.977], "accuracy": [0.811, 0.733, 0.888], "accuracy_decided": [0.844, 0.755, 0.922],
        "sensitivity": [0.666, 0.555, 0.771], "specificity": [0.933, 0.866, 0.966],
    }  # fmt: skip
    return {**values, **changes}


def card(**changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "seed": 17, "per_source": 4000, "taught_per_source": 0, "sources": [source()], "figures": [figure()],
    }  # fmt: skip
    return {**values, **changes}


def rows(text: str, start: str) -> list[list[str]]:
    """The cells of the rows of a table that begin with *start*."""
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith(start)
    ]


def test_a_figure_is_one_row_of_its_numbers() -> None:
    (row,) = rows(card_text(card()), "| one | the source")
    assert row == [
        "one", "the source", "96", "24", "48", "0.911 [0.822, 0.977]", "0.811 [0.733, 0.888]", "88%",
        "0.844 [0.755, 0.922]", "0.666 [0.555, 0.771]", "0.933 [0.866, 0.966]",
    ]  # fmt: skip


@given(
    st.lists(
        st.tuples(
            st.sampled_from(list(TITLES)), st.sampled_from(["source", "questions"]), st.integers(2, 10**6), INTERVALS
        ),
        max_size=8,
    )
)
def test_every_figure_of_the_card_is_in_the_text(drawn: list[tuple[str, str, int, list[float]]]) -> None:
    figures = [figure(head=head, how=how, answers=n, auroc=auroc) for head, how, n, auroc in drawn]
    text = card_text(card(figures=figures))
    found = [(row[1], row[2], row[5]) for row in rows(text, "| one | the")]
    wanted = [
        (f"the {how}", str(n), "{:.3f} [{:.3f}, {:.3f}]".format(*auroc))
        for head in TITLES
        for of, how, n, auroc in drawn
        if of == head
    ]
    assert found == wanted
    for head, title in TITLES.items():
        assert (f"\n### {title}\n" in text) == any(of == head for of, *_ in drawn)


def test_every_table_has_as_many_cells_in_its_rows_as_in_its_head() -> None:
    figures = [figure(head=head, how=how) for head in TITLES for how in ("source", "questions")]
    text = card_text(card(sources=[source(), source("two", trained_on=0)], figures=figures))
    tables = [block.split("\n") for block in text.split("\n\n") if block.startswith("|")]
    assert len(tables) == 1 + len(TITLES)
    for table in tables:
        assert len({line.count("|") for line in table}) == 1
        assert set(table[1]) <= set("|-: ")
        assert len(table) == 4


@pytest.mark.parametrize("name", ["a|b", "a\nb", "a\r\nb", "a\u2028b", "a\\|b", "a\\"])
def test_no_name_of_a_source_breaks_its_row(name: str) -> None:
    text = card_text(card(sources=[source(name)], figures=[figure(source=name)]))
    shown = name.replace("\\", r"\\").replace("|", r"\|")
    shown = " ".join(shown.split())
    assert text.startswith(f"# Model card: guardrank-mini/2, trained on {shown}\n\n")
    assert f"\n| {shown} | MIT | two people | 120 | 80 |\n" in text
    assert f"\n| {shown} | the source | 96 | 24 | 48 | " in text


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ([math.nan, None, None], "-"),
        ([None, None, None], "-"),
        ([1.0, None, None], "1.000"),
        ([0.5, None, 0.7], "0.500"),
        ([0.0, 0.0, 0.25], "0.000 [0.000, 0.250]"),
    ],
)
def test_what_is_not_known_is_not_made_up(value: list[float | None], shown: str) -> None:
    (row,) = rows(card_text(card(figures=[figure(auroc=value)])), "| one | the source")
    assert row[5] == shown


def test_sources_say_what_was_trained_on_and_what_only_tests() -> None:
    text = card_text(card(sources=[source(), source("two", licence="CC BY 4.0", answers=7, trained_on=0)]))
    assert text.startswith("# Model card: guardrank-mini/2, trained on one\n")
    assert rows(text, "| one | MIT") == [["one", "MIT", "two people", "120", "80"]]
    assert rows(text, "| two |") == [["two", "CC BY 4.0", "two people", "7", "none: test only"]]


def test_the_teacher_is_named_only_where_there_was_one() -> None:
    assert "Seed 17; at most 4000 answers a source. No teacher.\n" in card_text(card())
    taught = card_text(card(taught_per_source=640))
    assert "No teacher" not in taught
    assert (
        "Seed 17; at most 4000 answers a source. SmolLM2-135M-Instruct (Apache-2.0) read 640 answers a source;"
        in taught
    )


def test_a_card_without_figures_still_says_what_the_judge_must_not_be_used_for() -> None:
    text = card_text(card(figures=[]))
    assert "###" not in text
    assert "## Measured error" in text
    assert text.index("## Data") < text.index("## Measured error") < text.index("## What it must not be used for")
    assert text.endswith("easily gamed.\n")
