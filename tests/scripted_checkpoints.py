"""Tiny real checkpoints that answer every request with the same tokens, whatever they are asked.

The layers add nothing to the embeddings, which are orthogonal enough, and the head answers each token with the next one
of the script. So the end of generation, special tokens and the template's marks can be tried on real architectures.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import tiny_checkpoints
import torch
import transformers as hf

if TYPE_CHECKING:
    from pathlib import Path


def build(kind: str, folder: Path, script: Sequence[str], *, special: Sequence[str] = (), **generation: Any) -> Path:
    """Write a checkpoint of *kind* that says *script*, a token each; *special* ones are special tokens of it.

    *generation*: values for its generation config; a token stands for its id.
    """
    tiny_checkpoints.build(kind, folder)
    tokenizer = hf.AutoTokenizer.from_pretrained(folder)
    model = hf.AutoModelForImageTextToText.from_pretrained(folder)
    tokenizer.add_special_tokens({"additional_special_tokens": list(special)}, replace_extra_special_tokens=False)
    tokenizer.add_tokens([word for word in script if word not in tokenizer.get_vocab()])
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    _say(model, _first(tokenizer), tokenizer.convert_tokens_to_ids(list(script)))
    for name, value in generation.items():
        setattr(model.generation_config, name, _ids(tokenizer, value))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _first(tokenizer: Any) -> int:
    """The last token of every rendered request."""
    messages = [{"role": "user", "content": [{"type": "text", "text": "Yes or no?"}]}]
    text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    return int(tokenizer(text, add_special_tokens=False)["input_ids"][-1])


def _say(model: Any, first: int, script: Sequence[int]) -> None:
    text = model.model.text_model if hasattr(model.model, "text_model") else model.model.language_model
    with torch.no_grad():
        for layer in text.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        embedding, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
        drawn = torch.randn(embedding.shape, generator=torch.Generator().manual_seed(1))
        embedding.copy_(torch.nn.functional.normalize(drawn, dim=1))
        head.zero_()
        for before, after in zip((first, *script), script, strict=False):
            head[after] += 10 * embedding[before]


def _ids(tokenizer: Any, value: Any) -> Any:
    if isinstance(value, str):
        return tokenizer.convert_tokens_to_ids(value)
    return [_ids(tokenizer, one) for one in value] if isinstance(value, list) else value
