"""Text files from outside, read safely: YAML without surprises, JSONL and CSV by row, and where in them a fault is."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar

import yaml
from pydantic import BaseModel, StringConstraints, TypeAdapter, ValidationError

from pytest_mmsafety.errors import DataError, nearest

_T = TypeVar("_T")
_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Yaml(_SafeLoader):  # type: ignore[misc]
    """YAML in which ``yes``, ``no`` and dates stay what was written."""

    yaml_implicit_resolvers: ClassVar[dict[str, list[tuple[str, re.Pattern[str]]]]] = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag.rpartition(":")[2] not in ("bool", "timestamp")]
        for first, resolvers in _SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(problem="a key has to be plain text", problem_mark=key.start_mark)
            if key.tag == "tag:yaml.org,2002:merge":
                problem = "merge keys are not allowed (<<); write the values out"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"key {key.value!r} is given twice", problem_mark=key.start_mark)
            seen.add(key.value)
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        return mapping


NAME = r"^[\w.-]+$"
"""The pattern of a name that can be part of an option or a file's name."""
_NAMES = "letters, digits, '.', '_' and '-' only"
_LABELS = "a text without brackets and line ends, and without blanks at an end"
UNPLAIN = r"\[\]\x00-\x1f\x7f"
"""Characters that a label does not have, as inside of a pattern's brackets."""
Label = Annotated[
    str, StringConstraints(min_length=1, max_length=200, pattern=rf"^[^\s{UNPLAIN}]([^{UNPLAIN}]*[^\s{UNPLAIN}])?$")
]
"""An id, or the name or value of a tag."""
DEEPEST = 100
"""Lists and mappings inside of each other in YAML."""
LARGEST_CELL = 10_000_000
"""Characters of a cell of a table."""
_BOOLEANS = {"true": True, "True": True, "false": False, "False": False}
_Yaml.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^(?:true|True|false|False)$"), ["t", "T", "f", "F"])


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a data file, or one item of an inline list."""

    values: Any
    path: Path
    line: int
    node: yaml.Node | None = None
    """Where the row stands in a YAML document: its fields have lines of their own."""

    def at(self, field: Sequence[str | int] = ()) -> str:
        """``file:line`` of the row, or of one of its fields."""
        return f"{self.path}:{_descend(self.node, field) if self.node else self.line}"


class Document:
    """A YAML file, parsed once: its values, and the line of each."""

    def __init__(self, path: Path) -> None:
        """Read *path*: no objects, no aliases (they can explode), no key twice. Raises :class:`DataError`."""
        self.path = path
        self.content = read_bytes(path)
        text = _decoded(self.content, path)
        try:
            _check_events(text, path)
            loader = _Yaml(text)
            self._node: yaml.Node | None = loader.get_single_node()
            self.values: Any = None if self._node is None else loader.construct_document(self._node)
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            raise DataError(f"{path}:{line}", f"not valid YAML: {error.problem}") from None
        except (yaml.YAMLError, RecursionError, ValueError) as error:
            raise DataError(path, f"not valid YAML: {str(error).splitlines()[0]}") from None

    def at(self, where: Sequence[str | int] = ()) -> str:
        """``file:line`` of the value at *where*, or of the closest parent that there is."""
        return f"{self.path}:{_descend(self._node, where)}"

    def rows(self, key: str) -> list[Row]:
        """The items of the list at *key*."""
        assert isinstance(self._node, yaml.MappingNode)
        nodes = next(value.value for name, value in self._node.value if name.value == key)
        return [
            Row(value, self.path, node.start_mark.line + 1, node)
            for value, node in zip(self.values[key], nodes, strict=True)
        ]


def _check_events(text: str, path: Path) -> None:
    """Refuse aliases, and what is nested so deeply that reading it would exhaust the stack."""
    depth = 0
    for event in yaml.parse(text, Loader=_Yaml):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        where = f"{path}:{event.start_mark.line + 1 if event.start_mark else 1}"
        if depth > DEEPEST:
            raise DataError(where, f"not valid YAML: nested more than {DEEPEST} deep")
        if isinstance(event, yaml.AliasEvent):
            raise DataError(where, f"YAML aliases are not allowed (*{event.anchor}); write the value out")


def read_bytes(path: Path) -> bytes:
    """The file. Raises :class:`DataError`."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(path, f"cannot be read: {error.strerror or error}") from None


def read_text(path: Path) -> str:
    """The file as text: UTF-8, with or without a byte-order mark, any line ends. Raises :class:`DataError`."""
    return _decoded(read_bytes(path), path)


def _decoded(content: bytes, path: Path) -> str:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(path, f"not UTF-8 (byte {error.start} is {error.object[error.start]:#04x})") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def file_rows(path: Path, content: bytes | None = None) -> Iterator[Row]:
    """The rows of a ``.jsonl`` or ``.csv`` file with their line numbers; blank lines are passed over.

    *content*: the file's bytes, where they were read before.
    """
    if path.suffix not in (".jsonl", ".csv"):
        raise DataError(path, f"cases: {path.name!r} is neither .jsonl nor .csv")
    text = _decoded(read_bytes(path) if content is None else content, path)
    return _json_rows(text, path) if path.suffix == ".jsonl" else _csv_rows(text, path)


def _json_rows(text: str, path: Path) -> Iterator[Row]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            values = json.loads(line, object_pairs_hook=_no_duplicates)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}:{number}", f"not valid JSON: {error}; got {line.strip()!r:.60}") from None
        if not isinstance(values, dict):
            raise DataError(f"{path}:{number}", f"expected a JSON object, got {line.strip()!r:.60}")
        yield Row(values, path, number)


def strict_json(text: str) -> Any:
    """The value of a JSON text. Raises ``ValueError``, also for a key given twice and a number not finite."""
    try:
        return json.loads(text, object_pairs_hook=_no_duplicates, parse_constant=_finite, parse_float=_finite)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _finite(number: str) -> float:
    if not math.isfinite(found := float(number)):
        raise ValueError(f"{number:.40} is not a finite number")
    return found


def strictly(content: Mapping[str, Any], kind: type[_T]) -> _T:
    """What :func:`strict_json` gave, as a dataclass of *kind*: no key that it does not have, and ``"0"`` is not 0.

    Raises ``ValueError`` in one line: where it is, and what was expected.
    """
    try:
        # As JSON, where a list may become a tuple although types are strict.
        typed = TypeAdapter(kind).validate_json(json.dumps(content), strict=True)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in fault["loc"])
        raise ValueError(f"{where}: {fault['msg']}" if where else fault["msg"]) from None
    if unknown := _unknown_key(content, typed, ()):
        raise ValueError(unknown)
    return typed


def _unknown_key(found: Any, typed: Any, where: tuple[str, ...]) -> str:
    """The first key of *found* that its dataclass does not have, and what is nearest to it; or empty."""
    if isinstance(found, list):
        pairs = enumerate(zip(found, typed, strict=True))
        return next(filter(None, (_unknown_key(*pair, (*where, str(i))) for i, pair in pairs)), "")
    if not isinstance(found, dict):
        return ""
    known = [one.name for one in fields(typed)] if is_dataclass(typed) else found.keys()
    for key, value in found.items():
        if key not in known:
            return f"{'.'.join((*where, key))}: unknown key{nearest(key, known)}"
        inside = getattr(typed, key) if is_dataclass(typed) else typed[key]
        if problem := _unknown_key(value, inside, (*where, key)):
            return problem
    return ""


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"key {twice!r} is given twice")
    return mapping


def _csv_rows(text: str, path: Path) -> Iterator[Row]:
    """Empty cells are absent; ``images`` are separated by ``;``; a column ``tags.x`` is the tag x."""
    # Not splitlines(): it also cuts at characters that are no line ends in CSV.
    csv.field_size_limit(LARGEST_CELL)
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    names = _csv_header(reader, path)
    for name in names:
        if names.count(name) > 1:
            raise DataError(f"{path}:1", f"column {name!r} is there twice")
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise DataError(f"{path}:{reader.line_num}", f"not valid CSV: {error}") from None
        if cells is None:
            return
        if None in cells:
            raise DataError(f"{path}:{reader.line_num}", f"{len(cells[None])} cells more than the header has columns")
        filled = {name: cell for name, cell in cells.items() if cell}
        first = reader.line_num - sum(cell.count("\n") for cell in filled.values())  # cells may have line ends
        yield Row(_nested(filled), path, first)


def _csv_header(reader: csv.DictReader[str], path: Path) -> list[str]:
    try:
        return list(reader.fieldnames or ())
    except csv.Error as error:
        raise DataError(f"{path}:1", f"not valid CSV: {error}") from None


def _nested(cells: Mapping[str, str]) -> dict[str, Any]:
    row: dict[str, Any] = {name: cell for name, cell in cells.items() if not name.startswith("tags.")}
    tags = {name.removeprefix("tags."): cell for name, cell in cells.items() if name.startswith("tags.")}
    for name in ("images", "judges"):
        if name in row:
            row[name] = [part.strip() for part in row[name].split(";") if part.strip()]
    if row.get("must_pass") in _BOOLEANS:
        row["must_pass"] = _BOOLEANS[row["must_pass"]]
    return {**row, "tags": tags} if tags else row


def first_problem(error: ValidationError, raw: Any, model: type[BaseModel]) -> tuple[list[str | int], str]:
    """Where the first fault is (keys and indices into *raw*) and one line about it."""
    errors = error.errors(include_url=False)
    # A misspelt key is also a missing one; the spelling is what helps.
    found = next((fault for fault in errors if fault["type"] == "extra_forbidden"), errors[0])
    where = _path_into(raw, found["loc"])
    field = ".".join(str(part) for part in where) or "this mapping"
    shown = _shown(found["input"])
    if found["type"] == "extra_forbidden":
        known = ", ".join(model.model_fields)
        return where, f"{field}: unknown key; expected one of {known}{nearest(where[-1], model.model_fields)}"
    if found["type"] == "missing":
        return where, f"{field}: missing; expected a value for it"
    if found["type"] == "string_pattern_mismatch":
        return where, f"{field}: {shown}: expected {_NAMES if found['ctx']['pattern'] == NAME else _LABELS}"
    message = found["msg"].removeprefix("Value error, ").replace("Input should be", "expected").rstrip(".")
    return where, f"{field}: {shown}: {message}" if where else message


def _shown(value: Any) -> str:
    """The beginning of what was written."""
    try:
        text = repr(value)
    except RecursionError:  # JSON that could just be read
        return f"a {type(value).__name__} nested too deeply"
    return text if len(text) <= 60 else text[:57] + "..."


def _path_into(raw: Any, loc: Sequence[str | int]) -> list[str | int]:
    """Pydantic's location without the names of union members, which are no part of the document."""
    path: list[str | int] = []
    here = raw
    for part in loc:
        if isinstance(here, dict) and (part in here or part == loc[-1]):
            path.append(part)
            here = here.get(part)
        elif isinstance(here, list) and isinstance(part, int) and part < len(here):
            path.append(part)
            here = here[part]
    return path


def _descend(node: yaml.Node | None, where: Sequence[str | int]) -> int:
    line = node.start_mark.line + 1 if node else 1
    for part in where:
        if isinstance(node, yaml.MappingNode):
            found = [(key, value) for key, value in node.value if key.value == part]
            if not found:
                return line
            line, node = found[0][0].start_mark.line + 1, found[0][1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            node = node.value[part]
            line = node.start_mark.line + 1
    return line
