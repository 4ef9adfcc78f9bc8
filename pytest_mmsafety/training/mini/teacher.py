"""The teacher of GuardRank-mini: what a small language model has in mind while it reads an answer.

Needed for training alone. The hidden states of SmolLM2-135M-Instruct tell harm from its lack better than
n-grams do on sources never seen, but need torch and far more time; so they label the answers for the student, softly,
and stay behind.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_mmsafety.errors import SetupError
from pytest_mmsafety.targets.checkpoint.torch import import_torch
from pytest_mmsafety.targets.embedded import weights as embedded_weights
from pytest_mmsafety.training.mini.sources import LabelledAnswer

LAYERS = (16, 18, 20, 22)
"""Of 30. The middle ones carry over to other sources best; the last ones know about the next word."""
PROMPT_TOKENS = 64
ANSWER_TOKENS = 176
BATCH = 16


def hidden_states(
    answers: Sequence[LabelledAnswer], cache: Path | None, report: Callable[[int, int], None]
) -> NDArray[np.float32]:
    """Mean over the tokens of each answer of the layers' states: answers x (layers * width).

    *cache*: a file that holds them, or will. Raises :class:`SetupError` if the model is not installed.
    """
    digest = hashlib.sha256(repr([(LAYERS, a.question, a.response) for a in answers]).encode()).hexdigest()
    if cache is not None and (known := _cached(cache, digest)) is not None:
        return known
    states = _read_all(answers, report).astype(np.float16)
    if cache is not None:
        _keep(cache, states, digest)
    return states.astype(np.float32)


def _cached(cache: Path, digest: str) -> NDArray[np.float32] | None:
    """What the file holds of these answers. Raises :class:`SetupError` if it is something else, or cannot be there."""
    from zipfile import BadZipFile

    try:
        if not cache.exists():
            cache.parent.mkdir(parents=True, exist_ok=True)
            return None
        with cache.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            return stored["states"].astype(np.float32) if str(stored["digest"]) == digest else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, BadZipFile) as error:
        found = error.strerror if isinstance(error, OSError) else "it holds something else"
        raise SetupError(f"--cache: {cache}: {found}; expected a file of an earlier training, or a new name") from error


def _keep(cache: Path, states: NDArray[np.float16], digest: str) -> None:
    beside = cache.with_name(f".{cache.name}.part")  # a kill leaves no half of a cache
    try:
        with beside.open("wb") as file:
            np.savez(file, states=states, digest=digest)
        beside.replace(cache)
    except OSError as error:
        raise SetupError(f"--cache: {cache}: cannot be written: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):  # what went wrong before says more
            beside.unlink(missing_ok=True)


def _read_all(answers: Sequence[LabelledAnswer], report: Callable[[int, int], None]) -> NDArray[np.float32]:
    tokenizer, model = _load()
    texts = [_tokens(tokenizer, answer) for answer in answers]
    order = sorted(range(len(texts)), key=lambda i: len(texts[i][0]))
    states = np.zeros((len(texts), len(LAYERS) * model.config.hidden_size), dtype=np.float32)
    for start in range(0, len(order), BATCH):
        batch = order[start : start + BATCH]
        states[batch] = _read(model, [texts[i] for i in batch])
        report(start + len(batch), len(order))
    return states


def _load() -> tuple[Any, Any]:
    """The tokenizer, and the model without the layers above the last one that is read."""
    folder = embedded_weights.installed()
    if folder is None:
        raise SetupError("the teacher is not installed; run: mmsafety install embedded")
    try:
        torch = import_torch()
        from transformers import AutoModel, AutoTokenizer
    except ImportError as error:
        raise SetupError(f"the teacher: {error}; run: pip install 'pytest-mmsafety[embedded]'") from error
    model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    model.layers = model.layers[: max(LAYERS)]
    model.norm = torch.nn.Identity()
    return AutoTokenizer.from_pretrained(folder), model


def _tokens(tokenizer: Any, answer: LabelledAnswer) -> tuple[list[int], int]:
    """Tokens of question and answer, and where the answer begins."""
    question: list[int] = tokenizer(f"Prompt: {answer.question[:1500]}")["input_ids"][:PROMPT_TOKENS]
    before: list[int] = question + tokenizer("\nAnswer: ")["input_ids"]
    return before + tokenizer(answer.response[:3000])["input_ids"][:ANSWER_TOKENS], len(before)


def _read(model: Any, texts: Sequence[tuple[list[int], int]]) -> NDArray[np.float32]:
    torch = import_torch()
    longest = max(len(tokens) for tokens, _ in texts)
    ids = torch.zeros(len(texts), longest, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, (tokens, _) in enumerate(texts):
        ids[row, : len(tokens)] = torch.tensor(tokens)
        mask[row, : len(tokens)] = 1
    with torch.inference_mode():
        found = model(input_ids=ids, attention_mask=mask, output_hidden_states=True, use_cache=False).hidden_states
    return np.stack(
        [
            np.concatenate([found[layer][row, start : len(tokens)].mean(0).numpy() for layer in LAYERS])
            for row, (tokens, start) in enumerate(texts)
        ]
    )
