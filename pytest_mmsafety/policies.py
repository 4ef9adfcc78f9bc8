"""Policies: the thresholds files. Read, checked, and turned into gates.

The format is described in ``docs/thresholds.md``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from pytest_mmsafety.cases import OVER_REFUSAL, VULNERABILITY
from pytest_mmsafety.documents import NAME, Document, first_problem
from pytest_mmsafety.errors import DataError, SetupError, nearest
from pytest_mmsafety.files import file_or_name, shipped
from pytest_mmsafety.gates import ASSURANCE, Family, Gate, Rule
from pytest_mmsafety.metrics import BOTH, HARM, METRICS, NEITHER, REFUSAL

_Name = Annotated[
    str, StringConstraints(min_length=1, max_length=100, pattern=NAME), Field(description="a name of its own")
]
_Share = Annotated[float, Field(ge=0, le=1)]
_Text = Annotated[str, StringConstraints(min_length=1)]
_Where = dict[_Text, _Text | Annotated[list[_Text], Field(min_length=1)]]
_Alpha = Annotated[float, Field(ge=1e-6, lt=0.5)]
_Count = Annotated[int, Field(ge=0)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, use_attribute_docstrings=True)


class _Defaults(_Strict):
    rule: Rule = "evidence"
    """evidence: a gate fails only on proof of harm. assurance: it passes only on proof of safety."""
    alpha: _Alpha = 0.05
    """The interval has level 1 - alpha; in a family, the chance of any wrong verdict."""
    max_unscored: _Share = 0.1
    """Share of unscored answers above which a gate is not evaluated."""
    min_cases: _Count = 0
    """Scored cases below which a gate is not evaluated."""
    min_clusters: _Count = 0
    """Clusters of scored cases below which a gate is not evaluated."""
    family: Family = "holm"
    """How gates of one rule are judged together. holm: any wrong verdict counts. fdr: their share. none: each alone."""


class _GateRow(_Strict):
    name: _Name
    """Unique in the file."""
    metric: Annotated[str, Field(json_schema_extra={"enum": list(METRICS)})]
    """The number that is bounded."""
    where: _Where = {}
    """Tags (also: suite) and the values that are accepted; a case has to match all of them."""
    max: _Share | None = None
    """Upper bound, where lower is better; 1 reports and never fails."""
    min: _Share | None = None
    """Lower bound, where higher is better; 0 reports and never fails."""
    max_regression: _Share | None = None
    """How much worse than the baseline it may be on the cases that both runs have; 0.02 is two points."""
    max_gone: _Share | None = None
    """Share of the baseline's cases that may be gone from the run; default 1."""
    zero_tolerance: list[_Text | Annotated[_Where, Field(min_length=1)]] = []
    """Categories, or filters like where: one failing case among them fails the gate."""
    rule: Rule | None = None
    """Instead of the default."""
    alpha: _Alpha | None = None
    """Instead of the default."""
    max_unscored: _Share | None = None
    """Instead of the default."""
    min_cases: _Count | None = None
    """Instead of the default."""
    min_clusters: _Count | None = None
    """Instead of the default."""
    family: Family | None = None
    """Instead of the default."""
    judge: str = ""
    """Whose verdicts count; default: the first of each case."""
    why: str = ""
    """A sentence for the reader of a failure."""

    @model_validator(mode="after")
    def _sensible(self) -> _GateRow:
        if self.metric not in METRICS:
            known = ", ".join(METRICS)
            near = nearest(self.metric, METRICS)
            raise ValueError(f"metric: {self.metric!r} is not known; expected one of {known}{near}")
        judges = entry_points(group="mmsafety.judges").names
        if self.judge and self.judge not in judges:
            known, near = ", ".join(sorted(judges)), nearest(self.judge, judges)
            raise ValueError(f"judge: {self.judge!r} is not known; expected one of {known}{near}")
        better = "min" if METRICS[self.metric].higher_is_better else "max"
        worse = "max" if better == "min" else "min"
        unbounded = (
            getattr(self, better) is getattr(self, worse) is None
            and self.max_regression is None
            and not self.zero_tolerance
        )
        if self.max_gone is not None and self.max_regression is None:
            raise ValueError(f"{self.name}: max_gone compares with a baseline; expected max_regression beside it")
        if getattr(self, worse) is not None or unbounded:
            direction = "higher" if better == "min" else "lower"
            instead = ", or 'max_regression', or 'zero_tolerance'" if unbounded else f", not {worse!r}"
            raise ValueError(f"{self.name}: {direction} {self.metric} is better; expected a bound {better!r}{instead}")
        return self


class _PolicyFile(_Strict):
    policy: _Name
    """Name of the policy."""
    description: str = ""
    """What it is for."""
    one_sided: bool = False
    """Says that bounding only harm, or only over-refusal, is meant."""
    defaults: _Defaults = _Defaults()
    """What a gate does not say itself."""
    gates: Annotated[list[_GateRow], Field(min_length=1)]
    """The bounds."""


@dataclass(frozen=True, slots=True)
class Policy:
    """The gates of one thresholds file."""

    name: str
    path: Path
    gates: tuple[Gate, ...]


def read_policy(path: Path) -> Policy:
    """Read and check a thresholds file. Raises :class:`SetupError`: file, line, field, value, what was expected."""
    try:
        document = Document(path)
        raw = document.values
        if not isinstance(raw, dict):
            raise DataError(f"{path}:1", f"thresholds are a YAML mapping with 'policy' and 'gates'; got {raw!r:.60}")
        parsed = _PolicyFile.model_validate(raw)
    except DataError as error:
        raise SetupError(f"--thresholds: {error}") from None
    except ValidationError as error:
        raise SetupError(f"--thresholds: {_problem(error, document)}") from None
    names = [gate.name for gate in parsed.gates]
    for i, name in enumerate(names):
        if name in names[:i]:
            raise SetupError(f"--thresholds: {document.at(['gates', i])}: two gates are called {name!r}")
    gates = tuple(_gate(row, parsed.defaults) for row in parsed.gates)
    for i, gate in enumerate(gates):
        if problem := _impossible(gate):
            raise SetupError(f"--thresholds: {document.at(['gates', i])}: {gate.name}: {problem}")
    if all(gate.only_reports for gate in gates) and any(gate.needs_proof for gate in gates):
        raise SetupError(
            f"--thresholds: {path}: no gate has a bound that could be broken, so nothing would be proven; "
            "expected one, or rule: evidence for a report"
        )
    if not parsed.one_sided:
        _two_sided(gates, path)
    return Policy(parsed.policy, path, gates)


def _problem(error: ValidationError, document: Document) -> str:
    raw = document.values
    where, _ = first_problem(error, raw, _PolicyFile)
    parts: dict[str, type[BaseModel]] = {"gates": _GateRow, "defaults": _Defaults}
    model = parts.get(str(where[0]), _PolicyFile) if len(where) > 1 else _PolicyFile
    where, problem = first_problem(error, raw, model)
    return f"{document.at(where)}: {problem}"


def _gate(row: _GateRow, defaults: _Defaults) -> Gate:
    given = {name: getattr(row, name) for name in _Defaults.model_fields}
    return Gate(
        name=row.name,
        metric=row.metric,
        where=_filter(row.where),
        max=row.max,
        min=row.min,
        max_regression=row.max_regression,
        max_gone=1.0 if row.max_gone is None else row.max_gone,
        zero_tolerance=tuple(_filter({"category": x} if isinstance(x, str) else x) for x in row.zero_tolerance),
        judge=row.judge,
        why=row.why,
        **{name: getattr(defaults, name) if value is None else value for name, value in given.items()},
    )


def _filter(where: Mapping[str, str | list[str]]) -> dict[str, tuple[str, ...]]:
    return {tag: (value,) if isinstance(value, str) else tuple(value) for tag, value in where.items()}


def _impossible(gate: Gate) -> str:
    """Why no run could ever pass the gate, or empty."""
    if gate.rule != ASSURANCE or (gate.max != 0 and gate.min != 1):
        return ""
    bound = "max: 0" if gate.max == 0 else "min: 1"
    return f"{bound} with rule assurance can never pass, for no number of cases proves it; expected room for doubt"


def _two_sided(gates: Sequence[Gate], path: Path) -> None:
    """A policy that only asks for safety is passed by refusing everything."""
    bounding = [gate for gate in gates if not gate.only_reports and METRICS[gate.metric].side != NEITHER]
    sides = {side for gate in bounding for side in _sides(gate)}
    absent = [side for side in (HARM, REFUSAL) if side not in sides]
    if not bounding or not absent:
        return
    found = f"bounds {next(iter(sides))} but not {absent[0]}" if sides else f"bounds neither {HARM} nor {REFUSAL}"
    raise SetupError(
        f"--thresholds: {path}: {found}, so a model can pass by failing the other way; "
        f"add a gate on {' and one on '.join(absent)} or say 'one_sided: true'"
    )


def _sides(gate: Gate) -> set[str]:
    """Which ways of failing the gate bounds."""
    metric = METRICS[gate.metric]
    if metric.side != BOTH:
        return {metric.side}
    aspects = gate.where.get("aspect", (VULNERABILITY, OVER_REFUSAL))
    sides = {side for aspect, side in ((VULNERABILITY, HARM), (OVER_REFUSAL, REFUSAL)) if aspect in aspects}
    if metric.harmless and gate.max_regression is None and gate.bound is not None:
        # Always complying is right in the harmless stratum, always refusing in the others.
        if gate.bound <= metric.weights[metric.harmless]:
            sides.discard(HARM)
        if gate.bound <= 1 - metric.weights[metric.harmless]:
            sides.discard(REFUSAL)
    return sides


def json_schema() -> str:
    """The JSON schema of a thresholds file, for editors; kept in ``thresholds/schema.json``."""
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Thresholds of pytest-mmsafety",
    }
    return json.dumps(_public(_PolicyFile.model_json_schema()) | head, indent=2, sort_keys=True) + "\n"


def _public(schema: Any) -> Any:
    """Without the titles that pydantic makes of names, and with names that start without an underscore."""
    if isinstance(schema, list):
        return [_public(part) for part in schema]
    if isinstance(schema, str):
        return schema.replace("#/$defs/_", "#/$defs/")
    if not isinstance(schema, dict):
        return schema
    return {key.lstrip("_"): _public(value) for key, value in schema.items() if not _is_title(key, value)}


def _is_title(key: str, value: Any) -> bool:
    return key == "title" and isinstance(value, str)


def find_policy(spec: str, folders: Sequence[Path], base: Path) -> Path:
    """The thresholds file that ``--thresholds`` names: a path below *base*, or a name in one of *folders*."""
    named = {path.stem: path for folder in reversed(folders) for path in sorted(folder.glob("*.yaml"))}
    return file_or_name(spec, base, named, "--thresholds: ", "a file")


def policy_named(spec: str) -> Policy:
    """The policy of a thresholds file or the shipped one of that name. Raises :class:`SetupError`."""
    return read_policy(find_policy(spec, [Path("thresholds"), shipped("thresholds")], Path.cwd()))
