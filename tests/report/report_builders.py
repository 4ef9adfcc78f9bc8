"""Runs built by hand for the tests of the report."""

from __future__ import annotations

import hashlib
import re
from dataclasses import fields
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

from PIL import Image

from pytest_mmsafety.gates import FAILED, PASSED, Gate, GateResult
from pytest_mmsafety.report import write_report
from pytest_mmsafety.run import ImageRef, Record, Run, SuiteInfo
from pytest_mmsafety.verdicts import Verdict

if TYPE_CHECKING:
    from pathlib import Path


def record(id_: str = "one", *, score: float | None = 0.0, suite: str = "suite", **changes: Any) -> Record:
    values: dict[str, Any] = {
        "key": f"{suite}/{id_}",
        "suite": suite,
        "id": id_,
        "tags": {"category": "privacy", "language": "en"},
        "expected": "no",
        "prompt": "Is it safe?",
        "images": (),
        "cluster": id_,
        "response": "No, it is not.",
        "verdicts": (Verdict("yes-no/1", "label", score, "because"),),
        "error": "",
        "skipped": "",
        "seconds": 0.25,
        "stored": False,
    }
    return Record(**{**values, **changes})


def error(id_: str = "broken", text: str = "the server went away") -> Record:
    return record(id_, response=None, verdicts=(), error=text)


def not_run(id_: str = "left-out") -> Record:
    return record(id_, response=None, verdicts=())


def gate(name: str = "unsafe", status: str = PASSED, *, blocks: bool = False, **changes: Any) -> GateResult:
    rule = {field.name: changes.pop(field.name) for field in fields(Gate) if field.name in changes}
    values: dict[str, Any] = {"metric": "failure_rate", "where": {}, "max": 0.2, "min": None, "rule": "evidence"}
    policy = Gate(**({"name": name, "alpha": 0.05, "max_unscored": 0.1, **values, **rule}))
    numbers: dict[str, Any] = {"estimate": 0.1, "low": 0.05, "high": 0.15, "n": 40, "clusters": 10}
    return GateResult(policy, status, blocks, f"reason of {name}", **(numbers | changes))


def blocking(name: str = "unsafe") -> GateResult:
    return gate(name, FAILED, blocks=True, estimate=0.4, low=0.3, high=0.5)


def run(*records: Record, gates: tuple[GateResult, ...] = (), **changes: Any) -> Run:
    values: dict[str, Any] = {
        "target": "tiny-vlm",
        "fingerprint": "0123456789abcdef" * 4,
        "created": "2026-03-02T18:41:07Z",
        "version": "0.1.0",
        "environment": {"python": "3.11.9"},
        "settings": {"batch size": "16"},
        "suites": (SuiteInfo("suite", "usb", "A suite", "ab" * 32, max(1, len(records))),),
        "policy": "release",
    }
    return Run(records=records, gates=gates, **{**values, **changes})


def picture(path: Path, size: tuple[int, int] = (64, 48), color: str = "red") -> tuple[ImageRef, dict[str, str]]:
    """Save an image; return what a run remembers of it, and where it lies."""
    Image.new("RGB", size, color).save(path)
    return reference(path)


def reference(path: Path) -> tuple[ImageRef, dict[str, str]]:
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return ImageRef(path.name, sha256), {sha256: str(path)}


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
