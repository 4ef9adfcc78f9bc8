"""The engine: asks the target in batches, ahead of whoever waits for an answer, and has every answer judged.

Two threads do the work: one owns the target and the store, the other the judges, so that both are busy at
once. :meth:`Engine.submit` gives work, :meth:`Engine.collect` waits for outcomes.
"""

from __future__ import annotations

import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import NamedTuple

from pytest_mmsafety.cases import Case
from pytest_mmsafety.errors import ImageError, MmsafetyError, SetupError
from pytest_mmsafety.images import decode, digest, read_image
from pytest_mmsafety.judges.panel import Panel
from pytest_mmsafety.outcomes import Outcome
from pytest_mmsafety.plan import batches, windows
from pytest_mmsafety.store import Answer, Store, response_key
from pytest_mmsafety.targets import Releasable, Request, Target

HOPELESS = 3
"""Batches in a row of which not one case could be answered before the target is given up."""


class _Asked(NamedTuple):
    """A case on its way through the engine."""

    case: Case
    image_digests: tuple[str, ...]
    key: str


class _Ready(NamedTuple):
    asked: _Asked
    request: Request


class _Answered(NamedTuple):
    asked: _Asked
    response: str
    seconds: float
    stored: bool


class Engine:
    """Answers and verdicts for cases, in the background.

    *target* makes the target; it is called once, in the engine's thread, at the first window of cases.
    """

    def __init__(self, target: Callable[[], Target], panel: Panel, store: Store, batch_size: int) -> None:
        self._make_target = target
        self._target: Target | None = None
        self._fingerprint = ""
        self._panel = panel
        self._store = store
        self._batch_size = batch_size
        self._work: SimpleQueue[Sequence[Case] | None] = SimpleQueue()
        self._to_judge: SimpleQueue[list[_Answered] | None] = SimpleQueue()
        self._outcomes: dict[str, Outcome] = {}
        self._pending: set[str] = set()
        self._arrived = threading.Condition()
        self._stopping = False
        self._hopeless_batches = 0
        self._digests: dict[str, str] = {}
        self.given_up = ""
        """Why the target is not asked any more, or empty."""
        self.notes: list[str] = []
        """What a reader of the run must know."""
        self.answered = 0
        self.settled = 0
        """Cases with an outcome of any kind."""
        self.calls = 0
        """How often the target was called."""
        self._threads = [
            threading.Thread(target=self._guard, args=(loop,), name=f"mmsafety-{name}", daemon=True)
            for name, loop in (("target", self._ask_all), ("judge", self._judge_all))
        ]
        for thread in self._threads:
            thread.start()

    @property
    def target_name(self) -> str:
        """What the target calls itself; empty before it was needed."""
        return self._target.name if self._target else ""

    @property
    def fingerprint(self) -> str:
        return self._fingerprint

    # --- for whoever wants outcomes

    def submit(self, cases: Sequence[Case]) -> None:
        """Plan *cases* and work through them in the background."""
        with self._arrived:
            self._pending.update(case.key for case in cases)
        self._work.put(cases)

    def collect(self, cases: Sequence[Case], tick: Callable[[], None], every: float = 0.5) -> list[Outcome]:
        """Wait for the outcomes of *cases* and hand them over; *tick* is called while waiting."""
        keys = [case.key for case in cases]
        missing = set(keys)
        with self._arrived:
            unknown = missing - self._pending - self._outcomes.keys()
        if unknown:  # collected before: a plugin runs the item again
            self.submit([case for case in cases if case.key in unknown])
        while True:
            with self._arrived:
                missing -= self._outcomes.keys()
                if not missing:
                    return [self._outcomes.pop(key) for key in keys]
                self._arrived.wait(every)
            tick()

    def close(self) -> None:
        """End after the batch in hand, so that no answer is lost; a second Ctrl-C does not wait for it."""
        self._stopping = True
        self._work.put(None)
        for thread in self._threads:
            thread.join()
        if isinstance(self._target, Releasable):
            self._target.release()
        self._store.close()

    # --- the thread that owns the target

    def _guard(self, loop: Callable[[], None]) -> None:
        """A thread must not die in silence while items wait for it."""
        try:
            loop()
        except BaseException as error:  # noqa: BLE001 - a fault of ours, or a user's code that will not be caught
            self._give_up(f"internal error: {type(error).__name__}: {error}")
            while True:
                self._publish([Outcome(key, error=self.given_up) for key in tuple(self._pending)])
                if self._stopping or self._work.get() is None:
                    return

    def _ask_all(self) -> None:
        while (cases := self._work.get()) is not None:
            for window in windows(cases, self._batch_size):
                if self._stopping:
                    break
                self._ask_window(window)
        self._to_judge.put(None)

    def _ask_window(self, window: Sequence[Case]) -> None:
        asked = {case.key: ask for case in window if (ask := self._prepare(case))}
        known = self._store.get([ask.key for ask in asked.values()]) if self._target else {}
        stored = [_Answered(ask, known[ask.key], 0.0, stored=True) for ask in asked.values() if ask.key in known]
        self._hand_over(stored)
        answered = {answer.asked.case.key for answer in stored}
        for batch in batches([ask.case for ask in asked.values()], self._batch_size, answered):
            if self._stopping:
                return
            self._ask_batch([asked[case.key] for case in batch])

    def _prepare(self, case: Case) -> _Asked | None:
        """Read the images and find the key; a case that cannot be asked gets its outcome here."""
        if case.skip:
            self._publish([Outcome(case.key, skipped=case.skip)])
            return None
        try:
            digests = tuple(self._digest(path) for path in case.images)
        except ImageError as error:
            self._publish([Outcome(case.key, error=str(error))])
            return None
        if not self.given_up and self._target is None:
            self._start_target()
        return _Asked(case, digests, response_key(self._fingerprint, case.prompt, digests))

    def _digest(self, path: str) -> str:
        if path not in self._digests:
            self._digests[path] = digest(read_image(path))
        return self._digests[path]

    def _start_target(self) -> None:
        try:
            target = self._make_target()
            self._fingerprint = target.fingerprint  # may have to read all weights, and may fail at that
            self._target = target
        except Exception as error:  # noqa: BLE001 - the user's code
            self._give_up(_one_line(error))

    def _ask_batch(self, asked: Sequence[_Asked]) -> None:
        if self.given_up:
            self._fail(asked, self.given_up)
            return
        before = self.answered
        rest = self._decoded(asked)
        while rest:  # a batch size that was halved meanwhile holds for the planned batches too
            now, rest = rest[: self._batch_size], rest[self._batch_size :]
            self._ask(now)
        self._hopeless_batches = 0 if self.answered > before else self._hopeless_batches + 1

    def _decoded(self, asked: Sequence[_Asked]) -> list[_Ready]:
        ready = []
        for ask in asked:
            try:
                images = tuple(decode(read_image(path), path) for path in ask.case.images)
            except ImageError as error:
                self._publish([Outcome(ask.case.key, error=str(error), image_digests=ask.image_digests)])
                continue
            ready.append(_Ready(ask, Request(ask.case.prompt, images, ask.image_digests)))
        return ready

    def _ask(self, batch: Sequence[_Ready]) -> None:
        """Ask; on a failure halve until the guilty case stands alone."""
        asked = [ready.asked for ready in batch]
        if self.given_up:
            self._fail(asked, self.given_up)
            return
        try:
            responses, seconds = self._generate([ready.request for ready in batch])
        except SetupError as error:  # holds for every case: weights that cannot be read
            self._give_up(_one_line(error))
            self._fail(asked, self.given_up)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - anything may come out of a model
            if _is_out_of_memory(error):
                self._make_room(len(batch))
            if len(batch) > 1:
                self._ask(batch[: len(batch) // 2])
                self._ask(batch[len(batch) // 2 :])
            else:
                self._blame(asked, error)
        else:
            self._keep(asked, responses, seconds)

    def _make_room(self, size: int) -> None:
        if torch := sys.modules.get("torch"):
            torch.cuda.empty_cache()
        if size > 1:
            self._batch_size = size // 2
            self._note(f"out of memory with {size} cases at once: went on with {self._batch_size}")

    def _blame(self, asked: Sequence[_Asked], error: BaseException) -> None:
        self._fail(asked, _one_line(error))
        if self._hopeless_batches >= HOPELESS:
            self._give_up(f"it failed on every case of {HOPELESS} batches, last with {_one_line(error)}")

    def _generate(self, requests: Sequence[Request]) -> tuple[list[str], float]:
        """The answers and the seconds that each took. Raises if they do not match the requests."""
        assert self._target is not None
        started = time.perf_counter()
        self.calls += 1
        responses = list(self._target.generate(requests))
        if len(responses) != len(requests):
            raise ValueError(f"the target gave {len(responses)} answers to {len(requests)} requests")
        for response in responses:
            if not isinstance(response, str):
                raise TypeError(f"the target answered {response!r:.60} ({type(response).__name__}), expected a string")
        # Half a surrogate pair cannot be written to any file.
        clean = [response.encode("utf-8", "surrogatepass").decode("utf-8", "replace") for response in responses]
        return clean, (time.perf_counter() - started) / len(requests)

    def _keep(self, asked: Sequence[_Asked], responses: Sequence[str], seconds: float) -> None:
        assert self._target is not None
        answers = [Answer(a.key, a.case.key, a.case.prompt, r) for a, r in zip(asked, responses, strict=True)]
        try:
            self._store.put(self._target.name, self._fingerprint, answers)
        except sqlite3.Error as error:
            self._note(f"--store: {self._store.path} takes no more answers ({error}); later ones are in this run only")
        self._hand_over([_Answered(a, r, seconds, stored=False) for a, r in zip(asked, responses, strict=True)])

    def _hand_over(self, answers: list[_Answered]) -> None:
        self.answered += len(answers)
        if answers:
            self._to_judge.put(answers)

    def _fail(self, asked: Sequence[_Asked], reason: str) -> None:
        self._publish([Outcome(a.case.key, error=reason, image_digests=a.image_digests) for a in asked])

    def _give_up(self, reason: str) -> None:
        self.given_up = reason
        self._note(f"the target was given up: {reason}")

    def _note(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)

    # --- the thread of the judges

    def _judge_all(self) -> None:
        while (answers := self._to_judge.get()) is not None:
            verdicts = self._panel.judge([a.asked.case for a in answers], [a.response for a in answers])
            self._publish(
                [
                    Outcome(
                        case=answer.asked.case.key,
                        response=answer.response,
                        verdicts=verdict,
                        image_digests=answer.asked.image_digests,
                        seconds=answer.seconds,
                        stored=answer.stored,
                    )
                    for answer, verdict in zip(answers, verdicts, strict=True)
                ]
            )

    def _publish(self, outcomes: Sequence[Outcome]) -> None:
        with self._arrived:
            self.settled += len(outcomes)
            self._outcomes.update({outcome.case: outcome for outcome in outcomes})
            self._pending.difference_update(outcome.case for outcome in outcomes)
            self._arrived.notify_all()


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, MmsafetyError) else f"{type(error).__name__}: {text}"


def _is_out_of_memory(error: BaseException) -> bool:
    return type(error).__name__ == "OutOfMemoryError" or isinstance(error, MemoryError)
