"""The files that a session leaves behind: the run, the report, the summary."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_mmsafety.files import write_atomically

if TYPE_CHECKING:
    from pytest_mmsafety.plugin.settings import Settings
    from pytest_mmsafety.run import Run


class Artefacts:
    """Writes what was asked for; a file that cannot be written does not keep the others from it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.written: list[str] = []
        self.errors: list[str] = []
        """A line a file that could not be written."""

    @property
    def wanted(self) -> bool:
        settings = self._settings
        return any((settings.save_run, settings.safety_report, settings.safety_summary))

    def write(self, run: Run, baseline: Run | None, image_paths: Mapping[str, str]) -> None:
        """Write the files; *image_paths* maps the SHA-256 of an image to its file."""
        from pytest_mmsafety.report import write_report
        from pytest_mmsafety.report.markdown import markdown_summary
        from pytest_mmsafety.run import save_run

        settings = self._settings
        self._write("--save-run", settings.save_run, lambda path: save_run(run, path))
        self._write(
            "--safety-report",
            settings.safety_report,
            lambda path: write_report(
                run, path, image_paths=image_paths, baseline=baseline, judge_errors=settings.judge_errors
            ),
        )
        self._write(
            "--safety-summary",
            settings.safety_summary,
            lambda path: write_atomically(path, [markdown_summary(run, baseline)]),
        )

    def _write(self, option: str, path: Path | None, write: Callable[[Path], None]) -> None:
        if path is None:
            return
        try:
            write(path)
            self.written.append(f"{option.removeprefix('--')}: {path}")
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            self.errors.append(f"{option}: {path} cannot be written: {reason}")
