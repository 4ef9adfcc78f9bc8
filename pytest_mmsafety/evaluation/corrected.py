"""A gate's number without the errors of the judges whose verdicts it is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from pytest_mmsafety.errors import plural
from pytest_mmsafety.judge_errors import JudgeErrors
from pytest_mmsafety.metrics import Metric
from pytest_mmsafety.statistics.correction import (
    Confusion,
    Corrected,
    corrected_rate,
    prediction_powered,
    weighted_mean,
)
from pytest_mmsafety.statistics.estimates import Estimate, Floats, Ints, clustered_share

MIN_IN_STRATUM = 5
"""Labelled clusters that each stratum of a weighted metric needs."""


class Columns(NamedTuple):
    """The cases that a number is made of, an entry each."""

    values: Floats
    """0 to 1; NaN, where people's labels stand in, for answers without a score."""
    clusters: Ints
    strata: Ints
    judge: Ints
    """Index into *judges*."""
    judges: Sequence[str]
    """Names with versions."""


def corrected_share(  # noqa: PLR0913 - what is corrected, by what, at which level
    raw: Estimate,
    metric: Metric,
    columns: Columns,
    judge_errors: Mapping[str, JudgeErrors],
    tags: Mapping[str, str],
    *,
    alpha: float,
) -> Corrected | None:
    """Correct the estimate *raw* of *metric* over *columns*; ``None`` if none of its judges has known errors.

    Every part of one stratum and one judge is corrected by itself, with the counts of its judge errors that fit *tags*
    best; judges without known errors are taken to be exact. The parts are put together by
    :func:`~pytest_mmsafety.statistics.correction.weighted_mean`, as dependent ones.
    """
    if not {columns.judges[code] for code in np.unique(columns.judge)} & judge_errors.keys():
        return None
    if not np.isin(columns.values, (0.0, 1.0)).all():
        return Corrected(raw, None, "the judge's scores are degrees, and only yes or no can be corrected")
    parts: list[tuple[float, Estimate]] = []
    for weight, code, here in _parts(metric, columns):
        part = clustered_share(columns.values[here], columns.clusters[here], alpha)
        known = judge_errors.get(columns.judges[code])
        if known is not None:
            confusion = Confusion.of(known.best(tags))
            found = corrected_rate(part, confusion.mirrored() if metric.higher_is_better else confusion, alpha)
            if found.estimate is None:
                return Corrected(raw, None, f"{columns.judges[code]}: {found.reason}")
            part = found.estimate
        parts.append((weight, part))
    whole = parts[0][1] if len(parts) == 1 else weighted_mean(parts, alpha, independent=False)
    return Corrected(raw, Estimate(whole.value, whole.low, whole.high, raw.n, raw.clusters, whole.interval), "")


class LabelColumns(NamedTuple):
    """What people said of these cases."""

    values: Floats
    """What a label makes of the metric, 0 to 1; NaN without one."""
    stands_for: Floats
    """Cases that a labelled one stands for; NaN where no label was asked for."""
    levels: bool
    """Whether people chose among levels, rather than between failure or not."""
    graded: bool
    """Whether the judges of these cases give degrees, here or elsewhere in the run."""


def labelled_share(
    metric: Metric, columns: Columns, labelled: LabelColumns, *, alpha: float, max_unknown: float
) -> tuple[Estimate | None, str]:
    """Estimate *metric* over all of *columns* with people's labels of a random part; or why that cannot be done.

    By :func:`~pytest_mmsafety.statistics.correction.prediction_powered`.
    An answer without a score is predicted to be as expected:
    labels correct whatever is predicted, and where they differ from it to one side alone the interval is narrower.

    It refuses where there are too few labels; where nothing is known of more than *max_unknown* (people were not sure
    of so many of what they were asked; or so many have no score, and none of these a label); and where labels are yes
    or no but the judge's scores degrees, or the other way round: their mean would be another number.
    """
    if reason := _unusable(metric, columns, labelled, max_unknown):
        return None, reason
    found = prediction_powered(
        np.where(np.isnan(columns.values), float(metric.higher_is_better), columns.values),
        labelled.values,
        columns.clusters,
        alpha,
        strata=columns.strata,
        weights=dict(enumerate(metric.weights.values())),
        sampling=labelled.stands_for,
    )
    if found.estimate is None:
        return None, found.reason
    return replace(found.estimate, n=found.raw.n, clusters=found.raw.clusters), ""


def _unusable(metric: Metric, columns: Columns, labelled: LabelColumns, max_unknown: float) -> str:
    """Why these labels cannot be used for these cases, or empty."""
    scored, known, asked = (~np.isnan(of) for of in (columns.values, labelled.values, labelled.stands_for))
    unsure, unscored = int((asked & ~known).sum()), int((~scored).sum())
    if unsure > max_unknown * asked.sum():
        answers = plural(int(asked.sum()), "answer")
        return f"people were not sure of {unsure} of {answers}, more than the {max_unknown:.0%} allowed"
    if unscored > max_unknown * len(scored) and not (known & ~scored).any():
        answers = plural(len(scored), "answer")
        return f"{unscored} of {answers} unscored, and none of these is labelled; expected some of all"
    if labelled.levels and not labelled.graded:
        return "people's labels are levels, the judge says yes or no; expected labels of its scale"
    if not labelled.levels and not np.isin(columns.values[scored], (0.0, 1.0)).all():
        return "people's labels are yes or no, the judge's scores degrees; expected levels"
    for number, name in enumerate(metric.weights):
        clusters = len(np.unique(columns.clusters[known & (columns.strata == number)]))
        if clusters < MIN_IN_STRATUM and not known[columns.strata == number].all():
            return f"{plural(clusters, 'labelled cluster')} of {name}, fewer than the {MIN_IN_STRATUM} required"
    return ""


def _parts(metric: Metric, columns: Columns) -> list[tuple[float, int, Any]]:
    """Weight in the metric, judge and cases of every stratum and judge that occur together."""
    weights = list(metric.weights.values()) or [1.0]
    found = []
    for stratum in np.unique(columns.strata):
        in_stratum = columns.strata == stratum
        for code in np.unique(columns.judge[in_stratum]):
            here = in_stratum & (columns.judge == code)
            found.append((weights[stratum] * float(here.sum() / in_stratum.sum()), int(code), here))
    return found
