"""Columns of a run: they say what the records say, one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_mmsafety.evaluation.table import ANSWERED, ERROR, MISSING, SKIPPED, Table
from pytest_mmsafety.metrics import METRICS
from pytest_mmsafety.run import Record
from pytest_mmsafety.testing import make_gate, make_record, make_verdict
from pytest_mmsafety.verdicts import score_by

TAGS = {
    "aspect": ["vulnerability", "over-refusal", "other"],
    "bucket": ["typical", "attack", "over-safe", "x"],
    "technique": ["noise-injection", "none"],
    "language": ["en", "zh"],
}


@st.composite
def record_lists(draw: st.DrawFn) -> list[Record]:
    rows = draw(
        st.lists(
            st.tuples(
                st.fixed_dictionaries({}, optional={tag: st.sampled_from(values) for tag, values in TAGS.items()}),
                st.sampled_from(["s", "t"]),
                st.lists(st.sampled_from([None, 0.0, 0.5, 1.0]), max_size=2),
            ),
            max_size=12,
        )
    )
    return [record(i, tags, suite, scores) for i, (tags, suite, scores) in enumerate(rows)]


def record(number: int, tags: dict[str, str], suite: str = "demo", scores: Sequence[float | None] = (0.0,)) -> Record:
    verdicts = tuple(make_verdict(score, f"j{k}/1") for k, score in enumerate(scores))
    return make_record(number, suite=suite, tags=tags, cluster=str(number % 3), verdicts=verdicts)


@given(record_lists(), st.sampled_from(sorted(METRICS)), st.sampled_from(["", "j0", "j1", "other"]))
def test_columns_are_what_the_records_say(records: list[Record], name: str, judge: str) -> None:
    table, metric = Table(records), METRICS[name]
    strata = [metric.stratum(r.tags) for r in records]
    names = [*metric.weights] or [""]
    assert [None if i < 0 else names[i] for i in table.strata(metric)] == strata
    if not metric.given:
        expected = [metric.value(score_by(r.verdicts, judge)) for r in records]
        assert [None if np.isnan(v) else v for v in table.values(metric, judge)] == expected


@given(
    record_lists(),
    st.dictionaries(
        st.sampled_from([*TAGS, "suite", "unknown"]),
        st.lists(st.sampled_from(["en", "zh", "attack", "s", "t", "vulnerability", "?"]), max_size=3).map(tuple),
        max_size=3,
    ),
)
def test_filters_are_those_of_a_gate(records: list[Record], where: dict[str, tuple[str, ...]]) -> None:
    gate = make_gate(where=where)
    assert Table(records).where(where).tolist() == [gate.applies_to(r.suite, r.tags) for r in records]


def test_states_and_clusters() -> None:
    one = record(0, {})
    rows = [one, replace(one, skipped="x"), replace(one, error="x"), replace(one, response=None)]
    assert Table(rows).state.tolist() == [ANSWERED, SKIPPED, ERROR, MISSING]
    assert len(set(Table([record(i, {}) for i in range(7)]).cluster.tolist())) == 3


@pytest.mark.parametrize(
    ("clean", "noisy", "expected"),
    [(0.0, 1.0, 1.0), (0.0, 0.0, 0.0), (1.0, 1.0, None), (1.0, 0.0, None), (None, 1.0, None), (0.0, None, None)],
)
def test_noise_counts_where_the_clean_image_was_answered_right(
    clean: float | None, noisy: float | None, expected: float | None
) -> None:
    tags = {"technique": "noise-injection", "pair": "a"}
    rows = [
        record(0, {**tags, "variant": "clean"}, scores=[clean]),
        record(1, {**tags, "variant": "noisy"}, scores=[noisy]),
        record(2, {**tags, "variant": "noisy"}, suite="t", scores=[1.0]),
        record(3, {"technique": "noise-injection", "variant": "noisy"}, scores=[1.0]),
    ]
    values = Table(rows).values(METRICS["mllmguard_noise_asd"], "")
    assert [None if np.isnan(v) else v for v in values] == [None, expected, None, None]
