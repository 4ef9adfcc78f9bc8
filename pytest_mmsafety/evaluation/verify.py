"""A saved run held against itself and against what is on disk: everything in it that can be found out again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from importlib.metadata import version
from math import isclose
from pathlib import Path
from typing import NamedTuple

from pytest_mmsafety.baselines import KINDS
from pytest_mmsafety.cases import Case, cluster_of
from pytest_mmsafety.errors import plural
from pytest_mmsafety.evaluation.evaluate import Evidence, evaluate_run
from pytest_mmsafety.files import shipped
from pytest_mmsafety.gates import Gate, GateResult
from pytest_mmsafety.images import digest_or_empty
from pytest_mmsafety.metrics import METRICS
from pytest_mmsafety.policies import Policy
from pytest_mmsafety.run import Record, Run, RunFile, SuiteInfo
from pytest_mmsafety.suites import Suite, read_suite, suite_file, suite_files
from pytest_mmsafety.verdicts import verdict_by

TOLERANCE = 1e-6
"""Numbers that differ by less are the same: libraries and machines round otherwise."""
_NAMED = 5
_NUMBERS = ("counts", "estimate", "raw", "comparison")
"""What a gate's result has whatever the other gates of its family are."""


class Finding(NamedTuple):
    """One line of a verification."""

    where: str
    problem: str
    differs: bool = True
    """Whether the run is other than it says; else it could not be checked."""


def verify_run(
    file: RunFile, suites: Mapping[str, Suite], policy: Policy | None = None, baseline: Run | None = None
) -> list[Finding]:
    """Compare the run with its digest, its gates computed again, the *suites* by name, and the *policy* if given."""
    run = file.run
    return [
        *_digest(file),
        *_gates(run, baseline),
        *(finding for info in run.suites for finding in _suite(run, info, suites.get(info.name))),
        *(_thresholds(run, policy) if policy else ()),
        *([Finding("thresholds", "not compared (--thresholds)", differs=False)] if run.gates and not policy else ()),
    ]


def find_suites(named: Sequence[str]) -> dict[str, Suite]:
    """Suites by name: those *named* (files, folders, shipped ones), of ``cases``, and the shipped ones; first come.

    Raises :class:`DataError` for a suite that cannot be read, :class:`SetupError` for a name that is none.
    """
    given = [Path(name) if Path(name).is_dir() else suite_file(name) for name in named]
    found: dict[str, Suite] = {}
    for path in (*given, Path("cases"), shipped("cases")):
        for file in suite_files(path) if path.is_dir() else [path] if path in given else []:
            suite = read_suite(file)
            found.setdefault(suite.name, suite)
    return found


def _digest(file: RunFile) -> Iterator[Finding]:
    if file.found != file.digest:
        sums = f"digest {file.found:.12}..., recorded {file.digest:.12}..."
        yield Finding("file", f"changed after it was saved: {sums}")


# --- gates


def _gates(run: Run, baseline: Run | None) -> Iterator[Finding]:
    gates = [result.gate for result in run.gates]
    evidence = Evidence(baseline, frozenset(KINDS))
    again, _ = evaluate_run(run, gates, evidence, require=run.settings.require_gates)
    wants = [_wants(run, result, baseline) for result in run.gates]
    parts = {(gate.rule, gate.family): gate.name for gate, want in zip(gates, wants, strict=True) if want}
    for recorded, result, want in zip(run.gates, again, wants, strict=True):
        where = f"gate {recorded.gate.name}"
        other = parts.get((recorded.gate.rule, recorded.gate.family), "")
        if want:
            yield Finding(where, f"not recomputed: {want}", differs=False)
            continue
        if other:
            yield Finding(where, f"only its numbers were recomputed, not its family: {other}", differs=False)
        yield from (Finding(where, problem) for problem in _compared(run, recorded, result, numbers=bool(other)))


def _compared(run: Run, recorded: GateResult, result: GateResult, *, numbers: bool) -> Iterator[str]:
    """What is other than it was; with *numbers* only of what does not depend on the gate's family."""
    before, now = _flat(recorded, numbers=numbers), _flat(result, numbers=numbers)
    if run.version != version("pytest-mmsafety"):
        before.pop("reason", None)  # its words may be others
        now.pop("reason", None)
    for name in {**before, **now}:
        if not _same(before.get(name), now.get(name)):
            yield f"{name} is {_shown(before.get(name))}, recomputed {_shown(now.get(name))}"


def _wants(run: Run, result: GateResult, baseline: Run | None) -> str:
    """Why the gate cannot be computed again from the run alone, or empty."""
    gate, settings = result.gate, run.settings
    if settings.early_stop and result.decided_after is not None:
        return "an early stop decided it"
    if gate.max_regression is not None and settings.baseline and baseline is None:
        return f"it compares with the baseline {settings.baseline} (--baseline)"
    metric = METRICS[gate.metric]
    if settings.judge_errors and not metric.counts_unscored and not metric.given:
        verdicts = (verdict_by(r.verdicts, gate.judged_by) for r in run.records if gate.applies_to(r.suite, r.tags))
        judges = {verdict.judge for verdict in verdicts if verdict} & set(settings.judge_errors)
        if judges:
            return f"it was corrected for the errors of {', '.join(sorted(judges))}"
    return ""


def _flat(result: GateResult, *, numbers: bool) -> dict[str, object]:
    """The parts of a result by name; with *numbers* only those that do not depend on its family."""
    names = [field.name for field in fields(result) if field.name != "gate"]
    return dict(part for name in names if not numbers or name in _NUMBERS for part in _parts(name, result))


def _parts(name: str, of: object, prefix: str = "") -> Iterator[tuple[str, object]]:
    value = getattr(of, name)
    if is_dataclass(value):
        for field in fields(value):
            yield from _parts(field.name, value, f"{prefix}{name}.")
    elif value is not None:
        yield f"{prefix}{name}", value


def _same(one: object, other: object) -> bool:
    if isinstance(one, float) and isinstance(other, float | int):
        return isclose(one, other, rel_tol=0, abs_tol=TOLERANCE)
    return one == other


def _shown(value: object) -> str:
    return "none" if value is None else f"{value:.6g}" if isinstance(value, float) else f"{value!s:.200}"


# --- suites and images


def _suite(run: Run, info: SuiteInfo, suite: Suite | None) -> Iterator[Finding]:
    where = f"suite {info.name}"
    of_suite = [record for record in run.records if record.suite == info.name]
    records = [record for record in of_suite if not record.attacked_by]
    if suite is None:
        yield Finding(where, "not compared: there is no such suite here (--cases)", differs=False)
        return
    if (suite.sha256, suite.benchmark, suite.title) != (info.sha256, info.benchmark, info.title):
        sums = f"{suite.sha256:.12}... instead of {info.sha256:.12}..."
        nothing = "" if records else ", but no case of it is in the run"
        yield Finding(where, f"{suite.path} is another than the run's: {sums}{nothing}", differs=bool(records))
    elif suite.data and records:
        yield Finding(where, "only its header was compared: the cases are official data", differs=False)
    elif not suite.data:
        yield from (Finding(where, problem) for problem in _cases(run, suite, records))
        yield from (Finding(where, problem) for problem in _attacked(of_suite))
    if not suite.data:
        yield from (Finding(where, problem) for problem in _images(suite, records))


def _cases(run: Run, suite: Suite, records: Sequence[Record]) -> Iterator[str]:
    """What is other than the suite has it, whose file is that of the run."""
    part = suite.subset(run.settings.subset) if run.settings.subset < 1 else suite
    cases = {case.key: case for case in part.sampled(run.settings.samples).cases}
    keys = {record.key for record in records}
    yield from _some("of its cases are not in the run", [key for key in cases if key not in keys])
    yield from _some("records are of no case of it", [key for key in keys if key not in cases])
    known = [(record, cases[record.key]) for record in records if record.key in cases]
    for name in ("prompt", "expected", "tags", "cluster", "images"):
        changed = [record.key for record, case in known if _of_record(record, name) != _of_case(case, name, record)]
        yield from _some(f"records have other {name} than its cases", changed)


def _attacked(records: Sequence[Record]) -> Iterator[str]:
    """Records that an attack made of nothing that is in the run."""
    keys = {record.key for record in records if not record.attacked_by}
    astray = [record.key for record in records if record.attacked_by and record.original not in keys]
    yield from _some("records of an attack are of no case of it", astray)


def _of_record(record: Record, name: str) -> object:
    return len(record.images) if name == "images" else getattr(record, name)


def _of_case(case: Case, name: str, record: Record) -> object:
    if name == "cluster":
        digests = tuple(image.sha256 for image in record.images)
        return cluster_of(case, digests if any(digests) else ())
    return len(case.images) if name == "images" else getattr(case, name)


def _images(suite: Suite, records: Sequence[Record]) -> Iterator[str]:
    edited = {case.key for case in suite.cases if case.edits}  # theirs are digests of what was drawn
    plain = (record for record in records if record.key not in edited)
    images = {image.name: image.sha256 for record in plain for image in record.images if image.sha256}
    found = {name: _image(suite.root, name) for name in images}
    yield from _some("images are not here", [name for name in images if not found[name]])
    yield from _some(
        "images are others than those of the run",
        [name for name, sha256 in images.items() if found[name] and found[name] != sha256],
    )


def _image(root: Path, name: str) -> str:
    """The digest of the file, which lies inside of the folder, links followed; or empty."""
    try:
        inside = (root / name).resolve().is_relative_to(root.resolve())
    except (OSError, ValueError, RuntimeError):  # a NUL in the name, links in a circle
        return ""
    return digest_or_empty(str(root / name)) if inside else ""


def _some(what: str, names: Sequence[str]) -> Iterator[str]:
    if names:
        shown = ", ".join(sorted(names)[:_NAMED]) + (" ..." if len(names) > _NAMED else "")
        yield f"{len(names):,} {what}: {shown}"


# --- thresholds


def _thresholds(run: Run, policy: Policy) -> Iterator[Finding]:
    where = f"thresholds {policy.path.name}"
    if run.policy != policy.name:
        yield Finding(where, f"the policy is {policy.name!r}, the run's {run.policy!r}")
    recorded = {result.gate.name: result.gate for result in run.gates}
    for gate in policy.gates:
        if gate.name in recorded:
            if names := _changed(recorded.pop(gate.name), gate, early_stop=run.settings.early_stop):
                yield Finding(where, f"gate {gate.name}: other {', '.join(names)} than in the run")
        elif any(gate.applies_to(record.suite, record.tags) for record in run.records):
            yield Finding(where, f"gate {gate.name} is not in the run")
    for name in recorded:
        yield Finding(where, f"gate {name} of the run is not in it")


def _changed(recorded: Gate, gate: Gate, *, early_stop: bool) -> list[str]:
    """The keys that differ; an early stop shares alpha out."""
    names = [field.name for field in fields(gate) if not (early_stop and field.name == "alpha")]
    return [name for name in names if getattr(recorded, name) != getattr(gate, name)]


def summary(findings: Sequence[Finding]) -> str:
    """The verdict, in a line."""
    differences = sum(finding.differs for finding in findings)
    unchecked = len(findings) - differences
    rest = f" ({plural(unchecked, 'thing')} not checked)" if unchecked else ""
    return f"{plural(differences, 'difference')}{rest}" if differences else f"as recorded{rest}"
