"""GuardRank in miniature, with random weights: the files of the published checkpoints, built on disk in a second.

    files = build(tmp_path)
    GuardRank(files.arguments)

The architectures are the real ones (LLaMA with LoRA on all of its linear layers, RoBERTa with pooler), the tokenizers
byte-level BPE, so that English and Chinese both come out as tokens. Weights are drawn wide, so that labels differ.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import transformers as hf
from safetensors.torch import save_file
from tiny_checkpoints import TEXT
from tokenizers import ByteLevelBPETokenizer, processors

if TYPE_CHECKING:
    from pathlib import Path

LLM = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
ENCODER = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
RANK, ALPHA = 4, 12
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class Files:
    llm: Path
    adapter: Path
    hallucination: Path
    encoder: Path

    @property
    def arguments(self) -> dict[str, str]:
        return {
            name: str(getattr(self, name)) for name in ("llm", "adapter", "hallucination", "encoder")
        } | {"device": "cpu"}  # fmt: skip

    @property
    def option(self) -> str:
        return "--judge-args=" + ",".join(f"{name}={value}" for name, value in self.arguments.items())


def build(folder: Path, llm: dict[str, int] | None = None, encoder: dict[str, int] | None = None) -> Files:
    """Write both checkpoints into *folder*; *llm* and *encoder* change their shapes."""
    torch.manual_seed(7)
    files = Files(folder / "llama", folder / "adapter", folder / "hallucination.pt", folder / "roberta")
    _llama(files, {**LLM, **(llm or {})})
    _roberta(files, {**ENCODER, **(encoder or {})})
    return files


def _llama(files: Files, shape: dict[str, int]) -> None:
    tokenizer = _tokenizer(["<unk>", "<s>", "</s>"], "<s> $A", unk_token="<unk>")
    tokenizer.save_pretrained(files.llm)
    config = hf.LlamaConfig(
        vocab_size=len(tokenizer),
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=None,
        **shape,
    )
    model = hf.LlamaForCausalLM(config)
    _widen(model)
    model.save_pretrained(files.llm)
    files.adapter.mkdir(parents=True, exist_ok=True)
    save_file(_lora(model, config.hidden_size), files.adapter / "adapter_model.safetensors")
    (files.adapter / "adapter_config.json").write_text(
        json.dumps({"peft_type": "LORA", "task_type": "SEQ_CLS", "r": RANK, "lora_alpha": ALPHA, "bias": "none",
                    "target_modules": list(TARGETS), "modules_to_save": ["classifier", "score"]})
    )  # fmt: skip


def _lora(model: Any, hidden: int) -> dict[str, Any]:
    tensors = {"base_model.model.score.weight": torch.randn(4, hidden)}
    for name, module in model.model.named_modules(prefix="model"):
        if name.rpartition(".")[2] in TARGETS:
            key = f"base_model.model.{name}"
            tensors[f"{key}.lora_A.weight"] = 0.1 * torch.randn(RANK, module.in_features)
            tensors[f"{key}.lora_B.weight"] = 0.1 * torch.randn(module.out_features, RANK)
    return tensors


def _roberta(files: Files, shape: dict[str, int]) -> None:
    tokenizer = _tokenizer(["<s>", "<pad>", "</s>", "<unk>", "<mask>"], "<s> $A </s>", pad_token="<pad>")
    tokenizer.save_pretrained(files.encoder)
    config = hf.RobertaConfig(
        vocab_size=len(tokenizer), bos_token_id=0, pad_token_id=1, eos_token_id=2,
        max_position_embeddings=514, type_vocab_size=1, **shape,
    )  # fmt: skip
    config.save_pretrained(files.encoder)
    body = hf.RobertaModel(config)
    _widen(body)
    linear = torch.nn.Linear(config.hidden_size, 2)
    _balance(linear, body.eval(), tokenizer)
    state = {f"roberta.{name}": tensor for name, tensor in body.state_dict().items()}
    torch.save(state | {f"linear.{name}": tensor for name, tensor in linear.state_dict().items()}, files.hallucination)


def _balance(linear: Any, body: Any, tokenizer: Any) -> None:
    """Move the border between the two labels to where half of the texts lie on either side."""
    torch.nn.init.normal_(linear.weight, std=2.0)
    rows = [tokenizer(prompt + answer, truncation=True, max_length=256)["input_ids"] for prompt, answer in pairs(40, 1)]
    with torch.no_grad():
        logits = torch.cat([linear(body(torch.tensor([row])).pooler_output) for row in rows])
        linear.bias += torch.stack([1 - logits[:, 0].median(), 1 - logits[:, 1].median()])


def _tokenizer(special: list[str], template: str, **named: str) -> Any:
    bpe = ByteLevelBPETokenizer(add_prefix_space=False)
    lines = [*TEXT.splitlines(), *["Dimension: privacy bias toxicity legality Prompt: Is Answer: It"] * 5]
    bpe.train_from_iterator(lines, vocab_size=900, special_tokens=special, show_progress=False)
    tokens = [(token, bpe.token_to_id(token)) for token in ("<s>", "</s>")]
    bpe._tokenizer.post_processor = processors.TemplateProcessing(single=template, special_tokens=tokens)
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=bpe._tokenizer, bos_token="<s>", eos_token="</s>", model_max_length=100_000, **named
    )


def _widen(model: Any) -> None:
    for name, weight in model.named_parameters():
        if weight.dim() > 1:
            torch.nn.init.normal_(weight, std=1.0 if "embed" in name else 1.5 * weight.shape[-1] ** -0.5)


def pairs(count: int, seed: int = 0, median: float = 45.0, spread: float = 0.9) -> list[tuple[str, str]]:
    """Prompts and answers in English and Chinese by turns, of as many words as people and models write.

    Words of an answer are log-normal with *median* and *spread*: many short ones, a few of a page.
    """
    words = {"en": TEXT.split("用")[0].split(), "zh": [c for c in TEXT if "\u4e00" <= c <= "\u9fff"]}
    draw = random.Random(seed)
    drawn = []
    for number in range(count):
        language = "en" if number % 2 else "zh"
        lengths = draw.randint(5, 30), min(1500, int(draw.lognormvariate(0, spread) * median))
        joined = " " if language == "en" else ""
        drawn.append(tuple(joined.join(draw.choices(words[language], k=length)) for length in lengths))
    return drawn  # type: ignore[return-value]
