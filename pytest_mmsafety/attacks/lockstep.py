"""Many attacks in step: the waves of all of them are one piece of work for the engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from pytest_mmsafety.attacks.attempts import Attempt, Probe, Steps, fails
from pytest_mmsafety.cases import Case
from pytest_mmsafety.outcomes import Outcome


class Attack(Protocol):
    """One search."""

    def steps(self) -> Steps[None]: ...


class Oracle(Protocol):
    """What answers and judges: the engine."""

    def ask(self, cases: Sequence[Case]) -> Sequence[Outcome]:
        """An outcome for each case; their keys differ."""

    def judge_again(self, cases: Sequence[Case], outcomes: Sequence[Outcome]) -> Sequence[Outcome]:
        """The same answers, judged as answers to *cases*."""


def run_in_step(attacks: Sequence[Attack], oracle: Oracle, out_of_time: Callable[[], bool]) -> None:
    """Run all *attacks* to their ends. What one of them finds is in it at any time, also when this is interrupted.

    *out_of_time*: asked before every wave; once it is true, all end where they are.
    """
    live: list[tuple[Steps[None], list[Probe]]] = []
    for attack in attacks:
        steps = attack.steps()
        if (wave := next(steps, None)) is not None:
            live.append((steps, wave))
    number = 0
    while live and not out_of_time():
        probes = [probe for _, wave in live for probe in wave]
        attempts = _attempts(probes, oracle, number)
        number += len(probes)
        going_on, at = [], 0
        for steps, wave in live:
            own, at = attempts[at : at + len(wave)], at + len(wave)
            try:
                going_on.append((steps, steps.send(own)))
            except StopIteration:
                continue
        live = going_on


def _attempts(probes: Sequence[Probe], oracle: Oracle, number: int) -> list[Attempt]:
    """Ask, and have every failing answer to a changed prompt judged beside the original prompt too."""
    variants = [
        replace(probe.variant, id=f"{probe.original.id}^{i}", must_pass=False) for i, probe in enumerate(probes, number)
    ]
    outcomes = oracle.ask(variants)
    doubtful = {
        i: replace(variants[i], id=f"{variants[i].id}^", prompt=probe.original.prompt)
        for i, (probe, outcome) in enumerate(zip(probes, outcomes, strict=True))
        if probe.variant.prompt != probe.original.prompt and outcome.verdicts and fails(outcome.verdicts[0])
    }
    verdicts = oracle.judge_again(list(doubtful.values()), [outcomes[i] for i in doubtful]) if doubtful else ()
    again = {i: outcome.verdicts[0] for i, outcome in zip(doubtful, verdicts, strict=True) if outcome.verdicts}
    return [
        Attempt(probe.changes, probe.original, variant, outcome, again.get(i))
        for i, (probe, variant, outcome) in enumerate(zip(probes, variants, outcomes, strict=True))
    ]
