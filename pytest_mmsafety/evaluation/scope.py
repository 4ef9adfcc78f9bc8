"""The cases of one gate in a run: which are in scope, answered and scored, as masks over the run's records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from pytest_mmsafety.evaluation.corrected import Columns
from pytest_mmsafety.evaluation.table import ANSWERED, ERROR, MISSING, SKIPPED, Table, match
from pytest_mmsafety.gates import Counts, Gate
from pytest_mmsafety.judge_errors import JudgeErrors
from pytest_mmsafety.labels import HumanLabels
from pytest_mmsafety.metrics import METRICS, Metric
from pytest_mmsafety.run import Record
from pytest_mmsafety.statistics.decisions import Stopped
from pytest_mmsafety.statistics.estimates import Estimate, Floats, Ints, Mask, clustered_share


@dataclass(frozen=True)
class GateInputs:
    """A run, and what its gates are evaluated with."""

    records: Sequence[Record]
    """Of all *collected* cases."""
    baseline: Sequence[Record] | None = None
    broken: str = ""
    """Why no gate can be evaluated (a suite that could not be read), or empty."""
    judge_errors: Mapping[str, JudgeErrors] = field(default_factory=dict)
    """Judge with its version -> how often it errs."""
    labels: HumanLabels | None = None
    """People's labels of a random part of the run's answers."""
    stopped: Mapping[str, Stopped] = field(default_factory=dict)
    """Gate -> its early verdict."""

    @cached_property
    def table(self) -> Table:
        return Table(self.records)

    @cached_property
    def earlier(self) -> Table:
        """Of the baseline, which there must be."""
        assert self.baseline is not None
        return Table(self.baseline)

    @cached_property
    def match(self) -> Ints:
        """Index of each record's case in the baseline, see :func:`~pytest_mmsafety.evaluation.table.match`."""
        assert self.baseline is not None
        return match(self.records, self.baseline)

    @cached_property
    def human(self) -> tuple[Floats, Floats]:
        """People's label of each record, 0 to 1, and how many answers it stands for; NaN where there is none."""
        of = self.labels.of if self.labels else {}
        labels = [of.get(record.key) for record in self.records]
        failure = [np.nan if label is None or label.failure is None else label.failure for label in labels]
        return np.array(failure), np.array([np.nan if label is None else label.stands_for for label in labels])


@dataclass(frozen=True)
class Scope:
    """The cases of one gate: masks over the records of the run."""

    inputs: GateInputs
    gate: Gate

    @property
    def metric(self) -> Metric:
        return METRICS[self.gate.metric]

    @property
    def table(self) -> Table:
        return self.inputs.table

    @cached_property
    def cases(self) -> Mask:
        return self.table.where(self.gate.where) & (self.table.strata(self.metric) >= 0)

    @cached_property
    def answered(self) -> Mask:
        answered: Mask = self.table.state == ANSWERED
        return self.cases & answered

    @cached_property
    def scores(self) -> Floats:
        """Of every record by the gate's judge; NaN: unscored."""
        return self.table.scores(self.gate.judged_by)

    @cached_property
    def scored(self) -> Mask:
        return self.answered & known(self.scores)

    @cached_property
    def values(self) -> Floats:
        """What every record contributes to the metric, 0 to 1; NaN: nothing."""
        return self.table.values(self.metric, self.gate.judged_by)

    @cached_property
    def counts(self) -> Counts:
        states = self.table.state[self.cases]
        return Counts(
            n=int(self.scored.sum()),
            unscored=int(self.answered.sum() - self.scored.sum()),
            skipped=int((states == SKIPPED).sum()),
            errors=int((states == ERROR).sum()),
            missing=int((states == MISSING).sum()),
        )

    @cached_property
    def judges(self) -> tuple[Ints, Sequence[str]]:
        """The judge whose verdict counts, of every record, as an index into the names; -1 where there is none."""
        return self.table.judges(self.gate.judged_by)

    @cached_property
    def under_zero_tolerance(self) -> Mask:
        masks = [self.table.where(accepted) for accepted in self.gate.zero_tolerance]
        return np.any(masks, axis=0) if masks else np.zeros(len(self.inputs.records), dtype=bool)

    def share(self, values: Floats, mask: Mask) -> Estimate:
        """The metric over the masked records, with its clustered interval."""
        return clustered_share(values[mask], self.table.cluster[mask], self.gate.alpha, *self.strata(mask))

    def strata(self, mask: Mask) -> tuple[Any, Mapping[int, float]]:
        """The stratum of each masked record, and the weights of the strata."""
        return self.table.strata(self.metric)[mask], dict(enumerate(self.metric.weights.values()))

    def columns(self, mask: Mask) -> Columns:
        judge, judges = self.judges
        strata = self.table.strata(self.metric)
        return Columns(self.values[mask], self.table.cluster[mask], strata[mask], judge[mask], judges)

    def records(self, mask: Mask) -> list[Record]:
        return [self.inputs.records[i] for i in mask.nonzero()[0].tolist()]


def known(values: Floats) -> Mask:
    """Where there is a number."""
    return ~np.isnan(values)
