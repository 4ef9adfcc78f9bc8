"""What the user asked for: options and their ini twins, checked and typed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_mmsafety.errors import SetupError, nearest

if TYPE_CHECKING:
    from pytest_mmsafety.judges.calibration import Calibration


def shipped(kind: str) -> Path:
    """The folder of the shipped ``cases`` or ``thresholds``: in the wheel, or at the top of a checkout."""
    package = Path(__file__).parent
    installed = package / "shipped" / kind
    return installed if installed.is_dir() else package.parent / kind


@dataclass(frozen=True, slots=True)
class Settings:
    """The options of a session with a target."""

    model: str
    model_args: Mapping[str, str]
    judge: str
    """Name of a judge, or ``package.module:attribute`` of an extra one, or empty."""
    judge_args: Mapping[str, str]
    judge_phase: str
    """``with``: while the target works; ``after``: when it has answered everything and was released."""
    thresholds: str
    """Path or name of a policy; empty: nothing is gated."""
    data: Mapping[str, Path]
    batch_size: int
    store: Path | None
    save_run: Path | None
    safety_report: Path | None
    safety_summary: Path | None
    require_gates: bool
    baseline: str
    """Path of a saved run, or name of a promoted one; empty: none."""
    baseline_allow: frozenset[str]
    """What may differ between the run and its baseline."""
    calibrations: Mapping[str, Calibration]
    """Judge, with its version -> how often it errs."""
    samples: int
    """How often each case is asked."""
    subset: float
    """Share of the clusters of each suite that this run is about, above 0 to 1."""
    early_stop: bool
    """Whether cases are left out that no gate needs any more."""
    base: Path
    """Where pytest was started: relative paths and the user's modules are looked up here."""
    root: Path
    """pytest's rootdir: node ids are relative to it."""


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


def parse_calibrations(text: str, base: Path) -> dict[str, Calibration]:
    """``FILE,FILE`` as calibrations by judge. Raises :class:`SetupError`."""
    calibrations: dict[str, Calibration] = {}
    for name in filter(None, map(str.strip, text.split(","))):
        from pytest_mmsafety.judges.calibration import load_calibration

        try:
            found = load_calibration(base / name)
        except SetupError as error:
            raise SetupError(f"--calibration: {error}") from None
        if calibrations.setdefault(found.judge, found) is not found:
            raise SetupError(f"--calibration: {name}: a second calibration of {found.judge}")
    return calibrations


def parse_share(option: str, text: str) -> float:
    """``0.2`` or ``20%``: more than 0, at most 1."""
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise SetupError(f"{option}: {text!r} is not a share of the cases, such as 0.2 or 20%")
    return share


def check_writable(option: str, path: Path) -> None:
    """Find out before the model is paid for. Raises :class:`SetupError`."""
    if path.is_dir():
        raise SetupError(f"{option}: {path} is a folder, expected a file")
    folder = path.parent
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir():
        raise SetupError(f"{option}: {path}: {folder} is not a folder")
