"""MLLMGuard (Gu et al. 2024, arXiv 2406.07594), read from its published layout.

Three vintages of columns are in circulation: the first release, the release on the Hugging Face hub and
re-translations. They differ in order, so columns are found by name. What a row is asked, and how often,
is what the authors' scorer expects: rows about truthfulness are asked twice.

The release has no answer key for hallucination and position swapping: these cases expect ``safe``, which
is unscored until a judge of that kind is there. A pair of swapped options is scored in
:mod:`pytest_mmsafety.benchmarks.mllmguard.scores`.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pytest_mmsafety.cases import VULNERABILITY, Case
from pytest_mmsafety.documents import file_rows, read_text
from pytest_mmsafety.errors import DataError, nearest

TRUTHFULNESS = "truthfulness"
DIMENSIONS = {
    "privacy": "privacy",
    "bias": "bias",
    "toxicity": "toxicity",
    "hallucination": TRUTHFULNESS,
    "position-swapping": TRUTHFULNESS,
    "noise-injection": TRUTHFULNESS,
    "legality": "legality",
}
"""Folder of the release -> dimension of the paper."""
#: Dimension -> values of ``Category II`` as slugs, 13 in all: the paper counts the last two as one.
SUB_TASKS = {
    "privacy": ("personal-privacy", "trade-secret", "state-secret"),
    "bias": ("stereotype", "prejudice", "discrimination"),
    "toxicity": ("hate-speech", "pornography-and-violence"),
    "legality": ("personal-safety", "public-security"),
    TRUTHFULNESS: ("hallucination", "position-swapping", "noise-consistency"),
}
RED_TEAMING = (
    "disguise", "reverse-induction", "unsafe-inquiry", "indirect-task-misalignment",
    "harmful-scenario", "facial-stereotype-bias", "malicious-labeling",
    "non-existent-query", "position-swapping", "noise-injection",
)  # fmt: skip
"""Values of ``Jailbreak Type`` as slugs: four work through the text, six through the image."""
PARENTS = ("", "desensitize", "data")
"""Where below the given folder the seven are looked for; the first that has one is taken."""
WITH_OPTIONS = "(Please answer me with options) "
"""What the authors put between a question about hallucination and its options, in every language."""
OWN_COLUMN = {"hallucination": "options", "position-swapping": "reverse image", "noise-injection": "answer"}
"""Folder -> the column that only it has."""
COLUMNS = {
    "image": "Image",
    "reverse image": "Reverse Image",
    "prompt": "Prompt",
    "options": "Options",
    "answer": "Answer",
    "jailbreak type": "Jailbreak Type",
    "lan": "Lan",
    "category i": "Category I",
    "category ii": "Category II",
}
"""Every column that is read: its key here -> its usual name."""
ALIASES = {"file name": "image"}
LANGUAGES = {"english": "en", "chinese": "zh", "arabic": "ar", "french": "fr"}
TECHNIQUES = {"噪声一致性": "noise-injection", "noise-consistency": "noise-injection"}
"""Names of the first release -> the one that the later releases use, as slugs."""


@dataclass(frozen=True, slots=True)
class _Row:
    """One row of a prompt file, its cells checked and under one name in every vintage."""

    task: str
    """The folder of the release."""
    pair: str
    """Id of the row's first case, and of the pair if it has two."""
    prompt: str
    image: str
    """A bare file name."""
    reverse_image: str
    options: str
    answer: str
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Images:
    """The images of one folder."""

    label: str
    top: Path
    """What a link must not leave."""
    by_name: Mapping[str, Path]
    by_stem: Mapping[str, Path]
    """Keyed by the name with its extension in lower case."""

    def find(self, name: str) -> tuple[Path | None, str]:
        """The image *name*, with any case of its extension, or why the case that needs it is skipped."""
        path = self.by_name.get(name) or self.by_stem.get(_lower_extension(name))
        if path is None:
            return None, f"image {name} is missing in {self.label}"
        if not path.resolve().is_relative_to(self.top):
            return None, f"image {name} is a link that leaves the data folder"
        return path, ""


def load(root: Path, suite: str) -> list[Case]:
    """Read the folders in the order of :data:`DIMENSIONS`, each file in its own order.

    *root* holds the seven folders, or is one above them. Part of the folders is fine. Raises
    :class:`DataError` for a layout or a row that is not as published. An item without an image becomes a
    case that says why it is skipped.
    """
    top = root.resolve()
    base = _base(root, top)
    cases: list[Case] = []
    for task in DIMENSIONS:
        if (base / task).is_dir():
            cases += _task_cases(base / task, task, suite, top)
    return cases


def _base(root: Path, top: Path) -> Path:
    """The folder that holds the seven."""
    for base in (top / parent for parent in PARENTS):
        if any((base / task).is_dir() for task in DIMENSIONS):
            _refuse_misspelt(base)
            return base
    found = sorted(entry.name for entry in top.iterdir())[:8] if top.is_dir() else None
    there = "no such folder" if found is None else f"found {', '.join(map(repr, found)) or 'nothing'}"
    expected = f"expected folders {', '.join(DIMENSIONS)}, each with prompt.csv and imgs"
    raise DataError(root, f"not the published layout of MLLMGuard; {expected}; {there}")


def _refuse_misspelt(base: Path) -> None:
    missing = [task for task in DIMENSIONS if not (base / task).is_dir()]
    for folder in sorted(entry.name for entry in base.iterdir() if entry.is_dir() and entry.name not in DIMENSIONS):
        if near := nearest(folder, missing):
            raise DataError(base / folder, f"folder {_shown(folder)} is not known; expected {', '.join(missing)}", near)


def _task_cases(folder: Path, task: str, suite: str, top: Path) -> list[Case]:
    _refuse_outside(folder, top)
    images = _images(folder, top)
    clusters: dict[str, str] = {}
    cases: list[Case] = []
    for file, prefix, language in _prompt_files(folder, task):
        _refuse_outside(file, top)
        for row in _rows(file, task, prefix, language):
            # A re-translation asks about one image in several languages; that is one cluster, not many.
            cluster = clusters.setdefault(row.image, row.pair)
            cases += _row_cases(row, images, suite, cluster)
    if not cases:
        raise DataError(folder, "no rows in its prompt files; expected one row per item")
    return cases


def _prompt_files(folder: Path, task: str) -> list[tuple[Path, str, str]]:
    """Files to read, each with the beginning of its ids and its language if it has but one.

    ``en.csv`` and ``zh.csv`` count from 1 each, so their ids name the language.
    """
    if (folder / "prompt.csv").is_file():
        return [(folder / "prompt.csv", task, "")]
    parts = [(folder / f"{code}.csv", f"{task}-{code}", code) for code in ("en", "zh")]
    if found := [part for part in parts if part[0].is_file()]:
        return found
    there = sorted(path.name for path in folder.glob("*.csv"))
    near = nearest(there[0], ["prompt.csv", "en.csv", "zh.csv"]) if there else ""
    raise DataError(
        folder, f"found {', '.join(map(repr, there)) or 'no CSV file'}; expected prompt.csv, or en.csv, zh.csv{near}"
    )


def _rows(file: Path, task: str, prefix: str, language: str) -> Iterator[_Row]:
    """The rows that are not blank, numbered from 1."""
    columns = _columns(file, task, language)
    number = 0
    for raw in file_rows(file):
        if raw.values:
            number += 1
            cells = {key: str(raw.values.get(column, "")) for key, column in columns.items()}
            yield _row(cells, raw.at(), task, f"{prefix}-{number:04d}", language)


def _columns(file: Path, task: str, language: str) -> dict[str, str]:
    """Key of every column that is read -> its name in this file."""
    header = next(csv.reader(read_text(file).split("\n")[:1]), [])
    columns: dict[str, str] = {}
    for name in header:
        key = " ".join(name.replace("_", " ").split()).casefold()
        key = ALIASES.get(key, key)
        if key in columns:
            raise DataError(f"{file}:1", f"columns {_shown(columns[key])} and {_shown(name)} are one; expected it once")
        if key in COLUMNS:
            columns[key] = name
    needed = ("image", "prompt", "lan", "category ii", OWN_COLUMN.get(task, "prompt"))
    for key in needed:
        if key not in columns and not (key == "lan" and language):
            others = [name for name in header if name not in columns.values()]
            near = [f"; {_shown(name)}{hint}" for name in others if (hint := nearest(name, [COLUMNS[key]]))]
            wanted = ", ".join(dict.fromkeys(COLUMNS[key] for key in needed))
            raise DataError(f"{file}:1", f"no column {COLUMNS[key]!r}; expected {wanted}{''.join(near[:1])}")
    return columns


def _row(cells: Mapping[str, str], where: str, task: str, pair: str, language: str) -> _Row:
    own = OWN_COLUMN.get(task, "prompt")
    for key in ("image", "prompt", "category ii", own):
        if not cells[key].strip():
            raise DataError(where, f"{COLUMNS[key]}: empty; expected a value")
    answer = cells.get("answer", "").strip().upper()
    if own == "answer" and not re.fullmatch("[A-H]", answer):
        raise DataError(where, f"Answer: {_shown(cells['answer'])}; expected an option letter A-H")
    dimension = DIMENSIONS[task]
    named = _slug(cells.get("category i", ""))
    if named != dimension and named in DIMENSIONS.values():
        raise DataError(where, f"Category I: {_shown(named)} in the folder of {task}; expected {dimension}")
    category = _slug(cells["category ii"])
    if not category:
        raise DataError(where, f"Category II: {_shown(cells['category ii'])}; expected the name of a sub-task")
    technique = _slug(cells.get("jailbreak type", ""))
    return _Row(
        task=task,
        pair=pair,
        prompt=cells["prompt"],
        image=_file_name(cells["image"], f"{where}: Image"),
        reverse_image=_file_name(cells[own], f"{where}: Reverse Image") if own == "reverse image" else "",
        options=cells.get("options", ""),
        answer=answer,
        tags={
            "benchmark": "mllmguard",
            "dimension": dimension,
            "category": category,
            "language": _language(cells.get("lan", "") or language, where),
            **({} if dimension == TRUTHFULNESS else {"aspect": VULNERABILITY}),
            **({"technique": TECHNIQUES.get(technique, technique)} if technique else {}),
        },
    )


def _row_cases(row: _Row, images: _Images, suite: str, cluster: str) -> list[Case]:
    """One case, or the two that the authors' scorer reads as neighbours."""
    if row.task == "hallucination":  # both about one image, whose content is the cluster
        with_options = f"{row.prompt}{WITH_OPTIONS}{row.options}"
        return [
            _case(row, images, suite, variant="open"),
            _case(row, images, suite, suffix="-options", variant="options", prompt=with_options),
        ]
    if row.task == "position-swapping":
        return [
            _case(row, images, suite, variant="plain", cluster=cluster),
            _case(row, images, suite, suffix="-swapped", variant="swapped", image=row.reverse_image, cluster=cluster),
        ]
    if row.task == "noise-injection":
        stem, extension = os.path.splitext(row.image)  # noqa: PTH122 - a name, not a path
        noisy = f"{stem}_noise{extension}"
        return [
            _case(row, images, suite, variant="clean", cluster=cluster),
            _case(row, images, suite, suffix="-noisy", variant="noisy", image=noisy, cluster=cluster),
        ]
    return [_case(row, images, suite)]


def _case(  # noqa: PLR0913 - what the two cases of a row may differ in
    row: _Row,
    images: _Images,
    suite: str,
    *,
    suffix: str = "",
    variant: str = "",
    prompt: str = "",
    image: str = "",
    cluster: str | None = None,
) -> Case:
    path, skip = images.find(image or row.image)
    pair = {"pair": row.pair} if cluster is not None else {}
    return Case(
        id=f"{row.pair}{suffix}",
        suite=suite,
        prompt=prompt or row.prompt,
        expected=row.answer if row.task == "noise-injection" else "safe",
        images=(str(path),) if path else (),
        tags={**row.tags, **pair, **({"variant": variant} if variant else {})},
        cluster=cluster,
        skip=skip,
        skip_kind="no-image" if skip else "",
    )


def _images(folder: Path, top: Path) -> _Images:
    imgs = folder / "imgs"
    _refuse_outside(imgs, top)
    paths = sorted(path for path in imgs.iterdir() if path.is_file()) if imgs.is_dir() else []
    return _Images(
        label=f"{folder.name}/imgs",
        top=top,
        by_name={path.name: path for path in paths},
        by_stem={_lower_extension(path.name): path for path in reversed(paths)},
    )


def _refuse_outside(path: Path, top: Path) -> None:
    try:
        inside = path.resolve().is_relative_to(top)
    except (OSError, RuntimeError):  # links in a circle
        inside = False
    if not inside:
        raise DataError(path, f"a link that leaves {top}; expected the file or folder itself")


def _lower_extension(name: str) -> str:
    stem, dot, extension = name.rpartition(".")
    return f"{stem}{dot}{extension.lower()}"


def _file_name(value: str, where: str) -> str:
    """The cell without the prefix ``imgs/`` that some vintages have."""
    name = value.strip().removeprefix("./").removeprefix("imgs/")
    if name in ("", ".", "..") or re.search(r"[/\\\x00-\x1f]", name):
        raise DataError(where, f"{_shown(value)}; expected the name of a file in imgs")
    return name


def _language(value: str, where: str) -> str:
    code = value.strip().casefold()
    code = LANGUAGES.get(code, code)
    if code not in LANGUAGES.values():
        known = [*LANGUAGES.values(), *LANGUAGES]
        raise DataError(where, f"Lan: {_shown(value)}; expected one of {', '.join(known)}", nearest(code, known))
    return code


def _slug(text: str) -> str:
    return re.sub(r"[\W_]+", "-", text.casefold()).strip("-")


def _shown(value: str) -> str:
    """One short line, whatever the file holds."""
    return ascii(value if len(value) <= 40 else f"{value[:40]}...")
