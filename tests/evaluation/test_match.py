"""Which cases two runs have in common."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pytest_mmsafety.evaluation.table import ABSENT, CHANGED, match
from pytest_mmsafety.run import ImageRef
from pytest_mmsafety.testing import make_record

CASE = make_record("a", tags={"language": "en"}, prompt="Is it?", images=(ImageRef("a.png", "0a"),))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, 1),
        ({"response": "other", "error": "x", "cluster": "d", "tags": {}}, 1),
        ({"images": (ImageRef("renamed.png", "0a"),)}, 1),
        ({"prompt": "Is it not?"}, CHANGED),
        ({"expected": "no"}, CHANGED),
        ({"images": (ImageRef("a.png", "0b"),)}, CHANGED),
        ({"images": ()}, CHANGED),
        ({"key": "demo/b"}, ABSENT),
    ],
)
def test_the_same_case_has_the_same_key_and_content(change: dict[str, Any], expected: int) -> None:
    other = replace(CASE, key="demo/other")
    assert match([CASE], [other, replace(CASE, **change)]).tolist() == [expected]


def test_images_that_could_not_be_read_are_not_known_to_be_the_same() -> None:
    unread = replace(CASE, images=(ImageRef("a.png", ""),))
    assert match([unread], [unread]).tolist() == [CHANGED]


def test_nothing_in_common() -> None:
    assert match([CASE], []).tolist() == [ABSENT]
    assert match([], [CASE]).tolist() == []
