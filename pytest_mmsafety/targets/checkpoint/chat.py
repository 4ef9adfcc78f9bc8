"""How a request becomes the text that a checkpoint's processor takes: its chat template, found out by trying."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from pytest_mmsafety.errors import SetupError


@dataclass(frozen=True, slots=True)
class Chat:
    """How a request becomes the text that the processor takes."""

    tokenizer: Any
    template: str | None
    """None: the checkpoint knows no chats, and gets the bare prompt."""
    system_prompt: str | None
    takes_parts: bool
    """Whether the template wants a message as a list of parts, not as a string."""
    image_token: str
    """What has to be written into the text for each image; empty where template or processor write it."""
    variables: Mapping[str, Any]
    """Of the template."""

    @classmethod
    def of(cls, processor: Any, system_prompt: str | None, variables: Mapping[str, Any], now: datetime) -> Chat:
        """Find out by trying: templates come without a description.

        A template that writes the date writes that of *now*, although the night may be long.
        """
        tokenizer = processor.tokenizer
        template = getattr(processor, "chat_template", None) or tokenizer.chat_template
        if isinstance(template, dict):
            if "default" not in template:
                raise SetupError(f"--model: of the chat templates {', '.join(template)} none is called default")
            template = template["default"]
        # InstructBLIP and BLIP-2 count out their image tokens themselves, and say so with their query tokens.
        token = "" if hasattr(processor, "num_query_tokens") else str(getattr(processor, "image_token", None) or "")
        if template is None:
            if system_prompt is not None:
                raise SetupError("--model-args system_prompt: the checkpoint has no chat template to put it into")
            if variables:
                raise SetupError(f"--model-args template.{next(iter(variables))}: the checkpoint has no chat template")
            return cls(tokenizer, None, None, takes_parts=False, image_token=token, variables={})
        template = _DATE.sub(lambda found: json.dumps(now.strftime(found[2])), template)
        for takes_parts in (True, False):
            chat = cls(tokenizer, template, None, takes_parts=takes_parts, image_token="", variables=variables)
            text, with_image = chat.probe(images=0), chat.probe(images=1)
            if text is None or "'type'" in text:  # refused, or wrote the list as Python writes it
                continue
            if with_image is None or with_image == text:  # made for text alone
                chat = replace(chat, image_token=f"{token}\n")
            return chat.with_system_prompt(system_prompt)
        raise SetupError("--model: the checkpoint's chat template takes no user message, as parts or as a string")

    def with_system_prompt(self, system_prompt: str | None) -> Chat:
        chat = replace(self, system_prompt=system_prompt)
        if system_prompt is not None and system_prompt.strip() not in (chat.probe(images=0) or ""):
            raise SetupError("--model-args system_prompt: the checkpoint's chat template takes no system message")
        return chat

    def probe(self, images: int) -> str | None:
        """The text of a short request; ``None`` if the template refuses it, or loses it."""
        try:
            text = self.render("What is this?", images)
        except Exception:  # noqa: BLE001 - templates are programs, and raise what they like
            return None
        return text if "What is this?" in text else None

    def render(self, prompt: str, images: int) -> str:
        written = self.image_token * images + prompt
        if self.template is None:
            return written
        messages = [self._message("user", written, 0 if self.image_token else images)]
        if self.system_prompt is not None:
            messages.insert(0, self._message("system", self.system_prompt, 0))
        return str(
            self.tokenizer.apply_chat_template(
                messages,
                chat_template=self.template,
                add_generation_prompt=True,
                tokenize=False,
                **self.variables,
            )
        )

    def turn_ends(self) -> set[int]:
        """The special token that the template writes after an answer, if it writes one."""
        if self.template is None:
            return set()
        said = "ANSWER"
        messages = [self._message("user", "What is this?", 0), self._message("assistant", said, 0)]
        try:
            text = self.tokenizer.apply_chat_template(
                messages, chat_template=self.template, tokenize=False, **self.variables
            )
        except Exception:  # noqa: BLE001 - templates are programs, and raise what they like
            return set()
        after = str(text).rpartition(said)[2].lstrip()
        found = [(text, token) for token, text in special_tokens(self.tokenizer).items() if after.startswith(text)]
        return {max(found, key=lambda one: len(one[0]))[1]} if found else set()

    def _message(self, role: str, text: str, images: int) -> dict[str, Any]:
        if not self.takes_parts:
            return {"role": role, "content": text}
        return {"role": role, "content": [*({"type": "image"} for _ in range(images)), {"type": "text", "text": text}]}


def dates_of_template(folder: Path, now: datetime) -> list[str]:
    """What the chat template of the checkpoint in *folder* writes of *now*: the same request is another tomorrow."""
    files = [*folder.rglob("*.jinja"), folder / "tokenizer_config.json", folder / "chat_template.json"]
    texts = [file.read_text("utf-8", "replace") for file in files if file.is_file()]
    dates = {now.strftime(found[2]) for text in texts for found in _DATE.finditer(text)}
    if any("strftime_now(" in _DATE.sub("", text) for text in texts):  # with a format that is worked out
        dates.add(now.strftime("%Y-%m-%d"))
    return sorted(dates)


_DATE = re.compile(r"""strftime_now\(\s*\\?(["'])([^"'\\]*)\\?\1\s*\)""")
"""Also inside of JSON, where the quotation marks are escaped."""


def special_tokens(tokenizer: Any) -> dict[int, str]:
    """Id -> text of every token that decoding may drop; ``all_special_tokens`` has only those with a role."""
    added = {token: str(text) for token, text in tokenizer.added_tokens_decoder.items() if text.special}
    return added | dict(zip(tokenizer.all_special_ids, tokenizer.all_special_tokens, strict=True))
