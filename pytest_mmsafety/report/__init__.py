"""The report: a run as one HTML file that is safe to open, to mail and to print."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pytest_mmsafety.run import Run

__all__ = ["write_report"]


def write_report(run: Run, path: Path, *, image_paths: Mapping[str, str] = MappingProxyType({})) -> None:
    """Write *run* to *path*, whole or not at all; the same run gives the same bytes.

    *image_paths* maps the SHA-256 of an image to its file on this machine. Raises :class:`OSError` if the file
    cannot be written.
    """
    from pytest_mmsafety.report.page import build
    from pytest_mmsafety.report.render import render
    from pytest_mmsafety.run import write_atomically

    write_atomically(path, [render(build(run, image_paths))])
