"""``mmsafety judge train mini``: GuardRank-mini from labelled answers."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from pytest_mmsafety.errors import SetupError
from pytest_mmsafety.judges.guardrank_mini.weights import FILE

ERRORS = "errors.json"
PER_SOURCE = 2500
TAUGHT = 1000
"""Answers a source that the teacher reads: a few a second."""


def add_mini(kinds: Any) -> None:
    """Add ``mini`` to the sub-parsers of ``mmsafety judge train``."""
    train = kinds.add_parser("mini", help="guardrank-mini, the small judge that is shipped")
    train.add_argument(
        "labels",
        type=Path,
        metavar="LABELS",
        help="JSON lines with source, prompt, response, harm, refusal, language; or a folder of published sources",
    )
    train.add_argument(
        "-o", "--output", type=Path, required=True, metavar="DIR", help=f"gets {FILE}, card.md and {ERRORS}"
    )
    train.add_argument("--seed", type=int, default=0, help="of the choice of answers")
    train.add_argument(
        "--per-source", type=_positive, default=PER_SOURCE, metavar="N", help="answers used of each source at most"
    )
    train.add_argument("--no-teacher", action="store_true", help="do without SmolLM2-135M, and so without torch")
    train.add_argument("--cache", type=Path, metavar="FILE", help="keeps what the teacher read, for the next training")
    train.add_argument("--resamples", type=_positive, default=2000, metavar="N", help="of the bootstrap")
    train.set_defaults(run=_train)


def _positive(word: str) -> int:
    number = int(word)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than 1")
    return number


def _train(arguments: argparse.Namespace) -> None:
    from pytest_mmsafety.calibration import save_calibration
    from pytest_mmsafety.judges.guardrank_mini.judge import GuardRankMini
    from pytest_mmsafety.judges.guardrank_mini.weights import save
    from pytest_mmsafety.training.mini.card import card_text
    from pytest_mmsafety.training.mini.errors import errors_of
    from pytest_mmsafety.training.mini.held_out import Plan, train
    from pytest_mmsafety.training.mini.sources import read_labels

    plan = Plan(
        seed=arguments.seed,
        per_source=arguments.per_source,
        taught=0 if arguments.no_teacher else min(TAUGHT, arguments.per_source),
        cache=arguments.cache,
        resamples=arguments.resamples,
    )
    answers = read_labels(arguments.labels)
    try:  # before the hour that it takes
        arguments.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SetupError(f"-o: {arguments.output}: cannot be written: {error.strerror or error}") from error
    arrays, card = train(answers, plan, _say)
    try:
        save(arguments.output / FILE, arrays, card)
        (arguments.output / FILE).chmod(0o644)  # safetensors keeps files from others, such as a CI's user
        (arguments.output / "card.md").write_text(card_text(card), encoding="utf-8")
        errors = errors_of(card, GuardRankMini(arguments.output / FILE).name)
        save_calibration(errors, arguments.output / ERRORS)
    except OSError as error:
        raise SetupError(f"-o: {arguments.output}: cannot be written: {error.strerror or error}") from error
    sys.stdout.write(card_text(card))


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
