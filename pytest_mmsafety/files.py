"""Files of this package and of the user: written whole or not at all, and found where they were installed."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from pytest_mmsafety.errors import SetupError, nearest

_UNFINISHED = ".mmsafety"
"""The end of the name of a file that is being written."""


def write_atomically(path: Path, parts: Iterable[str]) -> None:
    """Write beside, then rename: a reader, or a kill, never meets half a file."""
    if path.exists() and not path.is_file():
        number = errno.EISDIR if path.is_dir() else errno.EINVAL
        raise OSError(number, os.strerror(number), str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    for old in left_over(path):
        old.unlink(missing_ok=True)
    new = beside(path)
    try:
        with new.open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
            file.writelines(parts)
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)


def shipped(kind: str) -> Path:
    """The folder of the shipped ``cases`` or ``thresholds``: in the wheel, or at the top of a checkout."""
    package = Path(__file__).parent
    installed = package / "shipped" / kind
    return installed if installed.is_dir() else package.parent / kind


def check_writable(option: str, path: Path) -> None:
    """Find out before the model is paid for, by writing a file beside it. Raises :class:`SetupError`."""
    made: list[Path] = []
    try:
        if path.is_dir():
            raise SetupError(f"{option}: {path} is a folder, expected a file")
        if path.exists() and not path.is_file():
            raise SetupError(f"{option}: {path} is no plain file")
        if path.exists() and not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        _make_folders(path.parent, made)
        new = beside(path)
        new.touch()
        new.unlink()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SetupError(f"{option}: {path} cannot be written: {reason}") from None
    finally:
        for folder in reversed(made):
            with suppress(OSError):  # another run has put a file there
                folder.rmdir()


def _make_folders(folder: Path, made: list[Path]) -> None:
    """Make *folder* and those above it, and add to *made* those that were not there."""
    if folder.is_dir():
        return
    if folder.exists():
        raise NotADirectoryError(errno.ENOTDIR, f"{folder} is not a folder")
    if folder.parent != folder:
        _make_folders(folder.parent, made)
    folder.mkdir()
    made.append(folder)


def beside(path: Path) -> Path:
    """Where this process writes the file until it is whole."""
    return path.with_name(f".{path.name}.{os.getpid()}{_UNFINISHED}")


def left_over(path: Path) -> list[Path]:
    """What processes that were killed left beside the file."""
    pattern = re.compile(rf"\.{re.escape(path.name)}\.([1-9][0-9]*){re.escape(_UNFINISHED)}")
    try:
        found = [(file, pattern.fullmatch(file.name)) for file in path.parent.iterdir()]
    except OSError:
        return []
    return [file for file, match in found if match and not is_running(int(match[1]))]


def is_running(pid: int) -> bool:
    """Whether there is such a process; where that cannot be told, there is."""
    if os.name != "posix":
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # somebody else's
        return True
    return True


def file_or_name(spec: str, base: Path, named: Mapping[str, Path], option: str, kind: str) -> Path:
    """The file *spec* below *base*, or the one that *named* calls so.

    Raises :class:`SetupError` that begins with *option* and says what it is neither: a *kind* of file, or a name.
    """
    try:
        if (path := base / spec).is_file():
            return path
    except (OSError, ValueError) as error:  # too long for a name, or not one at all
        raise SetupError(f"{option}{spec!r:.60} is no path: {error}") from None
    if spec in named:
        return named[spec]
    if not named:
        raise SetupError(f"{option}{spec!r:.200} is not {kind}")
    known = ", ".join(sorted(named))
    raise SetupError(f"{option}{spec!r:.200} is neither {kind} nor one of {known}{nearest(spec, named)}")
