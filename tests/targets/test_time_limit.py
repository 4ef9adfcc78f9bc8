"""Calls into a target or a judge that are given up after a time."""

from __future__ import annotations

import sys
import threading

import pytest

from pytest_mmsafety.targets.time_limit import TimeLimit, TimeLimitError


def test_all_calls_come_from_one_thread() -> None:
    limit = TimeLimit(60)
    threads = {limit.call(threading.get_ident) for _ in range(3)}
    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_without_a_limit_it_is_the_callers_thread() -> None:
    assert TimeLimit(None).call(threading.get_ident) == threading.get_ident()


def test_what_is_raised_comes_through() -> None:
    with pytest.raises(SystemExit, match="3"):
        TimeLimit(60).call(lambda: sys.exit(3))


def test_a_call_that_takes_too_long_is_given_up() -> None:
    with pytest.raises(TimeLimitError, match=r"^no answer within 0\.1 s$"):
        TimeLimit(0.1).call(threading.Event().wait)
