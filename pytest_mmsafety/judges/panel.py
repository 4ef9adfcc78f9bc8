"""The panel: which judge speaks of which case, and what is said when one fails."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import entry_points

from pytest_mmsafety.cases import Case
from pytest_mmsafety.errors import SetupError
from pytest_mmsafety.judges import Judge, Verdict

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
            (point,) = entry_points(group=GROUP, name=name)
            self._by_name[name] = check_judge(point.load()(), f"entry point {GROUP}: {point.value}")
        return self._by_name[name]


def check_judge(judge: object, where: str) -> Judge:
    """*judge* if it is one; else :class:`SetupError` says what it lacks."""
    if not isinstance(judge, Judge):
        raise SetupError(f"{where}: {type(judge).__name__} is no judge; expected name, expectations and judge()")
    return judge


def _ask(judge: Judge, cases: Sequence[Case], responses: Sequence[str]) -> Sequence[Verdict]:
    """One verdict a response whatever the judge does: what it fails on is unscored."""
    try:
        verdicts = judge.judge(cases, responses)
        if len(verdicts) == len(cases):
            return verdicts
        problem = f"gave {len(verdicts)} verdicts on {len(cases)} answers"
    except Exception as error:  # noqa: BLE001 - the user's code
        problem = f"{type(error).__name__}: {error}"
    if len(cases) == 1:
        return [Verdict(judge.name, "judge-error", None, " ".join(problem.split()))]
    middle = len(cases) // 2
    return [*_ask(judge, cases[:middle], responses[:middle]), *_ask(judge, cases[middle:], responses[middle:])]


def _unjudged(case: Case) -> Verdict:
    return Verdict("none", "unscored", None, f"no judge for {case.expected!r} is installed")
