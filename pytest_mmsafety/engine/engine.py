"""The engine: asks the target in batches, ahead of the items that wait for them, and has every answer judged.

Two threads do the work: one owns the target and the store, the other the judges, so that both are busy at
once. :meth:`Engine.submit` gives work, :meth:`Engine.collect` waits for outcomes.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from queue import SimpleQueue
from typing import NamedTuple

from pytest_mmsafety.arguments import without_secrets
from pytest_mmsafety.cases import Case, Response
from pytest_mmsafety.engine.asker import Asker, one_line, taken_apart
from pytest_mmsafety.engine.batches import batches, windows
from pytest_mmsafety.engine.image_reader import ImageReader
from pytest_mmsafety.errors import ImageError
from pytest_mmsafety.judges.panel import Panel
from pytest_mmsafety.outcomes import Outcome
from pytest_mmsafety.store import Answer, Store, response_key
from pytest_mmsafety.targets import Request, Target
from pytest_mmsafety.verdicts import Verdict

JUDGED_AT_ONCE = 512
"""Answers that the judges get at once when all are there: enough for even batches, few enough to show progress."""

SHUTDOWN_TIMEOUT = 10.0
"""Seconds that the end of a session waits for the current batch, which no item needs any more."""
INTERRUPT_TIMEOUT = 2.0
"""The same after Ctrl-C: a CI kills a job soon after that, and the run is yet to be written."""


_CUT_OFF = Verdict("none", "cut-off", None, "the model was still thinking when its tokens ran out: there is no answer")
_NOT_JUDGED = Verdict("none", "not-judged", None, "the run was stopped before a judge saw the answer")


class _Asked(NamedTuple):
    """A case on its way through the engine."""

    case: Case
    image_digests: tuple[str, ...]
    key: str


class _Answered(NamedTuple):
    asked: _Asked
    response: Response
    seconds: float
    stored: bool
    created: str


class Engine:
    """Answers and verdicts for cases, in the background.

    *target* makes the target; it is called once, in the engine's thread, at the first window of cases.
    *judge_after*: the judges wait until every case that was submitted is asked and the target is released, so that
    the two never share a device.
    """

    def __init__(  # noqa: PLR0913 - its parts, and how it goes about
        self,
        target: Callable[[], Target],
        panel: Panel,
        store: Store,
        batch_size: int,
        *,
        judge_after: bool = False,
        timeout: float | None = None,
    ) -> None:
        self.target = Asker(target, batch_size, self._note, timeout)
        self._images = ImageReader()
        self._panel = panel
        self._store = store
        self._batch_size = batch_size
        self._judge_after = judge_after
        self._held: list[_Answered] = []
        """Answers that the judges wait to see."""
        self._postponed: list[list[_Asked]] = []
        """Batches that another process on the same store is asking."""
        self._work: SimpleQueue[Sequence[Case] | None] = SimpleQueue()
        self._to_judge: SimpleQueue[list[_Answered] | None] = SimpleQueue()
        self._outcomes: dict[str, Outcome] = {}
        self._unjudged: dict[str, _Answered] = {}
        self._pending: set[str] = set()
        self._arrived = threading.Condition()
        self._stopping = False
        self._broken = ""
        """A fault that ended one of the threads, or empty."""
        self.notes: list[str] = []
        """What a reader of the run must know."""
        self.answered = 0
        self.settled = 0
        """Cases with an outcome of any kind."""
        self._threads = [
            threading.Thread(target=loop, name=f"mmsafety-{name}", daemon=True)
            for name, loop in (("target", self._ask_all), ("judge", self._judge_all))
        ]
        for thread in self._threads:
            thread.start()

    @property
    def judges(self) -> dict[str, str]:
        """Fingerprints of the judges with weights that have spoken, by name."""
        return dict(self._panel.fingerprints)

    @property
    def busy(self) -> bool:
        """Whether cases that were submitted have no outcome yet."""
        return bool(self._pending)

    @property
    def hangs(self) -> bool:
        """After the end: whether a call of the target or of a judge goes on, which only ends with the process."""
        return self.target.hangs or self._panel.hangs or any(thread.is_alive() for thread in self._threads)

    # --- called from outside

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

    def judge_again(self, cases: Sequence[Case], outcomes: Sequence[Outcome]) -> None:
        """Have answers that were given before judged as answers to *cases*, which :meth:`collect` then waits for."""
        with self._arrived:
            self._pending.update(case.key for case in cases)
        if self._broken:
            self._publish([Outcome(case.key, error=self._broken) for case in cases])
        else:
            self._to_judge.put([_given(case, outcome) for case, outcome in zip(cases, outcomes, strict=True)])

    def close(self, *, interrupted: bool = False) -> None:
        """End after the batch in hand, so that no answer is lost; one that takes too long is dropped."""
        with self._arrived:
            self._stopping = True
            self._arrived.notify_all()
        self._work.put(None)
        until = time.monotonic() + (INTERRUPT_TIMEOUT if interrupted else SHUTDOWN_TIMEOUT)
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        if any(thread.is_alive() for thread in self._threads):
            return  # the target hangs, and still owns the store; the threads end with the process
        if not interrupted:  # else the process ends next
            self.target.release()
            self._panel.release()
        self._store.close()

    def left(self) -> list[Outcome]:
        """After the end: outcomes that were not collected, and answers that no judge saw."""
        with self._arrived:
            unjudged = [_outcome(answer, (_NOT_JUDGED,)) for answer in self._unjudged.values()]
            return [*self._outcomes.values(), *unjudged]

    # --- the thread that owns the target

    def _ask_all(self) -> None:
        try:
            while (cases := self._work.get()) is not None:
                for window in windows(cases, self._batch_size):
                    if self._stopping:
                        break
                    self._ask_window(window)
                self._ask_postponed(last=True)
                if self._held and self._work.empty():
                    self._change_over()
        except BaseException as error:  # noqa: BLE001 - a thread must not die while items wait for it
            self._abort(error)
        finally:
            self._to_judge.put(None)

    def _change_over(self) -> None:
        """Give the device to the judges, and take it back when they are done: items may be run again."""
        if self._stopping:
            return  # no item waits for verdicts; the answers are in the store
        self.target.release()
        held, self._held = self._held, []
        for start in range(0, len(held), JUDGED_AT_ONCE):
            self._to_judge.put(held[start : start + JUDGED_AT_ONCE])
        keys = {answer.asked.case.key for answer in held}
        with self._arrived:
            self._arrived.wait_for(lambda: self._stopping or not keys & self._pending)
        if not self._stopping:
            self._panel.release()

    def _abort(self, error: BaseException) -> None:
        self._broken = f"internal error: {one_line(error)}"
        self._note(self._broken)
        with self._arrived:
            waiting = tuple(self._pending)
        self._publish([Outcome(key, error=self._broken) for key in waiting])

    def _ask_window(self, window: Sequence[Case]) -> None:
        asked = {case.key: ask for case in window if (ask := self._prepare(case))}
        known = self._known([ask.key for ask in asked.values()])
        stored = [_restored(ask, known[ask.key]) for ask in asked.values() if ask.key in known]
        self._hand_over(stored)
        answered = {answer.asked.case.key for answer in stored}
        for batch in batches([ask.case for ask in asked.values()], self._batch_size, answered):
            if self._stopping:
                return
            self._ask_unless_claimed([asked[case.key] for case in batch])
        self._ask_postponed()

    def _ask_unless_claimed(self, asks: list[_Asked], *, last: bool = False) -> None:
        """Ask a batch, without what another process has answered meanwhile; later, while another is asking it.

        *last*: there is no later.
        """
        if self.target.given_up:
            return self._fail(asks, self.target.given_up)
        free = True
        with suppress(sqlite3.Error):
            free = self._store.claim([ask.key for ask in asks])
        known = self._known([ask.key for ask in asks]) if self._store.path else {}
        self._hand_over([_restored(ask, known[ask.key]) for ask in asks if ask.key in known])
        if still := [ask for ask in asks if ask.key not in known]:
            if free or last:
                self._ask(still)
            else:
                self._postponed.append(still)
        return None

    def _ask_postponed(self, *, last: bool = False) -> None:
        postponed, self._postponed = self._postponed, []
        for asks in postponed:
            if self._stopping:
                return
            self._ask_unless_claimed(asks, last=last)

    def _known(self, keys: Sequence[str]) -> dict[str, Answer]:
        try:
            found = self._store.get(keys) if self.target.started else {}
            if self._store.damaged:
                self._note(f"--store: {self._store.path} has answers that were changed by another program; asked anew")
            return found
        except sqlite3.Error as error:
            self._note(f"--store: {self._store.path} cannot be read ({error}); its answers are asked anew")
            return {}

    def _prepare(self, case: Case) -> _Asked | None:
        """Read the images and find the key; a case that cannot be asked gets its outcome here."""
        if case.skip:
            self._publish([Outcome(case.key, skipped=case.skip, skip_kind=case.skip_kind)])
            return None
        try:
            digests = self._images.digests(case)
        except ImageError as error:
            self._publish([_unreadable(case, error)])
            return None
        self.target.start()
        return _Asked(case, digests, response_key(self.target.fingerprint, case, digests))

    def _ask(self, asks: Sequence[_Asked]) -> None:
        """Ask one batch; every answer is stored before anything else is done with it."""
        ready: list[tuple[_Asked, Request]] = []
        for ask in asks:
            try:
                images = self._images.decoded(ask.case)
            except ImageError as error:
                self._publish([_unreadable(ask.case, error, ask.image_digests)])
            else:
                case = ask.case
                request = Request(case.prompt, images, ask.image_digests, case.sample, case.max_new_tokens)
                ready.append((ask, request))
        for reply in self.target.ask([request for _, request in ready]):
            asked = [ready[row][0] for row in reply.rows]
            if reply.error:
                self._fail(asked, reply.error)
            else:
                self._keep(asked, reply.answers, reply.seconds)

    def _keep(self, asked: Sequence[_Asked], responses: Sequence[Response], seconds: float) -> None:
        now = datetime.now(UTC).isoformat(timespec="microseconds")
        answers = [Answer(a.key, a.case.key, a.case.prompt, r, now) for a, r in zip(asked, responses, strict=True)]
        try:
            self._store.put(self.target.name, self.target.fingerprint, answers)
        except sqlite3.Error as error:
            self._note(f"--store: {self._store.path} takes no more answers ({error}); later ones are in this run only")
        self._hand_over(
            [_Answered(a, r, seconds, stored=False, created=now) for a, r in zip(asked, responses, strict=True)]
        )

    def _hand_over(self, answers: list[_Answered]) -> None:
        self.answered += len(answers)
        with self._arrived:
            self._unjudged.update({answer.asked.case.key: answer for answer in answers})
        if self._broken:
            self._fail([answer.asked for answer in answers], self._broken)
        elif self._judge_after:
            self._held += answers
        elif answers:
            self._to_judge.put(answers)

    def _fail(self, asked: Sequence[_Asked], reason: str) -> None:
        self._publish([Outcome(a.case.key, error=reason, image_digests=a.image_digests) for a in asked])

    def _note(self, note: str) -> None:
        note = without_secrets(note)
        if note not in self.notes:
            self.notes.append(note)

    # --- the thread of the judges

    def _judge_all(self) -> None:
        try:
            if self._store.path and self._panel.has_weights:
                self._panel.memory = Store(self._store.path)
            while (answers := self._to_judge.get()) is not None:
                if not self._stopping:  # else no item waits for verdicts, and the answers are in the store
                    self._publish(self._judged(answers))
        except BaseException as error:  # noqa: BLE001 - a thread must not die while items wait for it
            self._abort(error)
        finally:
            if self._panel.memory:
                self._panel.memory.close()
                self._panel.memory = None

    def _judged(self, answers: Sequence[_Answered]) -> list[Outcome]:
        whole = [a for a in answers if a.response.end != "thinking"]
        judged = self._panel.judge(
            [a.asked.case for a in whole], [a.response.answer for a in whole], [a.asked.image_digests for a in whole]
        )
        of_whole = iter(judged)
        verdicts = [(_CUT_OFF,) if a.response.end == "thinking" else next(of_whole) for a in answers]
        for problem in self._panel.problems:
            self._note(problem)
        return [_outcome(answer, verdict) for answer, verdict in zip(answers, verdicts, strict=True)]

    def _publish(self, outcomes: Sequence[Outcome]) -> None:
        with self._arrived:
            self.settled += len(outcomes)
            for outcome in outcomes:
                self._outcomes[outcome.case] = outcome
                self._unjudged.pop(outcome.case, None)
            self._pending.difference_update(outcome.case for outcome in outcomes)
            self._arrived.notify_all()


def _unreadable(case: Case, error: ImageError, digests: tuple[str, ...] = ()) -> Outcome:
    return Outcome(case.key, error=error.problem, error_file=error.path, image_digests=digests)


def _outcome(answer: _Answered, verdicts: tuple[Verdict, ...]) -> Outcome:
    response = answer.response
    return Outcome(
        case=answer.asked.case.key,
        response=response.answer,
        reasoning=response.reasoning,
        end=response.end,
        prompt_tokens=response.prompt_tokens,
        answer_tokens=response.answer_tokens,
        rendered=response.rendered,
        answered=answer.created,
        verdicts=verdicts,
        image_digests=answer.asked.image_digests,
        seconds=answer.seconds,
        stored=answer.stored,
    )


def _given(case: Case, outcome: Outcome) -> _Answered:
    """An outcome's answer as one to *case*."""
    assert outcome.response is not None
    response = Response(
        outcome.response,
        outcome.reasoning,
        outcome.end,
        outcome.prompt_tokens,
        outcome.answer_tokens,
        outcome.rendered,
    )
    asked = _Asked(case, outcome.image_digests, "")
    return _Answered(asked, response, outcome.seconds, stored=outcome.stored, created=outcome.answered)


def _restored(ask: _Asked, answer: Answer) -> _Answered:
    """Also of answers that were kept before thoughts were taken out of them."""
    return _Answered(ask, taken_apart(answer.response), 0.0, stored=True, created=answer.created)
