"""Training GuardRank's two models: LoRA for four levels on any LLaMA-like base, and the two-label RoBERTa.

What comes out has the files of the published checkpoints, and ``--judge=guardrank`` runs them. Prompts are held out by
their content, models by name; a training that was cut off goes on from its last checkpoint to the same result.

Of the published recipe only this is known, and is the default: encoder at learning rate 2e-6, 10 epochs, batches of
16, dropout 0.5, both languages mixed. The rest (LoRA's shape, its learning rate, warm-up) is common practice.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from pytest_mmsafety.documents import Row, file_rows
from pytest_mmsafety.errors import SetupError, SuiteError, nearest
from pytest_mmsafety.judges.guardrank.judge import DIMENSIONS, ENCODER_INPUT, HALLUCINATION, LABELS, LLM_INPUT
from pytest_mmsafety.judges.guardrank.lora import Shape
from pytest_mmsafety.targets.checkpoint.files import require
from pytest_mmsafety.targets.checkpoint.torch import choose_device
from pytest_mmsafety.training.loop import PLANS, STATE, Example, Plan, Split, encoder_trainee, llm_trainee, train

CARD = "training.json"


# --- data


def read_examples(path: Path, kind: str) -> list[Example]:
    """Read ``prompt``, ``response``, ``label``, for the LLM ``dimension``, and ``model`` if there is one.

    *path* is ``.jsonl`` or ``.csv``, *kind* is ``llm`` or ``encoder``. Raises :class:`SuiteError` with file and line.
    """
    return [_example(row, kind) for row in file_rows(path)]


def _example(row: Row, kind: str) -> Example:
    cells = {name: row.values.get(name, "") for name in ("prompt", "response", "label", "dimension", "model")}
    for name in ("prompt", "response", "model"):
        if not isinstance(cells[name], str) or (name == "prompt" and not cells[name]):
            raise SuiteError(f"{row.at()}: {name}: {cells[name]!r:.60}; expected text")
    labels = LABELS[kind]
    known = {name: i for i, label in enumerate(labels) for name in (label, str(i))}
    if str(cells["label"]) not in known:
        near = nearest(cells["label"], labels)
        expected = f"expected 0 to {len(labels) - 1} or one of {', '.join(labels)}"
        raise SuiteError(f"{row.at()}: label: {cells['label']!r:.60}; {expected}{near}")
    dimensions = [name for name in DIMENSIONS if name != HALLUCINATION]
    if kind == "llm" and cells["dimension"] not in dimensions:
        near = nearest(cells["dimension"], dimensions)
        expected = f"expected one of {', '.join(dimensions)}"
        raise SuiteError(f"{row.at()}: dimension: {cells['dimension']!r:.60}; {expected}{near}")
    text = (LLM_INPUT if kind == "llm" else ENCODER_INPUT).format_map(cells)
    return Example(text, known[str(cells["label"])], cells["prompt"], cells["model"])


def split(examples: Sequence[Example], plan: Plan) -> Split:
    """Hold out models by name, and prompts by a hash of their text, so that more data moves none.

    Raises :class:`SetupError` if a part comes out empty.
    """
    models = {example.model for example in examples}
    for name in plan.held_out_models:
        if name not in models:
            known = ", ".join(sorted(filter(None, models))) or "none"
            raise SetupError(f"--held-out-models: {name!r} is no model of the data ({known}){nearest(name, models)}")
    of_others = [example for example in examples if example.model in plan.held_out_models]
    rest = [example for example in examples if example.model not in plan.held_out_models]
    held_out = [_share(example.prompt, plan.seed) < plan.held_out_prompts for example in rest]
    parts = Split(
        train=[example for example, out in zip(rest, held_out, strict=True) if not out],
        validation=[example for example, out in zip(rest, held_out, strict=True) if out],
        other_models=of_others,
    )
    for name, part in (("to train on", parts.train), ("of held-out prompts, which say when to stop", parts.validation)):
        if not part:
            raise SetupError(
                f"--held-out-prompts={plan.held_out_prompts:g}: no example {name}; {len(rest)} are too few"
            )
    return parts


def _share(prompt: str, seed: int) -> float:
    """A number from 0 to 1 that is the prompt's own."""
    digest = hashlib.sha256(f"{seed}\n{prompt}".encode("utf-8", "replace")).digest()
    return int.from_bytes(digest[:8]) / 2**64


# --- command


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
        parser.set_defaults(run=_finetune, kind=kind_of)


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


def _finetune(arguments: argparse.Namespace) -> None:
    plan = plan_of(arguments)
    parts = split(read_examples(arguments.labels, arguments.kind), plan)
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", arguments.device):
        raise SetupError(f"--device={arguments.device}: expected auto, cpu, cuda, cuda:N or mps")
    torch = require("torch")
    device = choose_device(torch, arguments.device, "--device:")
    dtype = arguments.dtype if arguments.dtype != "auto" else "bfloat16" if device.startswith("cuda") else "float32"
    if arguments.restart:
        for file in (STATE, f"best-{STATE}"):
            (arguments.output / file).unlink(missing_ok=True)
    if arguments.kind == "llm":
        trainee = llm_trainee(arguments.base, plan, device, dtype)
    else:
        trainee = encoder_trainee(arguments.base, plan, device)
    found = train(
        trainee, parts, plan, arguments.output,
        facts=f"{arguments.kind} {arguments.base.resolve()} {dtype}",
        save_every=max(1, arguments.save_every),
        tell=_say,
    )  # fmt: skip
    if arguments.kind == "encoder":
        for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt"):
            if (arguments.base / name).is_file():
                shutil.copy(arguments.base / name, arguments.output / name)
    card = {"kind": arguments.kind, "base": arguments.base.name, "plan": asdict(plan), "train": len(parts.train)}
    measured = {name: asdict(quality) for name, quality in found.items()}
    (arguments.output / CARD).write_text(json.dumps({**card, "measured": measured}, indent=1) + "\n", encoding="utf-8")
    for name, quality in found.items():
        _say(f"{name}: n={quality.n}, accuracy {quality.accuracy:.3f}, macro-F1 {quality.macro_f1:.3f}")
    _say(str(arguments.output))


def plan_of(arguments: argparse.Namespace) -> Plan:
    """The defaults of the kind with what was given; :class:`SetupError` for numbers without sense."""
    options = {f.name: getattr(arguments, f.name, None) for f in fields(Plan)}
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
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
