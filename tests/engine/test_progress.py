"""The progress line, by a clock of our own."""

from __future__ import annotations

import pytest

from pytest_mmsafety.engine.progress import LOG_EVERY, Progress


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def lines() -> list[str]:
    return []


def test_a_terminal_sees_every_step(clock: Clock, lines: list[str]) -> None:
    progress = Progress(redraw=lines.append, clock=clock)
    progress.start(100)
    for done in (0, 10, 20, 100):
        progress.show(done)
        clock.now += 5
    progress.finish()
    assert lines == [
        "mmsafety: 0 of 100 cases answered in 0:00",
        "mmsafety: 10 of 100 cases answered in 0:05",
        "mmsafety: 20 of 100 cases answered in 0:10, 2.0/s, about 0:40 left",
        "",
    ]


def test_answers_from_the_store_say_nothing_about_the_pace(clock: Clock, lines: list[str]) -> None:
    progress = Progress(redraw=lines.append, clock=clock)
    progress.start(1000)
    progress.show(900)
    clock.now += 10
    progress.show(910)
    assert lines[-1] == "mmsafety: 910 of 1000 cases answered in 0:10, 1.0/s, about 1:30 left"


def test_a_log_gets_a_line_now_and_then(clock: Clock, lines: list[str]) -> None:
    progress = Progress(log=lines.append, clock=clock)
    progress.start(1000)
    for second in range(300):
        clock.now = 1000.0 + second
        progress.show(second)
    assert len(lines) == 299 // LOG_EVERY
    assert lines[0].startswith("mmsafety: 30 of 1000 cases answered in 0:30")


def test_a_short_run_says_nothing_in_a_log(clock: Clock, lines: list[str]) -> None:
    progress = Progress(log=lines.append, clock=clock)
    progress.start(10)
    clock.now += LOG_EVERY - 1
    progress.show(5)
    clock.now += 100
    progress.show(10)
    progress.finish()
    assert lines == []


def test_a_run_that_is_done_is_not_drawn(clock: Clock, lines: list[str]) -> None:
    progress = Progress(redraw=lines.append, clock=clock)
    progress.start(10)
    progress.show(10)
    progress.finish()
    assert lines == []


def test_a_line_that_stays_is_not_erased(clock: Clock, lines: list[str]) -> None:
    progress = Progress(redraw=lines.append, clock=clock)
    progress.start(10)
    progress.show(5)
    progress.say("finishing")
    progress.finish()
    assert lines[-1] == "mmsafety: finishing"


def test_without_a_terminal_or_a_log_nothing_is_shown(clock: Clock) -> None:
    progress = Progress(clock=clock)
    progress.start(10)
    progress.show(5)
    progress.say("x")
    progress.finish()


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0:00"), (0.6, "0:01"), (59.6, "1:00"), (61, "1:01"), (3600, "1:00:00"), (90061, "25:01:01")],
)
def test_durations(clock: Clock, lines: list[str], seconds: float, shown: str) -> None:
    progress = Progress(redraw=lines.append, clock=clock)
    progress.start(10)
    clock.now += seconds
    progress.show(0)
    assert lines == [f"mmsafety: 0 of 10 cases answered in {shown}"]


def test_a_clock_that_stands_still_divides_nothing_by_zero(clock: Clock, lines: list[str]) -> None:
    progress = Progress(redraw=lines.append, clock=clock)
    progress.start(10)
    progress.show(1)
    progress.show(5)
    assert "about 0:00 left" in lines[-1]
