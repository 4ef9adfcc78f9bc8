"""Calls into a model or a judge that are given up after a time."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TypeVar

from pytest_mmsafety.errors import MmsafetyError

_T = TypeVar("_T")

EXIT_TIMEOUT = 3.0
"""Seconds that the exit of a process waits for threads of a target or a judge that hangs."""


class TimeLimitError(MmsafetyError):
    """A call took too long. Its thread cannot be stopped, so what was called must not be called again."""


class TimeLimit:
    """Makes calls that may take *seconds* each; ``None``: for ever, in the thread that asks for them.

    With a limit all calls are made in one other thread: a model may be bound to the thread that made it.
    """

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._calls: SimpleQueue[tuple[Callable[[], object], SimpleQueue[tuple[bool, object]]]] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def call(self, function: Callable[[], _T], late: str = "no answer") -> _T:
        """What *function* returns or raises. Raises :class:`TimeLimitError`: *late* within so many seconds."""
        if self._seconds is None:
            return function()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="mmsafety-call", daemon=True)
            self._thread.start()
        done: SimpleQueue[tuple[bool, object]] = SimpleQueue()
        self._calls.put((function, done))
        try:
            returned, found = done.get(timeout=self._seconds)
        except Empty:
            raise TimeLimitError(f"{late} within {self._seconds:g} s") from None
        if returned:
            return found  # type: ignore[return-value]
        assert isinstance(found, BaseException)
        raise found

    def _run(self) -> None:
        while True:
            function, done = self._calls.get()
            try:
                done.put((True, function()))
            except BaseException as error:  # noqa: BLE001 - handed to who waits
                done.put((False, error))
            del function, done  # not to be kept until the next call: they hold images


def end_in_time(status: int) -> None:
    """Have this process end with *status* although other threads hang: Python waits for those of a pool for ever.

    What the exit has to do besides is done; nothing happens before the process exits by itself.
    """
    exiting = threading.Event()
    # Called before Python waits for threads; atexit's functions are called after that. There is no public way.
    register = getattr(threading, "_register_atexit", None)
    if register is None:
        return
    register(exiting.set)

    def end() -> None:
        exiting.wait()
        threading.Event().wait(EXIT_TIMEOUT)
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):
                stream.flush()
        os._exit(status)

    threading.Thread(target=end, name="mmsafety-end", daemon=True).start()
