"""GuardRank as the released code runs it, written from its description: float32, padded to the full length, one by one.

It shares nothing with the judge: PEFT applies the adapter unmerged, transformers pools, and every text is a batch.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import torch
import transformers as hf
from peft import PeftModel

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tiny_guardrank import Files

Row = tuple[str, str, str]
"""Dimension, prompt, response."""


class Llm:
    """Four labels: LLaMA with one LoRA adapter for all dimensions, padded with the end-of-text token to 512."""

    def __init__(self, files: Files) -> None:
        base = hf.AutoModelForSequenceClassification.from_pretrained(files.llm, num_labels=4, dtype=torch.float32)
        base.config.pad_token_id = base.config.eos_token_id
        with warnings.catch_warnings(action="ignore", category=FutureWarning):  # PEFT and the newest transformers
            self.model = PeftModel.from_pretrained(base, files.adapter).eval()
        self.tokenizer = hf.AutoTokenizer.from_pretrained(files.llm)
        self.tokenizer.pad_token = self.tokenizer.eos_token

    def logits(self, row: Row) -> list[float]:
        dimension, prompt, response = row
        ids, mask = _padded(self.tokenizer, f"Dimension: {dimension} Prompt: {prompt} Answer: {response}", 512)
        with torch.no_grad():
            logits: list[float] = self.model(input_ids=ids, attention_mask=mask).logits[0].tolist()
        return logits


class Encoder(torch.nn.Module):
    """Two labels: pooled output of RoBERTa, dropout, linear layer, ReLU; padded to 256."""

    def __init__(self, files: Files) -> None:
        super().__init__()
        config = hf.RobertaConfig.from_pretrained(files.encoder)
        self.roberta = hf.RobertaModel(config)
        self.dropout = torch.nn.Dropout(0.5)
        self.linear = torch.nn.Linear(config.hidden_size, 2)
        self.relu = torch.nn.ReLU()
        self.load_state_dict(torch.load(files.hallucination, weights_only=True))
        self.eval()
        self.tokenizer = hf.AutoTokenizer.from_pretrained(files.encoder)

    def logits(self, row: Row) -> list[float]:
        _, prompt, response = row
        ids, mask = _padded(self.tokenizer, f"Prompt: {prompt} Answer: {response}", 256)
        with torch.no_grad():
            pooled = self.roberta(input_ids=ids, attention_mask=mask)[1]
            logits: list[float] = self.relu(self.linear(self.dropout(pooled)))[0].tolist()
        return logits


def _padded(tokenizer: Any, text: str, length: int) -> tuple[Any, Any]:
    batch = tokenizer([text], max_length=length, truncation=True, padding="max_length", return_tensors="pt")
    return batch["input_ids"], batch["attention_mask"]


def argmax(logits: Iterable[float]) -> int:
    return int(torch.tensor(list(logits)).argmax())
