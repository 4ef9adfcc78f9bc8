"""The panel: which judge speaks of which case, and what is said when one fails."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from dataclasses import replace
from importlib.metadata import entry_points
from numbers import Real
from pathlib import Path

from pytest_mmsafety.cases import Case
from pytest_mmsafety.errors import SetupError
from pytest_mmsafety.judges import Judge, Verdict
from pytest_mmsafety.targets import import_attribute

GROUP = "mmsafety.judges"
DEFAULTS = ("yes-no", "choice", "refusal")
"""Asked in this order; open-ended harm (``expected: safe``) is beyond all of them."""


class Panel:
    """Judges by name. A case's own judges speak; else the first one that knows what the case expects."""

    def __init__(self, extra: Sequence[Judge] = ()) -> None:
        self._by_name: dict[str, Judge] = {}
        self._by_expectation = [*extra, *(self._named(name) for name in DEFAULTS)]

    def judge(self, cases: Sequence[Case], responses: Sequence[str]) -> list[tuple[Verdict, ...]]:
        """All verdicts of each response; the first one is gated."""
        verdicts: list[list[Verdict]] = [[] for _ in cases]
        turn = 0
        while waiting := self._of_turn(cases, turn):
            for judge, indices in waiting:
                given = _ask(judge, [cases[i] for i in indices], [responses[i] for i in indices])
                for i, verdict in zip(indices, given, strict=True):
                    verdicts[i].append(verdict)
            turn += 1
        return [tuple(said) or (_unjudged(case),) for said, case in zip(verdicts, cases, strict=True)]

    def _of_turn(self, cases: Sequence[Case], turn: int) -> list[tuple[Judge, list[int]]]:
        """The judges that come at place *turn* of their cases, each with the cases' indices."""
        indices: dict[int, tuple[Judge, list[int]]] = {}
        for i, case in enumerate(cases):
            judges = self.judges_of(case)
            if turn < len(judges):
                indices.setdefault(id(judges[turn]), (judges[turn], []))[1].append(i)
        return list(indices.values())

    def judges_of(self, case: Case) -> Sequence[Judge]:
        if case.judges:
            return [self._named(name) for name in case.judges]
        expected = "A" if len(case.expected) == 1 else case.expected
        return [judge for judge in self._by_expectation if expected in judge.expectations][:1]

    def _named(self, name: str) -> Judge:
        """The judge registered under *name*, made at its first use."""
        if name not in self._by_name:
            points = list(entry_points(group=GROUP, name=name))
            if len(points) != 1:
                found = ", ".join(point.value for point in points) or "none"
                raise SetupError(f"entry point {GROUP}: {name}: expected one, found {found}")
            try:
                judge = points[0].load()()
            except Exception as error:
                raise SetupError(f"entry point {GROUP}: {points[0].value}: {type(error).__name__}: {error}") from error
            self._by_name[name] = check_judge(judge, f"entry point {GROUP}: {points[0].value}")
        return self._by_name[name]

    def prepare(self, cases: Iterable[Case]) -> None:
        """Make the judges that *cases* name. Raises :class:`SetupError`."""
        for name in {name for case in cases for name in case.judges}:
            self._named(name)


def make_judge(spec: str, root: Path) -> Judge:
    """The judge that ``--judge`` names: an object, or a class that is made without arguments."""
    found = import_attribute(spec, root, "--judge")
    try:
        judge = found() if inspect.isclass(found) else found
    except (Exception, SystemExit) as error:
        raise SetupError(f"--judge: {spec}: {type(error).__name__}: {' '.join(str(error).split())}") from error
    return check_judge(judge, f"--judge: {spec}")


def check_judge(judge: object, where: str) -> Judge:
    """*judge* if it is one; else :class:`SetupError` says what it lacks."""
    if not isinstance(judge, Judge):
        raise SetupError(f"{where}: {type(judge).__name__} is no judge; expected name, expectations and judge()")
    if not isinstance(judge.expectations, frozenset | set):
        raise SetupError(f"{where}: expectations is {judge.expectations!r:.60}; expected a frozenset of strings")
    return judge


def _ask(judge: Judge, cases: Sequence[Case], responses: Sequence[str]) -> Sequence[Verdict]:
    """One verdict a response whatever the judge does: what it fails on is unscored."""
    try:
        verdicts = judge.judge(cases, responses)
        if len(verdicts) == len(cases):
            return [_checked(judge, verdict) for verdict in verdicts]
        problem = f"gave {len(verdicts)} verdicts on {len(cases)} answers"
    except BaseException as error:  # noqa: BLE001 - the user's code, in a thread
        problem = f"{type(error).__name__}: {error}"
    if len(cases) == 1:
        return [Verdict(judge.name, "judge-error", None, " ".join(problem.split()))]
    middle = len(cases) // 2
    return [*_ask(judge, cases[:middle], responses[:middle]), *_ask(judge, cases[middle:], responses[middle:])]


def _checked(judge: Judge, verdict: object) -> Verdict:
    """The verdict with a score that is a plain number from 0 to 1, or none."""
    if not isinstance(verdict, Verdict):
        return Verdict(judge.name, "judge-error", None, f"it returned {verdict!r:.60}, expected a Verdict")
    if verdict.score is None:
        return verdict
    if not isinstance(verdict.score, Real) or not 0 <= verdict.score <= 1:
        return Verdict(judge.name, "judge-error", None, f"its score is {verdict.score!r}, expected 0 to 1 or None")
    return replace(verdict, score=float(verdict.score))


def _unjudged(case: Case) -> Verdict:
    return Verdict("none", "unscored", None, f"no judge for {case.expected!r} is installed; bring one with --judge")
