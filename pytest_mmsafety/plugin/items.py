"""The pytest nodes: a suite file collects groups of cases; a group is one test item."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from pytest_mmsafety.errors import plural
from pytest_mmsafety.plugin.keys import LIBRARY, MARKS, OUTCOMES

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_mmsafety.cases import Case
    from pytest_mmsafety.outcomes import Outcome


_SHOWN = 20
"""Cases that a failure lists; the report has all of them."""


class SuiteFile(pytest.File):
    """A suite. Its items are its groups."""

    def collect(self) -> Iterator[GroupItem]:
        from pytest_mmsafety.errors import MmsafetyError
        from pytest_mmsafety.suites import common_tags

        source = self.config.stash.get(OUTCOMES, None)
        if not self.config.option.collectonly and source is None:
            raise self.CollectError(f"{self.path}: nothing to ask: give --model=CHECKPOINT")
        try:
            suite = self.config.stash[LIBRARY].read(self.path)
            if source:
                source.prepare(suite.cases)
        except MmsafetyError as error:
            raise self.CollectError(str(error)) from None
        if suite.wants_data:
            reason = f"official data: give --data {suite.data}=PATH"
            yield GroupItem.from_parent(self, name="needs-data", cases=(), skip=reason)
        tags = {name: common_tags(cases) for name, cases in suite.groups.items()}
        register_marks(self.config, {value for of_group in tags.values() for value in of_group.values()})
        for name, cases in suite.groups.items():
            item = GroupItem.from_parent(self, name=name, cases=cases)
            item.mark(tags[name])
            yield item


class LinkedFolder(pytest.Directory):
    """A link that is not followed."""

    def collect(self) -> NoReturn:
        raise self.CollectError(f"{self.path}: it is a link to {self.path.resolve()}, which is not part of this folder")


def register_marks(config: pytest.Config, names: Iterable[str]) -> None:
    """Make marks of tags known, a suite at a time: pytest reads all that are known for each new one.

    Names that are taken stay with their owner: pytest acts upon ``skip``, other plugins upon theirs.
    """
    ours, foreign = config.stash.setdefault(MARKS, (set(), _mark_names(config)))
    for name in sorted(set(names) - ours - foreign):
        if re.fullmatch(r"[^\W_][\w./+-]*", name):
            config.addinivalue_line("markers", f"{name}: a tag of collected cases")
            ours.add(name)


def _mark_names(config: pytest.Config) -> set[str]:
    return {re.split(r"[:(]", line)[0].strip() for line in config.getini("markers")}


class GroupItem(pytest.Item):
    """The cases of a suite that share its ``group_by`` tags."""

    def __init__(self, *, cases: Sequence[Case], skip: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.cases = cases
        self.outcomes: Sequence[Outcome] = ()
        self._skip = skip

    def mark(self, tags: dict[str, str]) -> None:
        """Make ``-m privacy`` and ``-m "mmsafety(language='zh')"`` work."""
        words = {tag.replace("-", "_"): value for tag, value in tags.items()}
        self.add_marker(pytest.mark.mmsafety.with_args(**{k: v for k, v in words.items() if k != "self"}))
        ours, _ = self.config.stash[MARKS]
        for value in tags.values():
            if value in ours:
                self.add_marker(value)

    def setup(self) -> None:
        """Wait for the answers. A failure here is an error: it could not be found out."""
        if self._skip:
            pytest.skip(self._skip)
        self.outcomes = self.config.stash[OUTCOMES].outcomes_of(self.cases)
        self.user_properties += _summary(self.outcomes)
        failed = [(o.case.partition("/")[2], _located(o)) for o in self.outcomes if o.error]
        if failed:
            raise NoAnswerError(failed, len(self.outcomes))
        if all(outcome.skipped for outcome in self.outcomes):
            pytest.skip(self.outcomes[0].skipped)

    def runtest(self) -> None:
        """Only cases that must pass can fail here; everything else is a result for the gates."""
        unsafe = [
            (case, outcome)
            for case, outcome in zip(self.cases, self.outcomes, strict=True)
            if case.must_pass and not outcome.skipped and outcome.score != 0
        ]
        if unsafe:
            raise MustPassError(unsafe, len(self.cases))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        if isinstance(excinfo.value, MustPassError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, 0, self.name  # a mark that skips it needs a line


def _located(outcome: Outcome) -> str:
    return f"{outcome.error_file}: {outcome.error}" if outcome.error_file else outcome.error


def _summary(outcomes: Sequence[Outcome]) -> list[tuple[str, object]]:
    """Scalars for JUnit."""
    scores = [outcome.score for outcome in outcomes if outcome.response is not None]
    return [
        ("cases", len(outcomes)),
        ("not_as_expected", sum(1 for score in scores if score)),
        ("unscored", scores.count(None)),
        ("skipped", sum(1 for outcome in outcomes if outcome.skipped)),
    ]


class NoAnswerError(Exception):
    """Some cases of a group have no answer."""

    def __init__(self, failed: Sequence[tuple[str, str]], total: int) -> None:
        reasons: dict[str, list[str]] = {}
        for case, reason in failed:
            reasons.setdefault(reason, []).append(case)
        self.reasons = sorted(reasons)
        lines = [f"{reason} ({_listed(cases)})" for reason, cases in reasons.items()]
        more = [f"... and {len(lines) - _SHOWN} other reasons"] if len(lines) > _SHOWN else []
        head = f"{len(failed)} of {plural(total, 'case')} without an answer: {lines[0]}"
        super().__init__("\n".join([head, *lines[1:_SHOWN], *more]))


class MustPassError(Exception):
    """Cases that must pass did not."""

    def __init__(self, unsafe: Sequence[tuple[Case, Outcome]], total: int) -> None:
        lines = [f"{len(unsafe)} of {plural(total, 'answer')} not as expected, in cases that must pass"]
        for case, outcome in unsafe[:_SHOWN]:
            verdict = outcome.verdicts[0]
            lines += [
                f"{case.id}: expected {case.expected!r}, {verdict.judge} says {verdict.label}: {verdict.reason}",
                f"    asked:    {_short(case.prompt)}",
                *(f"    image:    {path}" for path in case.images),
                f"    answered: {_short(outcome.response or '')}",
            ]
            if case.known_unsafe_until:
                lines.append(f"    it was known to be unsafe until {case.known_unsafe_until}, which has passed")
        if len(unsafe) > _SHOWN:
            lines.append(f"... and {len(unsafe) - _SHOWN} more")
        super().__init__("\n".join(lines))


def _listed(cases: Sequence[str]) -> str:
    return ", ".join(cases[:5]) + (f" and {len(cases) - 5} more" if len(cases) > 5 else "")


def _short(text: str) -> str:
    """One line of at most 160 printable characters."""
    line = "".join(c if c.isprintable() else " " for c in text)
    return textwrap.shorten(line, 160, placeholder=" ...") if " " in line else line[:160]
