"""Option values from the command line, parsed and checked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pytest_mmsafety.errors import SetupError, nearest


def parse_pairs(option: str, text: str) -> dict[str, str]:
    """``a=1,b=2`` as a mapping."""
    pairs = {}
    for part in filter(None, text.split(",")):
        name, equals, value = part.partition("=")
        if not equals or not name.strip():
            raise SetupError(f"{option}: {part!r} is not name=value")
        if name.strip() in pairs:
            raise SetupError(f"{option}: {name.strip()!r} is given twice")
        pairs[name.strip()] = value.strip()
    return pairs


def parse_data(values: Sequence[str], base: Path) -> dict[str, Path]:
    """``NAME=PATH`` options as existing folders, relative to *base*."""
    data: dict[str, Path] = {}
    for value in values:
        name, equals, path = value.partition("=")
        if not equals or not name or not path:
            raise SetupError(f"--data: {value!r} is not NAME=PATH")
        if name in data:
            raise SetupError(f"--data: {name!r} is given twice: {data[name]} and {path}")
        folder = base / Path(path).expanduser()
        if not folder.is_dir():
            raise SetupError(f"--data: {name}: {path!r} is not a folder")
        data[name] = folder
    return data


def parse_phase(text: str) -> str:
    """``with`` or ``after``."""
    if text not in ("with", "after"):
        raise SetupError(f"--judge-phase: {text!r}; expected with or after{nearest(text, ('with', 'after'))}")
    return text


def parse_count(option: str, text: str, most: int) -> int:
    """A whole number from 1 to *most*."""
    if not text.isdecimal() or not 1 <= int(text[:9]) <= most:
        raise SetupError(f"{option}: {text!r} is not a whole number from 1 to {most}")
    return int(text)


def parse_share(option: str, text: str) -> float:
    """``0.2`` or ``20%``: more than 0, at most 1."""
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise SetupError(f"{option}: {text!r} is not a share of the cases, such as 0.2 or 20%")
    return share
