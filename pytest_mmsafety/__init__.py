"""pytest-mmsafety: gates multimodal checkpoints on safety, with error bars.

Three functions judge saved runs from a script; nothing heavy is imported before they are called::

    from pytest_mmsafety import evaluate_gates, load_gates, load_run

    for result in evaluate_gates(load_run("run.json"), load_gates("release"), baseline=load_run("last.json")):
        print(result.status, result.reason)

What a target or a judge of one's own needs is in ``pytest_mmsafety.targets`` (Request, Target),
``pytest_mmsafety.judges`` (Judge, Verdict) and ``pytest_mmsafety.cases`` (Case).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_mmsafety.gates import Gate, GateResult
    from pytest_mmsafety.run import Run

__all__ = ["evaluate_gates", "load_gates", "load_run"]


def load_run(path: Path | str) -> Run:
    """The run that ``--save-run`` wrote. Raises :class:`~pytest_mmsafety.errors.SetupError` in one line."""
    from pytest_mmsafety.run import load_run

    return load_run(Path(path))


def load_gates(thresholds: Path | str) -> tuple[Gate, ...]:
    """The gates of a thresholds file, or of the shipped policy of that name. Raises ``SetupError`` in one line."""
    from pytest_mmsafety.policies import policy_named

    return policy_named(str(thresholds)).gates


def evaluate_gates(run: Run, gates: Sequence[Gate], baseline: Run | None = None) -> list[GateResult]:
    """Judge each gate on *run*, a result a gate and in their order.

    Raises ``SetupError`` if a gate with ``max_regression`` has no *baseline*, or if the two runs differ in decoding
    settings, judges or contents of cases, so that a comparison would not be about the model.
    """
    from pytest_mmsafety.evaluation.saved import check_comparable, judge_saved_run

    check_comparable(run, gates, baseline)
    return judge_saved_run(run, gates, baseline)
