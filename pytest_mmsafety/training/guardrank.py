"""Training GuardRank's two models: LoRA for four levels on any LLaMA-like base, and the two-label RoBERTa.

What comes out has the files of the published checkpoints, and ``--judge=guardrank`` runs them. Prompts are held out by
their content, models by name; a training that was cut off goes on from its last checkpoint to the same result.

Of the published recipe only this is known, and is the default: encoder at learning rate 2e-6, 10 epochs, batches of
16, dropout 0.5, both languages mixed. The rest (LoRA's shape, its learning rate, warm-up) is common practice.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pytest_mmsafety.documents import Row, file_rows
from pytest_mmsafety.errors import DataError, SetupError, nearest
from pytest_mmsafety.judges.guardrank.judge import DIMENSIONS, ENCODER_INPUT, HALLUCINATION, LABELS, LLM_INPUT
from pytest_mmsafety.targets.checkpoint.files import require
from pytest_mmsafety.targets.checkpoint.torch import choose_device
from pytest_mmsafety.training.loop import (
    STATE,
    Example,
    Quality,
    Split,
    TrainingConfig,
    encoder_trainee,
    llm_trainee,
    train,
)

CARD = "training.json"
_BESIDE_ENCODER = ("config.json", "tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt")


# --- data


def read_examples(path: Path, kind: str) -> list[Example]:
    """Read ``prompt``, ``response``, ``label``, for the LLM ``dimension``, and ``model`` if there is one.

    *path* is ``.jsonl`` or ``.csv``, *kind* is ``llm`` or ``encoder``. Raises :class:`DataError` with file and line.
    """
    return [_example(row, kind) for row in file_rows(path)]


def _example(row: Row, kind: str) -> Example:
    cells = {name: row.values.get(name, "") for name in ("prompt", "response", "label", "dimension", "model")}
    for name in ("prompt", "response", "model"):
        if not isinstance(cells[name], str) or (name == "prompt" and not cells[name]):
            raise DataError(row.at(), f"{name}: {cells[name]!r:.60}; expected text")
    labels = LABELS[kind]
    known = {name: i for i, label in enumerate(labels) for name in (label, str(i))}
    if str(cells["label"]) not in known:
        near = nearest(cells["label"], labels)
        expected = f"expected 0 to {len(labels) - 1} or one of {', '.join(labels)}"
        raise DataError(row.at(), f"label: {cells['label']!r:.60}; {expected}", near)
    dimensions = [name for name in DIMENSIONS if name != HALLUCINATION]
    if kind == "llm" and cells["dimension"] not in dimensions:
        near = nearest(cells["dimension"], dimensions)
        expected = f"expected one of {', '.join(dimensions)}"
        raise DataError(row.at(), f"dimension: {cells['dimension']!r:.60}; {expected}", near)
    text = (LLM_INPUT if kind == "llm" else ENCODER_INPUT).format_map(cells)
    return Example(text, known[str(cells["label"])], cells["prompt"], cells["model"])


def split(examples: Sequence[Example], plan: TrainingConfig) -> Split:
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


def finetune(  # noqa: PLR0913 - what a training is made of
    kind: str,
    labels: Path,
    base: Path,
    output: Path,
    plan: TrainingConfig,
    *,
    device: str,
    dtype: str,
    save_every: int,
    restart: bool,
    tell: Callable[[str], None],
) -> None:
    """Train ``llm`` or ``encoder`` from *base* and write the judge's files to *output*.

    A state left there by a training that was cut off is continued, unless *restart*; one is kept every *save_every*
    steps. Raises :class:`SetupError`.
    """
    parts = split(read_examples(labels, kind), plan)
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", device):
        raise SetupError(f"--device={device}: expected auto, cpu, cuda, cuda:N or mps")
    device = choose_device(require("torch"), device, "--device:")
    dtype = dtype if dtype != "auto" else "bfloat16" if device.startswith("cuda") else "float32"
    if restart:
        for file in (STATE, f"best-{STATE}"):
            (output / file).unlink(missing_ok=True)
    trainee = llm_trainee(base, plan, device, dtype) if kind == "llm" else encoder_trainee(base, plan, device)
    found = train(
        trainee, parts, plan, output,
        facts=f"{kind} {base.resolve()} {dtype}",
        save_every=save_every,
        tell=tell,
    )  # fmt: skip
    for name in _BESIDE_ENCODER if kind == "encoder" else ():
        if (base / name).is_file():
            shutil.copy(base / name, output / name)
    _write_card(output, {"kind": kind, "base": base.name, "plan": asdict(plan), "train": len(parts.train)}, found)
    for name, quality in found.items():
        tell(f"{name}: n={quality.n}, accuracy {quality.accuracy:.3f}, macro-F1 {quality.macro_f1:.3f}")
    tell(str(output))


def _write_card(output: Path, about: Mapping[str, Any], found: Mapping[str, Quality]) -> None:
    measured = {name: asdict(quality) for name, quality in found.items()}
    (output / CARD).write_text(json.dumps({**about, "measured": measured}, indent=1) + "\n", encoding="utf-8")
