"""The engine: asks the target in batches, ahead of whoever waits for an answer, and has every answer judged.

Two threads do the work: one owns the target and the store, the other the judges, so that both are busy at
once. :meth:`Engine.submit` gives work, :meth:`Engine.collect` waits for outcomes.
"""

from __future__ import annotations

import sqlite3
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import NamedTuple

from pytest_mmsafety.cases import Case
from pytest_mmsafety.engine.batches import batches, windows
from pytest_mmsafety.errors import ImageError, MmsafetyError, SetupError
from pytest_mmsafety.images import decode, digest, read_image
from pytest_mmsafety.judges.panel import Panel
from pytest_mmsafety.outcomes import Outcome
from pytest_mmsafety.store import Answer, Store, response_key
from pytest_mmsafety.targets import Releasable, Request, Target

HOPELESS = 24
"""Cases in a row that end in an error of the target before it is given up."""

JUDGED_AT_ONCE = 512
"""Answers that the judges get at once when all are there: enough for even batches, few enough to show progress."""

GRACE = 10.0
"""Seconds that the end of a session waits for a batch in hand that nobody waits for any more."""


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
    *judge_after*: the judges wait until every case that was submitted is asked and the target is released, so that
    the two never share a device.
    """

    def __init__(
        self, target: Callable[[], Target], panel: Panel, store: Store, batch_size: int, *, judge_after: bool = False
    ) -> None:
        self._make_target = target
        self._target: Target | None = None
        self._fingerprint = ""
        self._panel = panel
        self._store = store
        self._batch_size = batch_size
        self._judge_after = judge_after
        self._held: list[_Answered] = []
        """Answers that the judges wait to see."""
        self._released = False
        self._work: SimpleQueue[Sequence[Case] | None] = SimpleQueue()
        self._to_judge: SimpleQueue[list[_Answered] | None] = SimpleQueue()
        self._outcomes: dict[str, Outcome] = {}
        self._pending: set[str] = set()
        self._arrived = threading.Condition()
        self._stopping = False
        self._failed_in_a_row = 0
        self._digests: dict[str, str] = {}
        self._broken = ""
        """A fault that ended one of the threads, or empty."""
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
            threading.Thread(target=loop, name=f"mmsafety-{name}", daemon=True)
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

    @property
    def judges(self) -> dict[str, str]:
        """Fingerprints of the judges with weights that have spoken, by name."""
        return dict(self._panel.fingerprints)

    @property
    def busy(self) -> bool:
        """Whether cases that were submitted have no outcome yet."""
        return bool(self._pending)

    # --- for whoever wants outcomes

    def submit(self, cases: Sequence[Case]) -> None:
        """Plan *cases* and work through them in the background."""
        with self._arrived:
            self._pending.update(case.key for case in cases)
        if self._broken:
            self._publish([Outcome(case.key, error=self._broken) for case in cases])
        else:
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

    def close(self, *, patient: bool = False) -> None:
        """End after the batch in hand, so that no answer is lost.

        One that takes longer than ``GRACE`` is dropped, unless *patient*: then a second Ctrl-C drops it.
        """
        with self._arrived:
            self._stopping = True
            self._arrived.notify_all()
        self._work.put(None)
        until = time.monotonic() + GRACE
        for thread in self._threads:
            thread.join(None if patient else max(0.0, until - time.monotonic()))
        if any(thread.is_alive() for thread in self._threads):
            return  # the target hangs, and still owns the store; the threads end with the process
        self._release()
        self._panel.release()
        self._store.close()

    # --- the thread that owns the target

    def _ask_all(self) -> None:
        try:
            while (cases := self._work.get()) is not None:
                for window in windows(cases, self._batch_size):
                    if self._stopping:
                        break
                    self._ask_window(window)
                if self._held and self._work.empty():
                    self._change_over()
        except BaseException as error:  # noqa: BLE001 - a thread must not die while items wait for it
            self._break_down(error)
        finally:
            self._to_judge.put(None)

    def _change_over(self) -> None:
        """Give the device to the judges, and take it back when they are done: items may be run again."""
        if self._stopping:
            return  # nobody waits for verdicts; the answers are in the store
        self._release()
        held, self._held = self._held, []
        for start in range(0, len(held), JUDGED_AT_ONCE):
            self._to_judge.put(held[start : start + JUDGED_AT_ONCE])
        keys = {answer.asked.case.key for answer in held}
        with self._arrived:
            self._arrived.wait_for(lambda: self._stopping or not keys & self._pending)
        if not self._stopping:
            self._panel.release()

    def _release(self) -> None:
        if self._released or not isinstance(self._target, Releasable):
            return
        self._released = True
        try:
            self._target.release()
        except Exception as error:  # noqa: BLE001 - every answer is already here
            self._note(f"the target could not be released: {_one_line(error)}")

    def _break_down(self, error: BaseException) -> None:
        self._broken = f"internal error: {_one_line(error)}"
        self._note(self._broken)
        with self._arrived:
            waiting = tuple(self._pending)
        self._publish([Outcome(key, error=self._broken) for key in waiting])

    def _ask_window(self, window: Sequence[Case]) -> None:
        asked = {case.key: ask for case in window if (ask := self._prepare(case))}
        known = self._known([ask.key for ask in asked.values()])
        stored = [_Answered(ask, known[ask.key], 0.0, stored=True) for ask in asked.values() if ask.key in known]
        self._hand_over(stored)
        answered = {answer.asked.case.key for answer in stored}
        for batch in batches([ask.case for ask in asked.values()], self._batch_size, answered):
            if self._stopping:
                return
            asks = [asked[case.key] for case in batch]
            if self.given_up:
                self._fail(asks, self.given_up)
            else:
                self._ask(self._decoded(asks))

    def _known(self, keys: Sequence[str]) -> dict[str, str]:
        try:
            return self._store.get(keys) if self._target else {}
        except sqlite3.Error as error:
            self._note(f"--store: {self._store.path} cannot be read ({error}); its answers are asked anew")
            return {}

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
        return _Asked(case, digests, response_key(self._fingerprint, case.prompt, digests, case.sample))

    def _digest(self, path: str) -> str:
        if path not in self._digests:
            self._digests[path] = digest(read_image(path))
        return self._digests[path]

    def _start_target(self) -> None:
        try:
            target = self._make_target()
            self._fingerprint = target.fingerprint  # may have to read all weights, and may fail at that
            self._target = target
        except BaseException as error:  # noqa: BLE001 - the user's code; even its sys.exit() is a target that failed
            self._give_up(_one_line(error))

    def _decoded(self, asked: Sequence[_Asked]) -> list[_Ready]:
        ready = []
        for ask in asked:
            try:
                images = tuple(decode(read_image(path), path) for path in ask.case.images)
            except ImageError as error:
                self._publish([Outcome(ask.case.key, error=str(error), image_digests=ask.image_digests)])
                continue
            ready.append(_Ready(ask, Request(ask.case.prompt, images, ask.image_digests, ask.case.sample)))
        return ready

    def _ask(self, batch: Sequence[_Ready]) -> None:
        """Ask; what fails is halved until the guilty case stands alone."""
        waiting = deque([batch] if batch else [])
        while waiting:
            batch = waiting.popleft()
            if self.given_up:
                self._fail([ready.asked for ready in batch], self.given_up)
            elif len(batch) > self._batch_size:  # halved meanwhile for want of memory
                waiting.extendleft([batch[self._batch_size :], batch[: self._batch_size]])
            elif (error := self._try(batch)) is not None:
                if _is_out_of_memory(error):
                    self._make_room(len(batch))
                if isinstance(error, SetupError):  # holds for every case: weights that cannot be read
                    self._give_up(_one_line(error))
                    waiting.appendleft(batch)
                elif len(batch) > 1:
                    middle = len(batch) // 2
                    waiting.extendleft([batch[middle:], batch[:middle]])
                else:
                    self._blame(batch[0].asked, error)

    def _try(self, batch: Sequence[_Ready]) -> BaseException | None:
        """Ask once and keep the answers, or say what went wrong."""
        try:
            responses, seconds = self._generate([ready.request for ready in batch])
        except BaseException as error:  # noqa: BLE001 - anything may come out of a model, and no Ctrl-C into a thread
            return error.with_traceback(None)  # its frames hold the tensors that a smaller batch needs the room of
        self._failed_in_a_row = 0
        self._keep([ready.asked for ready in batch], responses, seconds)
        return None

    def _make_room(self, size: int) -> None:
        if torch := sys.modules.get("torch"):
            torch.cuda.empty_cache()
        if 1 < size <= self._batch_size:
            self._batch_size = size // 2
            self._note(f"out of memory with {size} cases at once: went on with {self._batch_size}")

    def _blame(self, asked: _Asked, error: BaseException) -> None:
        self._fail([asked], _one_line(error))
        if isinstance(error, MmsafetyError):
            return  # said on purpose of this one case: two images for a model that takes one
        self._failed_in_a_row += 1
        if self._failed_in_a_row >= HOPELESS:
            self._give_up(f"it failed on {HOPELESS} cases in a row, last with {_one_line(error)}")

    def _generate(self, requests: Sequence[Request]) -> tuple[list[str], float]:
        """The answers and the seconds that each took. Raises if they do not match the requests."""
        assert self._target is not None
        started = time.perf_counter()
        self.calls += 1
        self._released = False
        answers = self._target.generate(requests)
        if isinstance(answers, str):
            raise TypeError(f"the target answered {answers!r:.60}, one string; expected a list with one a request")
        responses = list(answers)
        if len(responses) != len(requests):
            raise ValueError(f"the target gave {len(responses)} answers to {len(requests)} requests")
        for response in responses:
            if not isinstance(response, str):
                raise TypeError(f"the target answered {response!r:.60} ({type(response).__name__}), expected a string")
        return [_writable(response) for response in responses], (time.perf_counter() - started) / len(requests)

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
        if self._broken:
            self._fail([answer.asked for answer in answers], self._broken)
        elif self._judge_after:
            self._held += answers
        elif answers:
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
        try:
            if self._store.path and self._panel.has_weights:
                self._panel.memory = Store(self._store.path)
            while (answers := self._to_judge.get()) is not None:
                if not (self._judge_after and self._stopping):
                    self._publish(self._judged(answers))
        except BaseException as error:  # noqa: BLE001 - a thread must not die while items wait for it
            self._break_down(error)
        finally:
            if self._panel.memory:
                self._panel.memory.close()
                self._panel.memory = None

    def _judged(self, answers: Sequence[_Answered]) -> list[Outcome]:
        verdicts = self._panel.judge(
            [a.asked.case for a in answers], [a.response for a in answers], [a.asked.image_digests for a in answers]
        )
        for problem in self._panel.problems:
            self._note(problem)
        return [
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

    def _publish(self, outcomes: Sequence[Outcome]) -> None:
        with self._arrived:
            self.settled += len(outcomes)
            self._outcomes.update({outcome.case: outcome for outcome in outcomes})
            self._pending.difference_update(outcome.case for outcome in outcomes)
            self._arrived.notify_all()


def _one_line(error: BaseException) -> str:
    text = _writable(" ".join("".join(c if c.isprintable() else " " for c in str(error)).split()))
    return text if isinstance(error, MmsafetyError) else f"{type(error).__name__}: {text}"


def _writable(text: str) -> str:
    """Without halves of surrogate pairs: no file takes them."""
    return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")


def _is_out_of_memory(error: BaseException) -> bool:
    return type(error).__name__ == "OutOfMemoryError" or isinstance(error, MemoryError)
