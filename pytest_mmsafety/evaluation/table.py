"""The records of a run as columns, so that many gates over many cases stay quick."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from pytest_mmsafety.baselines import same_content
from pytest_mmsafety.metrics import ATTACK, Metric
from pytest_mmsafety.run import Record
from pytest_mmsafety.statistics.estimates import Floats, Ints, Mask
from pytest_mmsafety.verdicts import score_by, verdict_by

ANSWERED, SKIPPED, ERROR, MISSING = range(4)

ABSENT = -1
CHANGED = -2
"""What :func:`match` says of a case that the baseline does not have, or has with another content."""


class Table:
    """Arrays with an element a record, made when they are first asked for."""

    def __init__(self, records: Sequence[Record]) -> None:
        self.records = records
        self._tags: dict[str, tuple[Ints, dict[str, int]]] = {}
        self._scores: dict[str, Floats] = {}

    @cached_property
    def state(self) -> Ints:
        """``ANSWERED``, ``SKIPPED``, ``ERROR`` or ``MISSING`` (collected, but not run)."""
        return self._ints(_state(record) for record in self.records)

    @cached_property
    def cluster(self) -> Ints:
        """Numbers of the clusters."""
        known: dict[str, int] = {}
        return self._ints(known.setdefault(record.cluster, len(known)) for record in self.records)

    def scores(self, judge: str) -> Floats:
        """The scores of the named judge, NaN where there is none."""
        if judge not in self._scores:
            found = (score_by(record.verdicts, judge) for record in self.records)
            self._scores[judge] = np.array([np.nan if score is None else score for score in found], dtype=float)
        return self._scores[judge]

    def judges(self, judge: str) -> tuple[Ints, list[str]]:
        """Number of each record's judge, as :meth:`scores` chooses it (-1 without), and their names with versions."""
        known: dict[str, int] = {}
        column = self._ints(
            -1 if verdict is None else known.setdefault(verdict.judge, len(known))
            for verdict in (verdict_by(record.verdicts, judge) for record in self.records)
        )
        return column, list(known)

    def values(self, metric: Metric, judge: str) -> Floats:
        """What each case contributes to *metric* (``Metric.value``), NaN where it is left out."""
        scores = self.scores(judge)
        if metric.counts_unscored:
            return np.isnan(scores).astype(float)
        values = 1 - scores if metric.higher_is_better else scores
        if not metric.given:
            return values
        twin = self._twins(metric.given)
        return np.where((twin >= 0) & (scores[twin] == 0), values, np.nan)

    def _twins(self, variant: str) -> Ints:
        """Index of each record's twin: same suite and pair, this variant; -1 for records without, and for twins."""
        twins = {
            (record.suite, record.tags["pair"]): number
            for number, record in enumerate(self.records)
            if "pair" in record.tags and record.tags.get("variant") == variant
        }
        return self._ints(
            -1 if record.tags.get("variant") == variant else twins.get((record.suite, record.tags.get("pair", "")), -1)
            for record in self.records
        )

    def where(self, accepted: Mapping[str, Sequence[str]]) -> Mask:
        """Which records have one of the accepted values of each tag."""
        mask = np.ones(len(self.records), dtype=bool)
        for tag, values in accepted.items():
            column, known = self._tag(tag)
            mask &= np.isin(column, [known[value] for value in values if value in known])
        return mask

    def strata(self, metric: Metric) -> Ints:
        """Index of each record's stratum among ``metric.weights``; -1 if it does not count for the metric."""
        if not metric.stratum_tags:
            stratum = np.zeros(len(self.records), dtype=int)
        else:
            names = {name: number for number, name in enumerate(metric.weights)}
            columns = [self._tag(tag) for tag in metric.stratum_tags]
            stratum = np.full(len(self.records), -1)
            for values, name in metric.strata.items():
                if all(value in known for value, (_, known) in zip(values, columns, strict=True)):
                    here = [column == known[value] for value, (column, known) in zip(values, columns, strict=True)]
                    stratum[np.logical_and.reduce(here)] = names[name]
        counts = self.where({tag: (value,) for tag, value in metric.where.items()})
        if not metric.of_attacks:
            counts &= self._tag(ATTACK)[0] < 0
        return np.where(counts, stratum, -1)

    def _tag(self, tag: str) -> tuple[Ints, dict[str, int]]:
        """Number of each record's value (-1 without the tag), and the numbers of the values."""
        if tag not in self._tags:
            known: dict[str, int] = {}
            found = (record.suite if tag == "suite" else record.tags.get(tag) for record in self.records)
            column = self._ints(-1 if value is None else known.setdefault(value, len(known)) for value in found)
            self._tags[tag] = column, known
        return self._tags[tag]

    def _ints(self, numbers: Iterable[Any]) -> Ints:
        return np.fromiter(numbers, dtype=int, count=len(self.records))


def _state(record: Record) -> int:
    if record.skipped:
        return SKIPPED
    if record.error:
        return ERROR
    return MISSING if record.response is None else ANSWERED


def match(records: Sequence[Record], baseline: Sequence[Record]) -> Ints:
    """For each record its index in *baseline*, ``ABSENT`` if it is not there, ``CHANGED`` if its content differs."""
    index = {record.key: number for number, record in enumerate(baseline)}
    found = np.full(len(records), ABSENT)
    for i, record in enumerate(records):
        if (j := index.get(record.key)) is not None:
            found[i] = j if same_content(record, baseline[j]) else CHANGED
    return found
