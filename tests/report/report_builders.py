"""Pages of reports as a browser would read them, and records and gates that report tests need often."""

from __future__ import annotations

import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from PIL import Image

from pytest_mmsafety.gates import FAILED, GateResult, Interval
from pytest_mmsafety.report import write_report
from pytest_mmsafety.run import ImageRef, Record, Run
from pytest_mmsafety.testing import make_record, make_result


def error(id_: str = "broken", text: str = "the server went away") -> Record:
    return make_record(id_, response=None, error=text)


def not_run(id_: str = "left-out") -> Record:
    return make_record(id_, response=None)


def blocking(name: str = "gate") -> GateResult:
    return make_result(FAILED, name=name, blocks=True, estimate=Interval(0.4, 0.3, 0.5))


def picture(path: Path, size: tuple[int, int] = (64, 48), color: str = "red") -> tuple[ImageRef, dict[str, str]]:
    """Save an image; return what a run remembers of it, and where it lies."""
    Image.new("RGB", size, color).save(path)
    return reference(path)


def reference(path: Path) -> tuple[ImageRef, dict[str, str]]:
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return ImageRef(path.name, sha256), {sha256: str(path)}


def spaced(text: str) -> str:
    """*text* with ordinary spaces and an ordinary minus, to be compared with what a test writes."""
    return text.replace("\N{NO-BREAK SPACE}", " ").replace("\N{MINUS SIGN}", "-")


class Read(HTMLParser):
    """What a browser would find in the page: elements with their attributes, and the text outside of scripts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self._pieces: list[str] = []
        self._inside = ""
        self.feed(html)
        self.text = re.sub(r"\s+", " ", " ".join(self._pieces).replace("\N{NO-BREAK SPACE}", " "))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside not in ("script", "style"):
            self._pieces.append(data)

    def all(self, tag: str, class_: str = "") -> list[dict[str, str | None]]:
        return [
            attrs
            for name, attrs in self.elements
            if name == tag and (not class_ or class_ in (attrs.get("class") or "").split())
        ]


def page(of: Run, folder: Path, image_paths: dict[str, str] | None = None, **beside: Any) -> Read:
    path = folder / "report.html"
    write_report(of, path, image_paths=image_paths or {}, **beside)
    return Read(path.read_text(encoding="utf-8"))
