"""Answers of a file, judged and written back: ``mmsafety judge score``.

The output is JSON lines, appended as the judge goes and put in order at the end. A killed run goes on where it was.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from pytest_mmsafety.annotations.answers import Answer, dimension_of
from pytest_mmsafety.errors import SetupError
from pytest_mmsafety.files import write_atomically
from pytest_mmsafety.judges import Judge
from pytest_mmsafety.judges.panel import Panel
from pytest_mmsafety.verdicts import JUDGE_ERROR, Verdict

CHUNK = 64
"""Answers judged between two writes."""
ADDED = ("line", "label", "score", "probabilities", "judge", "reason")
"""Columns that are written; what the row had under these names is kept as ``given_NAME``."""
UNJUDGED = Verdict("", "", None)


def verdicts_on(judge: Judge, answers: Sequence[Answer]) -> list[Verdict]:
    """One verdict an answer. Raises :class:`SetupError` when the judge says that it cannot go on."""
    panel = Panel([judge])
    known = [i for i, answer in enumerate(answers) if _knows(judge, answer)]
    said = panel.judge([answers[i].case for i in known], [answers[i].response for i in known])
    if panel.problems:
        raise SetupError(panel.problems[0])
    found = dict(zip(known, (verdicts[0] for verdicts in said), strict=True))
    return [
        found.get(i) or Verdict(judge.name, "unscored", None, f"this judge does not take {answer.case.expected!r}")
        for i, answer in enumerate(answers)
    ]


def _knows(judge: Judge, answer: Answer) -> bool:
    expected = answer.case.expected
    return expected in judge.expectations or ("A" in judge.expectations and len(expected) == 1)


def score_answers(
    answers: Sequence[Answer], judge: Judge, out: Path, tell: Callable[[int], None] = lambda _: None
) -> list[dict[str, Any]]:
    """Judge *answers* and write them to *out* as JSON lines; *tell* hears how many are done.

    Rows that *out* already has from this judge are kept, those with an error of the judge are judged again. Raises
    :class:`SetupError` if *out* holds anything else.
    """
    kept = _kept(out, answers, judge) if out.exists() else {}
    waiting = iter([answer for answer in answers if answer.line not in kept])
    tell(len(kept))
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("a", encoding="utf-8", newline="\n") as file:
        while chunk := list(islice(waiting, CHUNK)):
            rows = [judged_row(*pair) for pair in zip(chunk, verdicts_on(judge, chunk), strict=True)]
            file.writelines(map(_line, rows))
            file.flush()
            os.fsync(file.fileno())
            kept.update((row["line"], row) for row in rows)
            tell(len(kept))
    ordered = [kept[answer.line] for answer in answers]
    write_atomically(out, map(_line, ordered))
    return ordered


def judged_row(answer: Answer, verdict: Verdict) -> dict[str, Any]:
    """The row with what the judge said of it."""
    given = {_given_name(name, answer.values): value for name, value in answer.values.items()}
    row: dict[str, Any] = {"line": answer.line, **given, **answer.case.tags, "expected": answer.case.expected}
    row |= {"label": verdict.label, "score": _official(answer, verdict.score)}
    if verdict.probabilities:
        row["probabilities"] = dict(verdict.probabilities)
    return row | {"judge": verdict.judge, "reason": verdict.reason}


def _given_name(name: str, taken: Collection[str]) -> str:
    """*name*, or what it is kept under; of a file that was judged before, nothing is written over."""
    if name in ADDED:
        name = f"given_{name}"
        while name in taken:
            name = f"given_{name}"
    return name


def _official(answer: Answer, score: float | None) -> float | None:
    """The score on the scale of the file: 0 to 1, or the levels of an official MLLMGuard file."""
    task = dimension_of(Path(f"{answer.case.suite}.jsonl"))
    if score is None or not task:
        return score
    level = score * (1 if task in ("hallucination", "noise-injection") else 3)
    return round(level) if abs(level - round(level)) < 1e-9 else level


def _line(row: Mapping[str, Any]) -> str:
    text = json.dumps(row, ensure_ascii=False, default=str)
    return text.encode("utf-8", "backslashreplace").decode("utf-8") + "\n"


def _kept(out: Path, answers: Sequence[Answer], judge: Judge) -> dict[int, dict[str, Any]]:
    by_line = {answer.line: answer for answer in answers}
    kept: dict[int, dict[str, Any]] = {}
    whole = []
    for number, text in _whole_lines(out):
        row = _saved_row(out, number, text)
        if not _said_by(judge, str(row["judge"])):
            found = f"{row['judge']!r:.60}"
            raise SetupError(f"{out}:{number}: judged by {found}, not by {judge.name}; expected another -o")
        answer = by_line.get(row["line"])
        if answer is None or _given(row) != _given(json.loads(_line(judged_row(answer, UNJUDGED)))):
            raise SetupError(f"{out}:{number}: not a row of the same answers; expected another -o, or none there")
        if row["label"] != JUDGE_ERROR:
            kept[answer.line] = row
            whole.append(text + "\n")
    write_atomically(out, whole)  # without half a line, which a kill can leave
    return kept


def _said_by(judge: Judge, name: str) -> bool:
    """Whether verdicts of *name* are of this judge: one with weights may add the beginning of its fingerprint."""
    head, plus, weights = name.partition(f"{judge.name}+")
    fingerprint = str(getattr(judge, "fingerprint", ""))
    return name == judge.name or bool(plus and not head and (not fingerprint or fingerprint.startswith(weights)))


def _given(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in ADDED}


def _whole_lines(out: Path) -> Iterator[tuple[int, str]]:
    try:
        text = out.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SetupError(f"-o: {out}: cannot be read: {error}") from None
    return enumerate(text.split("\n")[:-1], start=1)


def _saved_row(out: Path, number: int, text: str) -> dict[str, Any]:
    try:
        row = json.loads(text)
    except (ValueError, RecursionError):
        row = None
    columns = {"line", "label", "score", "judge", "reason"}
    if not isinstance(row, dict) or not columns <= row.keys() or not isinstance(row["line"], int):
        raise SetupError(f"{out}:{number}: not a row of judge score; expected another -o, or none there")
    return row
