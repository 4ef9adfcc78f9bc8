"""Any image-text-to-text checkpoint that transformers can load: a folder, or a model of the Hugging Face hub.

    pytest --model=./llava-next-rc2 --model-args max_new_tokens=256,dtype=bfloat16

Nothing heavy happens before the first :meth:`TransformersTarget.generate`; torch is imported there.

**A batch answers like its members.** An answer must not depend on what else was asked in the same batch, or a gate
would flicker with the batch size. In float32 it does not, for the architectures listed in
docs/targets-transformers.md; what that takes is said where it is done. In half precision the kernels themselves
round differently for different batch shapes, which no caller can mend.
"""

from __future__ import annotations

import gc
import hashlib
import importlib.metadata
import os
import platform
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_mmsafety.errors import SetupError, nearest
from pytest_mmsafety.targets.checkpoint_files import MISSING, check_folder, digests, download
from pytest_mmsafety.targets.checkpoint_model import Loaded, load

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_mmsafety.targets import Request

ANSWER_FORMAT = 1
"""Raised whenever this file begins to ask, decode or trim differently, so that stored answers are not mistaken."""

DTYPES = ("auto", "float32", "bfloat16", "float16")
ATTENTIONS = ("eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention")


class TransformersTarget:
    """Answers of an image-text-to-text checkpoint, through its own chat template and processor.

    Greedy, unless a temperature is given.
    """

    def __init__(self, model: str, **args: str) -> None:
        self._options = Options.parse(args)
        self._loaded: Loaded | None = None
        self._fingerprint: str | None = None
        if Path(model).is_dir():
            self._folder: Path | None = Path(model).resolve()
            self._name = self._folder.name
            check_folder(self._folder)
        elif re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", model):
            self._folder = None  # of the hub; found or fetched when needed
            self._name = model
        else:
            raise SetupError(f"--model={model}: expected a checkpoint folder or a hub id such as org/name")

    @property
    def name(self) -> str:
        return self._name

    @property
    def fingerprint(self) -> str:
        """Of every file that is loaded, all that changes decoding, and the versions that compute it.

        Taken once: the engine asks for every case, and the weights in memory do not change with the files.
        """
        if self._fingerprint is None:
            facts = [f"format={ANSWER_FORMAT}", *digests(self.fetch()), *self._options.facts()]
            facts += [f"{package}={_version(package)}" for package in ("torch", "transformers")]
            self._fingerprint = hashlib.sha256("\n".join(facts).encode()).hexdigest()
        return self._fingerprint

    def generate(self, requests: Sequence[Request]) -> list[str]:
        """May raise torch's ``OutOfMemoryError``: the same requests in smaller batches can still succeed."""
        if self._loaded is None:
            self._loaded = load(self.fetch(), self._options)
        answers = [""] * len(requests)
        # Apart, because processors take images for all of a batch or for none of it.
        for has_images in (True, False):
            rows = [row for row, request in enumerate(requests) if bool(request.images) is has_images]
            if rows:
                told = self._loaded.answer([requests[row] for row in rows])
                for row, answer in zip(rows, told, strict=True):
                    answers[row] = answer
        return answers

    def release(self) -> None:
        """Free the model, and hand its memory back to the device."""
        if self._loaded is None:
            return
        torch = self._loaded.torch
        self._loaded = None
        gc.collect()  # modules and their hooks refer to each other
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def fetch(self) -> Path:
        """The folder of the checkpoint, after a download if it is a hub model that is not here yet."""
        if self._folder is None:
            self._folder = download(self._name, self._options.revision)
            check_folder(self._folder)
        return self._folder


@dataclass(frozen=True, slots=True)
class Options:
    """``--model-args`` of this target, checked."""

    max_new_tokens: int = 128
    temperature: float = 0.0
    """0: greedy. Above: sampled from the whole distribution."""
    seed: int = 0
    dtype: str = "auto"
    device: str = "auto"
    system_prompt: str | None = None
    revision: str | None = None
    trust_remote_code: bool = False
    attn_implementation: str | None = None

    @classmethod
    def parse(cls, args: Mapping[str, str]) -> Options:
        known = list(cls.__dataclass_fields__)
        for key in args:
            if key not in known:
                raise SetupError(
                    f"--model-args {key}={args[key]}: the transformers target has no such argument;"
                    f" expected one of {', '.join(known)}{nearest(key, known)}"
                )
        values: dict[str, Any] = dict(args)
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


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        raise SetupError(MISSING.format(package)) from None


def _accelerators() -> list[str]:
    """List what ``device=auto`` chooses from, as far as the system tells without importing torch.

    Answers of a GPU and of a CPU (other number format, other rounding) must not share a fingerprint.
    """
    nodes = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")  # NVIDIA, AMD, and either under WSL
    found = [node for node in nodes if Path(node).exists()]
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in {"", "-1"}:
        found = []
    return [platform.system(), platform.machine(), *found]
