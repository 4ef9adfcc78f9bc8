"""Labels of people, brought together with the run they belong to: ``mmsafety judge import``."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from pytest_mmsafety.annotations.folder import read_about
from pytest_mmsafety.annotations.measures import AgreementData, Interval, measure, numbered
from pytest_mmsafety.annotations.sample import MAX_WEIGHT, failure_of, item_name, run_name
from pytest_mmsafety.documents import Row, file_rows
from pytest_mmsafety.errors import DataError, SetupError, nearest, plural
from pytest_mmsafety.run import Record, Run

ANSWERS = {"binary": ("yes", "no", "unsure"), "levels": ("0", "1", "2", "3", "unsure")}
SHOWN = 20
"""Disagreements that are printed."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Two people on the answers that both of them were sure about."""

    first: str
    second: str
    n: int
    agreed: int
    raw: Interval | None
    """Share of equal labels; ``None`` without a common answer."""
    kappa: Interval | None
    """Cohen's, quadratically weighted for levels."""


@dataclass(frozen=True, slots=True)
class Imported:
    """The labels of all people."""

    rows: tuple[dict[str, Any], ...]
    """One a labelled answer, ready for ``judge evaluate``."""
    agreements: tuple[Agreement, ...]
    notes: tuple[str, ...]


def bring_together(files: Sequence[Path], run: Run, adjudicator: str) -> Imported:
    """Join the label files of one or more people. Raises :class:`DataError` or :class:`SetupError`.

    An answer's label is what more than half of the people said; the *adjudicator*, if named, overrules them. Without
    such a majority there is no label.
    """
    name = run_name(run)
    records = {item_name(name, record): record for record in run.records if record.response is not None}
    votes = _votes([row for file in files for row in file_rows(file)], name, records)
    if not votes:
        raise DataError(files[0], "no labels")
    people = sorted({person for answers in votes.values() for person in answers})
    if adjudicator and adjudicator not in people:
        raise SetupError(f"--adjudicator {adjudicator}: not among the annotators {', '.join(people)}"
                         f"{nearest(adjudicator, people)}")  # fmt: skip
    scale = _scale(votes, files[0])
    weights, notes = _weights(files, name, votes, scale)
    rows = [
        _gold(records[item], answers, adjudicator, weights.get(item)) for item, answers in votes.items()
    ]  # fmt: skip
    judged = [person for person in people if person != adjudicator]
    agreements = [_agreement(pair, votes, records, 4 if scale == "levels" else 2) for pair in combinations(judged, 2)]
    return Imported(tuple(rows), tuple(agreements), notes)


def _votes(rows: Sequence[Row], run: str, records: Mapping[str, Record]) -> dict[str, dict[str, str]]:
    """Item -> person -> answer, in the order of the run; of what a person said twice, the later."""
    said: dict[tuple[str, str], tuple[str, str]] = {}
    for row in rows:
        answer = str(row.values.get("answer", "")).strip().lower().removesuffix(".0")
        if not answer:
            continue  # a row of the table that was not filled in
        item, person = str(row.values.get("item", "")), _person(row)
        if row.values.get("run") != run:
            found = f"{row.values.get('run')!r:.40}"
            raise DataError(row.at(), f"labels of run {found}; expected those of this run, {run!r}")
        if item not in records:
            raise DataError(row.at(), f"item: {item!r:.40}; expected an answer of this run")
        known = {value for answers in ANSWERS.values() for value in answers}
        if answer not in known:
            raise DataError(
                row.at(), f"answer: {answer!r:.40}; expected yes, no, unsure or 0 to 3", nearest(answer, known)
            )
        when = str(row.values.get("at", ""))
        before = said.get((item, person))
        if before and before[0] != answer and before[1] == when:
            raise DataError(row.at(), f"{person} said {before[0]!r} and {answer!r} of item {item}; expected one")
        if not before or when >= before[1]:
            said[item, person] = (answer, when)
    votes: dict[str, dict[str, str]] = {}
    for item in records:
        of_item = {person: answer for (one, person), (answer, _) in said.items() if one == item}
        if of_item:
            votes[item] = of_item
    return votes


def _person(row: Row) -> str:
    person = " ".join(str(row.values.get("annotator", "")).split()) or row.path.stem.removeprefix("labels-")
    if len(person) > 40 or not person.isprintable():
        raise DataError(row.at(), f"annotator: {person!r:.60}; expected a short name")
    return person


def _scale(votes: Mapping[str, Mapping[str, str]], file: Path) -> str:
    given = {answer for answers in votes.values() for answer in answers.values()}
    scale = next((scale for scale, answers in ANSWERS.items() if given <= set(answers)), "")
    if not scale:
        raise DataError(file, "labels yes or no and levels 0 to 3 are mixed; expected one scale")
    return scale


def _weights(
    files: Sequence[Path], run: str, votes: Mapping[str, Mapping[str, str]], scale: str
) -> tuple[dict[str, float], tuple[str, ...]]:
    """From ``sample.json`` beside the files; without it every answer counts the same."""
    about = next((file.parent / "sample.json" for file in files if (file.parent / "sample.json").exists()), None)
    if about is None:
        return {}, ("no sample.json beside the labels: every answer counts the same",)
    said = read_about(about)
    if said.get("run") != run or not votes.keys() <= said["weights"].keys():
        raise SetupError(f"{about}: of another run or sample than the labels; expected the one they were made with")
    sure = {answer for answers in votes.values() for answer in answers.values()} - {"unsure"}
    asked = said.get("scale")
    if sure and asked in ANSWERS and asked != scale:  # a 1 may be meant as yes, and a yes may be as expected
        raise DataError(files[0], f"{min(sure)!r}; expected {', '.join(ANSWERS[asked])}, as was asked")
    return {item: _weight(weight, f"{about}: weights: {item!r:.40}") for item, weight in said["weights"].items()}, ()


def _weight(value: Any, where: str) -> float:
    try:
        weight = float(value)
    except (TypeError, ValueError, OverflowError):
        weight = math.nan
    if not 0 < weight < MAX_WEIGHT:
        raise SetupError(f"{where}: {value!r:.40}; expected a number above 0 and below {MAX_WEIGHT:,.0f}")
    return weight


def _gold(record: Record, answers: Mapping[str, str], adjudicator: str, weight: float | None) -> dict[str, Any]:
    label, decided = _decide(record, answers, adjudicator)
    verdict = record.verdicts[0] if record.verdicts else None
    return {
        "key": record.key,
        "prompt": record.prompt,
        "response": record.response,
        "images": [image.name for image in record.images],
        "expected": record.expected,
        **{tag: record.tags[tag] for tag in ("dimension", "language", "category") if tag in record.tags},
        "source": record.suite,
        "cluster": record.cluster,
        "label": label,
        "decided": decided,
        "votes": dict(sorted(answers.items())),
        **({"weight": weight} if weight is not None else {}),
        **({"judge": verdict.judge, "verdict": verdict.label, "score": verdict.score} if verdict else {}),
        **({"probabilities": dict(verdict.probabilities)} if verdict and verdict.probabilities else {}),
    }


def _decide(record: Record, answers: Mapping[str, str], adjudicator: str) -> tuple[int | None, str]:
    """The label, and how it came about: adjudicated, single, agreed, majority, tie or unsure."""
    if adjudicator in answers:
        return failure_of(answers[adjudicator], record.expected), "adjudicated"
    labels = [failure_of(answer, record.expected) for answer in answers.values()]
    sure = [label for label in labels if label is not None]
    if not sure:
        return None, "unsure"
    most, times = Counter(sure).most_common(1)[0]
    if len(answers) == 1:
        return most, "single"
    if 2 * times <= len(labels):
        return None, "tie" if len(set(sure)) > 1 else "unsure"
    return most, "agreed" if times == len(labels) else "majority"


def _agreement(
    pair: tuple[str, str], votes: Mapping[str, Mapping[str, str]], records: Mapping[str, Record], classes: int
) -> Agreement:
    labels, clusters = [], []
    for item, answers in votes.items():
        if pair[0] in answers and pair[1] in answers:
            first, second = (failure_of(answers[person], records[item].expected) for person in pair)
            if first is not None and second is not None:
                labels.append((first, second))
                clusters.append(records[item].cluster)
    if not labels:
        return Agreement(*pair, 0, 0, None, None)
    both = np.array(labels)
    found = measure(
        AgreementData(
            positive=both[:, 0] > 0,
            score=both[:, 1] / (classes - 1),
            failed=both[:, 1] > 0,
            gold=both[:, 0],
            predicted=both[:, 1],
            classes=classes,
            weight=np.ones(len(both)),
            cluster=numbered(clusters),
            graded=False,
        )
    )
    return Agreement(*pair, len(both), int((both[:, 0] == both[:, 1]).sum()), found["accuracy"], found["kappa"])


def as_text(imported: Imported) -> str:
    """Agreement and disagreements, for reading."""
    decided = Counter(row["decided"] for row in imported.rows)
    counts = ", ".join(f"{n} {how}" for how, n in sorted(decided.items()))
    lines = [f"{plural(len(imported.rows), 'answer')}: {counts}"]
    lines += [f"note: {note}" for note in imported.notes]
    for one in imported.agreements:
        pair = f"{one.first} and {one.second}"
        if one.raw is None or one.kappa is None:
            lines.append(f"{pair}: no answer that both labelled")
            continue
        lines.append(
            f"{pair}: {one.agreed} of {one.n} agree, {_interval(one.raw)}; Cohen's kappa {_interval(one.kappa)}"
        )
    apart = [row for row in imported.rows if len(set(row["votes"].values()) - {"unsure"}) > 1]
    if apart:
        lines.append(f"{len(apart)} disagreements:")
        lines += [f"  {row['key']}: " + ", ".join(f"{who} {vote}" for who, vote in row["votes"].items())
                  + f" -> {'no label' if row['label'] is None else row['label']} ({row['decided']})"
                  for row in apart[:SHOWN]]  # fmt: skip
        if len(apart) > SHOWN:
            lines.append(f"  and {len(apart) - SHOWN} more")
    return "\n".join(lines) + "\n"


def _interval(found: Interval) -> str:
    if found.value != found.value:  # NaN: both gave one and the same label throughout
        return "undefined"
    if found.low is None or found.high is None:
        return f"{found.value:.2f}"
    return f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"
