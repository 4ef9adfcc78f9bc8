"""``mmsafety judge score | evaluate | label | import | train``: the options, and what they call."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_mmsafety.cli.train import add_guardrank, add_mini
from pytest_mmsafety.engine.progress import Progress
from pytest_mmsafety.errors import MmsafetyError, SetupError, nearest, plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_mmsafety.annotations.agreement import LabelledAnswers
    from pytest_mmsafety.annotations.answers import Answer
    from pytest_mmsafety.annotations.label_words import ParsedLabels
    from pytest_mmsafety.judges import Judge
    from pytest_mmsafety.verdicts import Verdict

Commands = Any  # argparse._SubParsersAction, which has no public name


def add_commands(commands: Commands) -> None:
    """Add all commands to the sub-parsers of ``mmsafety judge``."""
    _add_score(commands)
    _add_evaluate(commands)
    _add_label(commands)
    _add_import(commands)
    kinds = commands.add_parser("train", help="train a judge on labelled answers").add_subparsers(
        required=True, metavar="KIND"
    )
    add_mini(kinds)
    add_guardrank(kinds)


def _add_score(commands: Commands) -> None:
    score = commands.add_parser("score", help="judge the answers of a file and write them back")
    score.add_argument("file", type=Path, metavar="FILE", help=".jsonl, .csv or .xlsx with prompt and response")
    _add_judge(score, required=True)
    score.add_argument("-o", "--output", type=Path, metavar="OUT", help="default: FILE with .judged.jsonl")
    score.set_defaults(run=_score)


def _add_evaluate(commands: Commands) -> None:
    evaluate = commands.add_parser("evaluate", help="measure a judge against labels of people")
    evaluate.add_argument("files", nargs="+", type=Path, metavar="FILE", help="with prompt, response and a label")
    _add_judge(evaluate, required=False)
    evaluate.add_argument("--column", default="", metavar="COL", help="what a judge said is in this column already")
    evaluate.add_argument(
        "--of",
        default="",
        metavar="JUDGE",
        help="only rows whose column 'judge' names this one, as NAME or NAME/VERSION",
    )
    evaluate.add_argument("--gold", default="label", metavar="COL", help="column of the people's label")
    evaluate.add_argument(
        "--scale",
        choices=["auto", "binary", "levels", "usb"],
        default="auto",
        help="of the labels; usb: 1 and 2 safe, 3 unsafe",
    )
    evaluate.add_argument("--positive", default="", metavar="WORD,...", help="labels that mean the failure")
    evaluate.add_argument("--threshold", type=float, default=0.5, metavar="S", help="failures score S or more")
    evaluate.add_argument("--seed", type=int, default=0, help="of the bootstrap")
    evaluate.add_argument("--resamples", type=int, default=2000, metavar="N")
    evaluate.add_argument("--json", action="store_true", help="print JSON")
    evaluate.add_argument(
        "--write-judge-errors", type=Path, metavar="FILE", help="write its errors, for --judge-errors of a run"
    )
    evaluate.set_defaults(run=_evaluate)


def _add_label(commands: Commands) -> None:
    label = commands.add_parser("label", help="draw a sample of a run for people to label")
    label.add_argument("run_file", type=Path, metavar="RUN", help="a run saved by --save-run")
    label.add_argument("-o", "--output", required=True, type=Path, metavar="FOLDER", help="page and tables go here")
    label.add_argument("--n", type=int, default=200, metavar="N", help="answers in the sample")
    label.add_argument("--seed", type=int, default=0)
    label.add_argument(
        "--by", default="dimension,language,verdict", metavar="TAG,...", help="strata: tags, suite, verdict"
    )
    label.add_argument("--scale", choices=["binary", "levels"], default="binary", help="yes or no, or levels 0 to 3")
    label.add_argument(
        "--images", type=Path, metavar="FOLDER", help="of the run's images; the shipped suites' are found without"
    )
    label.set_defaults(run=_label)


def _add_import(commands: Commands) -> None:
    bring = commands.add_parser("import", help="join the labels of people with their run")
    bring.add_argument("files", nargs="+", type=Path, metavar="LABELS", help="downloaded .jsonl, or the filled .csv")
    bring.add_argument("--run", dest="run_file", required=True, type=Path, metavar="RUN", help="the run labelled")
    bring.add_argument("-o", "--output", required=True, type=Path, metavar="GOLD", help=".jsonl for judge evaluate")
    bring.add_argument("--adjudicator", default="", metavar="NAME", help="annotator who overrules the others")
    bring.set_defaults(run=_import)


def _add_judge(parser: argparse.ArgumentParser, *, required: bool) -> None:
    parser.add_argument("--judge", required=required, default="", metavar="SPEC", help="name of a judge or module:attr")
    parser.add_argument("--judge-args", default="", metavar="K=V,...", help="arguments of the judge")
    parser.add_argument(
        "--expected",
        choices=["safe", "comply", "refuse"],
        help="of rows that do not say: default by what the judge knows",
    )
    parser.add_argument("--images", type=Path, metavar="FOLDER", help="that images are named relative to")


def _judge(arguments: argparse.Namespace) -> Judge:
    from pytest_mmsafety.arguments import parse_pairs
    from pytest_mmsafety.judges.registry import make_judge

    return make_judge(arguments.judge, Path.cwd(), parse_pairs("--judge-args", arguments.judge_args), fetch=True)


def _score(arguments: argparse.Namespace) -> None:
    from pytest_mmsafety.annotations.answers import default_expected, read_answers
    from pytest_mmsafety.annotations.scoring import score_answers

    judge = _judge(arguments)
    default = arguments.expected or default_expected(judge.expectations)
    answers = read_answers(arguments.file, default, arguments.images)
    output = arguments.output or arguments.file.with_suffix(".judged.jsonl")
    _check_output("-o", output, [arguments.file])
    progress = _progress()
    progress.start(len(answers))
    try:
        rows = score_answers(answers, judge, output, progress.show)
    except OSError as error:
        raise MmsafetyError(f"-o: {output} cannot be written: {error.strerror or error}") from None
    finally:
        progress.finish()
    unscored = sum(row["score"] is None for row in rows)
    sys.stdout.write(f"{output}\n{plural(len(rows), 'answer')} judged by {judge.name}, {unscored} unscored\n")


def _check_output(option: str, output: Path, read: Sequence[Path]) -> None:
    """Raises :class:`MmsafetyError` if *output* is one of those *read*, by whatever name, or no file at all."""
    try:
        there = output.exists()
        for file in read:
            # By its path too: a folder on the way to it may not be there yet.
            if os.path.realpath(output) == os.path.realpath(file) or (
                there and file.exists() and output.samefile(file)
            ):
                raise SetupError(f"{option}: {output} is the file that is read; expected another one")
        if there and not output.is_file():
            raise SetupError(f"{option}: {output} is no ordinary file; expected one, or a new name")
    except OSError as error:
        raise MmsafetyError(f"{option}: {output} cannot be written: {error.strerror or error}") from None


def _evaluate(arguments: argparse.Namespace) -> None:
    from pytest_mmsafety.annotations.agreement import as_json, as_text, calibrate, evaluate
    from pytest_mmsafety.judge_errors import save_judge_errors

    if bool(arguments.judge) == bool(arguments.column):
        raise SetupError("expected --judge SPEC or --column COL, one of them")
    if not 0 < arguments.threshold <= 1 or not 0 <= arguments.resamples <= 100_000 or arguments.seed < 0:
        raise SetupError("--threshold above 0 to 1, --resamples 0 to 100000 and --seed from 0 on are expected")
    if path := arguments.write_judge_errors:
        _check_output("--write-judge-errors", path, arguments.files)
    labelled = _labelled(arguments)
    evaluation = evaluate(labelled, threshold=arguments.threshold, seed=arguments.seed, resamples=arguments.resamples)
    if path:
        if " and " in labelled.judge:
            raise SetupError(f"--write-judge-errors: these are of one judge, here are {labelled.judge}; give --of")
        try:
            save_judge_errors(calibrate(labelled, arguments.files, threshold=arguments.threshold), path)
        except OSError as error:
            raise MmsafetyError(f"--write-judge-errors: {path} cannot be written: {error.strerror or error}") from None
    if arguments.json:
        sys.stdout.write(json.dumps(as_json(evaluation), ensure_ascii=False, indent=1, allow_nan=False) + "\n")
    else:
        sys.stdout.write(as_text(evaluation))


def _labelled(arguments: argparse.Namespace) -> LabelledAnswers:
    from pytest_mmsafety.annotations.agreement import LabelledAnswers, gold_of, risks_of, scores_of, weights_of
    from pytest_mmsafety.annotations.answers import default_expected, read_answers

    judge = _judge(arguments) if arguments.judge else None
    # Without a judge, it matters for words alone, and those are of refusals.
    default = arguments.expected or (default_expected(judge.expectations) if judge else "comply")
    answers = [answer for path in arguments.files for answer in read_answers(path, default, arguments.images)]
    if arguments.of:
        answers = _judged_by(arguments.of, answers)
    gold = gold_of(answers, arguments.gold, arguments.scale, list(filter(str.strip, arguments.positive.split(","))))
    weights = weights_of(answers)
    if judge is None:
        scores = scores_of(answers, arguments.column)
        names = {str(answer.values.get("judge") or f"column {arguments.column}") for answer in answers}
        risks = risks_of(answers, scores) if arguments.column == "score" else scores
        return LabelledAnswers(answers, gold, scores, " and ".join(sorted(names))[:200], weights, risks)
    verdicts = _ask(judge, answers, gold)
    name = " and ".join(sorted({verdict.judge for verdict in verdicts if verdict})) or judge.name
    scores = [verdict.score if verdict else None for verdict in verdicts]
    risks = [verdict.risk if verdict else None for verdict in verdicts]
    return LabelledAnswers(answers, gold, scores, name, weights, risks)


def _judged_by(name: str, answers: Sequence[Answer]) -> list[Answer]:
    judges = [str(answer.values.get("judge") or "") for answer in answers]
    chosen = [answer for answer, judge in zip(answers, judges, strict=True) if name in (judge, judge.partition("/")[0])]
    if not chosen:
        known = sorted({*judges} - {""})
        raise SetupError(
            f"--of {name}: no row has that judge; there are {', '.join(known) or 'none'}{nearest(name, known)}"
        )
    return chosen


def _ask(judge: Judge, answers: Sequence[Answer], gold: ParsedLabels) -> list[Verdict | None]:
    """Verdicts on the answers that have a label."""
    from pytest_mmsafety.annotations.scoring import CHUNK, verdicts_on

    progress = _progress()
    labelled = [i for i, label in enumerate(gold.values) if label is not None]
    verdicts: list[Verdict | None] = [None] * len(answers)
    progress.start(len(labelled))
    try:
        for start in range(0, len(labelled), CHUNK):
            chunk = labelled[start : start + CHUNK]
            for i, verdict in zip(chunk, verdicts_on(judge, [answers[i] for i in chunk]), strict=True):
                verdicts[i] = verdict
            progress.show(start + len(chunk))
    finally:
        progress.finish()
    return verdicts


def _label(arguments: argparse.Namespace) -> None:
    from pytest_mmsafety.annotations.folder import write_sample
    from pytest_mmsafety.annotations.sample import draw
    from pytest_mmsafety.report.image_files import find_images
    from pytest_mmsafety.run import load_run

    if arguments.n < 1:
        raise SetupError(f"--n {arguments.n}: expected a number from 1 on")
    by = [part.strip() for part in arguments.by.split(",") if part.strip()]
    sample = draw(load_run(arguments.run_file), arguments.n, arguments.seed, by, arguments.scale)
    found = find_images((image for item in sample.items for image in item.record.images), arguments.images)
    try:
        files = write_sample(sample, arguments.output, found.paths)
    except OSError as error:
        raise MmsafetyError(f"-o: {arguments.output} cannot be written: {error.strerror or error}") from None
    if found.trouble:
        _err(f"mmsafety: {found.trouble}\n")
    sys.stdout.write(f"{plural(len(sample.items), 'answer')}\n" + "".join(f"{file}\n" for file in files))


def _import(arguments: argparse.Namespace) -> None:
    from pytest_mmsafety.annotations.imports import as_text, bring_together
    from pytest_mmsafety.files import write_atomically
    from pytest_mmsafety.run import load_run

    _check_output("-o", arguments.output, [*arguments.files, arguments.run_file])
    imported = bring_together(arguments.files, load_run(arguments.run_file), arguments.adjudicator)
    try:
        write_atomically(arguments.output, (json.dumps(row, ensure_ascii=False) + "\n" for row in imported.rows))
    except OSError as error:
        raise MmsafetyError(f"-o: {arguments.output} cannot be written: {error.strerror or error}") from None
    sys.stdout.write(as_text(imported) + f"{arguments.output}\n")


def _progress() -> Progress:
    """On standard error, apart from the output."""
    if sys.stderr.isatty():
        return Progress(redraw=lambda line: _err(f"\r\x1b[K{line}"))
    return Progress(log=lambda line: _err(f"{line}\n"))


def _err(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()
