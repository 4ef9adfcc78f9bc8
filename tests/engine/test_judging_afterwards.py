"""Judges that wait until the target is done and has left."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from pytest_mmsafety.cases import Case
from pytest_mmsafety.engine.batches import units
from pytest_mmsafety.engine.engine import Engine
from pytest_mmsafety.judges.panel import Panel
from pytest_mmsafety.store import Store
from pytest_mmsafety.targets import Request
from pytest_mmsafety.testing import ScriptedJudge, ScriptedTarget, make_case
from pytest_mmsafety.verdicts import Verdict


def test_a_second_window_after_the_judges_is_asked_and_judged_too() -> None:
    """A plugin that runs items again submits when the target is gone already."""

    log: list[str] = []

    class Device(ScriptedTarget):
        def generate(self, requests: Sequence[Request]) -> Sequence[str]:
            log.append("asked")
            return super().generate(requests)

        def release(self) -> None:
            log.append("released")

    class Heavy(ScriptedJudge):
        fingerprint = "weights"

        def judge(self, cases: Sequence[Case], responses: Sequence[str]) -> Sequence[Verdict]:
            log.append("judged")
            return super().judge(cases, responses)

        def release(self) -> None:
            log.append("judge left")

    engine = Engine(Device, Panel([Heavy()]), Store(None), 4, judge_after=True)
    for start in (0, 4):
        cases = [make_case(i, expected="safe") for i in range(start, start + 4)]
        engine.submit(cases)
        assert [outcome.score for outcome in engine.collect(cases, lambda: None)] == [0.0] * 4
    engine.close()
    assert log[:8] == ["asked", "released", "judged", "judge left"] * 2


@pytest.mark.parametrize("sizes", [[1] * 37, [5, 1, 90, 2], [3], [10, 10, 10]])
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_a_worker_that_judges_afterwards_gets_one_unit(sizes: list[int], workers: int) -> None:
    numbers = units(sizes, 8, workers, whole=True)
    assert numbers == sorted(numbers)
    assert max(numbers) + 1 <= workers
