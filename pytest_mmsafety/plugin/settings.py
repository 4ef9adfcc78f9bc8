"""What the user asked for: options and their ini twins, checked and typed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_mmsafety.attacks.settings import AttackSettings
    from pytest_mmsafety.judge_errors import JudgeErrors


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
    answer_timeout: float | None
    """Seconds after which a batch of the target is given up; ``None``: never."""
    judge_timeout: float | None
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
    judge_errors: Mapping[str, JudgeErrors]
    """Judge, with its version -> how often it errs."""
    attack: AttackSettings | None
    """How cases are attacked; ``None``: they are not."""
    samples: int
    """How often each case is asked."""
    subset: float
    """Share of the clusters of each suite that this run is about, above 0 to 1."""
    early_stop: bool
    """Whether cases are left out that no gate needs any more."""
    fresh: bool
    """Whether answers that were given before are asked for anew."""
    base: Path
    """Where pytest was started: relative paths and the user's modules are looked up here."""
    root: Path
    """pytest's rootdir: node ids are relative to it."""

    @property
    def memory(self) -> Path | None:
        """The folder that remembers how cases were broken; ``None`` without a store."""
        return None if self.store is None else self.store.parent / "examples"

    @property
    def asked(self) -> str:
        """The target with its arguments, as the store knows it before it was made."""
        return json.dumps([self.model, sorted(self.model_args.items())])
