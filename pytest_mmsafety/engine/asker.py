"""The target, asked: a failing batch is halved down to the guilty case; a target that only fails is given up."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from itertools import islice
from typing import NamedTuple

from pytest_mmsafety.arguments import without_secrets, without_values
from pytest_mmsafety.cases import Response
from pytest_mmsafety.errors import MmsafetyError, SetupError, plural
from pytest_mmsafety.targets import Releasable, Remarking, Request, Target
from pytest_mmsafety.targets.reasoning import split_reasoning
from pytest_mmsafety.targets.time_limit import TimeLimit, TimeLimitError

MAX_CONSECUTIVE_FAILURES = 24
"""Cases in a row that end in an error of the target before it is given up."""


class Reply(NamedTuple):
    """What some requests of a batch led to: an answer each, or the one reason why there is none."""

    rows: range
    """Which requests of the batch."""
    answers: Sequence[Response]
    seconds: float
    """That each of them took."""
    error: str = ""


class Asker:
    """Owns the target: made when it is first needed, asked in batches, released when there is nothing more to ask."""

    def __init__(
        self,
        make_target: Callable[[], Target],
        batch_size: int,
        note: Callable[[str], None],
        timeout: float | None = None,
    ) -> None:
        """*timeout*: seconds after which loading or a batch is given up, and the target with it; ``None``: never."""
        self._make_target = make_target
        self._target: Target | None = None
        self._batch_size = batch_size
        self._note = note
        self._limit = TimeLimit(timeout)
        self.hangs = False
        """Whether a call of the target took too long, and still goes on."""
        self._released = False
        self._failed_in_a_row = 0
        self.fingerprint = ""
        self.given_up = ""
        """Why the target is not asked any more, or empty."""
        self.calls = 0
        """How often the target was called."""

    @property
    def name(self) -> str:
        """What the target calls itself; empty before it was needed."""
        return without_values(self._target.name) if self._target else ""

    @property
    def started(self) -> bool:
        return self._target is not None

    def start(self) -> None:
        """Make the target, unless it is made or given up."""
        if self.started or self.given_up:
            return
        try:
            self._target = self._limit.call(self._made, "not loaded")
        except TimeLimitError as error:
            self.hangs = True
            self._give_up(f"--answer-timeout: {error}; it cannot be asked")
        except BaseException as error:  # noqa: BLE001 - the user's code; even its sys.exit() is a target that failed
            self._give_up(one_line(error))

    def _made(self) -> Target:
        target = self._make_target()
        self.fingerprint = target.fingerprint  # may have to read all weights, and may fail at that
        for remark in target.remarks if isinstance(target, Remarking) else ():
            self._note(remark)
        return target

    def release(self) -> None:
        """Have the target give its device back; the next question loads it again."""
        if self._released or self.hangs or not isinstance(self._target, Releasable):
            return
        self._released = True
        try:
            self._limit.call(self._target.release, "no end")
        except Exception as error:  # noqa: BLE001 - every answer is already here
            self._note(f"the target could not be released: {one_line(error)}")

    def ask(self, requests: Sequence[Request]) -> Iterator[Reply]:
        """A reply for every request, in the order in which they are got."""
        waiting = deque([range(len(requests))] if requests else [])
        while waiting:
            rows = waiting.popleft()
            middle = len(rows) // 2
            if self.given_up:
                yield Reply(rows, (), 0.0, self.given_up)
            elif len(rows) > self._batch_size:  # halved meanwhile for want of memory
                waiting.extendleft([rows[self._batch_size :], rows[: self._batch_size]])
            elif isinstance(reply := self._try(requests, rows), Reply):
                yield reply
            elif isinstance(reply, SetupError):  # holds for every case: weights that cannot be read
                self._give_up(one_line(reply))
                waiting.appendleft(rows)
            elif middle:
                waiting.extendleft([rows[middle:], rows[:middle]])
            else:
                yield Reply(rows, (), 0.0, one_line(reply))
                self._record_failure(reply)

    def _try(self, requests: Sequence[Request], rows: range) -> Reply | BaseException:
        """Ask once, or say what went wrong."""
        try:
            answers, seconds = self._generate([requests[row] for row in rows])
        except BaseException as error:  # noqa: BLE001 - anything may come out of a model, and no Ctrl-C into a thread
            if _is_out_of_memory(error):
                self._shrink_batch(len(rows))
            return error.with_traceback(None)  # its frames hold the tensors that a smaller batch needs the room of
        self._failed_in_a_row = 0
        return Reply(rows, answers, seconds)

    def _generate(self, requests: Sequence[Request]) -> tuple[list[Response], float]:
        """The answers and the seconds that each took. Raises if they do not match the requests."""
        assert self._target is not None
        started = time.perf_counter()
        self.calls += 1
        self._released = False
        target = self._target
        try:
            responses = self._limit.call(lambda: _listed(target.generate(requests), len(requests)))
        except TimeLimitError as error:
            self.hangs = True
            batch = plural(len(requests), "case")
            raise SetupError(f"--answer-timeout: {error} to a batch of {batch}; it cannot be asked again") from None
        seconds = (time.perf_counter() - started) / len(requests)
        return [taken_apart(response) for response in responses], seconds

    def _shrink_batch(self, size: int) -> None:
        if torch := sys.modules.get("torch"):
            torch.cuda.empty_cache()
        if 1 < size <= self._batch_size:
            self._batch_size = size // 2
            self._note(f"out of memory with {size} cases at once: went on with {self._batch_size}")

    def _record_failure(self, error: BaseException) -> None:
        if isinstance(error, MmsafetyError):
            return  # said on purpose of this one case: two images for a model that takes one
        self._failed_in_a_row += 1
        if self._failed_in_a_row >= MAX_CONSECUTIVE_FAILURES:
            self._give_up(f"it failed on {MAX_CONSECUTIVE_FAILURES} cases in a row, last with {one_line(error)}")

    def _give_up(self, reason: str) -> None:
        self.given_up = reason
        self._note(f"the target was given up: {reason}")


def _listed(answers: object, wanted: int) -> list[object]:
    """The answers to *wanted* requests as a list. Raises if they are something else, or more or fewer."""
    if not isinstance(answers, Iterable) or isinstance(answers, str | bytes | Mapping | Set):
        kind = "one string" if isinstance(answers, str) else f"a {type(answers).__name__}"
        raise TypeError(
            f"the target answered {_shown(answers, 60)}, {kind}; expected a list, an answer for each request"
        )
    responses = list(islice(answers, wanted + 1))
    if len(responses) != wanted:
        count = f"more than {wanted}" if len(responses) > wanted else str(len(responses))
        raise ValueError(f"the target gave {count} answers to {wanted} requests")
    return responses


def taken_apart(response: object) -> Response:
    """The answer without thoughts, whatever the target gave back."""
    if isinstance(response, str):
        response = Response(response)
    if not isinstance(response, Response):
        kind = type(response).__name__
        raise TypeError(f"the target answered {_shown(response, 60)} ({kind}), expected a string or a Response")
    if not isinstance(response.answer, str) or not isinstance(response.reasoning, str):
        raise TypeError(f"the target answered {_shown(response, 80)}; expected strings for answer and reasoning")
    answer, reasoning, finished = split_reasoning(_writable(response.answer))
    if response.end == "thinking":
        answer, finished = "", False
    thoughts = "\n".join(filter(None, (_writable(response.reasoning), reasoning)))
    return replace(response, answer=answer, reasoning=thoughts, end=response.end if finished else "thinking")


def one_line(error: BaseException) -> str:
    """The error as one printable line without secrets, with its type unless the package raised it on purpose."""
    said = without_secrets(str(error))
    text = _writable(" ".join("".join(c if c.isprintable() else " " for c in said).split()))
    return text if isinstance(error, MmsafetyError) else f"{type(error).__name__}: {text}"


def _shown(value: object, most: int) -> str:
    """The beginning of what the target gave; secrets are taken out before it is cut."""
    return without_secrets(repr(value))[:most]


def _writable(text: str) -> str:
    """Without halves of surrogate pairs: no file takes them."""
    return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")


def _is_out_of_memory(error: BaseException) -> bool:
    return type(error).__name__ == "OutOfMemoryError" or isinstance(error, MemoryError)
