"""Every judge against every source of people's labels: the table of docs/judge.md.

    python perf/judges.py [--labels DIR] [--judge SPEC] [--judge-args K=V,...] [--n N] [--write FILE]

Two questions are asked of each source that has labels for them: does the answer do harm (a judge of ``safe``, else
of ``refuse``: compliance is harm), and does it decline (a judge of ``comply``). The lines of guardrank-mini are
in its card instead: its shipped weights were trained on some of these sources, so measuring them here would flatter.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from pytest_mmsafety.annotations.agreement import LabelledAnswers, calibrate, evaluate
from pytest_mmsafety.annotations.answers import Answer
from pytest_mmsafety.annotations.label_words import ParsedLabels
from pytest_mmsafety.annotations.scoring import verdicts_on
from pytest_mmsafety.arguments import parse_pairs
from pytest_mmsafety.cases import Case
from pytest_mmsafety.judge_errors import save_judge_errors
from pytest_mmsafety.judges import Judge
from pytest_mmsafety.judges.registry import make_judge
from pytest_mmsafety.training.mini.sources import LabelledAnswer, read_labels, sources_of

LABELS = Path(__file__).parents[2] / "shared" / "data" / "labels"
MEASURES = ("accuracy", "macro_f1", "auroc", "sensitivity", "specificity")
GOLD: dict[str, Callable[[LabelledAnswer], int | None]] = {
    "harm": lambda answer: None if answer.harm is None else int(answer.harm),
    "refusal": lambda answer: None if answer.refusal is None else int(answer.refusal != "none"),
}


def labelled(answers: Sequence[LabelledAnswer], judge: Judge, question: str) -> LabelledAnswers:
    """Judge the answers that have a label for *question*, a key of :data:`GOLD`."""
    expected = "comply" if question == "refusal" else "safe" if "safe" in judge.expectations else "refuse"
    rows = [
        Answer(
            {"source": answer.source},
            f"{answer.source}:{i}",
            i,
            Case(str(i), answer.source, answer.question, expected, tags={"language": answer.language}),
            answer.response,
        )
        for i, answer in enumerate(answers, 1)
    ]
    verdicts = verdicts_on(judge, rows)
    return LabelledAnswers(
        rows,
        ParsedLabels([GOLD[question](answer) for answer in answers], 2),
        [verdict.score for verdict in verdicts],
        judge.name,
        [1.0] * len(rows),
        [verdict.risk for verdict in verdicts],
    )


def lines(answers: Sequence[LabelledAnswer], judge: Judge) -> Iterator[str]:
    yield "| judge | asked of | answers of | answers | questions | unscored | " + " | ".join(MEASURES) + " |"
    yield "| --- | --- | --- | ---: | ---: | ---: |" + " --- |" * len(MEASURES)
    for question, gold in GOLD.items():
        for source in sources_of(answers):
            some = [answer for answer in answers if answer.source == source and gold(answer) is not None]
            if len({gold(answer) for answer in some}) < 2:
                continue
            part = evaluate(labelled(some, judge, question)).parts[0]
            cells = [judge.name, question, source, part.n, part.clusters, f"{part.abstained / part.n:.1%}"]
            found = [part.measures.get(name) for name in MEASURES]
            texts = [f"{one.value:.3f} [{one.low or 0:.3f}, {one.high or 1:.3f}]" if one else "-" for one in found]
            yield f"| {' | '.join(map(str, [*cells, *texts]))} |"


def halves(answers: Sequence[LabelledAnswer]) -> list[LabelledAnswer]:
    """XSTest as two sources: the English phrases of ``refusal`` were written looking at one half of its questions."""
    return [
        answer._replace(source="xstest, the half looked at")
        if answer.source == "xstest" and _looked_at(answer)
        else answer
        for answer in answers
    ]


def _looked_at(answer: LabelledAnswer) -> bool:
    return hashlib.sha256(answer.question.encode()).digest()[-1] % 2 == 0


def sample(answers: Sequence[LabelledAnswer], n: int) -> list[LabelledAnswer]:
    """*n* answers a source, by a hash of their text; all of them for 0."""
    ordered = sorted(answers, key=lambda answer: hashlib.sha256(repr(answer).encode("utf-8", "replace")).digest())
    return [
        answer
        for source in sources_of(answers)
        for answer in [one for one in ordered if one.source == source][: n or None]
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure a judge on every source of labels.")
    parser.add_argument("--labels", type=Path, default=LABELS, help="folder with the published sources")
    parser.add_argument("--judge", default="refusal")
    parser.add_argument("--judge-args", default="")
    parser.add_argument("--n", type=int, default=0, help="answers of each source; 0: all")
    parser.add_argument("--write", type=Path, help="write its errors on refusals, as a judge-errors file")
    arguments = parser.parse_args()
    if not arguments.labels.is_dir():
        print(f"skipped: no folder {arguments.labels}; name it with --labels")
        return
    judge = make_judge(arguments.judge, Path.cwd(), parse_pairs("--judge-args", arguments.judge_args), fetch=True)
    answers = sample(halves(read_labels(arguments.labels)), arguments.n)
    for line in lines(answers, judge):
        print(line, flush=True)
    if arguments.write:
        unseen = [a for a in answers if GOLD["refusal"](a) is not None and "looked at" not in a.source]
        save_judge_errors(calibrate(labelled(unseen, judge, "refusal"), []), arguments.write)


if __name__ == "__main__":
    main()
