"""``--samples``: several answers to every case."""

from __future__ import annotations

import json

import pytest
from project import Project, row

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
            "note: *5 cases scored differently from sample to sample: demo/case-0 (1 of 3 fail)*",
            "*right  accuracy 83.3%*(n=30, 10 clusters)",
        ]
    )
    run = json.loads((project.path / "run.json").read_text())
    assert run["settings"]["samples"] == 3
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
