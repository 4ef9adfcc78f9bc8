"""Policies: the thresholds files. Read, checked, and turned into gates.

The format is described in ``docs/thresholds.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from pytest_mmsafety.errors import SetupError, SuiteError, nearest
from pytest_mmsafety.gates import Gate
from pytest_mmsafety.metrics import BOTH, METRICS, NEITHER
from pytest_mmsafety.rows import first_problem, parse_yaml, read_text, yaml_line

_Name = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=r"^[\w.-]+$")]
_Share = Annotated[float, Field(ge=0, le=1)]
_Text = Annotated[str, StringConstraints(min_length=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Defaults(_Strict):
    rule: Literal["evidence", "assurance"] = "evidence"
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    max_unscored: _Share = 0.1


class _GateRow(_Strict):
    name: _Name
    metric: str
    where: dict[_Text, _Text | Annotated[list[_Text], Field(min_length=1)]] = {}
    max: _Share | None = None
    min: _Share | None = None
    rule: Literal["evidence", "assurance"] | None = None
    alpha: Annotated[float, Field(gt=0, lt=0.5)] | None = None
    max_unscored: _Share | None = None
    judge: str = ""
    why: str = ""

    @model_validator(mode="after")
    def _sensible(self) -> _GateRow:
        if self.metric not in METRICS:
            known = ", ".join(METRICS)
            raise ValueError(
                f"metric: {self.metric!r} is not known; expected one of {known}{nearest(self.metric, METRICS)}"
            )
        judges = entry_points(group="mmsafety.judges").names
        if self.judge and self.judge not in judges:
            raise ValueError(
                f"judge: {self.judge!r} is not known; expected one of {', '.join(sorted(judges))}"
                f"{nearest(self.judge, judges)}"
            )
        better = "min" if METRICS[self.metric].higher_is_better else "max"
        worse = "max" if better == "min" else "min"
        if getattr(self, worse) is not None or getattr(self, better) is None:
            direction = "higher" if better == "min" else "lower"
            raise ValueError(
                f"{self.name}: {direction} {self.metric} is better; expected a bound {better!r:}, not {worse!r}"
            )
        return self


class _PolicyFile(_Strict):
    policy: _Name
    description: str = ""
    one_sided: bool = False
    defaults: _Defaults = _Defaults()
    gates: Annotated[list[_GateRow], Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class Policy:
    """The gates of one thresholds file."""

    name: str
    path: Path
    gates: tuple[Gate, ...]


def read_policy(path: Path) -> Policy:
    """Read and check a thresholds file. Raises :class:`SetupError`: file, line, field, value, what was expected."""
    try:
        text = read_text(path)
        raw = parse_yaml(text, path)
        if not isinstance(raw, dict):
            raise SuiteError(f"{path}:1: thresholds are a YAML mapping with 'policy' and 'gates'; got {raw!r:.60}")
        parsed = _PolicyFile.model_validate(raw)
    except SuiteError as error:
        raise SetupError(f"--thresholds: {error}") from None
    except ValidationError as error:
        raise SetupError(f"--thresholds: {_problem(error, raw, text, path)}") from None
    names = [gate.name for gate in parsed.gates]
    for i, name in enumerate(names):
        if name in names[:i]:
            raise SetupError(f"--thresholds: {path}:{yaml_line(text, ['gates', i])}: two gates are called {name!r}")
    _two_sided(parsed, path)
    return Policy(parsed.policy, path, tuple(_gate(row, parsed.defaults) for row in parsed.gates))


def _problem(error: ValidationError, raw: Any, text: str, path: Path) -> str:
    where, _ = first_problem(error, raw, _PolicyFile)
    parts: dict[str, type[BaseModel]] = {"gates": _GateRow, "defaults": _Defaults}
    model = parts.get(str(where[0]), _PolicyFile) if len(where) > 1 else _PolicyFile
    where, problem = first_problem(error, raw, model)
    return f"{path}:{yaml_line(text, where)}: {problem}"


def _gate(row: _GateRow, defaults: _Defaults) -> Gate:
    return Gate(
        name=row.name,
        metric=row.metric,
        where={tag: (value,) if isinstance(value, str) else tuple(value) for tag, value in row.where.items()},
        max=row.max,
        min=row.min,
        rule=row.rule or defaults.rule,
        alpha=defaults.alpha if row.alpha is None else row.alpha,
        max_unscored=defaults.max_unscored if row.max_unscored is None else row.max_unscored,
        judge=row.judge,
        why=row.why,
    )


def _two_sided(policy: _PolicyFile, path: Path) -> None:
    """A policy that only asks for safety is passed by refusing everything."""
    sides = {METRICS[gate.metric].side for gate in policy.gates} - {NEITHER}
    if policy.one_sided or BOTH in sides or len(sides) != 1:
        return
    (side,) = sides
    other = "over-refusal" if side == "harm" else "harm"
    raise SetupError(
        f"--thresholds: {path}: bounds {side} but not {other}, so a model can pass by failing the other way; "
        f"add a gate on {other} or say 'one_sided: true'"
    )


def find_policy(spec: str, folders: Sequence[Path], base: Path) -> Path:
    """The thresholds file that ``--thresholds`` names: a path below *base*, or a name in one of *folders*."""
    try:
        if (path := base / spec).is_file():
            return path
    except (OSError, ValueError) as error:
        raise SetupError(f"--thresholds: {spec!r:.60} is no path: {error}") from None
    named = {p.stem: p for folder in reversed(folders) for p in sorted(folder.glob("*.yaml"))}
    if spec in named:
        return named[spec]
    known = ", ".join(sorted(named))
    raise SetupError(f"--thresholds: {spec!r} is neither a file nor one of {known}{nearest(spec, named)}")
