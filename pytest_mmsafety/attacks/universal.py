"""One change that breaks most cases at once: chosen on one half of the clusters, measured on the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import TypeVar

from pytest_mmsafety.attacks.attempts import FAILS_FROM, Attempt, Probe, Steps, finding_of
from pytest_mmsafety.attacks.compositions import Composition, all_parameters
from pytest_mmsafety.attacks.exploration import pairs, singles
from pytest_mmsafety.attacks.settings import AttackSettings
from pytest_mmsafety.attacks.shrinking import Waves, fewest, shrunk
from pytest_mmsafety.cases import Case, Change
from pytest_mmsafety.findings import Finding
from pytest_mmsafety.perturbations import perturb

_T = TypeVar("_T")

EXPLORED = 0.7
"""Share of the calls after which no new change is tried; the rest is for making the best one smaller."""
KEPT = 0.9
"""Share of the flips of a change that a simpler one must keep to be taken instead."""


class UniversalSearch:
    """The search for one change over many cases of one direction.

    Choosing the best of many changes makes its rate on the cases that it was chosen on too high; hence the halves.
    """

    def __init__(self, chosen_on: Sequence[Case], held_out: Sequence[Case], settings: AttackSettings) -> None:
        self._chosen_on = chosen_on
        self._held_out = held_out
        self._settings = settings
        self._live: Sequence[Case] = ()
        """The cases that it is chosen on, but for those that fail as they stand."""
        self._tried: dict[str, Composition] = {}
        """In words -> change."""
        self._flips: dict[str, int] = {}
        """How many of them a change, in words, flips."""
        self.calls = 0
        self.clean: dict[str, Attempt] = {}
        """Every case as it stands, by its id."""
        self.best: Composition = ()
        """The change; empty: none flipped a case."""
        self.after: dict[str, Attempt] = {}
        """Every case after the change, by its id."""
        self.done = False

    def steps(self) -> Steps[None]:
        """The whole search."""
        everything = [*self._chosen_on, *self._held_out]
        self.clean = yield from self._asked(everything, ())
        self._live = [case for case in self._chosen_on if not self._fails(self.clean[case.id])]
        if self._live:
            for changes in self._candidates():
                if not self._affordable(1) or self.calls > EXPLORED * self._settings.calls:
                    break
                if (yield from self._count(changes)) == len(self._live):
                    break
            yield from self._choose()
        if self.best:
            self.after = yield from self._asked(everything, self.best)
        self.done = True

    @property
    def tried(self) -> bool:
        """Whether any change was asked for, besides the cases as they stand."""
        return bool(self._flips)

    def _changes_any(self, changes: Composition) -> bool:
        """Whether they change one of the cases that the change is chosen on."""
        return any(_shown(perturb(case, changes)) != _shown(case) for case in self._live)

    @property
    def findings(self) -> list[Finding]:
        """The change, for every case that it flipped."""
        flipped = [(self.clean[id_], attempt) for id_, attempt in self.after.items() if self._flipped(id_, attempt)]
        return [finding_of(clean, attempt, self.calls) for clean, attempt in flipped]

    @property
    def faults(self) -> list[Finding]:
        """Flips of the change that are the judge's."""
        pairs = [(self.clean[id_], attempt) for id_, attempt in self.after.items()]
        return [finding_of(a, b, self.calls) for a, b in pairs if b.state(a) == "judge-fault"]

    def _candidates(self) -> Iterator[Composition]:
        names = [name for name in self._settings.techniques if self._changes_any((Change(name, 1.0),))]
        alone = ((Change(name, 1.0),) for name in names)
        choices = {name: all_parameters(name) for name in names}
        return chain(alone, singles(choices), pairs(choices))

    def _choose(self) -> Steps[None]:
        """The change that flips most, and then the simplest one that keeps nearly all of that."""
        name = max(self._flips, key=lambda name: (self._flips[name], -len(self._tried[name])), default="")
        if not self._flips.get(name):
            return
        best = self.best = self._tried[name]
        needed = KEPT * self._flips[name]
        (self.best, *_) = (yield from self._keeping(fewest(best), needed)) or [best]
        self.best = (yield from self._keeping(shrunk(self.best, lambda *_: 0), needed)) or self.best

    def _keeping(self, waves: Waves[_T], needed: float) -> Steps[_T | None]:
        """Drive a shrinker; ``None`` when the calls do not suffice."""
        try:
            wave = next(waves)
            while self._affordable(len(wave)):
                for changes in wave:
                    yield from self._count(changes)
                wave = waves.send([self._flips[_name(changes)] >= needed for changes in wave])
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        return None

    def _affordable(self, changes: int) -> bool:
        """Whether so many changes can be tried, and the last one be measured on every case."""
        wanted = changes * len(self._live) + len(self._chosen_on) + len(self._held_out)
        return self.calls + wanted <= self._settings.calls

    def _count(self, changes: Composition) -> Steps[int]:
        """How many cases these changes flip."""
        name = _name(changes)
        if name not in self._flips:
            attempts = yield from self._asked(self._live, changes)
            self._tried[name] = changes
            self._flips[name] = sum(self._flipped(id_, attempt) for id_, attempt in attempts.items())
        return self._flips[name]

    def _asked(self, cases: Sequence[Case], changes: Composition) -> Steps[dict[str, Attempt]]:
        """Id of a case -> the attempt with these changes."""
        self.calls += len(cases)
        attempts = yield [Probe(case, changes, perturb(case, changes)) for case in cases]
        return dict(zip([case.id for case in cases], attempts, strict=True))

    def _flipped(self, id_: str, attempt: Attempt) -> bool:
        return attempt.state(self.clean[id_]) == "flipped"

    def _fails(self, clean: Attempt) -> bool:
        return clean.score is not None and clean.score >= FAILS_FROM


def _name(changes: Composition) -> str:
    return " + ".join(map(str, changes))


def _shown(case: Case) -> tuple[object, ...]:
    """What the target is shown."""
    return case.prompt, case.expected, case.edits
