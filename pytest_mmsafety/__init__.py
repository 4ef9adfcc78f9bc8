"""pytest-mmsafety: gates multimodal checkpoints on safety, with error bars.

Everything that a script, a target or a judge of one's own needs can be imported from here::

    from pytest_mmsafety import evaluate_gates, load_gates, load_run

    for result in evaluate_gates(load_run("run.json"), load_gates("release"), baseline=load_run("last.json")):
        print(result.status, result.reason)

The names are loaded when they are first used: importing the package imports nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_mmsafety.cases import Case, Change, Response
    from pytest_mmsafety.errors import DataError, ImageError, MmsafetyError, SetupError
    from pytest_mmsafety.findings import Finding
    from pytest_mmsafety.gates import Comparison, Counts, Gate, GateResult, Interval
    from pytest_mmsafety.judges import Judge
    from pytest_mmsafety.outcomes import Outcome
    from pytest_mmsafety.run import Record, Run, RunSettings
    from pytest_mmsafety.targets import Request, Target
    from pytest_mmsafety.verdicts import Verdict

__all__ = [
    "Case",
    "Change",
    "Comparison",
    "Counts",
    "DataError",
    "Finding",
    "Gate",
    "GateResult",
    "ImageError",
    "Interval",
    "Judge",
    "MmsafetyError",
    "Outcome",
    "Record",
    "Request",
    "Response",
    "Run",
    "RunSettings",
    "SetupError",
    "Target",
    "Verdict",
    "evaluate_gates",
    "load_gates",
    "load_run",
]

_HOMES = {
    "cases": ("Case", "Change", "Response"),
    "errors": ("DataError", "ImageError", "MmsafetyError", "SetupError"),
    "findings": ("Finding",),
    "gates": ("Comparison", "Counts", "Gate", "GateResult", "Interval"),
    "judges": ("Judge",),
    "outcomes": ("Outcome",),
    "run": ("Record", "Run", "RunSettings"),
    "targets": ("Request", "Target"),
    "verdicts": ("Verdict",),
}
"""Module -> names that are public from here."""


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            found = globals()[name] = getattr(import_module(f"{__name__}.{module}"), name)
            return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__


def load_run(path: Path | str) -> Run:
    """The run that ``--save-run`` wrote.

    Raises :class:`SetupError` in one line if the file is no run file, is damaged, or is of another version.
    """
    from pytest_mmsafety.run import load_run

    return load_run(Path(path))


def load_gates(thresholds: Path | str) -> tuple[Gate, ...]:
    """The gates of a thresholds file, or of the shipped policy of that name. Raises :class:`SetupError` in one line."""
    from pytest_mmsafety.policies import policy_named

    return policy_named(str(thresholds)).gates


def evaluate_gates(run: Run, gates: Sequence[Gate], baseline: Run | None = None) -> list[GateResult]:
    """Evaluate each gate on *run*: a result a gate, in their order.

    Raises :class:`SetupError` if no gate matches a case of the run, if a gate with ``max_regression`` has no
    *baseline*, or if the two runs differ in decoding settings, judges or contents of cases, so that a comparison would
    not be about the model.
    """
    from pytest_mmsafety.evaluation.checks import check_baseline, check_gates
    from pytest_mmsafety.evaluation.evaluate import Evidence, evaluate_run

    cases = [(record.suite, record.tags) for record in run.records]
    check_gates(gates, cases, "the gates", whole=run.settings.subset == 1)
    check_baseline(run, gates, baseline, frozenset())
    return evaluate_run(run, gates, Evidence(baseline)).results
