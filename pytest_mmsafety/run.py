"""A run: the outcomes and all that produced them. Saved, it is also a baseline and a report's input.

The file format is described in ``docs/run-file.md``.
"""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from pytest_mmsafety.cases import Case, SkipKind, cluster_of
from pytest_mmsafety.errors import SetupError
from pytest_mmsafety.files import write_atomically
from pytest_mmsafety.gates import GateResult
from pytest_mmsafety.outcomes import Outcome
from pytest_mmsafety.verdicts import Verdict

FORMAT = "mmsafety-run/2"


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
    head = {"format": FORMAT, **{f.name: getattr(run, f.name) for f in fields(run) if f.name != "records"}}
    yield "{\n"
    for name, value in head.items():
        yield f"{json.dumps(name)}: {json.dumps(value, default=asdict, ensure_ascii=False, allow_nan=False)},\n"
    yield '"records": ['
    for i, record in enumerate(run.records):
        yield (",\n" if i else "\n") + json.dumps(record, default=_shallow, ensure_ascii=False, allow_nan=False)
    yield "\n]\n}\n"


def _shallow(value: Any) -> dict[str, Any]:
    """A record as a dict; unlike ``asdict`` it copies nothing, of which there would be much."""
    return {f.name: getattr(value, f.name) for f in fields(value)}


def load_run(path: Path) -> Run:
    """Read a run file. Raises :class:`SetupError` in one line if it is none, or of another version."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise SetupError(f"{path}: not a run file: {error}") from None
    found = content.pop("format", None) if isinstance(content, dict) else None
    if found != FORMAT:
        again = "; make it again: pytest --model=... --save-run=FILE (stored answers are not asked for again)"
        older = isinstance(found, str) and found.startswith("mmsafety-run/")
        what = f"a run file of another version{again}" if older else "not a run file of this program"
        raise SetupError(f"{path}: {what}; format is {found!r:.40}, expected {FORMAT!r}")
    try:
        return TypeAdapter(Run).validate_python(content)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in fault["loc"])
        raise SetupError(f"{path}: damaged run file: {where}: {fault['msg']}") from None


_SECRET = re.compile("(^|[_-])(api_?key|key|token|secret|password|credentials?)$", re.IGNORECASE)

_USER_OF_URL = re.compile(r"(?<=://)[^/@\s]+(?=@)")

_LIBRARIES = ("torch", "transformers", "pillow", "pytest")


def public_arguments(arguments: Mapping[str, str]) -> dict[str, str]:
    """Arguments as they may be written down: secrets are not."""
    return {
        name: "***" if _SECRET.search(name) else _USER_OF_URL.sub("***", value) for name, value in arguments.items()
    }


def model_name(model: str) -> str:
    """A run file travels: of a path only the last part is kept."""
    return Path(model).name if Path(model).exists() else model


def environment() -> dict[str, str]:
    found = {"python": platform.python_version(), "machine": f"{platform.system()} {platform.machine()}"}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
