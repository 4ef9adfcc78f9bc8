"""Who is asked for a grade: an endpoint, or a model that is loaded here."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_mmsafety.judges.llm.rubrics import Rubric
from pytest_mmsafety.targets import Releasable, Request, Target
from pytest_mmsafety.targets.endpoint import Chat, ChatClosedError, ChatError, Endpoint, Reply

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_SIDE = 1024
"""Pixels of the longer side of an image that is sent."""
QUALITY = 90
"""Of the JPEG."""


@dataclass(frozen=True, slots=True)
class Question:
    """One answer to be graded, ready to be asked."""

    rubric: Rubric
    text: str
    images: tuple[Image, ...]

    @property
    def schema(self) -> dict[str, Any]:
        """Of the reply, as JSON schema."""
        return {
            "type": "object",
            "properties": {
                "label": {"type": "integer", "enum": list(self.rubric.labels)},
                "reason": {"type": "string"},
            },
            "required": ["label", "reason"],
            "additionalProperties": False,
        }


class Asker:
    """Gets a reply, or what went wrong, for each question."""

    def __call__(self, questions: Sequence[Question]) -> list[Reply | ChatError]:
        raise NotImplementedError

    def facts(self) -> list[str]:
        """What of it can change a reply."""
        raise NotImplementedError

    def fetch(self) -> None:
        """Nothing is needed."""

    def release(self) -> None:
        """Nothing is held."""


class EndpointAsker(Asker):
    """Asks an endpoint, up to *concurrency* questions at once."""

    def __init__(self, endpoint: Endpoint, concurrency: int) -> None:
        self._endpoint = endpoint
        self._chat = Chat(endpoint)
        self._concurrency = concurrency
        self._closed: ChatClosedError | None = None

    def __call__(self, questions: Sequence[Question]) -> list[Reply | ChatError]:
        with ThreadPoolExecutor(min(self._concurrency, len(questions)), "mmsafety-llm") as pool:
            return list(pool.map(self._one, questions))

    def facts(self) -> list[str]:
        return [self._endpoint.url, self._endpoint.model, str(self._endpoint.max_tokens)]

    def _one(self, question: Question) -> Reply | ChatError:
        if self._closed:
            return self._closed
        content = [_data_url(image) for image in question.images]
        try:
            return self._chat.ask(
                question.rubric.system, [*content, {"type": "text", "text": question.text}], question.schema
            )
        except ChatClosedError as error:
            self._closed = error
            return error
        except ChatError as error:
            return error


class TargetAsker(Asker):
    """Asks a target, all questions as one batch; what it raises is for the panel, which halves the batch."""

    def __init__(self, make_target: Callable[[], Target]) -> None:
        self._make = make_target
        self._target: Target | None = None

    def __call__(self, questions: Sequence[Question]) -> list[Reply | ChatError]:
        requests = [Request(f"{question.rubric.system}\n\n{question.text}", question.images) for question in questions]
        answers = self._made().generate(requests)
        return [Reply(answer if isinstance(answer, str) else answer.answer, "") for answer in answers]

    def _made(self) -> Target:
        if self._target is None:
            self._target = self._make()
        return self._target

    def facts(self) -> list[str]:
        return [self._made().fingerprint]

    def fetch(self) -> None:
        if callable(fetch := getattr(self._made(), "fetch", None)):
            fetch()

    def release(self) -> None:
        if isinstance(self._target, Releasable):
            self._target.release()


def _data_url(image: Image) -> dict[str, Any]:
    """An image as part of a message: JPEG of at most ``MAX_SIDE`` pixels, without what the file held besides."""
    small = image.copy()
    small.thumbnail((MAX_SIDE, MAX_SIDE))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=QUALITY)
    encoded = base64.b64encode(buffer.getvalue()).decode("ascii")
    return {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{encoded}"}}
