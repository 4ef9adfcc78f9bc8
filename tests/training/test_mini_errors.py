"""The file of judge errors that a training writes: sums of the counts in its card, each source once."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pytest_mmsafety.judge_errors import Stratum, load_judge_errors, save_judge_errors
from pytest_mmsafety.training.mini.errors import CLUSTERS, COUNTS, errors_of

NUMBERS = st.lists(st.integers(0, 500), min_size=9, max_size=9)


def figure(source: str = "one", numbers: list[int] | None = None, **changes: Any) -> dict[str, Any]:
    counts = dict(zip((*COUNTS, *CLUSTERS), numbers or (1, 2, 3, 4, 5, 6, 9, 4, 5), strict=True))
    return {"head": "harm", "source": source, "how": "source", "language": "en", "counts": counts, **changes}


def counts_of(stratum: Stratum) -> list[float]:
    return [getattr(stratum, name) for name in (*COUNTS, *CLUSTERS)]


@given(st.dictionaries(st.sampled_from(["one", "two", "three", "four"]), NUMBERS, min_size=1))
def test_the_whole_is_the_sum_of_the_sources(numbers: dict[str, list[int]]) -> None:
    errors = errors_of({"figures": [figure(name, some) for name, some in numbers.items()]}, "guardrank-mini/2")
    whole = errors.best({})
    assert counts_of(whole) == [sum(column) for column in zip(*numbers.values(), strict=True)]
    assert whole.n == sum(counts_of(whole)[: len(COUNTS)]), "clusters are no answers"
    assert whole.sources == tuple(sorted(numbers))
    for name, some in numbers.items():
        assert counts_of(errors.best({"source": name})) == some
        assert errors.best({"source": name}).n == sum(some[: len(COUNTS)])


def test_a_source_that_was_tested_twice_counts_by_its_questions() -> None:
    by_source, by_questions = figure(numbers=[9] * 9), figure(numbers=[2] * 9, how="questions")
    for figures in ([by_source, by_questions], [by_questions, by_source]):
        errors = errors_of({"figures": figures}, "guardrank-mini/2")
        assert counts_of(errors.best({})) == [2] * 9
        assert counts_of(errors.best({"source": "one"})) == [2] * 9


def test_languages_are_apart_and_mixed_is_one_of_them() -> None:
    figures = [figure("a"), figure("b"), figure("c", language="zh"), figure("d", language="mixed")]
    errors = errors_of({"figures": figures}, "guardrank-mini/2")
    assert errors.best({}).n == 4 * 21
    assert [
        (errors.best({"language": name}).n, errors.best({"language": name}).sources) for name in ("en", "zh", "mixed")
    ] == [
        (42, ("a", "b")),
        (21, ("c",)),
        (21, ("d",)),
    ]
    assert errors.best({"language": "fr"}) == errors.best({})


def test_a_source_unlike_answers_to_requests_is_not_in_its_language_either() -> None:
    errors = errors_of({"figures": [figure("gptfuzz"), figure("diasafety")]}, "guardrank-mini/2")
    assert errors.best({"language": "en"}).sources == ("gptfuzz",)
    assert errors.best({"source": "diasafety"}).n == 21


def test_a_language_of_unlike_answers_alone_has_the_errors_of_the_whole() -> None:
    errors = errors_of({"figures": [figure("jade", language="zh"), figure("diasafety")]}, "guardrank-mini/1")
    assert errors.best({"language": "en"}) == errors.best({})
    assert [dict(stratum.by) for stratum in errors.strata] == [
        {}, {"language": "zh"}, {"source": "jade"}, {"source": "diasafety"},
    ]  # fmt: skip
    assert all(stratum.n for stratum in errors.strata)


def test_refusals_have_a_stratum_where_they_were_measured_and_partial_ones_none() -> None:
    harm, refusal = figure(), figure("two", [3] * 9, head="refusal", how="questions")
    errors = errors_of({"figures": [harm, refusal, figure(head="partial", numbers=[8] * 9)]}, "guardrank-mini/2")
    assert errors.best({"expected": "comply"}).sources == ("two",)
    assert counts_of(errors.best({"expected": "comply"})) == [3] * 9
    assert errors.best({}).n == 21
    without = errors_of({"figures": [harm]}, "guardrank-mini/2")
    assert without.best({"expected": "comply"}).by == {}


def test_the_file_says_of_what_and_when_and_comes_back_as_it_was(tmp_path: Path) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    errors = errors_of({"figures": [figure()]}, "guardrank-mini/2+abc")
    assert (errors.judge, errors.threshold, errors.effective, dict(errors.files)) == (
        "guardrank-mini/2+abc",
        0.5,
        False,
        {},
    )
    assert before <= datetime.fromisoformat(errors.created) <= datetime.now(UTC)
    save_judge_errors(errors, tmp_path / "errors.json")
    assert load_judge_errors(tmp_path / "errors.json") == errors
