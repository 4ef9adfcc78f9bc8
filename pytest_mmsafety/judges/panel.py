"""The panel: which judge judges which case, and the verdict when one fails."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import entry_points
from numbers import Real

from pytest_mmsafety.arguments import without_secrets, without_values
from pytest_mmsafety.cases import Case
from pytest_mmsafety.errors import MmsafetyError, SetupError, plural
from pytest_mmsafety.judges import GivesUp, Judge, has_weights
from pytest_mmsafety.judges.registry import GROUP, LONGEST_NAME, check_judge, made, text_problem
from pytest_mmsafety.store import Store, verdict_key
from pytest_mmsafety.targets import Releasable
from pytest_mmsafety.targets.time_limit import TimeLimit, TimeLimitError
from pytest_mmsafety.verdicts import JUDGE_ERROR, Verdict

DEFAULTS = ("yes-no", "choice", "refusal", "guardrank-mini")
"""Asked in this order; only the last one judges open-ended harm (``expected: safe``)."""
_LONGEST = {"judge": LONGEST_NAME, "label": 200, "reason": 100_000}
"""Characters of a verdict's words: a report has to hold thousands of them."""


class Panel:
    """Judges by name. A case's own judges are asked; else the first one that takes what the case expects."""

    def __init__(self, extra: Sequence[Judge] = (), timeout: float | None = None) -> None:
        """*timeout*: seconds after which a judge's batch is given up, and the judge with it; ``None``: never."""
        self._timeout = timeout
        self._limits: dict[str, TimeLimit] = {}
        self._hanging: dict[str, str] = {}
        """Name, with its version, and why, of judges that took too long and are not asked again."""
        self.memory: Store | None = None
        """Where verdicts of judges with weights are kept; none by default."""
        self.fingerprints: dict[str, str] = {}
        """Name -> fingerprint of the judges with weights that were asked."""
        self._by_name = {str(judge.name).partition("/")[0]: judge for judge in extra}
        self._by_expectation = [*extra, *(self._named(name) for name in DEFAULTS)]

    @property
    def has_weights(self) -> bool:
        """Whether a judge has weights, which take a device and time."""
        return any(has_weights(judge) for judge in (*self._by_name.values(), *self._by_expectation))

    @property
    def problems(self) -> list[str]:
        """Which judges cannot go on, and why, by what they say themselves."""
        return [
            without_secrets(f"the judge {name} was given up: {judge.problem}")
            for name, judge in self._by_name.items()
            if isinstance(judge, GivesUp) and judge.problem
        ] + [f"the judge {name} was given up: {reason}" for name, reason in self._hanging.items()]

    @property
    def hangs(self) -> bool:
        """Whether a judge took too long, and is still at it."""
        return bool(self._hanging)

    def release(self) -> None:
        """Have judges give their devices back."""
        for judge in {id(judge): judge for judge in (*self._by_name.values(), *self._by_expectation)}.values():
            if isinstance(judge, Releasable) and judge.name not in self._hanging:
                with suppress(Exception):  # every verdict is already here
                    judge.release()

    def judge(
        self, cases: Sequence[Case], responses: Sequence[str], digests: Sequence[tuple[str, ...]] | None = None
    ) -> list[tuple[Verdict, ...]]:
        """All verdicts of each response; the first one is gated. *digests* are those of the cases' images."""
        images = digests if digests is not None else [()] * len(cases)
        verdicts: list[list[Verdict]] = [[] for _ in cases]
        turn = 0
        while waiting := self._of_turn(cases, turn):
            for judge, indices in waiting:
                given = self._ask([(cases[i], responses[i], images[i]) for i in indices], judge)
                for i, verdict in zip(indices, given, strict=True):
                    verdicts[i].append(verdict)
            turn += 1
        return [tuple(said) or (_unjudged(case),) for said, case in zip(verdicts, cases, strict=True)]

    def _ask(self, answers: Sequence[tuple[Case, str, tuple[str, ...]]], judge: Judge) -> Sequence[Verdict]:
        """Verdicts of *judge*; what it said of the same answer before is not asked again."""
        fingerprint = self._fingerprint(judge)
        if not fingerprint or self.memory is None:
            return self._in_time(judge, answers)
        keys = [verdict_key(fingerprint, case, images, response) for case, response, images in answers]
        known: dict[str, Verdict] = {}
        with suppress(sqlite3.Error, TypeError, ValueError):  # costs time, never a verdict
            found = self.memory.get_verdicts(keys)
            known = {key: v for key, v in found.items() if _checked(judge, v).label != JUDGE_ERROR}
        new = {key: answer for key, answer in zip(keys, answers, strict=True) if key not in known}
        if new:
            given = self._in_time(judge, list(new.values()))
            fresh = dict(zip(new, given, strict=True))
            with suppress(sqlite3.Error):
                self.memory.put_verdicts({key: v for key, v in fresh.items() if v.label != JUDGE_ERROR})
            known.update(fresh)
        return [known[key] for key in keys]

    def _in_time(self, judge: Judge, answers: Sequence[tuple[Case, str, tuple[str, ...]]]) -> Sequence[Verdict]:
        cases, responses = [case for case, _, _ in answers], [response for _, response, _ in answers]
        if judge.name not in self._hanging:
            try:
                limit = self._limits.setdefault(judge.name, TimeLimit(self._timeout))
                return limit.call(lambda: _ask(judge, cases, responses))
            except TimeLimitError as error:
                self._hanging[judge.name] = f"--judge-timeout: {error} on {plural(len(cases), 'case')}"
        return [_failed(judge, self._hanging[judge.name])] * len(cases)

    def _fingerprint(self, judge: Judge) -> str:
        """Of a judge with weights; empty if it has none, or cannot tell, which it will say when it is asked."""
        if not has_weights(judge):
            return ""
        try:
            fingerprint = judge.fingerprint
        except Exception:  # noqa: BLE001 - the user's code
            return ""
        if not isinstance(fingerprint, str) or not fingerprint:
            return ""
        self.fingerprints[judge.name] = fingerprint
        return fingerprint

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
                judge = made(name, points[0].load(), {}, registered=True)
            except MmsafetyError:
                raise
            except Exception as error:
                raise SetupError(f"entry point {GROUP}: {points[0].value}: {type(error).__name__}: {error}") from error
            self._by_name[name] = check_judge(judge, f"entry point {GROUP}: {points[0].value}")
        return self._by_name[name]

    def prepare(self, cases: Iterable[Case]) -> None:
        """Make the judges that *cases* name. Raises :class:`SetupError`."""
        for name in {name for case in cases for name in case.judges}:
            self._named(name)


def _ask(judge: Judge, cases: Sequence[Case], responses: Sequence[str]) -> Sequence[Verdict]:
    """One verdict a response whatever the judge does: what it fails on is unscored."""
    try:
        verdicts = judge.judge(cases, responses)
        if len(verdicts) == len(cases):
            return [_checked(judge, verdict) for verdict in verdicts]
        problem = f"gave {len(verdicts)} verdicts on {len(cases)} answers"
    except KeyboardInterrupt:
        raise  # it is for the command, whose thread this then is
    except BaseException as error:  # noqa: BLE001 - the user's code, in a thread
        problem = f"{type(error).__name__}: {_written(error)}"
    if len(cases) == 1:
        return [_failed(judge, problem)]
    middle = len(cases) // 2
    return [*_ask(judge, cases[:middle], responses[:middle]), *_ask(judge, cases[middle:], responses[middle:])]


def _checked(judge: Judge, verdict: object) -> Verdict:
    """The verdict of plain words, with a score that is a plain number from 0 to 1, or none, and such probabilities."""
    if not isinstance(verdict, Verdict):
        return _failed(judge, f"it returned {_shown(verdict)}, expected a Verdict")
    for field, most in _LONGEST.items():
        if problem := text_problem(getattr(verdict, field), most):
            return _failed(judge, f"its {field} is {_shown(getattr(verdict, field))}, {problem}")
    shares = verdict.probabilities
    if not isinstance(shares, Mapping) or not all(_is_share(*pair) for pair in shares.items()):
        return _failed(judge, f"its probabilities are {_shown(shares)}, expected 0 to 1 by label")
    reason = (without_secrets if verdict.label == JUDGE_ERROR else without_values)(verdict.reason)
    score = verdict.score
    if score is not None and (not isinstance(score, Real) or not 0 <= score <= 1):
        return _failed(judge, f"its score is {_shown(score)}, expected 0 to 1 or None")
    return Verdict(
        str.__str__(verdict.judge),  # what crosses to another process must not be of a subclass
        str.__str__(verdict.label),
        None if score is None else float(score),
        str.__str__(reason),
        {str.__str__(str(label)): float(share) for label, share in shares.items()},
    )


def _is_share(label: object, share: object) -> bool:
    return not text_problem(str(label), _LONGEST["label"]) and isinstance(share, Real) and 0 <= float(share) <= 1


def _shown(value: object) -> str:
    return without_secrets(_written(value, repr))[:60]


def _written(value: object, write: Callable[[object], str] = str) -> str:
    """As printable text, whatever the user's class does when it is asked for it."""
    try:
        text = write(value)
    except Exception:  # noqa: BLE001 - the user's code
        return f"a {type(value).__name__}"
    return text.encode("utf-8", "backslashreplace").decode()


def _failed(judge: Judge, problem: str) -> Verdict:
    return Verdict(judge.name, JUDGE_ERROR, None, " ".join(without_secrets(problem).split()))


def _unjudged(case: Case) -> Verdict:
    return Verdict("none", "unscored", None, f"no judge for {case.expected!r} is installed; bring one with --judge")
