"""An attack on some groups: their searches, run in step on an engine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from pytest_mmsafety.attacks.cases import HALF, original_of
from pytest_mmsafety.attacks.lockstep import run_in_step
from pytest_mmsafety.attacks.memory import Memory
from pytest_mmsafety.attacks.results import outcome_of_search, outcome_under_universal
from pytest_mmsafety.attacks.search import Search
from pytest_mmsafety.attacks.settings import UNIVERSAL, AttackSettings
from pytest_mmsafety.attacks.universal import UniversalSearch
from pytest_mmsafety.cases import Case
from pytest_mmsafety.engine.engine import Engine
from pytest_mmsafety.findings import Finding
from pytest_mmsafety.outcomes import Outcome


@dataclass(frozen=True)
class EngineOracle:
    """An engine that answers and judges; *tick* is called while this thread waits for it."""

    engine: Engine
    tick: Callable[[], None]

    def ask(self, cases: Sequence[Case]) -> list[Outcome]:
        self.engine.submit(cases)
        return self.engine.collect(cases, self.tick)

    def judge_again(self, cases: Sequence[Case], outcomes: Sequence[Outcome]) -> list[Outcome]:
        self.engine.judge_again(cases, outcomes)
        return self.engine.collect(cases, self.tick)


class Attack:
    """Groups that are attacked together, so that their waves fill the batches."""

    def __init__(self, groups: Sequence[Sequence[Case]], settings: AttackSettings, memory: Memory) -> None:
        """*groups* as :func:`.cases.attacked` made them, of cases ``ID@search`` or ``ID@universal``."""
        self._settings = settings
        self._memory = memory
        self._cases = [case for cases in groups for case in cases]
        self._search_of: dict[str, Search | UniversalSearch] = {}
        """By the key of the case that is attacked."""
        for cases in groups:
            originals = [original_of(case) for case in cases]
            if settings.mode == UNIVERSAL:
                chosen_on, held_out = (
                    [original for case, original in zip(cases, originals, strict=True) if case.tags[HALF] == half]
                    for half in ("chosen-on", "held-out")
                )
                universal = UniversalSearch(chosen_on, held_out, settings)
                self._search_of |= dict.fromkeys((case.key for case in cases), universal)
                continue
            calls = settings.calls_of_case(len(cases))
            for case, original in zip(cases, originals, strict=True):
                before = memory.recall(original, settings.techniques)
                self._search_of[case.key] = Search(original, calls, settings, before)

    @property
    def _searches(self) -> list[Search | UniversalSearch]:
        return list(dict.fromkeys(self._search_of.values()))

    @property
    def calls(self) -> int:
        return sum(search.calls for search in self._searches)

    def run(self, oracle: EngineOracle) -> None:
        """Attack; what was found is to be had at any time, also when this is interrupted."""
        limit = self._settings.seconds
        until = float("inf") if limit is None else time.monotonic() + limit
        try:
            run_in_step(self._searches, oracle, lambda: time.monotonic() > until)
        finally:
            for search in self._searches:
                if isinstance(search, Search):
                    self._memory.remember(search.case, [finding.perturbations for finding in search.findings])

    def outcomes(self) -> Iterator[Outcome]:
        """One for every case that is attacked."""
        for case in self._cases:
            search = self._search_of[case.key]
            if isinstance(search, Search):
                yield outcome_of_search(case, search)
            else:
                yield outcome_under_universal(case, original_of(case).id, search)

    def settled(self) -> Iterator[Outcome]:
        """After an interruption: of searches that had come to their ends, or had found something."""
        searches = self._search_of
        return (o for o in self.outcomes() if searches[o.case].done or searches[o.case].findings)

    def findings(self) -> Iterator[Finding]:
        for search in self._searches:
            yield from search.findings

    def faults(self) -> Iterator[Finding]:
        """Flips that are the judge's."""
        for search in self._searches:
            yield from search.faults
