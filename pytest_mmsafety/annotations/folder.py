"""The folder of a label sample: the page, the tables, and what the sample is."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pytest_mmsafety.annotations.page import page
from pytest_mmsafety.annotations.sample import LabelSample, question_of
from pytest_mmsafety.errors import SetupError
from pytest_mmsafety.files import write_atomically

SAMPLE_FORMAT = "mmsafety-label-sample/1"

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def write_sample(sample: LabelSample, folder: Path, images: Mapping[str, str]) -> list[Path]:
    """Write the page, the tables and what the import needs; *images* maps the SHA-256 of an image to its file.

    Raises ``OSError``, and :class:`SetupError` if another sample lies in *folder*: its labels would lose their page.
    """
    about = folder / "sample.json"
    if about.exists() and read_about(about).get("name") != sample.name:
        raise SetupError(f"{about}: another sample lies there; expected another -o, so that its labels keep their page")
    parts = {
        "label.html": page(sample, images),
        "items.csv": _table(sample),
        "items.jsonl": "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in _rows(sample)),
        "sample.json": _about(sample),
    }
    for name, text in parts.items():
        write_atomically(folder / name, [text])
    return [folder / name for name in parts]


def _about(sample: LabelSample) -> str:
    about = {
        "format": SAMPLE_FORMAT,
        "name": sample.name,
        "run": sample.run,
        "seed": sample.seed,
        "by": sample.by,
        "scale": sample.scale,
        "weights": {item.name: item.weight for item in sample.items},
    }
    return json.dumps(about, indent=1) + "\n"


def read_about(path: Path) -> dict[str, Any]:
    """What ``sample.json`` says. Raises :class:`SetupError`."""
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise SetupError(f"{path}: not a sample file: {error}") from None
    if (
        not isinstance(about, dict)
        or about.get("format") != SAMPLE_FORMAT
        or not isinstance(about.get("weights"), dict)
    ):
        raise SetupError(f"{path}: not a sample file of this program; expected format {SAMPLE_FORMAT!r}")
    return dict(about)


def _rows(sample: LabelSample) -> Iterator[dict[str, object]]:
    """What people see, with empty columns for what they say."""
    for item in sample.items:
        record = item.record
        yield {
            "run": sample.run,
            "item": item.name,
            "question": question_of(record.expected, sample.scale),
            "prompt": _sendable(record.prompt),
            "images": [image.name for image in record.images],
            "response": _sendable(record.response or ""),
            "annotator": "",
            "answer": "",
            "note": "",
        }


def _table(sample: LabelSample) -> str:
    """CSV with the mark by which Excel knows UTF-8. A cell that Excel would compute gets an apostrophe."""
    file = io.StringIO()
    writer: csv.DictWriter[str] | None = None
    for row in _rows(sample):
        names = row["images"]
        assert isinstance(names, list)
        cells = {name: str(value) for name, value in (row | {"images": "; ".join(names)}).items()}
        if writer is None:
            writer = csv.DictWriter(file, list(cells), lineterminator="\n")
            writer.writeheader()
        writer.writerow({name: f"'{cell}" if cell.startswith(_FORMULA) else cell for name, cell in cells.items()})
    return "\ufeff" + file.getvalue()


def _sendable(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")
