"""``--model-args`` of a checkpoint, checked."""

from __future__ import annotations

import json
import os
import platform
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_mmsafety.errors import SetupError, nearest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


DTYPES = ("auto", "float32", "bfloat16", "float16")

MAX_NEW_TOKENS = 128
"""Limit of an answer where neither --model-args nor the suite has one."""
_TEMPLATE = "template."
ATTENTIONS = ("eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention")


@dataclass(frozen=True, slots=True)
class Options:
    """``--model-args`` of this target, checked."""

    max_new_tokens: int | None = None
    """``None``: what a case's suite asks for, else :data:`MAX_NEW_TOKENS`."""
    temperature: float = 0.0
    """0: greedy. Above: sampled from the whole distribution."""
    seed: int = 0
    dtype: str = "auto"
    device: str = "auto"
    system_prompt: str | None = None
    template: Mapping[str, str | bool | int | float] = field(default_factory=dict)
    """``template.NAME=VALUE``: variables of the chat template, such as ``template.enable_thinking=false``."""
    revision: str | None = None
    trust_remote_code: bool = False
    attn_implementation: str | None = None

    @classmethod
    def parse(cls, args: Mapping[str, str]) -> Options:
        known = [*(name for name in cls.__dataclass_fields__ if name != "template"), "template.NAME"]
        template = {key[len(_TEMPLATE) :]: _json(value) for key, value in args.items() if key.startswith(_TEMPLATE)}
        args = {key: value for key, value in args.items() if not key.startswith(_TEMPLATE)}
        for key in args:
            if key not in known:
                raise SetupError(
                    f"--model-args {key}={args[key]}: the transformers target has no such argument;"
                    f" expected one of {', '.join(known)}{nearest(key, known)}"
                )
        values: dict[str, Any] = {**args, "template": template}
        if "max_new_tokens" in args:
            values["max_new_tokens"] = _whole_number("max_new_tokens", args["max_new_tokens"])
        if "temperature" in args:
            values["temperature"] = _temperature(args["temperature"])
        if "seed" in args:
            values["seed"] = _whole_number("seed", args["seed"], least=0)
        if "trust_remote_code" in args:
            values["trust_remote_code"] = _one_of("trust_remote_code", args, ("true", "false")) == "true"
        if "dtype" in args:
            _one_of("dtype", args, DTYPES)
        if "attn_implementation" in args:
            _one_of("attn_implementation", args, ATTENTIONS)
        if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", args.get("device", "auto")):
            raise SetupError(
                f"--model-args device={args['device']}: expected auto, cpu, cuda, cuda:N or mps"
                f"{nearest(args['device'], ('auto', 'cpu', 'cuda', 'mps'))}"
            )
        return cls(**values)

    def facts(self) -> list[str]:
        """List what of it can change an answer."""
        facts = asdict(self)
        facts.pop("revision")  # the files tell better what was loaded
        facts["device"] = self.device.split(":")[0]  # workers with a GPU each share their answers
        if self.device == "auto":
            facts["accelerators"] = _accelerators()
        return [f"{key}={value!r}" for key, value in sorted(facts.items())]


def _json(value: str) -> str | bool | int | float:
    """``false`` as a boolean, ``3`` as a number, anything else as text."""
    try:
        found = json.loads(value.lower() if value.lower() in ("true", "false") else value)
    except (ValueError, RecursionError):
        return value
    return found if isinstance(found, str | bool | int | float) else value


def _whole_number(key: str, value: str, least: int = 1) -> int:
    if not re.fullmatch(r"\d{1,7}", value) or int(value) < least:
        raise SetupError(f"--model-args {key}={value}: expected a whole number from {least} on")
    return int(value)


def _temperature(value: str) -> float:
    if not re.fullmatch(r"\d{1,3}(\.\d{1,6})?", value):
        raise SetupError(f"--model-args temperature={value}: expected 0 (greedy) or a number above, such as 0.7")
    return float(value)


def _one_of(key: str, args: Mapping[str, str], allowed: Sequence[str]) -> str:
    if args[key] not in allowed:
        raise SetupError(
            f"--model-args {key}={args[key]}: expected one of {', '.join(allowed)}{nearest(args[key], allowed)}"
        )
    return args[key]


def _accelerators() -> list[str]:
    """List what ``device=auto`` chooses from, as far as the system tells without importing torch.

    Answers of a GPU and of a CPU (other number format, other rounding) must not share a fingerprint.
    """
    nodes = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")  # NVIDIA, AMD, and either under WSL
    found = [node for node in nodes if Path(node).exists()]
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in {"", "-1"}:
        found = []
    return [platform.system(), platform.machine(), *found]
