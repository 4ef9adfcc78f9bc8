"""GuardRank's two models in memory: loaded once, asked in batches of like length.

Both take text and give logits. A batch is padded at the right, and only to its longest row: neither a causal model
nor one with an attention mask sees the padding, so the logits are those of one text padded to the full length.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pytest_mmsafety.errors import SetupError
from pytest_mmsafety.judges.guardrank.lora import merge, read_adapter, read_tensors
from pytest_mmsafety.targets.checkpoint.files import first_line, quiet, require

LEVELS, LLM_LENGTH = 4, 512
ENCODER_LENGTH = 256
MARGIN = 1024
"""Characters before a cut in which tokens may come out differently from those of the whole text."""


@dataclass
class Scorer:
    """A model that gives logits for texts."""

    torch: Any
    encode: Callable[[str], list[int]]
    forward: Callable[[Any, list[list[int]]], Any]
    """(padded ids of shape (rows, longest), the rows) -> logits of shape (rows, labels), float32."""
    pad: int
    device: str
    budget: int
    """Tokens a batch, padding included."""

    def logits(self, texts: Sequence[str]) -> list[list[float]]:
        """The logits of each text, in order. Texts that occur twice are read once.

        May raise torch's ``OutOfMemoryError``, for a single text that does not fit.
        """
        rows = {text: self.encode(text) for text in dict.fromkeys(texts)}
        order = list(rows)
        known: dict[str, list[float]] = {}
        waiting = [[order[i] for i in batch] for batch in by_length([len(rows[text]) for text in order], self.budget)]
        while waiting:
            batch = waiting.pop(0)
            given = self._try([rows[text] for text in batch])
            if given is None:
                middle = len(batch) // 2
                waiting[:0] = [batch[:middle], batch[middle:]]
            else:
                known.update(zip(batch, given, strict=True))
        return [known[text] for text in texts]

    def _try(self, rows: list[list[int]]) -> list[list[float]] | None:
        """Logits of a batch, or ``None`` if there was no memory for it; then later batches are smaller."""
        longest = max(map(len, rows))
        try:
            with self.torch.inference_mode():
                ids = self.torch.tensor([row + [self.pad] * (longest - len(row)) for row in rows], device=self.device)
                logits: list[list[float]] = self.forward(ids, rows).tolist()
        except self.torch.OutOfMemoryError:
            if len(rows) == 1:
                raise
        else:
            return logits
        if self.torch.cuda.is_available():
            self.torch.cuda.empty_cache()
        self.budget = max(longest, self.budget // 2)
        return None


def by_length(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Batch texts by their numbers of tokens, longest first; at most *budget* tokens a batch, padding included."""
    batch: list[int] = []
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if batch and (len(batch) + 1) * max(1, lengths[batch[0]]) > budget:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


def encoder_of(tokenizer: Any, max_length: int) -> Callable[[str], list[int]]:
    """The first *max_length* tokens of a text, special ones included, without reading on for 100,000 characters.

    No token is longer than the longest of the vocabulary, so so many tokens lie within so many characters. Where
    that fails (unknown characters can be fused into one token), the whole text is read.
    """
    enough = max_length * max(map(len, tokenizer.get_vocab())) + MARGIN

    def encode(text: str) -> list[int]:
        text = text.encode("utf-8", "replace").decode()  # halves of surrogate pairs, which no tokenizer takes
        if len(text) > enough and tokenizer.is_fast:
            cut = tokenizer(text[:enough], max_length=max_length, truncation=True, return_offsets_mapping=True)
            if len(cut["input_ids"]) == max_length and max(end for _, end in cut["offset_mapping"]) <= enough - MARGIN:
                return list(cut["input_ids"])
        return list(tokenizer(text, max_length=max_length, truncation=True)["input_ids"])

    return encode


class Place(NamedTuple):
    """Where and how a model runs."""

    device: str
    dtype: str
    """Name of a torch number format."""
    batch_tokens: int


def load_llm(base: Path, adapter: Path, where: Mapping[str, str], place: Place, stop: str) -> Scorer:
    """The sequence classifier *base* with the LoRA *adapter*; *where* names their options in errors.

    *stop* says what is read of a text that contains the end-of-text token, which is also the padding: all of it
    (``last``), or what stands before that token (``first``), see :func:`place_of`.
    """
    torch, transformers = require("torch"), require("transformers")
    with _loading(torch, where["llm"], place.device):
        delta = read_adapter(adapter, where["adapter"])
        tokenizer = transformers.AutoTokenizer.from_pretrained(base)
        model, report = transformers.AutoModelForSequenceClassification.from_pretrained(
            base,
            num_labels=LEVELS,
            dtype=place.dtype,
            use_safetensors=True,
            output_loading_info=True,
            **({} if place.device == "cpu" else {"device_map": {"": place.device}}),
        )
        _check_llm(model, tokenizer, report, delta.whole, where)
        merge(model, delta, where["adapter"])
    model.eval()
    body, head = model.base_model, model.score.weight.detach().float()
    eos = tokenizer.eos_token_id

    def forward(ids: Any, rows: list[list[int]]) -> Any:
        # No mask: what is padded comes after what is read, and a causal model cannot look ahead.
        hidden = body(ids, use_cache=False).last_hidden_state
        places = torch.tensor([place_of(row, eos, stop) for row in rows], device=ids.device)
        return hidden[torch.arange(len(rows), device=ids.device), places].float() @ head.T

    return Scorer(torch, encoder_of(tokenizer, LLM_LENGTH), forward, eos, place.device, place.batch_tokens)


def _check_llm(model: Any, tokenizer: Any, report: Any, whole: Mapping[str, Any], where: Mapping[str, str]) -> None:
    if not hasattr(model, "score"):
        raise SetupError(f"{where['llm']}: {model.config.model_type} is no LLaMA-like model; expected a causal one")
    missing = sorted({name for name, _ in model.named_parameters()} & set(report["missing_keys"]) - {"score.weight"})
    if missing:
        raise SetupError(f"{where['llm']}: {len(missing)} weights are in no file, the first is {missing[0]}")
    if "score.weight" not in whole:
        raise SetupError(f"{where['adapter']}: it has no head: expected score.weight among the weights it saved")
    if tokenizer.eos_token_id is None:
        raise SetupError(f"{where['llm']}: its tokenizer has no end-of-text token, which GuardRank pads with")


def place_of(row: Sequence[int], eos: int, stop: str) -> int:
    """The place in *row* whose hidden state is scored: the last token that is not *eos*, or the one before the first.

    Without *eos* in the text both are the last token. The released code leaves the choice to transformers, which took
    the first up to 4.48 and takes the last since.
    """
    if stop == "first":
        return max(0, row.index(eos) - 1) if eos in row else len(row) - 1
    return next((place for place in range(len(row) - 1, -1, -1) if row[place] != eos), 0)


def load_encoder(base: Path, weights: Path, where: Mapping[str, str], place: Place) -> Scorer:
    """The two-label RoBERTa of the state dict *weights*: pooled output, linear layer, ReLU.

    Of *base* only configuration and tokenizer are read, for the state dict is complete.
    """
    torch, transformers = require("torch"), require("transformers")
    with _loading(torch, where["hallucination"], place.device):
        state = read_tensors(weights, where["hallucination"])
        config = transformers.AutoConfig.from_pretrained(base)
        if config.model_type != "roberta":
            raise SetupError(f"{where['encoder']}: it is of type {config.model_type!r}; expected 'roberta'")
        tokenizer = transformers.AutoTokenizer.from_pretrained(base)
        model = torch.nn.ModuleDict(
            {"roberta": transformers.RobertaModel(config), "linear": torch.nn.Linear(config.hidden_size, 2)}
        )
        _fill(model, state, where["hallucination"])
        model = model.to(place.device, getattr(torch, place.dtype)).eval()

    def forward(ids: Any, rows: list[list[int]]) -> Any:
        lengths = torch.tensor([len(row) for row in rows], device=ids.device)
        mask = (torch.arange(ids.shape[1], device=ids.device) < lengths[:, None]).long()
        pooled = model["roberta"](input_ids=ids, attention_mask=mask).pooler_output
        return torch.relu(model["linear"](pooled)).float()

    encode = encoder_of(tokenizer, ENCODER_LENGTH)
    return Scorer(torch, encode, forward, config.pad_token_id, place.device, place.batch_tokens)


def _fill(model: Any, state: Mapping[str, Any], where: str) -> None:
    """Load *state*, which must hold every weight of *model*; buffers that older versions saved are passed over."""
    wanted = model.state_dict()
    for name, tensor in wanted.items():
        if name not in state:
            raise SetupError(f"{where}: it lacks {name}; expected the state dict of the two-label RoBERTa, all of it")
        if state[name].shape != tensor.shape:
            shapes = f"{tuple(state[name].shape)}, expected {tuple(tensor.shape)}"
            raise SetupError(f"{where}: {name} has shape {shapes}; is encoder= the base it was trained on?")
    model.load_state_dict({name: state[name] for name in wanted})


@contextlib.contextmanager
def _loading(torch: Any, where: str, device: str) -> Iterator[None]:
    """Errors of the libraries, whatever they are, as one line; no advice and no bars."""
    try:
        with quiet():
            yield
    except SetupError:
        raise
    except torch.OutOfMemoryError:
        raise SetupError(
            f"{where}: does not fit on {device}; --judge-phase=after judges when the target has left it"
        ) from None
    except Exception as error:
        raise SetupError(f"{where}: cannot be loaded: {first_line(error)}") from error
