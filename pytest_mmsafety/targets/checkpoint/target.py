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
import re
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_mmsafety.cases import Response
from pytest_mmsafety.errors import SetupError
from pytest_mmsafety.targets.checkpoint.chat import dates_of_template
from pytest_mmsafety.targets.checkpoint.files import MISSING, check_folder, digests, download, set_aside
from pytest_mmsafety.targets.checkpoint.model import Loaded, load
from pytest_mmsafety.targets.checkpoint.options import MAX_NEW_TOKENS, Options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_mmsafety.targets import Request

ANSWER_FORMAT = 2
"""Raised whenever this file begins to ask, decode or trim differently, so that stored answers are not mistaken."""


class TransformersTarget:
    """Answers of an image-text-to-text checkpoint, through its own chat template and processor.

    Greedy, unless a temperature is given.
    """

    def __init__(self, model: str, **args: str) -> None:
        self._options = Options.parse(args)
        self._loaded: Loaded | None = None
        self._fingerprint: str | None = None
        self._started = datetime.now()  # noqa: DTZ005 - templates write the local date
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
            facts += dates_of_template(self.fetch(), self._started)
            self._fingerprint = hashlib.sha256("\n".join(facts).encode()).hexdigest()
        return self._fingerprint

    @property
    def remarks(self) -> list[str]:
        """What of the checkpoint's own decoding is set aside, and a date in its template."""
        folder, remarks = self.fetch(), []
        if aside := set_aside(folder):
            remarks.append(
                f"set aside of the checkpoint's generation_config.json: {', '.join(aside)}; answers are "
                + (f"sampled at temperature {self._options.temperature:g}" if self._options.temperature else "greedy")
            )
        if dates := dates_of_template(folder, self._started):
            remarks.append(
                f"the checkpoint's chat template writes the date ({', '.join(dates)}): "
                "on another day every case is asked anew"
            )
        return remarks

    def generate(self, requests: Sequence[Request]) -> list[Response]:
        """May raise torch's ``OutOfMemoryError``: the same requests in smaller batches can still succeed."""
        if self._loaded is None:
            self._loaded = load(self.fetch(), self._options, self._started)
        answers = [Response("")] * len(requests)
        # Apart, because processors take images for all of a batch or for none of it.
        kinds: dict[tuple[bool, int], list[int]] = {}
        for row, request in enumerate(requests):
            limit = self._options.max_new_tokens or request.max_new_tokens or MAX_NEW_TOKENS
            kinds.setdefault((not request.images, limit), []).append(row)
        for (_, limit), rows in sorted(kinds.items()):
            told = self._loaded.answer([requests[row] for row in rows], limit)
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


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        raise SetupError(MISSING.format(package)) from None
