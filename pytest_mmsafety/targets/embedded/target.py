"""``--model=embedded``: a small pipeline that runs offline on a laptop, so that everything can be tried at once.

A picture is turned into words (OCR and a few plain visual tags), the words and the prompt go to a small
language model. It sees text and colours, no objects, people or relations: it is not a vision-language
model, and its name says so wherever it is shown.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import importlib
import json
import logging
import re
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from pytest_mmsafety.errors import SetupError, nearest
from pytest_mmsafety.targets import Request
from pytest_mmsafety.targets.checkpoint.torch import import_torch
from pytest_mmsafety.targets.embedded import weights as embedded_weights
from pytest_mmsafety.targets.embedded.vision import (
    LONGEST,
    OCR_LIMIT,
    OCR_MODELS,
    OCR_SETTINGS,
    SHORTEST,
    Reader,
    Seen,
    describe,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from PIL.Image import Image

CONTEXT = 2048
"""Tokens of prompt and answer together. The model could take 8192, at 16 times the cost of attention."""
AT_ONCE = 32
TOKENS_AT_ONCE = 8192
"""Requests, and tokens of prompt, generated together however many are asked for: bounds memory to about 3 GB."""
PACKAGES = ("torch", "transformers", "tokenizers", "onnxruntime", "rapidocr")

WORDING = {
    "en": {
        "one": "The picture shows: {tags}.",
        "many": "Picture {number} shows: {tags}.",
        "text": ' Text in the picture: "{text}".',
        "between": " ",
        "comma": ", ",
    },
    "zh": {
        "one": "图片内容：{tags}。",
        "many": "图片{number}的内容：{tags}。",
        "text": "图片中的文字：“{text}”。",
        "between": "",
        "comma": "、",
    },
}
IN_CHINESE = {
    "a detailed scene": "细节丰富的画面",
    "shapes on a plain background": "纯色背景上的图形",
    "one plain colour": "纯色画面",
    "wide": "横向",
    "tall": "纵向",
    "square": "方形",
    "no text": "没有文字",
    "a few words": "少量文字",
    "much text": "大量文字",
    "black": "黑色",
    "white": "白色",
    "gray": "灰色",
    "red": "红色",
    "orange": "橙色",
    "brown": "棕色",
    "yellow": "黄色",
    "green": "绿色",
    "cyan": "青色",
    "blue": "蓝色",
    "purple": "紫色",
    "pink": "粉色",
}


class EmbeddedTarget:
    """The target behind ``--model=embedded``; *args* are those of ``--model-args``.

    ``max_new_tokens`` (32) is the only one. Answers are greedy, in float32 on the CPU. A prompt that
    is too long for the context of 2048 tokens loses its middle: head and tail are kept, nothing is raised.
    """

    name = "OCR + tags -> SmolLM2-135M, not a VLM"

    def __init__(self, **args: str) -> None:
        self._max_new_tokens = _parse(args)
        self._reader: Reader | None = None
        self._speaker: _Speaker | None = None
        self._seen: dict[str, Seen] = {}

    def fetch(self) -> None:
        """Find packages and weights, and load none. Raises :class:`SetupError` with the command that brings them."""
        assert self.fingerprint  # needs the packages
        _weights()

    @property
    def fingerprint(self) -> str:
        try:
            versions = {name: version(name) for name in PACKAGES}
        except PackageNotFoundError as error:
            raise embedded_weights.missing(f"the package {error.name} is missing") from error
        ingredients = [embedded_weights.SMOLLM2.folder, self._max_new_tokens, CONTEXT, OCR_LIMIT]
        ingredients += [LONGEST, SHORTEST, OCR_SETTINGS, OCR_MODELS, WORDING, IN_CHINESE, versions]
        return hashlib.sha256(json.dumps(ingredients, sort_keys=True).encode()).hexdigest()

    def generate(self, requests: Sequence[Request]) -> list[str]:
        """One answer a request. Raises :class:`SetupError` if a package or the weights are missing."""
        if not requests:
            return []
        _import_packages()
        with _silence():
            self._load()
            keys = self._look_at(requests)
            turns = [
                user_turn(request.prompt, [self._seen[key] for key in of_request])
                for request, of_request in zip(requests, keys, strict=True)
            ]
            assert self._speaker is not None
            return self._speaker.answer(turns)

    def release(self) -> None:
        """Give the memory of both models back; what was seen is remembered."""
        self._reader = self._speaker = None
        gc.collect()

    def _load(self) -> None:
        if self._speaker is None:
            self._speaker = _Speaker(_weights(), self._max_new_tokens)

    def _look_at(self, requests: Sequence[Request]) -> list[list[str]]:
        """See each new picture once, however often it is asked about; returns the pictures' keys by request."""
        keys: list[list[str]] = []
        new: dict[str, Image] = {}
        for request in requests:
            digests = request.image_digests
            if len(digests) != len(request.images):
                digests = tuple(_pixel_digest(image) for image in request.images)
            keys.append(list(digests))
            new |= {key: image for key, image in zip(digests, request.images, strict=True) if key not in self._seen}
        if new:
            self._reader = self._reader or Reader()
            texts = self._reader.read(list(new.values()))
            for (key, image), text in zip(new.items(), texts, strict=True):
                self._seen[key] = Seen(describe(image, text), text)
        return keys


def _parse(args: Mapping[str, str]) -> int:
    for name in args:
        if name != "max_new_tokens":
            raise SetupError(
                f"--model=embedded: unknown argument {name!r}; max_new_tokens is the only one"
                + nearest(name, ["max_new_tokens"])
            )
    value = args.get("max_new_tokens", "32")
    if not re.fullmatch(r"[0-9]{1,4}", str(value)) or not 1 <= int(value) <= CONTEXT // 2:
        raise SetupError(f"--model=embedded: max_new_tokens={value!r}; expected a whole number, 1 to {CONTEXT // 2}")
    return int(value)


def _weights() -> Path:
    folder = embedded_weights.installed()
    if folder is None:
        raise SetupError("--model=embedded: weights are not installed; run: mmsafety install embedded")
    return folder


def _import_packages() -> None:
    try:
        import_torch()
        for package in PACKAGES:
            importlib.import_module(package)
        # RapidOCR sets the level of its logger here: before _silence changes it.
        importlib.import_module("rapidocr.utils.log")
    except ImportError as error:
        raise embedded_weights.missing(error) from error


def _pixel_digest(image: Image) -> str:
    return hashlib.sha256(repr((image.size, image.mode)).encode() + image.tobytes()).hexdigest()


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """No advice and no progress bars from the libraries; their settings are put back afterwards."""
    from transformers.utils import logging as advice

    ocr = logging.getLogger("RapidOCR")
    before = ocr.level, advice.get_verbosity(), advice.is_progress_bar_enabled()
    ocr.setLevel(logging.CRITICAL)
    advice.set_verbosity(logging.ERROR)
    advice.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        ocr.setLevel(before[0])
        advice.set_verbosity(before[1])
        if before[2]:
            advice.enable_progress_bar()  # type: ignore[no-untyped-call]


# --- speaking


def user_turn(prompt: str, seen: Sequence[Seen]) -> str:
    """Put together the words that stand for pictures and prompt, in the prompt's language."""
    language = "zh" if re.search(r"[㐀-鿿]", prompt) else "en"
    words = WORDING[language]
    parts = []
    for number, picture in enumerate(seen, 1):
        tags = [IN_CHINESE[tag] for tag in picture.tags] if language == "zh" else picture.tags
        part = words["one" if len(seen) == 1 else "many"].format(number=number, tags=words["comma"].join(tags))
        parts.append(part + (words["text"].format(text=picture.text) if picture.text else ""))
    return words["between"].join([*parts, prompt])


class _Speaker:
    """SmolLM2-135M-Instruct: greedy, float32, CPU, left padding."""

    def __init__(self, folder: Path, max_new_tokens: int) -> None:
        import torch
        from jinja2.sandbox import ImmutableSandboxedEnvironment
        from tokenizers import Tokenizer
        from transformers import LlamaForCausalLM

        try:
            self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
            template = json.loads((folder / "tokenizer_config.json").read_bytes())["chat_template"]
            self._model: Any = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
        except Exception as error:
            raise SetupError(
                f"--model=embedded: cannot load the weights ({type(error).__name__}); "
                f"delete {folder} and run: mmsafety install embedded"
            ) from error
        self._max_new_tokens = max_new_tokens
        self._end: int = self._model.generation_config.eos_token_id
        mark = "\0"
        chat = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(template)
        around = chat.render(messages=[{"role": "user", "content": mark}], add_generation_prompt=True).split(mark)
        self._before, self._after = (self._tokenizer.encode(part).ids for part in around)
        # From here on a prompt that spells out a control token reads as text and cannot end its own turn.
        self._tokenizer.encode_special_tokens = True
        self._room = CONTEXT - max_new_tokens - len(self._before) - len(self._after)

    def answer(self, turns: Sequence[str]) -> list[str]:
        """One answer a turn, generated in as few passes as memory allows."""
        answers: list[str] = []
        rows: list[list[int]] = []
        for row in map(self._encode, turns):
            if len(rows) == AT_ONCE or (len(rows) + 1) * max(map(len, [row, *rows])) > TOKENS_AT_ONCE:
                answers += self._generate(rows)
                rows = []
            rows.append(row)
        return answers + self._generate(rows)

    def _generate(self, rows: list[list[int]]) -> list[str]:
        import torch

        width = max(map(len, rows))
        ids = torch.tensor([[self._end] * (width - len(row)) + row for row in rows])
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
        with torch.inference_mode():
            out = self._model.generate(
                input_ids=ids,
                attention_mask=mask,
                max_new_tokens=self._max_new_tokens,
                do_sample=False,
                pad_token_id=self._end,
            )
        answers: list[str] = self._tokenizer.decode_batch(out[:, width:].tolist(), skip_special_tokens=True)
        return [answer.strip() for answer in answers]

    def _encode(self, turn: str) -> list[int]:
        """Put the turn into the chat template; if it is too long, without its middle."""
        # Far more characters than there is room for tokens: spares the tokenizer a prompt of megabytes.
        half = 64 * self._room
        if len(turn) > 2 * half:
            turn = turn[:half] + turn[-half:]
        # Half a surrogate pair, as in broken JSON, is no text for the tokenizer.
        turn = turn.encode("utf-8", "replace").decode()
        ids: list[int] = self._tokenizer.encode(turn.strip()).ids
        if len(ids) > self._room:
            tail = self._room // 2
            ids = ids[: self._room - tail] + ids[-tail:]
        return [*self._before, *ids, *self._after]
