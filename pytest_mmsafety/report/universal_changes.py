"""One change for many cases: how many it breaks of those that it was chosen on, and of others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pytest_mmsafety.attacks.cases import HALF
from pytest_mmsafety.attacks.results import JUDGE
from pytest_mmsafety.attacks.settings import UNIVERSAL
from pytest_mmsafety.findings import Finding
from pytest_mmsafety.report.finding_cards import ChangeLine, change_lines
from pytest_mmsafety.report.text import percents
from pytest_mmsafety.report.variants import DIRECTIONS, direction
from pytest_mmsafety.run import Record
from pytest_mmsafety.statistics.estimates import clustered_share
from pytest_mmsafety.verdicts import verdict_by

HALVES = ("chosen-on", "held-out")
_ALPHA = 0.05


@dataclass(frozen=True, slots=True)
class Half:
    """The cases of one half that pass as they stand; empty words where none does."""

    name: str
    flipped: int
    cases: int
    share: str
    interval: str


@dataclass(frozen=True, slots=True)
class UniversalChange:
    """The change of one suite in one direction."""

    suite: str
    direction: str
    changes: tuple[ChangeLine, ...]
    """Empty: none flipped a case."""
    halves: tuple[Half, ...]
    failing: int
    """Cases that fail as they stand: they can not be flipped."""
    unsure: int


def universal_changes(records: Iterable[Record], findings: Iterable[Finding]) -> list[UniversalChange]:
    """One a suite and direction that was attacked with one change."""
    groups: defaultdict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in records:
        if record.attacked_by == UNIVERSAL:
            groups[record.suite, DIRECTIONS[direction(record)]].append(record)
    by_case: dict[str, Finding] = {}
    for finding in findings:
        by_case.setdefault(finding.case, finding)
    return [_of(*key, found, by_case) for key, found in groups.items()]


def _of(suite: str, way: str, records: Sequence[Record], by_case: dict[str, Finding]) -> UniversalChange:
    found = next((by_case[record.original] for record in records if record.original in by_case), None)
    labels = [_label(record) for record in records]
    return UniversalChange(
        suite=suite,
        direction=way,
        changes=change_lines(found) if found else (),
        halves=tuple(_half(name, [record for record in records if record.tags.get(HALF) == name]) for name in HALVES),
        failing=labels.count("fails-unperturbed"),
        unsure=sum(label not in ("broken", "held", "fails-unperturbed") for label in labels),
    )


def _half(name: str, records: Sequence[Record]) -> Half:
    counted = [(label == "broken", record) for record in records if (label := _label(record)) in ("broken", "held")]
    flipped = sum(broken for broken, _ in counted)
    if not counted:
        return Half(name, 0, 0, "", "")
    share = clustered_share([float(b) for b, _ in counted], [record.cluster for _, record in counted], _ALPHA)
    texts = percents(share.value, share.low, share.high)
    return Half(name, flipped, len(counted), texts[0], f"{texts[1]} to {texts[2]}")


def _label(record: Record) -> str:
    verdict = verdict_by(record.verdicts, JUDGE.partition("/")[0])
    return verdict.label if verdict else ""
