"""A judge against labels of people: ``mmsafety judge evaluate``."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_mmsafety.annotations.answers import Answer
from pytest_mmsafety.annotations.label_words import LEVELS, ParsedLabels, read_labels
from pytest_mmsafety.annotations.measures import AgreementData, Bin, Interval, confusion, measure, numbered, reliability
from pytest_mmsafety.annotations.sample import MAX_WEIGHT
from pytest_mmsafety.errors import DataError, nearest, plural
from pytest_mmsafety.judge_errors import JudgeErrors, Stratum
from pytest_mmsafety.statistics.estimates import Mask
from pytest_mmsafety.verdicts import Verdict

STRATA = ("dimension", "language", "source")
SHOWN = 200
"""Characters of a name that are printed."""
OF_RANKING = ("auroc", "auprc", "ece", "brier")
"""Measures of the risk: of every answer that has one, scored or not. The others are of scored answers alone."""


@dataclass(frozen=True, slots=True)
class LabelledAnswers:
    """Answers with what people and a judge said of them; sequences of one length."""

    answers: Sequence[Answer]
    gold: ParsedLabels
    scores: Sequence[float | None]
    """``None``: the judge abstained."""
    judge: str
    weights: Sequence[float]
    """How many answers of the whole each stands for."""
    risks: Sequence[float | None]
    """``Verdict.risk``: what the judge ranks by, known of many answers that it abstains on; else the score."""


@dataclass(frozen=True, slots=True)
class Part:
    """The figures of some of the answers."""

    by: Mapping[str, str]
    n: int
    abstained: int
    clusters: int
    measures: Mapping[str, Interval]
    confusion: tuple[tuple[float, ...], ...]
    """Row: by the people, column: by the judge; sums of weights."""
    bins: tuple[Bin, ...]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All figures of a judge."""

    judge: str
    unlabelled: int
    """Rows without a label, left out."""
    classes: int
    threshold: float
    seed: int
    resamples: int
    parts: tuple[Part, ...]


def gold_of(answers: Sequence[Answer], column: str, scale: str, positive: Sequence[str]) -> ParsedLabels:
    """Read the labels that people gave. Raises :class:`DataError`."""
    return read_labels(
        _cells(answers, column), [a.case.expected for a in answers], [a.where for a in answers], scale, positive
    )


def scores_of(answers: Sequence[Answer], column: str) -> list[float | None]:
    """Read what a judge said, from a column: numbers from 0 to 1, levels to 3, or words. An empty cell abstains."""
    cells = _cells(answers, column)
    numbers = [_float(cell) for cell in cells]
    if any(number is None and cell not in (None, "") for number, cell in zip(numbers, cells, strict=True)):
        places = [answer.where for answer in answers]
        labels = read_labels(cells, [answer.case.expected for answer in answers], places, "auto", ())
        return [None if label is None else label / (labels.classes - 1) for label in labels.values]
    most = max((number for number in numbers if number is not None), default=0.0)
    top = 1 if most <= 1 else LEVELS - 1
    for answer, number in zip(answers, numbers, strict=True):
        if number is not None and not (0 <= number <= top and (top == 1 or number.is_integer())):
            raise DataError(answer.where, f"{column}: {number:g}; expected 0 to 1, or levels 0, 1, 2, 3")
    return [None if number is None else number / top for number in numbers]


def risks_of(answers: Sequence[Answer], scores: Sequence[float | None]) -> list[float | None]:
    """What ``judge score`` wrote to rank by: the risk of the column ``probabilities``; the score without them."""
    return [_risk(answer.values.get("probabilities"), score) for answer, score in zip(answers, scores, strict=True)]


def _risk(shares: Any, score: float | None) -> float | None:
    if not isinstance(shares, dict):
        return score
    found = {label: _float(share) for label, share in shares.items()}
    known = {label: share for label, share in found.items() if share is not None and 0 <= share <= 1}
    return Verdict("", "", score, probabilities=known).risk if len(known) == len(found) else score


def _float(cell: Any) -> float | None:
    try:
        number = float(cell)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _cells(answers: Sequence[Answer], column: str) -> list[Any]:
    names = {str(name) for answer in answers for name in answer.values}
    if column not in names:
        alike = [name for name in names if name.lower() == column.lower()]
        if len(alike) == 1:
            return _cells(answers, alike[0])
        raise DataError(answers[0].where, f"no column {column!r}; there are {', '.join(sorted(names))[:200]}"
                         f"{nearest(column, names)}")  # fmt: skip
    return [answer.values.get(column) for answer in answers]


def weights_of(answers: Sequence[Answer]) -> list[float]:
    """The column ``weight``: how many answers each stands for; 1 without it."""
    weights = []
    for answer in answers:
        cell = answer.values.get("weight")
        weight = 1.0 if cell in (None, "") else _float(cell)
        if weight is None or not 0 < weight < MAX_WEIGHT:
            raise DataError(
                answer.where, f"weight: {cell!r:.40}; expected a number above 0 and below {MAX_WEIGHT:,.0f}"
            )
        weights.append(weight)
    return weights


def evaluate(labelled: LabelledAnswers, *, threshold: float = 0.5, seed: int = 0, resamples: int = 2000) -> Evaluation:
    """Every figure of all answers, and of each dimension, language and source. Raises :class:`DataError`."""
    table = _Table(labelled, threshold)
    parts = [table.part({}, seed, resamples)]
    for name in STRATA:
        values = table.values(name)
        if len(values) > 1:
            parts += [table.part({name: value}, seed, resamples) for value in values]
    unlabelled = sum(value is None for value in labelled.gold.values)
    classes = labelled.gold.classes
    return Evaluation(labelled.judge, unlabelled, classes, threshold, seed, resamples, tuple(parts))


def calibrate(labelled: LabelledAnswers, files: Sequence[Path], *, threshold: float = 0.5) -> JudgeErrors:
    """Confusion counts of all answers, of each dimension, each language, and each pair of them."""
    table = _Table(labelled, threshold)
    dimensions, languages = ([{name: value} for value in table.values(name)] for name in STRATA[:2])
    pairs = [{**one, **other} for one in dimensions for other in languages]
    strata = [table.stratum(by) for by in ({}, *dimensions, *languages, *pairs)]
    return JudgeErrors(
        judge=labelled.judge,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        threshold=threshold,
        effective=table.weighted,
        files={path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files},
        strata=tuple(stratum for stratum in strata if stratum.n),
    )


class _Table:
    """The labelled answers as arrays."""

    def __init__(self, labelled: LabelledAnswers, threshold: float) -> None:
        kept = [i for i, value in enumerate(labelled.gold.values) if value is not None]
        if not kept:
            raise DataError(labelled.answers[0].where, "no row has a label")
        answers = [labelled.answers[i] for i in kept]
        self._tags = [{**answer.case.tags, "source": source_of(answer)} for answer in answers]
        top = labelled.gold.classes - 1
        gold = np.array([labelled.gold.values[i] for i in kept], dtype=int)
        score, risk = (_column([values[i] for i in kept]) for values in (labelled.scores, labelled.risks))
        self._scored, self._ranked = ~np.isnan(score), ~np.isnan(risk)
        score, risk = np.nan_to_num(score), np.nan_to_num(risk)
        failed = score >= threshold
        self._sample = AgreementData(
            positive=gold / top >= threshold,
            score=risk,
            failed=failed,
            gold=gold,
            predicted=failed.astype(int) if top == 1 else np.floor(score * top + 0.5).astype(int),
            classes=labelled.gold.classes,
            weight=np.array([labelled.weights[i] for i in kept]),
            cluster=numbered([answer.cluster for answer in answers]),
            graded=bool(np.any((risk > 0) & (risk < 1))) and top == 1,
        )
        self.weighted = bool(np.ptp(self._sample.weight) > 0)

    def values(self, name: str) -> list[str]:
        return sorted({tags[name] for tags in self._tags if name in tags})

    def _where(self, by: Mapping[str, str]) -> Mask:
        return np.array([all(tags.get(name) == value for name, value in by.items()) for tags in self._tags])

    def part(self, by: Mapping[str, str], seed: int, resamples: int) -> Part:
        mask = self._where(by)
        scored = mask & self._scored
        clusters = len(np.unique(self._sample.cluster[mask]))
        n, abstained = int(mask.sum()), int((mask & ~self._scored).sum())
        measures: dict[str, Interval] = {}
        rows: tuple[tuple[float, ...], ...] = ()
        if scored.any():
            decided = self._sample.of(scored)
            measures = measure(decided, seed, resamples)
            table = confusion(decided, decided.weight[None, :])[0]
            rows = tuple(tuple(float(cell) for cell in row) for row in table)
        ranked = mask & self._ranked
        if not ranked.any():
            return Part(by, n, abstained, clusters, measures, rows, ())
        sample = self._sample.of(ranked)
        if np.any(ranked != scored):
            found = measure(sample, seed, resamples)
            measures |= {name: found[name] for name in OF_RANKING if name in found}
        bins = tuple(reliability(sample)) if sample.graded else ()
        return Part(by, n, abstained, clusters, measures, rows, bins)

    def stratum(self, by: Mapping[str, str]) -> Stratum:
        mask, sample = self._where(by), self._sample
        weight = sample.weight
        # Kish: a weighted sample is worth (sum w)^2 / sum w^2 answers.
        scale = weight[mask].sum() / (weight[mask] ** 2).sum() if mask.any() else 1.0

        def count(*conditions: Mask) -> float:
            return round(float(scale * weight[np.logical_and.reduce((mask, *conditions))].sum()), 6)

        def clusters(condition: Mask) -> int:
            return len(np.unique(sample.cluster[mask & condition]))

        yes, failed, scored = sample.positive, sample.failed, self._scored
        return Stratum(
            by=by,
            n=int(mask.sum()),
            tp=count(scored, yes, failed),
            fp=count(scored, ~yes, failed),
            tn=count(scored, ~yes, ~failed),
            fn=count(scored, yes, ~failed),
            abstained_positive=count(~scored, yes),
            abstained_negative=count(~scored, ~yes),
            clusters=clusters(np.ones(len(mask), dtype=bool)),
            positive_clusters=clusters(scored & yes),
            negative_clusters=clusters(scored & ~yes),
            sources=tuple(sorted({tags["source"] for tags, inside in zip(self._tags, mask, strict=True) if inside})),
        )


def _column(values: Sequence[float | None]) -> NDArray[np.float64]:
    return np.array([math.nan if value is None else value for value in values], dtype=float)


def source_of(answer: Answer) -> str:
    """The column ``source``, else the name of the file."""
    return str(answer.values.get("source") or answer.case.suite)


# --- as text and JSON


COLUMNS = {
    "accuracy": "accuracy",
    "macro_f1": "macro-F1",
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "kappa": "kappa",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
}


def as_json(evaluation: Evaluation) -> dict[str, Any]:
    """Every figure; what is not defined is null."""
    return {
        "judge": evaluation.judge,
        "unlabelled": evaluation.unlabelled,
        "classes": evaluation.classes,
        "threshold": evaluation.threshold,
        "seed": evaluation.seed,
        "resamples": evaluation.resamples,
        "parts": [
            {
                "by": dict(part.by),
                "n": part.n,
                "abstained": part.abstained,
                "clusters": part.clusters,
                "measures": {name: _plain_interval(found) for name, found in part.measures.items()},
                "confusion": part.confusion,
                "reliability": [one._asdict() for one in part.bins],
            }
            for part in evaluation.parts
        ],
    }


def _plain_interval(found: Interval) -> dict[str, float | None]:
    value = None if math.isnan(found.value) else found.value
    return {"value": value, "low": found.low, "high": found.high}


def as_text(evaluation: Evaluation) -> str:
    """The figures for reading; intervals are 95 %."""
    names = list(COLUMNS)
    head = ["", "n", "questions", "abstained", *COLUMNS.values()]
    rows = [
        [_name(part), f"{part.n:,}", f"{part.clusters:,}", _share(part.abstained, part.n)]
        + [_cell(part.measures.get(name)) for name in names]
        for part in evaluation.parts
    ]
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    lines = [f"judge {_shown(evaluation.judge)}"]
    if evaluation.unlabelled:
        lines.append(f"{plural(evaluation.unlabelled, 'row')} without a label left out")
    lines += ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
              for row in [head, *rows]]  # fmt: skip
    return "\n".join([*lines, *_confusion_lines(evaluation), *_reliability_lines(evaluation.parts[0])]) + "\n"


def _name(part: Part) -> str:
    return ", ".join(f"{name}={_shown(value)}" for name, value in part.by.items()) or "all"


def _shown(text: str) -> str:
    """On one short line, whatever a file has in its columns."""
    return "".join(character if character.isprintable() else " " for character in text[:SHOWN])


def _share(part: int, whole: int) -> str:
    return f"{part:,} ({100 * part / whole:.1f} %)" if part else "0"


def _cell(found: Interval | None) -> str:
    if found is None or math.isnan(found.value):
        return "-"
    if found.low is None or found.high is None:
        return f"{found.value:.3f}"
    return f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"


def _confusion_lines(evaluation: Evaluation) -> list[str]:
    table = evaluation.parts[0].confusion
    if not table:
        return []
    names = ["as expected", "failure"] if evaluation.classes == 2 else [f"level {i}" for i in range(evaluation.classes)]
    lines = ["", "people (rows) and judge (columns)", " " * 13 + "".join(f"{name:>13}" for name in names)]
    return lines + [
        f"{name:<13}" + "".join(f"{cell:>13,.0f}" for cell in row) for name, row in zip(names, table, strict=True)
    ]


def _reliability_lines(part: Part) -> list[str]:
    if not part.bins:
        return []
    errors = " ".join(f"{name.upper() if name == 'ece' else 'Brier'} {_cell(part.measures[name])}" for name in
                      ("ece", "brier"))  # fmt: skip
    return ["", f"calibration: {errors}", "score           n   mean   failures"] + [
        f"{one.low:.1f} to {one.high:.1f} {one.n:>7,}  {one.mean_score:.3f}  {one.share_positive:.3f}"
        for one in part.bins
    ]
