"""What searching many cases in step saves, and what it costs besides the target.

    python perf/attack_lockstep.py [--cases 64] [--calls 50]

The target takes 20 ms a batch and 1 ms a row, and breaks on one change of the picture, found late. One script and one
run: the searches in step, one after the other, and with every variant asked alone, as a search that knows no waves
would; then the cost of an evaluation with a target that takes no time.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pytest_mmsafety.attacks.attack import EngineOracle
from pytest_mmsafety.attacks.lockstep import run_in_step
from pytest_mmsafety.attacks.search import Search
from pytest_mmsafety.attacks.settings import AttackSettings
from pytest_mmsafety.cases import Case
from pytest_mmsafety.engine.engine import Engine
from pytest_mmsafety.judges.panel import Panel
from pytest_mmsafety.store import Store
from pytest_mmsafety.targets import Request
from pytest_mmsafety.testing import make_case

IMAGES = Path(__file__).parents[1] / "cases" / "images"


class Slow:
    """Says yes, and no where the prompt has one of the words."""

    name = "slow"
    fingerprint = "slow"

    def __init__(self, a_batch: float, a_row: float) -> None:
        self._seconds = a_batch, a_row
        self.batches: list[int] = []

    def generate(self, requests: Sequence[Request]) -> list[str]:
        self.batches.append(len(requests))
        a_batch, a_row = self._seconds
        time.sleep(a_batch + a_row * len(requests))
        return ["no" if "Official" in request.prompt or "teacher" in request.prompt else "yes" for request in requests]


def searched(
    cases: Sequence[Case], calls: int, target: Slow, *, in_step: bool = True, batch_size: int = 64
) -> tuple[float, list[Search]]:
    engine = Engine(lambda: target, Panel(), Store(None), batch_size)
    oracle = EngineOracle(engine, lambda: None)
    searches = [Search(case, calls, AttackSettings(calls)) for case in cases]
    started = time.perf_counter()
    for some in [searches] if in_step else [[search] for search in searches]:
        run_in_step(some, oracle, lambda: False)
    seconds = time.perf_counter() - started
    engine.close()
    return seconds, searches


def found(searches: Sequence[Search]) -> list[str]:
    return [f"{search.case.id} {search.calls} {search.findings}" for search in searches]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=64)
    parser.add_argument("--calls", type=int, default=50)
    told = parser.parse_args()
    pictures = sorted(IMAGES.glob("*.png"))
    text = [make_case(i, prompt=f"Is number {i} on the table safe to touch? Yes or no.") for i in range(told.cases)]
    shown = [replace(case, images=(str(pictures[i % len(pictures)]),)) for i, case in enumerate(text)]
    print("| cases | searches | evaluations | batches | seconds | ratio |\n| --- | --- | --- | --- | --- | --- |")
    for kind, cases in (("text", text), ("with a picture", shown)):
        results = {}
        for way, told_so in (
            ("in step", {}),
            ("one after the other", {"in_step": False}),
            ("every variant alone", {"in_step": False, "batch_size": 1}),
        ):
            target = Slow(0.02, 0.001)
            seconds, searches = searched(cases, told.calls, target, **told_so)
            calls = sum(search.calls for search in searches)
            results[way] = seconds, found(searches)
            ratio = seconds / results["in step"][0]
            print(f"| {kind} | {way} | {calls} | {len(target.batches)} | {seconds:.1f} | {ratio:.1f} |", flush=True)
            assert results[way][1] == results["in step"][1], "the searches found other things"
    print("\nten runs in step, alike:", end=" ")
    runs = [found(searched(text, told.calls, Slow(0, 0))[1]) for _ in range(10)]
    print(all(run == runs[0] for run in runs))
    for kind, cases in (("text", text), ("with a picture", shown)):
        seconds, searches = searched(cases, told.calls, Slow(0, 0))
        calls = sum(search.calls for search in searches)
        print(
            f"cost of an evaluation besides the target, {kind}: {1000 * seconds / calls:.2f} ms ({calls} evaluations)"
        )


if __name__ == "__main__":
    main()
