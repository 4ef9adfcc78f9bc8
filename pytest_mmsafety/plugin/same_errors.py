"""Errors of many groups for the same reason, as where a server is down: printed once, with their number."""

from __future__ import annotations

import copy
from collections.abc import Generator, Iterable, Iterator
from typing import Any

import pytest

from pytest_mmsafety.errors import plural

_NAMED = 3


class SameErrors:
    """Has the terminal list one report of each kind; counts, JUnit and ``--lf`` keep all of them."""

    @pytest.hookimpl(wrapper=True, tryfirst=True)  # around the terminal's own
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> Generator[None, None, None]:
        """Hide the others while they are listed."""
        stats = terminalreporter.stats
        errors = stats.get("error")
        if errors:
            stats["error"] = list(one_of_each(errors))
        yield
        if errors:
            stats["error"] = errors


def one_of_each(reports: Iterable[Any]) -> Iterator[Any]:
    """The first report of those whose cases have no answer for the same reasons; all others as they are."""
    alike: dict[object, list[Any]] = {}
    for report in reports:
        reasons = getattr(report, "mmsafety_reasons", None)
        alike.setdefault(tuple(reasons) if reasons else id(report), []).append(report)
    for first, *others in alike.values():
        if not others:
            yield first
            continue
        named = ", ".join(report.nodeid.rpartition("::")[2] for report in others[:_NAMED])
        more = " ..." if len(others) > _NAMED else ""
        told = copy.copy(first)
        told.longrepr = f"{first.longrepr}\nThe same in {plural(len(others), 'other group')}: {named}{more}"
        yield told
