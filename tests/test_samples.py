"""``--samples``: several answers to every case."""

from __future__ import annotations

import json
from typing import Any

import pytest
from conftest import Project, row

from pytest_mmsafety.cases import Case
from pytest_mmsafety.evaluation.flicker import flicker, flicker_note
from pytest_mmsafety.run import Record
from pytest_mmsafety.suites import samples_of
from pytest_mmsafety.verdicts import Verdict

DICE = '''
class Dice:
    """Answers no to the second sample of even cases."""
    name = "dice"
    def generate(self, requests):
        return ["no" if r.sample == 2 and int(r.prompt.split()[1]) % 2 == 0 else "yes" for r in requests]
'''


@pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["one process", "xdist"])
def test_every_case_is_asked_k_times(project: Project, workers: tuple[str, ...]) -> None:
    project.pytester.makepyfile(dice=DICE)
    project.suite([row(number) for number in range(10)])
    bound = project.thresholds({"name": "right", "metric": "accuracy", "min": 0.5})
    arguments = (bound, "--samples=3", "--save-run=run.json", "cases", *workers)
    result = project.run(*arguments, model="dice:Dice")
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [
            "cases:  30 answered, 5 not as expected*",
            "note: *5 cases flicker from sample to sample: demo/case-0 (1 of 3 fail)*",
            "*right  accuracy 83.3%*(n=30, 10 clusters)",
        ]
    )
    run = json.loads((project.path / "run.json").read_text())
    assert run["settings"]["samples"] == "3"
    assert {record["id"] for record in run["records"]} >= {"case-0", "case-0~2", "case-0~3"}


def test_one_sample_and_more_share_what_is_stored(project: Project) -> None:
    project.suite([row(number) for number in range(4)])
    assert project.run_here("cases").ret == 0
    result = project.run_here("--samples=2", "cases")
    assert sum(project.calls()) == 8
    result.stdout.fnmatch_lines(["*8 answered*4 from the store*"])


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5", "1001"])
def test_what_is_no_number_of_samples(project: Project, value: str) -> None:
    project.suite([row(0)])
    result = project.run_here(f"--samples={value}", "cases")
    assert result.ret == 4
    result.stderr.fnmatch_lines([f"ERROR: --samples: '{value}' is not a whole number from 1 to 1000"])


def test_samples_stay_in_the_cluster_and_the_pair_of_their_case() -> None:
    case = Case("a", "s", "p", "yes", tags={"pair": "q", "variant": "clean"})
    first, second = samples_of(case, 2)
    assert (first.key, second.key) == ("s/a", "s/a~2")
    assert first.cluster == second.cluster == "s/a"
    assert (first.tags["pair"], second.tags["pair"]) == ("q", "q~2")
    assert (first.sample, second.sample) == (1, 2)
    assert samples_of(case, 1) == [case]
    assert samples_of(Case("a", "s", "p", "yes", images=("x.png",)), 2)[1].cluster is None  # the image's content


def record(key: str, sample: int, score: float | None) -> Record:
    values: dict[str, Any] = dict.fromkeys(Record.__slots__, "")
    tags = {"sample": str(sample)}
    return Record(**{**values, "key": key, "tags": tags, "verdicts": (Verdict("j/1", "x", score),)})


def test_flicker_is_listed_by_case() -> None:
    scores = {"s/a": [0, 1, 0, 1], "s/b": [1, 1, 1, 1], "s/c": [0, 0, 0, 1], "s/d": [0, None, 0, 0]}
    records = [
        record(key if number == 1 else f"{key}~{number}", number, score)
        for key, found in scores.items()
        for number, score in enumerate(found, start=1)
    ]
    assert flicker(records) == [("s/a", 2, 4), ("s/c", 1, 4)]
    assert flicker_note(records) == ("2 cases flicker from sample to sample: s/a (2 of 4 fail), s/c (1 of 4 fail)")
    assert flicker_note(records[4:8]) == ""
