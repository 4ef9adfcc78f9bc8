"""Published tables of cases: the file, its rows, their cells, and the images that they name."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath

from pytest_mmsafety.documents import Row, file_rows
from pytest_mmsafety.errors import DataError, nearest


def slug(name: str) -> str:
    """``Culture & History`` as ``culture-and-history``."""
    return re.sub("[^a-z0-9]+", "-", name.lower().replace("&", " and ")).strip("-")


def shown(value: str) -> str:
    """One short line, whatever the file holds."""
    return ascii(value if len(value) <= 40 else f"{value[:40]}...")


def find_table(root: Path, patterns: tuple[str, ...]) -> Path:
    """The one file below *root* that fits the first of *patterns* that any file fits."""
    top = root.resolve()
    for pattern in patterns:
        found = sorted(path for path in top.glob(pattern) if path.is_file())
        if len(found) > 1:
            raise DataError(found[1], f"a second {found[1].name}, after {found[0]}; expected one")
        if found and not found[0].resolve().is_relative_to(top):
            raise DataError(found[0], f"a link that leaves {top}; expected the file itself")
        if found:
            return found[0]
    there = [entry.name for entry in top.iterdir()] if top.is_dir() else None
    listed = ", ".join(map(shown, sorted(there)[:8])) or "nothing" if there is not None else "no such folder"
    name = PurePosixPath(patterns[0]).name
    raise DataError(root, f"not the published layout; expected {name} in it or a folder below; found {listed}")


def unique_rows(table: Path, name: str) -> Iterator[Row]:
    """The rows of *table*, of which there is at least one, each with an id of its own in the column *name*."""
    lines: dict[str, int] = {}
    for row in file_rows(table):
        key = cell(row, name)
        if re.fullmatch(r"[^\s\[\]\x00-\x1f\x7f]{1,100}", key) is None:
            raise DataError(row.at(), f"{name}: {shown(key)}; expected a number or a plain label")
        if (first := lines.setdefault(key, row.line)) != row.line:
            raise DataError(row.at(), f"{name}: {shown(key)} again, after line {first}; expected it once")
        yield row
    if not lines:
        raise DataError(table, "no rows; expected a header and at least one")


def cell(row: Row, name: str) -> str:
    """The value in the column *name*, which must not be empty."""
    value: str = row.values.get(name, "")
    if not value.strip():
        raise DataError(row.at(), f"{name}: missing or empty; expected a value")
    return value


def one_of(row: Row, name: str, known: Collection[str]) -> str:
    """The value in the column *name* as a slug, which must be *known*."""
    value = cell(row, name)
    if (found := slug(value)) not in known:
        hint = nearest(found, known)
        raise DataError(row.at(), f"{name}: {shown(value)}; expected one of {', '.join(known)}", hint)
    return found


class Images:
    """The images that a table names. A folder is listed once, when a row first names it; nothing is decoded."""

    def __init__(self, root: Path, table: Path) -> None:
        self._top = root.resolve()
        self._homes = tuple(dict.fromkeys((table.parent, self._top)))
        self._listed: dict[Path, dict[str, str]] = {}

    def find(self, row: Row, name: str) -> tuple[str, str]:
        """Path of the image that the column *name* names, beside the table or in the root; or why there is none."""
        value: str = row.values.get(name, "").strip()
        if not value:
            return "", f"no image is named in {name}"
        inside = PurePosixPath(value.replace("\\", "/"))
        if inside.is_absolute() or ".." in inside.parts or re.search(r"^[A-Za-z]:|[\x00-\x1f]", value):
            raise DataError(row.at(), f"{name}: {shown(value)} leads outside; expected a path inside {self._top}")
        for home in self._homes:
            path = home / inside
            wrong = self._listing(path.parent).get(path.name)
            if wrong is not None:
                return ("", f"image {shown(value)} {wrong}") if wrong else (str(path), "")
        return "", f"image {shown(value)} is missing"

    def _listing(self, folder: Path) -> dict[str, str]:
        """Name -> what is wrong with the file, mostly nothing."""
        if folder not in self._listed:
            self._listed[folder] = dict(self._entries(folder))
        return self._listed[folder]

    def _entries(self, folder: Path) -> Iterator[tuple[str, str]]:
        try:
            outside = not folder.resolve().is_relative_to(self._top)
            with os.scandir(folder) as entries:
                for path in (Path(entry.path) for entry in entries):
                    if path.is_file():
                        yield path.name, self._fault(path, outside=outside)
        except (OSError, RuntimeError):  # no such folder, or links in a circle: the images are missing
            return

    def _fault(self, path: Path, *, outside: bool) -> str:
        if outside or (path.is_symlink() and not path.resolve().is_relative_to(self._top)):
            return "is a link that leaves the data folder"
        return "" if path.stat().st_size else "is empty"
