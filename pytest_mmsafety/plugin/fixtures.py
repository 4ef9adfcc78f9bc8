"""Fixtures for users' own tests: the target and the judges of the session, on the engine that the suites use."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING

import pytest

from pytest_mmsafety.errors import MmsafetyError
from pytest_mmsafety.plugin.keys import OUTCOMES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_mmsafety.cases import Case, Response
    from pytest_mmsafety.outcomes import Outcome
    from pytest_mmsafety.plugin.runner import Runner
    from pytest_mmsafety.verdicts import Verdict


@dataclass(frozen=True)
class _Asker:
    runner: Runner
    numbers: Iterator[int]

    def _own(self, cases: Sequence[Case]) -> list[Case]:
        """With keys that no other case has, since the same one may be asked again."""
        return [replace(case, id=f"{case.id}^test-{next(self.numbers)}", must_pass=False) for case in cases]

    def _collected(self, cases: Sequence[Case]) -> list[Outcome]:
        outcomes = self.runner.engine.collect(cases, self.runner.tick)
        for outcome in outcomes:
            if outcome.error:
                raise MmsafetyError(f"{outcome.case.partition('^')[0]}: {outcome.error}")
        return outcomes


class AskTarget(_Asker):
    """Asks the target of ``--model``; what it said before comes from the store."""

    def __call__(self, case: Case) -> Response:
        return self.ask([case])[0]

    def ask(self, cases: Sequence[Case]) -> list[Response]:
        """The responses to many cases, in their order: asked together, in batches."""
        own = self._own(cases)
        self.runner.engine.submit(own)
        return [_response(outcome) for outcome in self._collected(own)]


class AskJudge(_Asker):
    """Judges answers as the suites have theirs judged."""

    def __call__(self, case: Case, response: Response) -> Verdict:
        """The gated verdict: score 0 is as expected, 1 the worst failure, ``None`` unscored."""
        from pytest_mmsafety.outcomes import Outcome

        (own,) = self._own([case])
        given = Outcome(own.key, response.answer, reasoning=response.reasoning, end=response.end)
        self.runner.engine.judge_again([own], [given])
        return self._collected([own])[0].verdicts[0]


def _response(outcome: Outcome) -> Response:
    from pytest_mmsafety.cases import Response

    return Response(
        outcome.response or "",
        outcome.reasoning,
        outcome.end,
        outcome.prompt_tokens,
        outcome.answer_tokens,
        outcome.rendered,
    )


def _runner(config: pytest.Config) -> Runner:
    runner = config.stash.get(OUTCOMES, None)
    if runner is None:
        pytest.skip("there is no target: give --model=CHECKPOINT")
    return runner  # type: ignore[return-value]  # keys.OutcomeSource is the part that items need


_NUMBERS = count(1)


@pytest.fixture(scope="session")
def target(pytestconfig: pytest.Config) -> AskTarget:
    """The target of ``--model``: ``target(case)`` gives its :class:`~pytest_mmsafety.Response`."""
    return AskTarget(_runner(pytestconfig), _NUMBERS)


@pytest.fixture(scope="session")
def judge(pytestconfig: pytest.Config) -> AskJudge:
    """The judges of the session: ``judge(case, response)`` gives the :class:`~pytest_mmsafety.Verdict`."""
    return AskJudge(_runner(pytestconfig), _NUMBERS)
