"""LoRA adapters in the file format of PEFT: read and merged, or trained and written, without PEFT.

``W' = W + scale * B @ A`` with ``scale = alpha / r``, or ``alpha / sqrt(r)`` if rank-stabilised
(Hu et al. 2021, section 4.1; Kalajdzievski 2023).
"""

from __future__ import annotations

import json
import math
import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_mmsafety.errors import SetupError, nearest
from pytest_mmsafety.targets.checkpoint.files import first_line, require

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

CONFIG = "adapter_config.json"
WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
_PREFIX = "base_model.model."
_FOREIGN_START = ("pissa", "olora", "loftq", "corda")
"""Ways to begin that also change the base, so that the adapter fits no base that is at hand."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """What an adapter folder holds, by the names of the base model."""

    deltas: Mapping[str, tuple[Tensor, Tensor, float]]
    """Module -> A of shape (r, inputs), B of shape (outputs, r), scale."""
    whole: Mapping[str, Tensor]
    """Parameters that were trained as they are, such as the head."""


def weights_file(folder: Path) -> Path | None:
    return next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)


def read_config(folder: Path, where: str) -> dict[str, Any]:
    """Read ``adapter_config.json`` and refuse what the formula above does not cover. Raises :class:`SetupError`."""
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise SetupError(f"{where}: {CONFIG} cannot be read: {first_line(error)}") from None
    if not isinstance(config, dict) or config.get("peft_type") != "LORA":
        kind = config.get("peft_type") if isinstance(config, dict) else config
        raise SetupError(f"{where}: {CONFIG}: peft_type is {kind!r:.40}; expected 'LORA'")
    if not isinstance(config.get("lora_alpha"), int | float):
        raise SetupError(f"{where}: {CONFIG}: lora_alpha is {config.get('lora_alpha')!r:.40}; expected a number")
    beyond = [key for key in ("use_dora", "fan_in_fan_out") if config.get(key)]
    beyond += ["bias"] if config.get("bias", "none") != "none" else []
    beyond += ["init_lora_weights"] if str(config.get("init_lora_weights")).lower().startswith(_FOREIGN_START) else []
    if beyond:
        raise SetupError(
            f"{where}: {CONFIG}: {beyond[0]}={config[beyond[0]]!r:.40} is not supported; merge it with PEFT"
        )
    return config


def read_adapter(folder: Path, where: str) -> Adapter:
    """Read an adapter folder onto the CPU. Raises :class:`SetupError`; never unpickles more than tensors."""
    config, file = read_config(folder, where), weights_file(folder)
    if file is None:
        raise SetupError(f"{where}: no weights; expected {' or '.join(WEIGHTS)}")
    halves: dict[str, dict[str, Tensor]] = {}
    whole = {}
    for key, tensor in read_tensors(file, where).items():
        name = re.sub(r"\.(modules_to_save(\.default)?|default)(?=\.weight$|\.bias$)", "", key.removeprefix(_PREFIX))
        if match := re.fullmatch(r"(.+)\.lora_([AB])\.weight", name):
            halves.setdefault(match[1], {})[match[2]] = tensor
        elif ".lora_" in name:
            raise SetupError(f"{where}: {file.name}: {key} is not supported; merge it with PEFT")
        elif ".original_module." not in name:
            whole[name] = tensor
    deltas = {}
    for module, half in halves.items():
        if half.keys() != {"A", "B"} or half["A"].dim() != 2 or half["B"].shape[1:] != half["A"].shape[:1]:
            raise SetupError(f"{where}: {file.name}: lora_A and lora_B of {module} do not fit together")
        deltas[module] = (half["A"], half["B"], _scale(config, module, len(half["A"])))
    return Adapter(deltas, whole)


def _scale(config: Mapping[str, Any], module: str, rank: int) -> float:
    patterns = config.get("alpha_pattern") or {}
    own = next((alpha for name, alpha in patterns.items() if re.match(rf"(.*\.)?({name})$", module)), None)
    alpha = float(config["lora_alpha"] if own is None else own)
    return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)


def read_tensors(file: Path, where: str) -> dict[str, Tensor]:
    """Read a ``.safetensors`` file, or the tensors and nothing else of one that ``torch.save`` wrote, onto the CPU."""
    torch = require("torch")
    try:
        if file.suffix == ".safetensors":
            tensors = require("safetensors.torch").load_file(file)
        else:
            tensors = torch.load(file, map_location="cpu", weights_only=True)
    except SetupError:
        raise
    except pickle.UnpicklingError:
        reason = "it is damaged, or holds more than tensors, which could run any code"
        raise SetupError(f"{where}: {file.name} cannot be loaded: {reason}") from None
    except Exception as error:  # noqa: BLE001 - a broken file raises anything
        reason = first_line(error)
        raise SetupError(f"{where}: {file.name} cannot be loaded: {reason}") from None
    if not isinstance(tensors, dict) or not all(torch.is_tensor(value) for value in tensors.values()):
        raise SetupError(f"{where}: {file.name} is no state dict: expected names of parameters with tensors")
    return dict(tensors)


def merge(model: Module, adapter: Adapter, where: str) -> None:
    """Add *adapter* to the weights of *model*, in float32, in place. Raises :class:`SetupError` if it does not fit."""
    torch = require("torch")
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for module, (a, b, scale) in adapter.deltas.items():
            weight = _fitting(parameters, f"{module}.weight", (len(b), a.shape[1]), where)
            inner, outer = (half.to(weight.device, torch.float32) for half in (a, b))
            weight.copy_(weight.float() + scale * (outer @ inner))
        for name, tensor in adapter.whole.items():
            _fitting(parameters, name, tuple(tensor.shape), where).copy_(tensor)


def _fitting(parameters: Mapping[str, Tensor], name: str, shape: tuple[int, ...], where: str) -> Tensor:
    if name not in parameters:
        raise SetupError(f"{where}: it adapts {name}, which the base does not have{nearest(name, parameters)}")
    if tuple(parameters[name].shape) != shape:
        raise SetupError(
            f"{where}: it is for another base: {name} has shape {tuple(parameters[name].shape)}, expected {shape}"
        )
    return parameters[name]


# --- training


@dataclass(frozen=True, slots=True)
class Shape:
    """How much is trained, and where."""

    rank: int = 8
    alpha: float = 16.0
    dropout: float = 0.05
    targets: tuple[str, ...] = ("q_proj", "v_proj")
    """Last parts of the names of linear layers."""


def add_lora(model: Module, shape: Shape) -> None:
    """Freeze *model* and put trainable LoRA beside its linear layers.

    A is drawn as PEFT does (Kaiming uniform), B is zero: the model begins as its base.
    """
    torch = require("torch")
    model.requires_grad_(requires_grad=False)
    found = [
        module
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and name.rpartition(".")[2] in shape.targets
    ]
    if not found:
        raise SetupError(f"--targets: the base has no linear layer called {' or '.join(shape.targets)}")
    for linear in found:
        _add_to(torch, linear, shape)


def _add_to(torch: Any, linear: Any, shape: Shape) -> None:
    """Register A and B at *linear* and add what they say to its output."""
    a = torch.empty(shape.rank, linear.in_features, device=linear.weight.device)
    torch.nn.init.kaiming_uniform_(a, a=math.sqrt(5))
    linear.lora_A = torch.nn.Parameter(a)
    linear.lora_B = torch.nn.Parameter(torch.zeros(linear.out_features, shape.rank, device=linear.weight.device))
    linear.lora_dropout = torch.nn.Dropout(shape.dropout)  # a child, so that train() and eval() reach it
    scale = shape.alpha / shape.rank

    def add(_: Any, inputs: Any, output: Any) -> Any:
        seen = linear.lora_dropout(inputs[0]).to(linear.lora_A.dtype)
        return output + (scale * (seen @ linear.lora_A.T @ linear.lora_B.T)).to(output.dtype)

    linear.register_forward_hook(add)


def adapter_tensors(trained: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Trained parameters under the names that PEFT gives them."""
    return {_PREFIX + re.sub(r"\.(lora_[AB])$", r".\1.weight", name): tensor for name, tensor in trained.items()}


def adapter_config(base: str, shape: Shape, head: str) -> str:
    """The ``adapter_config.json`` that belongs to :func:`adapter_tensors`; *head* was trained as a whole."""
    config = {
        "peft_type": "LORA",
        "task_type": "SEQ_CLS",
        "base_model_name_or_path": base,
        "r": shape.rank,
        "lora_alpha": shape.alpha,
        "lora_dropout": shape.dropout,
        "target_modules": list(shape.targets),
        "modules_to_save": [head],
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
    }
    return json.dumps(config, indent=1) + "\n"
