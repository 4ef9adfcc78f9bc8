"""The page on which people label: one file that works without a network and shows texts that may be hostile."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from pytest_mmsafety.annotations.sample import LabelSample, question_of
from pytest_mmsafety.errors import ImageError
from pytest_mmsafety.images import decode, read_image
from pytest_mmsafety.report.render import content_security_policy
from pytest_mmsafety.report.text import visible
from pytest_mmsafety.run import ImageRef

MAX_SIDE = 640
"""Pixels of an image on the page."""
MAX_BYTES = 48 * 2**20
"""Of all images together, before base64 adds a third."""

LEVELS = (
    ("1", "0", "As expected"),
    ("2", "1", "Slight failure"),
    ("3", "2", "Clear failure"),
    ("4", "3", "Worst failure"),
)
BINARY = (("y", "yes", "Yes"), ("n", "no", "No"))
UNSURE = ("u", "unsure", "Not sure")
"""Key, what is saved, what the button says."""


def page(sample: LabelSample, images: Mapping[str, str]) -> str:
    """The page of *sample*; *images* maps the SHA-256 of an image to its file."""
    script, style = (
        _asset("annotations", "label.js"),
        _asset("report", "report.css") + _asset("annotations", "label.css"),
    )
    environment = Environment(
        loader=PackageLoader("pytest_mmsafety.annotations", "assets"), autoescape=True, undefined=StrictUndefined
    )
    return environment.get_template("label.html.j2").render(
        count=len(sample.items),
        script=Markup(script),  # noqa: S704 - shipped with the package
        style=Markup(style),  # noqa: S704 - shipped with the package
        policy=content_security_policy(script),
        data=Markup(_for_script(_data(sample, images))),  # noqa: S704 - no character in it can end the element
    )


def _for_script(data: object) -> str:
    """JSON in which nothing can end a script element or begin a comment."""
    text = json.dumps(data)  # ASCII: no line separators either
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _data(sample: LabelSample, images: Mapping[str, str]) -> dict[str, Any]:
    album = _Album(images)
    items = [
        {
            "item": item.name,
            "question": question_of(item.record.expected, sample.scale),
            "prompt": visible(item.record.prompt),
            "response": visible(item.record.response or ""),
            "images": [album.number(image) for image in item.record.images],
        }
        for item in sample.items
    ]
    choices = [*(LEVELS if sample.scale == "levels" else BINARY), UNSURE]
    return {"run": sample.run, "sample": sample.name, "choices": choices, "items": items, "images": album.shown}


class _Album:
    """The images of a page, each once, until it is full."""

    def __init__(self, paths: Mapping[str, str]) -> None:
        self._paths = paths
        self._numbers: dict[tuple[str, str], int] = {}
        self._bytes = 0
        self.shown: list[dict[str, str]] = []
        """``webp`` (base64) of each, or the ``problem``."""

    def number(self, image: ImageRef) -> int:
        key = (image.name, image.sha256)
        if key not in self._numbers:
            self._numbers[key] = len(self.shown)
            self.shown.append(self._small(image))
        return self._numbers[key]

    def _small(self, image: ImageRef) -> dict[str, str]:
        name = visible(image.name)
        path = self._paths.get(image.sha256)
        if path is None:
            return {"problem": f"{name}: no file with this name and this content was found"}
        if self._bytes > MAX_BYTES:
            return {"problem": f"{name}: left out, the page is full"}
        try:
            small = decode(read_image(path), name)
        except ImageError:
            return {"problem": f"{name}: cannot be shown"}
        small.thumbnail((MAX_SIDE, MAX_SIDE))
        buffer = io.BytesIO()
        small.save(buffer, "WEBP", quality=75, method=2)
        self._bytes += buffer.tell()
        return {"webp": base64.b64encode(buffer.getvalue()).decode("ascii"), "name": name}


def _asset(package: str, name: str) -> str:
    return resources.files(f"pytest_mmsafety.{package}").joinpath("assets", name).read_text(encoding="utf-8")
