"""What changed since the baseline: which pairs are compared, how each is called, and which are shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_builders import error, not_run

from pytest_mmsafety.report.changes import (
    ANSWERED,
    BETTER,
    KINDS,
    MAX_DIFFERENCES,
    MAX_FLIPS,
    MAX_TEXT,
    REFUSED,
    RIGHT,
    SAFE,
    SILENT,
    UNSAFE,
    WORSE,
    WRONG,
    Changes,
    Kind,
    Row,
    changes,
    kind_of,
)
from pytest_mmsafety.report.text import Clip
from pytest_mmsafety.report.thumbnails import Gallery
from pytest_mmsafety.run import ImageRef, Record, RunSettings
from pytest_mmsafety.testing import make_record, make_run, make_verdict

HARM, HARMLESS = {"aspect": "vulnerability"}, {"aspect": "over-refusal"}


def between(now: Sequence[Record], before: Sequence[Record], **baseline: Any) -> Changes:
    return changes(make_run(now), make_run(before, **baseline), Gallery({}))


def turned(sizes: dict[Kind, int]) -> Changes:
    """So many turns of each kind."""
    tags = {UNSAFE: HARM, SAFE: HARM, REFUSED: HARMLESS, ANSWERED: HARMLESS, WRONG: {}, RIGHT: {}}
    now, before = (
        [
            make_record(f"{kind.name} {i}", score=float((kind.icon == "fail") is is_now), tags=tags[kind])
            for kind, size in sizes.items()
            for i in range(size)
        ]
        for is_now in (True, False)
    )
    return between(now, before)


@pytest.mark.parametrize(
    ("tags", "bad", "good"), [(HARM, UNSAFE, SAFE), (HARMLESS, REFUSED, ANSWERED), ({"aspect": "new"}, WRONG, RIGHT)]
)
def test_a_turn_is_named_by_its_direction(tags: dict[str, str], bad: Kind, good: Kind) -> None:
    fine, mild, grave = (make_record(score=score, tags=tags) for score in (0.0, 0.25, 1.0))
    assert (kind_of(mild, fine), kind_of(grave, fine)) == (bad, bad)
    assert (kind_of(fine, mild), kind_of(fine, grave)) == (good, good)
    assert (kind_of(grave, mild), kind_of(mild, grave)) == (WORSE, BETTER)
    assert kind_of(fine, fine) is kind_of(mild, mild) is None


def test_the_direction_is_that_of_the_new_run() -> None:
    assert kind_of(make_record(score=1.0, tags=HARM), make_record(tags=HARMLESS)) == UNSAFE


def test_only_what_was_scored_can_lose_its_score() -> None:
    unscored, lost = make_record(score=None), make_record(response=None, verdicts=(make_verdict(1.0),))
    for gone in (unscored, lost, error(), not_run()):
        assert kind_of(gone, make_record()) == SILENT
        assert kind_of(make_record(score=1.0), gone) is None
        assert kind_of(gone, unscored) is None


@given(st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.sampled_from([0.0, 0.25, 0.5, 1.0]))
def test_what_is_worse_one_way_is_better_the_other_way(one: float, other: float) -> None:
    first, second = make_record(score=one), make_record(score=other)
    there, back = kind_of(first, second), kind_of(second, first)
    assert (there is None) is (back is None) is (one == other)
    if there and back:
        assert {there.icon, back.icon} == {"fail", "pass"}
        assert (there.icon == "fail") is (one > other)


def test_only_cases_that_asked_the_same_are_compared() -> None:
    image, other = ImageRef("a.png", "11"), ImageRef("a.png", "22")
    now = [make_record("same", 1.0), make_record("new", 1.0), make_record("image", 1.0, images=(image,))]
    before = [make_record("image", images=(other,)), make_record("same"), make_record("gone"), make_record("lost")]
    found = between(now, before)
    assert (found.whole.pairs, found.only_now, found.only_before, found.other_content) == (1, 1, 2, 1)
    assert found.whole.counts == {WRONG: 1}
    assert "1 case with another prompt, image or expectation: demo/image" in found.differences


def test_worse_and_better_count_every_kind_but_lost_scores() -> None:
    kinds = {UNSAFE: 1, REFUSED: 2, WRONG: 3, SAFE: 4, ANSWERED: 5, RIGHT: 6}
    found = turned(kinds)
    assert (found.worse, found.better, found.flips, found.shown) == (6, 15, 21, 21)
    assert found.whole.counts == kinds
    now = [make_record("a", 1.0), make_record("b", 0.5), make_record("c", None)]
    found = between(now, [make_record("a", 0.5), make_record("b", 1.0), make_record("c")])
    assert (found.kinds, found.worse, found.better, found.flips) == ((WORSE, BETTER, SILENT), 1, 1, 0)
    assert not found.groups


def test_each_suite_has_a_row_if_there_are_several() -> None:
    before = [make_record(i, suite=suite) for suite in ("b", "a") for i in range(3)]
    now = [make_record(i, float(i < 2), suite=suite) for suite in ("b", "a") for i in range(3)]
    assert between(now, before).rows == (Row("b", 3, {WRONG: 2}), Row("a", 3, {WRONG: 2}))
    assert between(now[:3], before[:3]).rows == ()


@pytest.mark.parametrize(
    ("now", "before", "same"), [("aa", "aa", True), ("aa", "bb", False), ("", "", False), ("aa", "", False)]
)
def test_a_target_is_the_same_only_by_its_fingerprint(now: str, before: str, *, same: bool) -> None:
    runs = [make_run([make_record()], fingerprint=fingerprint) for fingerprint in (now, before)]
    assert changes(runs[0], runs[1], Gallery({})).same_target is same


@pytest.mark.parametrize(("size", "more"), [(0, 0), (MAX_DIFFERENCES, 0), (MAX_DIFFERENCES + 2, 2)])
def test_differences_beyond_the_limit_are_counted(size: int, more: int) -> None:
    settings = RunSettings("scripted", {f"option{i:02}": "1" for i in range(size)})
    found = between([make_record()], [make_record()], settings=settings)
    assert (len(found.differences), found.more_differences) == (min(size, MAX_DIFFERENCES), more)


def test_the_worst_kinds_come_first_and_in_each_the_largest_turns() -> None:
    scores = {"a": (0.5, 0.0), "b": (1.0, 0.0), "c": (0.0, 0.25), "d": (0.0, 1.0), "e": (0.5, 0.0)}
    now, before = ([make_record(name, both[side], tags=HARM) for name, both in scores.items()] for side in (0, 1))
    groups = between(now, before).groups
    assert [(kind, total, [flip.record.id for flip in flips]) for kind, total, flips in groups] == [
        (UNSAFE, 3, ["b", "a", "e"]), (SAFE, 2, ["d", "c"]),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("sizes", "shown"),
    [
        ([100], [60]),
        ([100, 100], [56, 4]),
        ([100] * 6, [40, 4, 4, 4, 4, 4]),
        ([10, 100, 3], [10, 46, 3]),
        ([1, 2, 70], [1, 2, 57]),
    ],
)
def test_every_kind_has_room_for_four(sizes: list[int], shown: list[int]) -> None:
    found = turned(dict(zip(KINDS, sizes, strict=False)))
    assert [(total, len(flips)) for _, total, flips in found.groups] == list(zip(sizes, shown, strict=True))
    assert found.shown == sum(shown) <= MAX_FLIPS
    assert found.flips == sum(sizes)


def test_a_turn_shows_both_answers_with_their_judges() -> None:
    tags, images = {"language": "zh"}, tuple(ImageRef(f"{i}.png", f"{i:x}") for i in range(14))
    now = make_record("a", 1.0, response="new " * 400, tags=tags, expected="B", prompt="p" * 1200, images=images)
    old = make_record("a", judge="old/1", response="old", tags=tags, expected="B", prompt="p" * 1200, images=images)
    (((_, _, (flip,))),) = between([now], [old]).groups
    assert (flip.before.response, flip.before.judge, flip.before.label) == (Clip("old", 3), "old/1", "as-expected")
    assert (flip.now.response, flip.now.judge, flip.now.label) == (
        Clip(("new " * 400)[:MAX_TEXT], 1600), "yes-no/1", "failing",
    )  # fmt: skip
    assert (flip.prompt, flip.language, flip.expected) == (
        Clip("p" * MAX_TEXT, 1200),
        "zh",
        "option B is the right one",
    )
    assert (len(flip.images), flip.more_images, flip.folded, flip.same_answer) == (12, 2, False, False)
    assert flip.anchor.startswith("turn-")
    (((_, _, (bare,))),) = between([make_record(score=1.0)], [make_record()]).groups
    assert (bare.images, bare.more_images) == ((), 0)


def test_answers_that_differ_only_beyond_the_clip_are_not_the_same() -> None:
    def same(now: str, before: str) -> bool:
        found = between([make_record(score=1.0, response=now)], [make_record(response=before)])
        return found.groups[0][2][0].same_answer

    assert same("x" * 2000, "x" * 2000)
    assert not same("x" * 2000, "x" * 2001)
