"""Calls into a model or a judge that are given up after a time."""

from __future__ import annotations

from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TypeVar

from pytest_mmsafety.errors import MmsafetyError

_T = TypeVar("_T")


class TimeLimitError(MmsafetyError):
    """A call took too long. Its thread cannot be stopped, so what was called must not be called again."""


def within(seconds: float | None, call: Callable[[], _T]) -> _T:
    """What *call* returns or raises; ``None``: without a limit, in this thread. Raises :class:`TimeLimitError`."""
    if seconds is None:
        return call()
    done: SimpleQueue[tuple[bool, object]] = SimpleQueue()

    def run() -> None:
        try:
            done.put((True, call()))
        except BaseException as error:  # noqa: BLE001 - handed to who waits
            done.put((False, error))

    Thread(target=run, name="mmsafety-call", daemon=True).start()
    try:
        returned, found = done.get(timeout=seconds)
    except Empty:
        raise TimeLimitError(f"no answer within {seconds:g} s") from None
    if returned:
        return found  # type: ignore[return-value]
    assert isinstance(found, BaseException)
    raise found
