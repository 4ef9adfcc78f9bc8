"""A run: the outcomes and all that produced them. Saved, it is also a baseline and a report's input.

The file format is described in ``docs/run-file.md``.
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import asdict, dataclass, field, fields, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

from pytest_mmsafety.cases import PLAIN, Case, End, SkipKind, cluster_of, is_expectation
from pytest_mmsafety.documents import strict_json, strictly
from pytest_mmsafety.errors import SetupError, nearest, plural
from pytest_mmsafety.files import write_atomically
from pytest_mmsafety.findings import Finding
from pytest_mmsafety.gates import Gate, GateResult, Interval
from pytest_mmsafety.metrics import ATTACK, MADE_IN_RUN, METRICS, ORIGINAL
from pytest_mmsafety.outcomes import Outcome
from pytest_mmsafety.perturbations import check_change
from pytest_mmsafety.verdicts import Verdict

FORMAT = "mmsafety-run/2"
_AGAIN = "make it again: pytest --model=... --save-run=FILE (stored answers are not asked for again)"


@dataclass(frozen=True, slots=True)
class ImageRef:
    """An image as a run remembers it: by name and content, not by a path of one machine."""

    name: str
    """Relative to the suite's folder or to the data set."""
    sha256: str
    """Empty when the file could not be read."""


@dataclass(frozen=True, slots=True)
class Record:
    """A case together with its outcome."""

    key: str
    suite: str
    id: str
    tags: Mapping[str, str]
    expected: str
    prompt: str
    images: tuple[ImageRef, ...]
    cluster: str
    response: str | None
    """The answer; empty if the model was still thinking when its generation ended."""
    reasoning: str
    """What the model thought before it; never judged."""
    end: End
    prompt_tokens: int | None
    answer_tokens: int | None
    verdicts: tuple[Verdict, ...]
    error: str
    skipped: str
    skip_kind: SkipKind
    seconds: float
    stored: bool

    @property
    def score(self) -> float | None:
        """The gated verdict's score, 0 = as expected, 1 = worst; ``None`` if there is none."""
        return self.verdicts[0].score if self.verdicts else None

    @property
    def attacked_by(self) -> str:
        """How an attack made it in this run: ``search``, ``universal`` or ``sweep``; empty: it is a case of a suite."""
        mode = self.tags.get(ATTACK, "")
        return mode if mode in MADE_IN_RUN else ""

    @property
    def original(self) -> str:
        """Key of the case that an attack made it of; else its own."""
        if not self.attacked_by:
            return self.key
        plain = self.tags.get(PLAIN, "") if self.attacked_by == "sweep" else ""
        return f"{self.suite}/{plain}" if plain else self.tags.get(ORIGINAL, self.key)


@dataclass(frozen=True, slots=True)
class SuiteInfo:
    """A suite as it was when the run was made."""

    name: str
    benchmark: str
    title: str
    sha256: str
    """Of the suite file and the data file beside it."""
    collected: int
    """Cases the suite has, whatever was selected of them."""
    rendered: str = ""
    """What the model was given for the first of its cases that it answered, in its chat template; empty: not known."""


@dataclass(frozen=True, slots=True)
class RunSettings:
    """The options that a run was made with, as far as they may be written down: no secrets, no paths."""

    model: str
    """``--model``; of a path the last part."""
    model_args: Mapping[str, str] = field(default_factory=dict)
    judge: str = ""
    judge_args: Mapping[str, str] = field(default_factory=dict)
    batch_size: int = 8
    samples: int = 1
    subset: float = 1.0
    """Share of each suite that the run is about, above 0 to 1."""
    early_stop: bool = False
    target_calls: int = 0
    """Batches that the target was asked; 0: every answer came from the store."""
    require_gates: bool = False
    """Whether a gate that was not evaluated blocks."""
    baseline: str = ""
    """``--baseline``; of a path the last part; empty: none."""
    judge_errors: tuple[str, ...] = ()
    """Judges, with their versions, whose measured errors corrected the gates."""
    attack: int = 0
    """Calls of the target for the attack on a group; 0: nothing was attacked."""
    attack_args: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Run:
    """Everything that a gate, a comparison or a report needs."""

    target: str
    """What the target calls itself."""
    fingerprint: str
    created: str
    """UTC, ISO 8601."""
    version: str
    """Of this package."""
    environment: Mapping[str, str]
    """Versions of Python and of the libraries that produced the answers."""
    settings: RunSettings
    suites: tuple[SuiteInfo, ...]
    records: tuple[Record, ...]
    gates: tuple[GateResult, ...] = ()
    policy: str = ""
    """Name of the thresholds file, or empty."""
    notes: tuple[str, ...] = field(default=())
    """What a reader must know: an interrupted run, a store that could not be written."""
    broken: str = ""
    """Why it is not known which cases there are (a suite that could not be read), or empty: gates are not evaluated."""
    complete: bool = True
    """Whether it came to its end; else no gate was evaluated."""
    failures: tuple[str, ...] = ()
    """Why it failed, whatever its gates say: must-pass cases that did not, cases without an answer, a dead judge."""
    findings: tuple[Finding, ...] = ()
    """Variants of cases that flip the outcome; the simplest first for each case."""
    judge_faults: tuple[Finding, ...] = ()
    """Flips that are the judge's: it changed its mind with the prompt, not with the answer."""

    @property
    def own_records(self) -> tuple[Record, ...]:
        """The cases of the suites: all but what an attack added."""
        return tuple(record for record in self.records if not record.attacked_by)

    def without_attacks(self) -> Run:
        """The run as if no attack had added cases; its gates and findings are the same."""
        added = Counter(record.suite for record in self.records if record.attacked_by)
        if not added:
            return self
        suites = tuple(replace(suite, collected=suite.collected - added[suite.name]) for suite in self.suites)
        return replace(self, suites=suites, records=self.own_records)


def make_record(case: Case, outcome: Outcome | None, root: Path) -> Record:
    """A case with its outcome; without one it was collected but not run."""
    outcome = outcome or Outcome(case.key)
    digests = outcome.image_digests or ("",) * len(case.images)
    names = (_public_name(path, root) for path in case.images)
    error = f"{_public_name(outcome.error_file, root)}: {outcome.error}" if outcome.error_file else outcome.error
    return Record(
        key=case.key,
        suite=case.suite,
        id=case.id,
        tags=case.tags,
        expected=case.expected,
        prompt=case.prompt,
        images=tuple(ImageRef(name, digest) for name, digest in zip(names, digests, strict=True)),
        cluster=cluster_of(case, outcome.image_digests),
        response=outcome.response,
        reasoning=outcome.reasoning,
        end=outcome.end,
        prompt_tokens=outcome.prompt_tokens,
        answer_tokens=outcome.answer_tokens,
        verdicts=outcome.verdicts,
        error=error,
        skipped=outcome.skipped,
        skip_kind=outcome.skip_kind,
        seconds=outcome.seconds,
        stored=outcome.stored,
    )


def _public_name(path: str, root: Path) -> str:
    """Relative to the suite's folder or the data set; of any other path the last part."""
    return Path(path).relative_to(root).as_posix() if Path(path).is_relative_to(root) else Path(path).name


def save_run(run: Run, path: Path) -> None:
    """Write the run as JSON, whole or not at all, a record a line. Raises ``OSError``."""
    write_atomically(path, _json_lines(run))


def _json_lines(run: Run) -> Iterator[str]:
    records = _lines(run.records)
    head = _head({f.name: getattr(run, f.name) for f in fields(run) if f.name != "records"})
    yield "{\n"
    for line in (*_head({"format": FORMAT, "digest": _digest([*head, *records])}), *head):
        yield f"{line},\n"
    yield '"records": ['
    for i, line in enumerate(records):
        yield (",\n" if i else "\n") + line
    yield "\n]\n}\n"


def _head(values: Mapping[str, Any]) -> list[str]:
    """What is not a record, or what was read of it, as a line each."""
    return [
        f"{json.dumps(name)}: {json.dumps(value, default=asdict, ensure_ascii=False, allow_nan=False)}"
        for name, value in values.items()
    ]


def _lines(records: Sequence[Any]) -> list[str]:
    """Records, or what was read of them, as a line of JSON each."""
    return [json.dumps(record, default=_shallow, ensure_ascii=False, allow_nan=False) for record in records]


def _shallow(value: Any) -> dict[str, Any]:
    """A record as a dict; unlike ``asdict`` it copies nothing, of which there would be much."""
    return {f.name: getattr(value, f.name) for f in fields(value)}


def _digest(lines: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode("utf-8", "backslashreplace")).hexdigest()


class RunFile(NamedTuple):
    """What stands in a run file."""

    run: Run
    digest: str
    """SHA-256 of everything else as it was saved."""
    found: str
    """The same of what is in the file."""


def load_run(path: Path) -> Run:
    """Read a run file. Raises :class:`SetupError` in one line if it is none, of another version, damaged or changed."""
    file = read_run_file(path)
    if file.digest != file.found:
        raise SetupError(
            f"{path}: it was changed after it was saved: its digest is {file.found:.12}..., "
            f"expected {file.digest:.12}...; {_AGAIN}"
        )
    return file.run


def read_run_file(path: Path) -> RunFile:
    """The same, without holding it against its digest."""
    try:
        content = strict_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SetupError(f"{path}: not a run file: {error}") from None
    found = content.pop("format", None) if isinstance(content, dict) else None
    if found != FORMAT:
        older = isinstance(found, str) and found.startswith("mmsafety-run/")
        what = f"a run file of another version; {_AGAIN}" if older else "not a run file of this program"
        raise SetupError(f"{path}: {what}; format is {found!r:.40}, expected {FORMAT!r}")
    digest = content.pop("digest", None)
    try:
        run = strictly(content, Run)
    except ValueError as error:
        raise SetupError(f"{path}: damaged run file: {error}") from None
    if not isinstance(digest, str) or not re.fullmatch(_SHA256, digest):
        raise SetupError(f"{path}: damaged run file: digest: {digest!r:.40}; expected a SHA-256; {_AGAIN}")
    if fault := next(_faults(run), ""):
        raise SetupError(f"{path}: damaged run file: {fault}; {_AGAIN}")
    head = _head({name: value for name, value in content.items() if name != "records"})
    return RunFile(run, digest, _digest([*head, *_lines(content["records"])]))


# --- what types do not say


_SHA256 = "[0-9a-f]{64}"


def _faults(run: Run) -> Iterator[str]:
    """What cannot be in a run, with its place."""
    settings = run.settings
    yield from _below("settings", 1, batch_size=settings.batch_size, samples=settings.samples)
    yield from _below("settings", 0, target_calls=settings.target_calls, attack=settings.attack)
    if not 0 < settings.subset <= 1:
        yield f"settings.subset: {settings.subset!r}; expected a share above 0, at most 1"
    yield from _suite_faults(run)
    yield from _twice("records", "key", [record.key for record in run.records])
    yield from _twice("gates", "name", [result.gate.name for result in run.gates])
    for i, record in enumerate(run.records):
        yield from _record_faults(record, f"records.{i}")
    for i, result in enumerate(run.gates):
        yield from _gate_faults(result.gate, f"gates.{i}.gate")
        yield from _result_faults(result, f"gates.{i}")
    keys = {record.key for record in run.records}
    for where, findings in (("findings", run.findings), ("judge_faults", run.judge_faults)):
        for i, finding in enumerate(findings):
            yield from _finding_faults(finding, f"{where}.{i}", keys)


def _finding_faults(finding: Finding, where: str, keys: Set[str]) -> Iterator[str]:
    if finding.case not in keys:
        yield f"{where}.case: {finding.case!r:.60} is not among the records{nearest(finding.case, keys)}"
    if not finding.perturbations:
        yield f"{where}.perturbations: there is none; expected at least one"
    for j, change in enumerate(finding.perturbations):
        try:
            check_change(change)
        except ValueError as error:
            yield f"{where}.perturbations.{j}: {error}"
    yield from _below(where, 1, calls=finding.calls)


def _suite_faults(run: Run) -> Iterator[str]:
    yield from _twice("suites", "name", [suite.name for suite in run.suites])
    found = Counter(record.suite for record in run.records)
    for i, suite in enumerate(run.suites):
        if not re.fullmatch(_SHA256, suite.sha256):
            yield f"suites.{i}.sha256: {suite.sha256!r:.40}; expected a SHA-256"
        if suite.collected != found[suite.name]:
            yield f"suites.{i}.collected: {suite.collected}, but it has {plural(found[suite.name], 'record')}"
    known = {suite.name for suite in run.suites}
    for i, record in enumerate(run.records):
        if record.suite not in known:
            yield f"records.{i}.suite: {record.suite!r:.60} is not among the suites{nearest(record.suite, known)}"


def _record_faults(record: Record, where: str) -> Iterator[str]:
    if record.key != f"{record.suite}/{record.id}":
        yield f"{where}.key: {record.key!r:.60}; expected suite/id"
    if not is_expectation(record.expected):
        yield f"{where}.expected: {record.expected!r:.40} is no expectation"
    counts = {"prompt_tokens": record.prompt_tokens, "answer_tokens": record.answer_tokens, "seconds": record.seconds}
    yield from _below(where, 0, **counts)
    for j, image in enumerate(record.images):
        if image.sha256 and not re.fullmatch(_SHA256, image.sha256):
            yield f"{where}.images.{j}.sha256: {image.sha256!r:.40}; expected a SHA-256, or nothing"
    for j, verdict in enumerate(record.verdicts):
        yield from _beyond(f"{where}.verdicts.{j}", score=verdict.score)
        yield from _beyond(f"{where}.verdicts.{j}.probabilities", **verdict.probabilities)


def _gate_faults(gate: Gate, where: str) -> Iterator[str]:
    if gate.metric not in METRICS:
        yield f"{where}.metric: {gate.metric!r:.60} is not known{nearest(gate.metric, METRICS)}"
    shares = {name: getattr(gate, name) for name in ("max", "min", "max_regression", "max_unscored", "max_gone")}
    yield from _beyond(where, **shares)
    if not 0 < gate.alpha < 1:
        yield f"{where}.alpha: {gate.alpha!r}; expected a number between 0 and 1"
    yield from _below(where, 0, min_cases=gate.min_cases, min_clusters=gate.min_clusters)


def _result_faults(result: GateResult, where: str) -> Iterator[str]:
    yield from _below(f"{where}.counts", 0, **asdict(result.counts))
    yield from _below(where, 0, decided_after=result.decided_after)
    yield from _beyond(where, p_value=result.p_value, adjusted_p=result.adjusted_p)
    for name, interval in (("estimate", result.estimate), ("raw", result.raw)):
        yield from _interval_faults(interval, f"{where}.{name}", 0)
    if comparison := result.comparison:
        yield from _beyond(f"{where}.comparison", baseline=comparison.baseline)
        yield from _below(f"{where}.comparison", 0, pairs=comparison.pairs)
        yield from _interval_faults(comparison.difference, f"{where}.comparison.difference", -1)


def _interval_faults(interval: Interval | None, where: str, least: float) -> Iterator[str]:
    if interval is not None:
        yield from _beyond(where, least, value=interval.value, low=interval.low, high=interval.high)


def _beyond(where: str, least: float = 0, /, **numbers: float | None) -> Iterator[str]:
    for name, number in numbers.items():
        if number is not None and not least <= number <= 1:
            yield f"{where}.{name}: {number!r:.40}; expected a number from {least} to 1"


def _below(where: str, least: int, /, **numbers: float | None) -> Iterator[str]:
    for name, number in numbers.items():
        if number is not None and number < least:
            yield f"{where}.{name}: {number!r:.40}; expected at least {least}"


def _twice(where: str, name: str, values: Sequence[str]) -> Iterator[str]:
    seen: set[str] = set()
    for i, value in enumerate(values):
        if value in seen:
            yield f"{where}.{i}.{name}: {value!r:.60} is there twice"
        seen.add(value)


_LIBRARIES = ("torch", "transformers", "pillow", "pytest")


def environment() -> dict[str, str]:
    found = {"python": platform.python_version(), "machine": f"{platform.system()} {platform.machine()}"}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
