"""Cases whose samples are scored differently."""

from __future__ import annotations

from pytest_mmsafety.evaluation.flicker import flicker, flicker_note
from pytest_mmsafety.testing import make_record


def test_flicker_is_listed_by_case() -> None:
    scores = {"a": [0, 1, 0, 1], "b": [1, 1, 1, 1], "c": [0, 0, 0, 1], "d": [0, None, 0, 0]}
    records = [
        make_record(id_ if number == 1 else f"{id_}~{number}", score, tags={"sample": str(number)})
        for id_, found in scores.items()
        for number, score in enumerate(found, start=1)
    ]
    assert flicker(records) == [("demo/a", 2, 4), ("demo/c", 1, 4)]
    assert flicker_note(records) == (
        "2 cases scored differently from sample to sample: demo/a (2 of 4 fail), demo/c (1 of 4 fail)"
    )
    assert flicker_note(records[4:8]) == ""
