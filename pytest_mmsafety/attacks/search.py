"""The search of one case: unchanged, as it broke before, then ever new changes; what flips is confirmed and shrunk.

A search is a generator of waves of variants, so that many go on in step (:mod:`.lockstep`). It is a function of the
case, the settings and the answers: threads, batches and the other cases have no part in it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from itertools import chain, islice, takewhile
from typing import TypeVar

from pytest_mmsafety.attacks.attempts import FAILS_FROM, Attempt, Probe, Steps, finding_of
from pytest_mmsafety.attacks.compositions import Composition, options, simplicity
from pytest_mmsafety.attacks.exploration import pairs, singles
from pytest_mmsafety.attacks.settings import AttackSettings
from pytest_mmsafety.attacks.shrinking import Waves, fewest, shrunk
from pytest_mmsafety.cases import Case
from pytest_mmsafety.findings import Finding
from pytest_mmsafety.perturbations import perturb, words_of

_T = TypeVar("_T")

WAVE = 4
"""New changes that are tried at once: enough for even batches, few enough that little is asked after a flip."""
MOST_FINDINGS = 3
"""Of one case."""


class _OutOfCallsError(Exception):
    """The budget does not take another call."""


class _GivenUpError(Exception):
    """The target failed on a variant, which ends this search."""


class Search:
    """One case under attack."""

    def __init__(self, case: Case, calls: int, settings: AttackSettings, before: Iterable[Composition] = ()) -> None:
        """*calls*: at most so many, that of the unchanged case included. *before*: how it was broken earlier."""
        self.case = case
        self.calls = 0
        """Spent so far."""
        self._budget = calls
        self._kept_back = 0
        """Calls of the budget that are left for confirming what is being shrunk."""
        self._settings = settings
        self._before = tuple(before)
        self._confirmations: dict[str, bool] = {}
        self._trail: list[Attempt] = []
        """Flips that were seen while shrinking."""
        self._known: dict[str, Attempt] = {}
        """What was asked, by what the target is shown."""
        self.clean: Attempt | None = None
        """The case as it stands, once it was asked."""
        self.findings: list[Finding] = []
        """Confirmed; simplest first."""
        self.faults: list[Finding] = []
        """Flips that are the judge's."""
        self.unsure = 0
        """Variants whose answers no judge was sure of."""
        self.unconfirmed_at_end = False
        """Whether there were no calls left to see a flip again."""
        self.error: Attempt | None = None
        """The variant that the target failed on."""
        self.done = False
        """Whether it came to its end."""

    def steps(self) -> Steps[None]:
        """The whole search. A wave is never longer than what is left of the budget."""
        with suppress(_OutOfCallsError, _GivenUpError):
            yield from self._attack()
        self.done = True

    @property
    def tried(self) -> bool:
        """Whether any change was asked for, besides the case as it stands."""
        return len(self._known) > 1

    @property
    def strength(self) -> float:
        """Of the weakest change that broke it, its perturbations' sum, at most 1; 0: as it stands; 1: none did."""
        if self.clean is not None and (self.clean.score or 0.0) >= FAILS_FROM:
            return 0.0
        sums = [sum(change.strength for change in finding.perturbations) for finding in self.findings]
        return min([1.0, *sums])

    # --- what is tried

    def _attack(self) -> Steps[None]:
        (self.clean,) = yield from self._ask([()])
        if self.clean.score is not None and self.clean.score >= FAILS_FROM:
            return  # it fails as it stands: there is nothing to find
        choices = options(self.case, self._settings.techniques)
        alone = chain(_waves(self._before), _waves(singles(choices)))
        while not self._broken_by_one and (wave := next(alone, None)):
            yield from self._try(wave)
        together = _waves(pairs(choices))
        while not self.findings and (wave := next(together, None)):
            yield from self._try(wave)

    @property
    def _broken_by_one(self) -> bool:
        return any(len(finding.perturbations) == 1 for finding in self.findings)

    def _try(self, wave: Sequence[Composition]) -> Steps[None]:
        """Ask for these changes, and follow up on those that flip, simplest first, until one is confirmed."""
        attempts = yield from self._ask(wave)
        flips = [attempt for attempt in attempts if self._flipped(attempt)]
        for flip in sorted(flips, key=self._simplicity):
            if (yield from self._confirmed(flip)):
                self._find(flip)
                yield from self._follow(flip)
                return

    def _follow(self, flip: Attempt) -> Steps[None]:
        """Shrink a confirmed flip; where several parts of it flip alone, each of them."""
        self._trail = [flip]
        parts: list[Composition] = []
        with self._keeping_back():
            parts = yield from self._answered(fewest(flip.changes))
        parts = parts or [min(self._trail, key=self._simplicity).changes]
        for part in parts[:MOST_FINDINGS]:
            yield from self._shrink(part)

    def _shrink(self, part: Composition) -> Steps[None]:
        """Find the smallest change below *part*, or the smallest that the budget allows."""
        self._trail = yield from self._ask([part])
        with self._keeping_back():
            yield from self._answered(shrunk(part, self._words))
        for small in sorted(self._trail, key=self._simplicity):
            if (yield from self._confirmed(small)):
                self._find(small)
                return

    @contextmanager
    def _keeping_back(self) -> Iterator[None]:
        """Leave calls for confirming what is found here; end it where there are no others."""
        self._kept_back = self._settings.confirm[1]
        with suppress(_OutOfCallsError):
            yield
        self._kept_back = 0

    def _answered(self, waves: Waves[_T]) -> Steps[_T]:
        """Drive a shrinker with answers."""
        try:
            wave = next(waves)
            while True:
                attempts = yield from self._ask(wave)
                flips = [self._flipped(attempt) for attempt in attempts]
                self._trail += [attempt for attempt, flip in zip(attempts, flips, strict=True) if flip]
                if len(attempts) < len(wave):
                    raise _OutOfCallsError
                wave = waves.send(flips)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]

    def _confirmed(self, flip: Attempt) -> Steps[bool]:
        """Whether further answers to the same variant flip too."""
        content = _content(flip.case)
        if content not in self._confirmations:
            needed, of = self._settings.confirm
            samples = range(flip.case.sample + 1, flip.case.sample + 1 + of)
            again = [replace(flip.case, sample=sample) for sample in samples]
            if len(again) > self._room:
                self.unconfirmed_at_end = True
                raise _OutOfCallsError
            attempts = yield from self._spend(again, [flip.changes] * of)
            seen = sum(self._flipped(attempt) for attempt in attempts)
            self._confirmations[content] = seen >= needed
        return self._confirmations[content]

    # --- asking

    @property
    def _room(self) -> int:
        """Calls that may be spent."""
        return self._budget - self._kept_back - self.calls

    def _ask(self, wave: Sequence[Composition]) -> Steps[list[Attempt]]:
        """An attempt for each of these changes: for the first of them, where the budget does not take all."""
        variants = [perturb(self.case, changes) for changes in wave]
        contents = [_content(variant) for variant in variants]
        new = {
            content: (variant, changes)
            for content, variant, changes in zip(contents, variants, wave, strict=True)
            if content not in self._known
        }
        if new and self._room <= 0:
            raise _OutOfCallsError
        asked = list(new.items())[: max(0, self._room)]
        if asked:
            attempts = yield from self._spend([variant for _, (variant, _) in asked], [c for _, (_, c) in asked])
            self._known.update(zip((content for content, _ in asked), attempts, strict=True))
        answered = takewhile(lambda pair: pair[0] in self._known, zip(contents, wave, strict=True))
        return [replace(self._known[content], changes=changes) for content, changes in answered]

    def _spend(self, variants: list[Case], changes: Sequence[Composition]) -> Steps[list[Attempt]]:
        self.calls += len(variants)
        attempts = yield [Probe(self.case, c, variant) for variant, c in zip(variants, changes, strict=True)]
        for attempt in attempts:
            self._note(attempt)
        return attempts

    def _note(self, attempt: Attempt) -> None:
        state = attempt.state(self.clean or attempt)
        if state == "error":
            self.error = attempt
            raise _GivenUpError
        self.unsure += state == "unsure"
        if state == "judge-fault" and len(self.faults) < MOST_FINDINGS:
            self.faults.append(finding_of(self.clean or attempt, attempt, self.calls))

    def _words(self, changes: Composition, place: int) -> int:
        return len(words_of(perturb(self.case, changes[:place]).prompt))

    # --- findings

    def _flipped(self, attempt: Attempt) -> bool:
        return attempt.state(self.clean or attempt) == "flipped"

    def _simplicity(self, attempt: Attempt) -> tuple[float, ...]:
        return simplicity(self.case, attempt.case, attempt.changes)

    def _find(self, flip: Attempt) -> None:
        """Keep a confirmed flip, instead of those that it is a part of."""
        names = {change.name for change in flip.changes}
        larger = [f for f in self.findings if names <= {change.name for change in f.perturbations}]
        self.findings = [
            *(f for f in self.findings if f not in larger),
            finding_of(self.clean or flip, flip, self.calls),
        ]
        self.findings.sort(key=lambda f: simplicity(self.case, perturb(self.case, f.perturbations), f.perturbations))


def _content(case: Case) -> str:
    """SHA-256 of what the target is shown, and of what is expected of it."""
    edits = [asdict(edit) for edit in case.edits]
    return hashlib.sha256(json.dumps([case.prompt, case.expected, edits], sort_keys=True).encode()).hexdigest()


def _waves(compositions: Iterable[Composition]) -> Iterator[Sequence[Composition]]:
    rest = iter(compositions)
    return iter(lambda: list(islice(rest, WAVE)), [])
