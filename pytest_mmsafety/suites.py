"""A suite: one YAML file that says what its cases share, and the cases: inline, in a file beside it, or official data.

The format is described in ``docs/suites.md``.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Protocol

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from pytest_mmsafety.cases import ASPECTS, EXPECTATIONS, STANDARD_TAGS, Case, is_expectation
from pytest_mmsafety.documents import Document, Label, Row, file_rows, first_problem, read_bytes
from pytest_mmsafety.errors import DataError, SetupError, nearest
from pytest_mmsafety.files import file_or_name, shipped
from pytest_mmsafety.regressions import read_regressions, regression_case

SUITE_SUFFIXES = (".yaml", ".yml")


def _expectation(value: Any) -> Any:
    if isinstance(value, str) and not is_expectation(value):
        known = ", ".join(EXPECTATIONS)
        raise ValueError(f"expected one of {known} or an option letter A-H{nearest(value, EXPECTATIONS)}")
    return value


_Expected = Annotated[str, BeforeValidator(_expectation)]


def _aspect(value: Any) -> Any:
    if isinstance(value, str) and value not in ASPECTS:
        raise ValueError(
            f"expected {' or '.join(ASPECTS)}, which decide the gates it counts for{nearest(value, ASPECTS)}"
        )
    return value


_Aspect = Annotated[str, BeforeValidator(_aspect)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _CaseRow(_Strict):
    """One case as it is written down."""

    id: Label
    prompt: Annotated[str, StringConstraints(min_length=1)]
    expected: _Expected | None = None
    images: list[Annotated[str, StringConstraints(min_length=1)]] = []
    dimension: Label | None = None
    category: Label | None = None
    modality: Label | None = None
    language: Label | None = None
    aspect: _Aspect | None = None
    tags: dict[Label, Label] = {}
    cluster: Label | None = None
    judges: list[Label] = []
    must_pass: bool | None = None


class _Header(_Strict):
    """The keys of a suite file."""

    suite: Label
    benchmark: Label
    title: str = ""
    description: str = ""
    licence: str = ""
    group_by: list[Label] = ["category", "language", "aspect"]
    tags: dict[Label, Label] = {}
    expected: _Expected | None = None
    judges: list[Label] = []
    must_pass: bool = False
    max_new_tokens: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    cases: Annotated[str, StringConstraints(min_length=1)] | Annotated[list[Any], Field(min_length=1)] | None = None
    loader: Label | None = None
    data: Label | None = None
    originals: Annotated[str, StringConstraints(min_length=1)] | None = None

    @model_validator(mode="after")
    def _one_source(self) -> _Header:
        if (self.cases is None) == (self.loader is None):
            raise ValueError("expected either 'cases' (a list, or a JSONL or CSV file beside this one) or 'loader'")
        if self.data is not None and self.loader is None:
            raise ValueError("'data' names the --data of a 'loader'; there is none")
        return self

    @model_validator(mode="after")
    def _all_else_from_the_originals(self) -> _Header:
        if self.originals is None:
            return self
        if self.cases is None:
            raise ValueError("'originals' is what 'cases' are made of; there are none")
        for key in ("expected", "judges", "max_new_tokens", "must_pass", "tags"):
            if key in self.model_fields_set:
                raise ValueError(f"{key!r} comes from the originals; expected no such key beside 'originals'")
        return self


class Loader(Protocol):
    """Reads an official data set; found by the entry point group ``mmsafety.loaders``."""

    def __call__(self, root: Path, suite: str) -> list[Case]: ...


@dataclass(frozen=True, slots=True)
class Suite:
    """A suite that was read and checked."""

    name: str
    path: Path
    benchmark: str
    title: str
    cases: tuple[Case, ...]
    groups: Mapping[str, tuple[Case, ...]]
    """Name of the pytest item -> its cases, in the order of the file."""
    sha256: str
    """Of the suite file and of the case file beside it."""
    root: Path
    """The folder that images are named relative to."""
    data: str = ""
    """The ``--data`` name whose folder the cases come from; empty for a suite with cases of its own."""
    places: Mapping[str, str] = field(default_factory=dict)
    """Id of a case -> ``file:line``, for a suite with cases of its own."""

    @property
    def wants_data(self) -> bool:
        """Whether the suite has no cases yet because that folder was not given."""
        return bool(self.data) and not self.cases

    def subset(self, share: float) -> Suite:
        """The suite with about *share* of its cases, 0 to 1, and those that must pass.

        Clusters are taken whole, in an order that only their names decide: the same ones in every process and on
        every machine, and a smaller subset is a part of a larger one.
        """
        clusters = sorted({_cluster_name(case) for case in self.cases}, key=_shuffled)
        kept = set(clusters[: max(1, round(share * len(clusters)))])
        chosen = {case.id for case in self.cases if case.must_pass or _cluster_name(case) in kept}
        groups = {name: tuple(case for case in cases if case.id in chosen) for name, cases in self.groups.items()}
        return replace(
            self,
            cases=tuple(case for case in self.cases if case.id in chosen),
            groups={name: cases for name, cases in groups.items() if cases},
        )

    def sampled(self, count: int) -> Suite:
        """The suite with *count* samples of every case, next to each other."""
        groups = {
            name: tuple(sample for case in cases for sample in samples_of(case, count))
            for name, cases in self.groups.items()
        }
        return replace(self, cases=tuple(s for case in self.cases for s in samples_of(case, count)), groups=groups)


def _cluster_name(case: Case) -> str:
    """What must stay together: by the images' names, since nothing is read yet."""
    return case.cluster or "\0".join(Path(image).name for image in case.images) or case.id


def _shuffled(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


class _Content(NamedTuple):
    """What a suite has besides its header."""

    cases: list[Case]
    root: Path
    """The folder that images are named relative to."""
    places: Mapping[str, str] = {}
    """As in :class:`Suite`."""
    data: str = ""
    beside: bytes = b""
    """The content of the case file."""


def read_suite(path: Path, data: Mapping[str, Path] | None = None) -> Suite:
    """Read and check a suite file.

    *data* maps the names given with ``--data`` to folders. Raises :class:`DataError`: one line with
    file, line, field, value, what was expected and the nearest match.
    """
    document = Document(path)
    return _suite(document, _read_header(document), data or {})


def _suite(document: Document, header: _Header, data: Mapping[str, Path]) -> Suite:
    if header.loader is not None:
        content = _official_content(header.loader, header, document, data)
    elif header.originals is not None:
        content = _regression_content(header.originals, header, document, data)
    else:
        content = _own_content(header, document)
    cases, path = content.cases, document.path
    if header.max_new_tokens is not None:
        cases = [replace(case, max_new_tokens=header.max_new_tokens) for case in cases]
    return Suite(
        name=header.suite,
        path=path,
        benchmark=header.benchmark,
        title=header.title,
        cases=tuple(cases),
        groups=_grouped(cases, header.group_by, path),
        sha256=hashlib.sha256(document.content + content.beside).hexdigest(),
        root=content.root.resolve(),
        data=content.data,
        places=content.places,
    )


def _official_content(loader: str, header: _Header, document: Document, data: Mapping[str, Path]) -> _Content:
    name = header.data or loader
    _known(loader, "mmsafety.loaders", document.at(["loader"]), "loader")
    if name not in data:
        return _Content([], document.path.parent, data=name)
    return _Content(_official_cases(loader, data[name], header.suite), data[name], data=name)


def _own_content(header: _Header, document: Document) -> _Content:
    root = document.path.parent
    rows, beside = _rows(header, document)
    cases, places = _checked_cases(rows, header, root)
    if not cases:
        raise DataError(document.path, f"suite {header.suite!r} has no cases")
    return _Content(cases, root, places, beside=beside)


def _regression_content(spec: str, header: _Header, document: Document, data: Mapping[str, Path]) -> _Content:
    """Cases that are made of those of another suite; none while that suite wants data."""
    originals = _originals(spec, document, data)
    rows, beside = _rows(header, document)
    regressions = read_regressions(rows)
    if not regressions:
        raise DataError(document.path, f"suite {header.suite!r} has no cases")
    by_id = {} if originals.wants_data else {case.id: case for case in originals.cases}
    cases = [regression_case(one, header.suite, header.benchmark, by_id) for one in regressions if by_id]
    places = {one.row.id: one.source.at() for one in regressions}
    return _Content(cases, originals.root, places, originals.data, beside)


def _originals(spec: str, document: Document, data: Mapping[str, Path]) -> Suite:
    """The suite that ``originals`` names: a file relative to this one, or a shipped suite."""
    where = document.at(["originals"])
    try:
        file = suite_file(spec, document.path.parent, must_exist=True)
    except SetupError as error:
        raise DataError(where, f"originals: {error}") from None
    original = Document(file)
    header = _read_header(original)
    if header.originals is not None:
        problem = f"originals: {spec!r} is itself a suite of regressions (of {header.originals!r})"
        raise DataError(where, f"{problem}; expected the suite that its cases were made of")
    return _suite(original, header, data)


def _read_header(document: Document) -> _Header:
    raw, path = document.values, document.path
    if not isinstance(raw, dict):
        raise DataError(
            f"{path}:1", f"a suite is a YAML mapping with 'suite', 'benchmark' and 'cases'; got {raw!r:.60}"
        )
    try:
        header = _Header.model_validate(raw)
    except ValidationError as error:
        where, problem = first_problem(error, raw, _Header)
        raise DataError(document.at(where), problem) from None
    for judge in header.judges:
        _known(judge, "mmsafety.judges", document.at(["judges"]), "judges")
    return header


def _rows(header: _Header, document: Document) -> tuple[Iterable[Row], bytes]:
    """The rows of the suite, and the content of the file that they come from if it is another."""
    if not isinstance(header.cases, str):
        return document.rows("cases"), b""
    beside = _inside(document.path.parent, header.cases, document.at(["cases"]), "cases")
    content = read_bytes(beside)
    return file_rows(beside, content), content


def _official_cases(loader: str, root: Path, suite: str) -> list[Case]:
    load: Loader = entry_points(group="mmsafety.loaders")[loader].load()
    return load(root, suite)


@cache
def _registered(group: str) -> tuple[str, ...]:
    return tuple(sorted(entry_points(group=group).names))


def _known(name: str, group: str, where: str, key: str) -> str:
    names = _registered(group)
    if name not in names:
        problem = f"{key}: {name!r} is not known; expected one of {', '.join(names)}"
        raise DataError(where, problem, nearest(name, names))
    return name


def _checked_cases(rows: Iterable[Row], header: _Header, root: Path) -> tuple[list[Case], dict[str, str]]:
    """The cases, and ``file:line`` of each by its id."""
    first_seen: dict[str, Row] = {}
    images: dict[str, str] = {}
    tag_sets: dict[tuple[tuple[str, str], ...], dict[str, str]] = {}
    cases = []
    for row in rows:
        try:
            parsed = _CaseRow.model_validate(row.values)
        except ValidationError as error:
            where, problem = first_problem(error, row.values, _CaseRow)
            raise DataError(row.at(where), f"{problem}") from None
        if (earlier := first_seen.setdefault(parsed.id, row)) is not row:
            raise DataError(
                row.at(["id"]),
                f"id: {parsed.id!r} is used twice, first in line {earlier.line}; "
                "expected ids that are unique in the suite",
            )
        for i, judge in enumerate(parsed.judges):
            _known(judge, "mmsafety.judges", row.at(["judges", i]), "judges")
        for i, name in enumerate(parsed.images):
            if name not in images:
                images[name] = str(_inside(root, name, row.at(["images", i]), "images"))
        case = _case(parsed, header, tuple(images[name] for name in parsed.images), row)
        tags = tag_sets.setdefault(tuple(case.tags.items()), dict(case.tags))  # few sets, shared by many cases
        cases.append(replace(case, tags=tags))
    return cases, {id_: row.at() for id_, row in first_seen.items()}


def _case(row: _CaseRow, header: _Header, images: tuple[str, ...], source: Row) -> Case:
    expected = row.expected or header.expected
    if expected is None:
        raise DataError(source.at(), "expected: missing, here and in the header of the suite")
    own = {tag: value for tag in STANDARD_TAGS if (value := getattr(row, tag, None)) is not None}
    tags = {"benchmark": header.benchmark, **header.tags, **own, **row.tags}
    return Case(
        id=row.id,
        suite=header.suite,
        prompt=row.prompt,
        expected=expected,
        images=images,
        tags=tags,
        cluster=row.cluster,
        judges=tuple(row.judges or header.judges),
        must_pass=header.must_pass if row.must_pass is None else row.must_pass,
    )


def _inside(root: Path, name: str, where: str, key: str) -> Path:
    """The file *name* below *root*, which must exist and must not lead outside."""
    try:
        folder = root.resolve()
        file = (folder / name).resolve()
        exists = file.is_file()
    except (OSError, ValueError, RuntimeError) as error:  # too long, a NUL, links in a circle
        raise DataError(where, f"{key}: {name!r:.60} is no path: {error}") from None
    if not file.is_relative_to(folder):
        raise DataError(where, f"{key}: {name!r} leads outside of {root}; expected a path inside the suite's folder")
    if not exists:
        siblings = (
            [p.relative_to(folder).as_posix() for p in file.parent.glob("*") if p.is_file()] if file != folder else []
        )
        problem = f"{key}: {name!r} does not exist; expected a file inside {root}"
        raise DataError(where, problem, nearest(name, siblings))
    return file


def _grouped(cases: Sequence[Case], group_by: Sequence[str], path: Path) -> dict[str, tuple[Case, ...]]:
    known = {"id", *STANDARD_TAGS, *(tag for case in cases for tag in case.tags)}
    for key in group_by:
        if cases and key not in known:
            raise DataError(path, f"group_by: {key!r} is not a tag of any case", nearest(key, known))
    by_values: dict[tuple[str, ...], list[Case]] = {}
    for case in cases:
        values = tuple(case.id if key == "id" else case.tags.get(key, "") for key in group_by)
        by_values.setdefault(values, []).append(case)
    groups: dict[str, tuple[Case, ...]] = {}
    for values, members in by_values.items():
        name = _group_name(values)
        if name in groups:
            raise DataError(path, f"group_by: two groups would both be called {name!r}; rename a tag")
        groups[name] = tuple(members)
    return groups


def _group_name(values: Sequence[str]) -> str:
    """``privacy/leak[RIST-zh]``: the first tag, the others in brackets; an absent tag leaves no trace."""
    present = [value.replace("::", ":") for value in values if value]
    if not present:
        return "all"
    return present[0] + (f"[{'-'.join(present[1:])}]" if len(present) > 1 else "")


def common_tags(cases: Sequence[Case]) -> dict[str, str]:
    """The tags that all *cases* share."""
    first, *others = cases
    return {tag: value for tag, value in first.tags.items() if all(case.tags.get(tag) == value for case in others)}


def suite_file(name: str, base: Path = Path(), *, must_exist: bool = False) -> Path:
    """The suite file *name* below *base*, or the shipped one of that name. Raises :class:`SetupError`."""
    path = base / name
    if path.suffix in SUITE_SUFFIXES and not must_exist:
        return path  # one that is missing is reported where it is read
    shipped_ones = {file.stem: file for file in shipped("cases").glob("*.yaml")}
    return file_or_name(name, base, shipped_ones, "", "a suite file")


def suite_files(folder: Path, *, below: bool = True) -> list[Path]:
    """The suite files in *folder* and, with *below*, in the folders below it."""
    files = sorted(
        path for path in folder.glob("**/*" if below else "*") if path.suffix in SUITE_SUFFIXES and path.is_file()
    )
    return [path for path in files if re.search(rb"^suite\s*:", path.read_bytes(), re.MULTILINE)]


MARK = "~"
"""Between the id of a case and the number of its sample, from the second on."""


def samples_of(case: Case, count: int) -> list[Case]:
    """The case and its further samples: cases of their own, in the cluster of the first.

    The interval then takes in that answers to one case are alike. Pairs stay inside a sample.
    """
    if count == 1:
        return [case]
    cluster = case.cluster if case.cluster is not None or case.images else case.key
    return [_sample(replace(case, cluster=cluster), number) for number in range(1, count + 1)]


def _sample(case: Case, number: int) -> Case:
    tags = {**case.tags, "sample": str(number)}
    if number == 1:
        return replace(case, tags=tags)
    if "pair" in tags:
        tags["pair"] += f"{MARK}{number}"
    return replace(case, id=f"{case.id}{MARK}{number}", tags=tags, sample=number)


def unsampled_id(id_: str, sample: str) -> str:
    """The id in the suite file of the case that *id_* is a sample of; *sample* is its tag, or empty."""
    return id_ if sample in ("", "1") else id_.removesuffix(f"{MARK}{sample}")
