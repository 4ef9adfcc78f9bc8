"""The progress line while the target works: redrawn on a terminal, now and then in a log."""

from __future__ import annotations

import time
from collections.abc import Callable

LOG_EVERY = 30.0
"""Seconds between two lines in a log."""


class Progress:
    """Says how many of the cases are answered, how fast, and how long it will take.

    *redraw* rewrites the current line of a terminal; *log* writes a line of its own. One of them is given.
    """

    def __init__(
        self,
        *,
        redraw: Callable[[str], None] | None = None,
        log: Callable[[str], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._redraw = redraw
        self._log = log
        self._clock = clock
        self._total = 0
        self._started = self._last = 0.0
        self.started = False
        self._shown = False
        self._baseline: tuple[float, int] | None = None

    def start(self, total: int) -> None:
        self._total = total
        self.started = True
        self._started = self._last = self._clock()

    def show(self, done: int) -> None:
        """Called often; shows something rarely enough to be read."""
        now = self._clock()
        if self._baseline is None and done:
            # The first answers may come from the store at once: they say nothing about the pace.
            self._baseline = (now, done)
        if self._redraw and done < self._total:
            self._redraw(self._line(done, now))
            self._shown = True
        elif self._log and now - self._last >= LOG_EVERY and done < self._total:
            self._log(self._line(done, now))
            self._last = now

    def say(self, line: str) -> None:
        """A line that stays."""
        if write := self._redraw or self._log:
            write(f"mmsafety: {line}")
        self._shown = False

    def finish(self) -> None:
        """Leave the terminal's line empty."""
        if self._redraw and self._shown:
            self._redraw("")

    def _line(self, done: int, now: float) -> str:
        line = f"mmsafety: {done} of {self._total} cases answered in {_duration(now - self._started)}"
        if self._baseline and (fresh := done - self._baseline[1]) > 0:
            pace = fresh / max(now - self._baseline[0], 1e-9)
            line += f", {pace:.1f}/s, about {_duration((self._total - done) / pace)} left"
        return line


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
