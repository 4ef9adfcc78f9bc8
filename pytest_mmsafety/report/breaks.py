"""What breaks the model: everything that the page says of an attack."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pytest_mmsafety.attacks.results import JUDGE
from pytest_mmsafety.attacks.settings import SEARCH
from pytest_mmsafety.report.ablation import Ablation, sweep_ablation, sweep_twins
from pytest_mmsafety.report.finding_cards import MAX_FAULTS, BrokenCase, broken_cases
from pytest_mmsafety.report.strength_curves import Multiple, StepCurve, multiples, step_curves
from pytest_mmsafety.report.technique_tables import Matrix, search_matrix, sweep_matrix
from pytest_mmsafety.report.text import percents
from pytest_mmsafety.report.thumbnails import Gallery
from pytest_mmsafety.report.universal_changes import UniversalChange, universal_changes
from pytest_mmsafety.report.variants import DIRECTIONS, direction
from pytest_mmsafety.run import Record, Run
from pytest_mmsafety.statistics.estimates import clustered_share
from pytest_mmsafety.verdicts import verdict_by

_ALPHA = 0.05


@dataclass(frozen=True, slots=True)
class Broken:
    """The cases that a search attacked, in one direction."""

    direction: str
    broken: int
    cases: int
    failing: int
    """Of the broken ones, those that fail as they stand."""
    unsure: int
    share: str
    interval: str


@dataclass(frozen=True, slots=True)
class Breaks:
    """The section of the page."""

    attacked: int
    """Cases that an attack was made on."""
    broken: tuple[Broken, ...]
    findings: int
    cases: tuple[BrokenCase, ...]
    faults: int
    faulted: tuple[BrokenCase, ...]
    sweep: Ablation | None
    sweep_matrix: Matrix | None
    search_matrix: Matrix | None
    curves: tuple[StepCurve, ...]
    multiples: tuple[Multiple, ...]
    universal: tuple[UniversalChange, ...]

    @property
    def keys(self) -> frozenset[str]:
        """Cases whose findings are shown."""
        return frozenset(case.record.key for case in self.cases)

    @property
    def shown(self) -> int:
        return _shown(self.cases)

    @property
    def faults_shown(self) -> int:
        return _shown(self.faulted)


def breaks(run: Run, gallery: Gallery) -> Breaks | None:
    """``None`` for a run without an attack."""
    added = [record for record in run.records if record.attacked_by]
    if not (added or run.findings or run.judge_faults):
        return None
    swept = sweep_twins(run.records).by_technique
    universal = universal_changes(run.records, run.findings)
    return Breaks(
        attacked=len({record.original for record in added}),
        broken=tuple(broken_shares(added)),
        findings=len(run.findings),
        cases=tuple(broken_cases(run.findings, run.records, gallery)),
        faults=len(run.judge_faults),
        faulted=tuple(broken_cases(run.judge_faults, run.records, gallery, MAX_FAULTS)),
        sweep=sweep_ablation(run.records),
        sweep_matrix=sweep_matrix(swept),
        search_matrix=None if universal else search_matrix(run.findings, run.records),
        curves=tuple(step_curves(added)),
        multiples=tuple(multiples(swept)),
        universal=tuple(universal),
    )


def broken_shares(records: Iterable[Record]) -> list[Broken]:
    """Of the cases that were searched, one entry a direction."""
    by_direction: defaultdict[str, list[Record]] = defaultdict(list)
    for record in records:
        if record.attacked_by == SEARCH:
            by_direction[DIRECTIONS[direction(record)]].append(record)
    return [_broken(name, found) for name, found in sorted(by_direction.items())]


def _broken(name: str, records: Sequence[Record]) -> Broken:
    verdicts = [(verdict_by(record.verdicts, JUDGE.partition("/")[0]), record) for record in records]
    scored = [(verdict.score, record) for verdict, record in verdicts if verdict and verdict.score is not None]
    failing = sum(verdict is not None and verdict.label == "fails-unperturbed" for verdict, _ in verdicts)
    value = interval = ""
    if scored:
        share = clustered_share([score for score, _ in scored], [record.cluster for _, record in scored], _ALPHA)
        value, low, high = percents(share.value, share.low, share.high)
        interval = f"{low} to {high}"
    broken = sum(score > 0 for score, _ in scored)
    return Broken(name, broken, len(scored), failing, len(records) - len(scored), value, interval)


def _shown(cases: Sequence[BrokenCase]) -> int:
    return sum(len(case.findings) for case in cases)
