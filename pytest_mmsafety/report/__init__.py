"""The report: a run as one HTML file that is safe to open, to mail and to print; and as Markdown, in short."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from types import MappingProxyType

from pytest_mmsafety.files import write_atomically
from pytest_mmsafety.judge_errors import JudgeErrors
from pytest_mmsafety.report.page import ReportInputs, build
from pytest_mmsafety.report.render import render
from pytest_mmsafety.run import Run

__all__ = ["write_report"]


def write_report(  # noqa: PLR0913 - what may stand beside a run
    run: Run,
    path: Path,
    *,
    image_paths: Mapping[str, str] = MappingProxyType({}),
    baseline: Run | None = None,
    leaked: Collection[str] | None = None,
    judge_errors: Mapping[str, JudgeErrors] = MappingProxyType({}),
) -> None:
    """Write *run* to *path*, whole or not at all; the same run gives the same bytes.

    *image_paths* maps the SHA-256 of an image to its file on this machine. With a *baseline* the page says what
    changed since; with *leaked*, keys of cases that training data hold, it gives the numbers without them too; with
    *judge_errors* (by judge, with its version) it gives the measured errors of the judges. Raises :class:`OSError`
    if the file cannot be written.
    """
    write_atomically(path, [render(build(run, ReportInputs(image_paths, baseline, leaked, judge_errors)))])
