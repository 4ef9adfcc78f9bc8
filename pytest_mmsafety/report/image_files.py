"""The pictures of a saved run on this machine: a run knows their names and contents, not where they lie."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pytest_mmsafety.files import shipped
from pytest_mmsafety.images import digest_or_empty
from pytest_mmsafety.run import ImageRef


class ImageLookup(NamedTuple):
    """What was found of the pictures of a run."""

    paths: Mapping[str, str]
    """SHA-256 of a picture -> its file."""
    trouble: str
    """How many were not found, in a line, or empty."""


def find_images(images: Iterable[ImageRef], folder: Path | None) -> ImageLookup:
    """Look by name in *folder*, the current folder, ``cases`` below it and the shipped suites.

    A file counts only with the content that the run recorded, and from inside the folder, links followed. Pictures
    that were not read when the run was made are not looked for.
    """
    names: defaultdict[str, set[str]] = defaultdict(set)
    for image in images:
        if image.sha256:
            names[image.sha256].add(image.name)
    here = Path.cwd()
    folders = [*([folder] if folder else []), here, here / "cases", shipped("cases")]
    found = {sha256: _file(sorted(names[sha256]), sha256, folders) for sha256 in names}
    paths = {sha256: path for sha256, path in found.items() if path}
    return ImageLookup(paths, _trouble(len(names) - len(paths), len(names), folder))


def _file(names: Sequence[str], sha256: str, folders: Sequence[Path]) -> str:
    files = (folder / name for folder in folders for name in names if _inside(folder, name))
    return next((str(file) for file in files if digest_or_empty(str(file)) == sha256), "")


def _inside(folder: Path, name: str) -> bool:
    try:
        return Path(os.path.realpath(folder / name)).is_relative_to(os.path.realpath(folder))
    except ValueError:  # a NUL in the name
        return False


def _trouble(missing: int, total: int, folder: Path | None) -> str:
    if not missing:
        return ""
    where = f" in {folder}" if folder else "; name their folder with --images"
    return f"{missing:,} of {total:,} pictures {'was' if missing == 1 else 'were'} not found{where}"
