"""``mmsafety judge train mini | llm | encoder``: the options, and what they call."""

from __future__ import annotations

import argparse
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_mmsafety.errors import SetupError

if TYPE_CHECKING:
    from pytest_mmsafety.training.loop import TrainingConfig

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
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="DIR",
        help=f"gets weights.safetensors, card.md and {ERRORS}",
    )
    train.add_argument("--seed", type=int, default=0, help="of the choice of answers")
    train.add_argument(
        "--per-source", type=_positive, default=PER_SOURCE, metavar="N", help="answers used of each source at most"
    )
    train.add_argument("--no-teacher", action="store_true", help="do without SmolLM2-135M, and so without torch")
    train.add_argument("--cache", type=Path, metavar="FILE", help="keeps what the teacher read, for the next training")
    train.add_argument("--resamples", type=_positive, default=2000, metavar="N", help="of the bootstrap")
    train.set_defaults(run=_train_mini)


def _positive(word: str) -> int:
    number = int(word)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than 1")
    return number


def _train_mini(arguments: argparse.Namespace) -> None:
    from pytest_mmsafety.judge_errors import save_judge_errors
    from pytest_mmsafety.judges.guardrank_mini.judge import GuardRankMini
    from pytest_mmsafety.judges.guardrank_mini.weights import FILE, save
    from pytest_mmsafety.training.mini.card import card_text
    from pytest_mmsafety.training.mini.errors import errors_of
    from pytest_mmsafety.training.mini.held_out import HeldOutConfig, train
    from pytest_mmsafety.training.mini.sources import read_labels

    config = HeldOutConfig(
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
    arrays, card = train(answers, config, _say)
    try:
        save(arguments.output / FILE, arrays, card)
        (arguments.output / FILE).chmod(0o644)  # safetensors keeps files from others, such as a CI's user
        (arguments.output / "card.md").write_text(card_text(card), encoding="utf-8")
        errors = errors_of(card, GuardRankMini(arguments.output / FILE).name)
        save_judge_errors(errors, arguments.output / ERRORS)
    except OSError as error:
        raise SetupError(f"-o: {arguments.output}: cannot be written: {error.strerror or error}") from error
    sys.stdout.write(card_text(card))


def add_guardrank(kinds: Any) -> None:
    """Add ``llm`` and ``encoder`` to the sub-parsers of ``mmsafety judge train``."""
    llm = kinds.add_parser("llm", help="GuardRank's four levels: LoRA on any LLaMA-like base")
    encoder = kinds.add_parser("encoder", help="GuardRank's hallucination: a RoBERTa with two labels")
    for name, kind in (("rank", int), ("alpha", float)):
        llm.add_argument(f"--{name}", type=kind, metavar="N", help="of LoRA")
    llm.add_argument("--targets", default="", metavar="A,B", help="linear layers that get LoRA (q_proj,v_proj)")
    llm.add_argument("--dtype", default="auto", choices=["auto", "float32", "bfloat16"], help="of the base")
    encoder.set_defaults(dtype="float32")
    for kind_of, parser in (("llm", llm), ("encoder", encoder)):
        _add_common(parser)
        parser.set_defaults(run=_train_guardrank, kind=kind_of)


def _add_common(finetune: argparse.ArgumentParser) -> None:
    finetune.add_argument("labels", type=Path, metavar="LABELS", help=".jsonl or .csv; docs/judges.md")
    finetune.add_argument("--base", type=Path, required=True, metavar="FOLDER", help="the checkpoint to start from")
    finetune.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="gets the judge's files")
    for name in ("lr", "epochs", "batch_size", "seed", "patience", "held_out_prompts", "dropout"):
        kind = float if name in ("lr", "held_out_prompts", "dropout") else int
        finetune.add_argument(f"--{name.replace('_', '-')}", type=kind, metavar="N")
    finetune.add_argument("--held-out-models", default="", metavar="A,B", help="answers of these are only measured")
    finetune.add_argument("--device", default="auto", metavar="DEVICE")
    finetune.add_argument("--save-every", type=int, default=200, metavar="STEPS")
    finetune.add_argument("--restart", action="store_true", help="forget the state of a training in -o")


def _train_guardrank(arguments: argparse.Namespace) -> None:
    from pytest_mmsafety.training.guardrank import finetune

    finetune(
        arguments.kind,
        arguments.labels,
        arguments.base,
        arguments.output,
        _plan_of(arguments),
        device=arguments.device,
        dtype=arguments.dtype,
        save_every=max(1, arguments.save_every),
        restart=arguments.restart,
        tell=_tell,
    )


def _plan_of(arguments: argparse.Namespace) -> TrainingConfig:
    """The defaults of the kind with what was given; :class:`SetupError` for numbers without sense."""
    from pytest_mmsafety.judges.guardrank.lora import Shape
    from pytest_mmsafety.training.loop import PLANS, TrainingConfig

    options = {f.name: getattr(arguments, f.name, None) for f in fields(TrainingConfig)}
    given: dict[str, Any] = {name: value for name, value in options.items() if value not in (None, "")}
    if "held_out_models" in given:
        given["held_out_models"] = tuple(name.strip() for name in given["held_out_models"].split(","))
    shape = PLANS[arguments.kind].shape
    if arguments.kind == "llm":
        targets = tuple(filter(None, arguments.targets.split(","))) or shape.targets
        rank = arguments.rank or shape.rank
        alpha = arguments.alpha or 2.0 * rank
        shape = Shape(rank, alpha, shape.dropout if arguments.dropout is None else arguments.dropout, targets)
    plan = replace(PLANS[arguments.kind], **given, shape=shape)
    lowest = {"lr": 0, "epochs": 1, "batch_size": 1, "patience": 1}
    for name, low in lowest.items():
        if getattr(plan, name) < low or (name == "lr" and plan.lr == 0):
            raise SetupError(f"--{name.replace('_', '-')}={getattr(plan, name)}: expected a number from {low} on")
    for name in ("held_out_prompts", "dropout"):
        if not 0 <= getattr(plan, name) < 1:
            raise SetupError(f"--{name.replace('_', '-')}={getattr(plan, name):g}: expected 0 to below 1")
    if shape.rank < 1:
        raise SetupError(f"--rank={shape.rank}: expected a whole number from 1 on")
    return plan


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
