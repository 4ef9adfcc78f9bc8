"""Cases that a manifest of training data holds already: by their words or by their images."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from pytest_mmsafety.cases import Case
from pytest_mmsafety.doctor.images import Picture, inspect, near_hashes
from pytest_mmsafety.doctor.texts import contents, normalised, shingles, tokens
from pytest_mmsafety.errors import SetupError

TEXT_KEYS = ("text", "prompt", "question", "instruction", "content", "value")
"""Columns, or keys at any depth of a JSON line, that hold what a model is trained to read."""
SHINGLE = 8
"""Words in a row (characters in Chinese and Japanese) by which near texts are found, as in PaLM's analysis."""
NEAR_SHARE = 0.5
"""Share of a prompt's shingles in one text of the manifest from which the prompt counts as leaked."""
FEWEST_WORDS = 4
"""A shorter prompt is found by its image only: everybody asks what something is."""
COMMON = 20
"""A shingle of more cases than this is a template, and says nothing about one of them."""
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")


class Entry(NamedTuple):
    """One line of a manifest, or one file of a folder of images."""

    where: str
    """``path:line``."""
    texts: tuple[str, ...] = ()
    sha256: str = ""
    phash: bytes = b""
    """32 bytes: ``imagehash.phash(image, hash_size=16)``."""


class Leak(NamedTuple):
    """One way in which one case was found; the first place for each way."""

    case: str
    """Its key."""
    how: str
    """``text``, ``near-text``, ``image`` or ``near-image``."""
    where: str


def leaked_cases(cases: Sequence[Case], pictures: Mapping[str, Picture], entries: Iterable[Entry]) -> list[Leak]:
    """Find *cases* in *entries*, which are read once and not kept.

    *pictures* says what is in the image files of the cases. In order of the cases' keys and of ways.
    """
    index = _Index(cases, pictures)
    leaks: dict[tuple[str, str], Leak] = {}
    entries = iter(entries)
    while chunk := list(islice(entries, 4096)):
        for leak in index.search(chunk):
            leaks.setdefault((leak.case, leak.how), leak)
    return [leak for _, leak in sorted(leaks.items())]


class _Index:
    """The cases by what they may be found by. Grows with the cases, not with the manifest."""

    def __init__(self, cases: Sequence[Case], pictures: Mapping[str, Picture]) -> None:
        self._words: defaultdict[str, set[str]] = defaultdict(set)
        self._shingles: defaultdict[str, set[str]] = defaultdict(set)
        self._digests: defaultdict[str, set[str]] = defaultdict(set)
        looks: dict[str, bytes] = {}
        for case, content in _contents(cases):
            text = normalised(content)
            words = tokens(text)
            if len(words) >= FEWEST_WORDS:
                self._words[text].add(case.key)
                self._words[normalised(case.prompt)].add(case.key)
            if len(words) >= SHINGLE:
                for shingle in shingles(words, SHINGLE):
                    self._shingles[shingle].add(case.key)
            for picture in (pictures[path] for path in case.images if not pictures[path].fault):
                self._digests[picture.sha256].add(case.key)
                if picture.look:
                    looks[picture.sha256] = picture.look[:32]
        self._looks = tuple(looks.items())
        self._shingles = defaultdict(set, {text: keys for text, keys in self._shingles.items() if len(keys) <= COMMON})
        self._sizes = Counter(key for keys in self._shingles.values() for key in keys)

    def search(self, entries: Sequence[Entry]) -> Iterator[Leak]:
        for entry in entries:
            for text in entry.texts:
                for key, how in self._search_text(normalised(text)):
                    yield Leak(key, how, entry.where)
            if entry.sha256 in self._digests:
                for key in self._digests[entry.sha256]:
                    yield Leak(key, "image", entry.where)
        hashed = [entry for entry in entries if entry.phash]
        for ours, theirs in near_hashes([look for _, look in self._looks], [entry.phash for entry in hashed]):
            digest = self._looks[ours][0]
            if hashed[theirs].sha256 != digest:
                for key in self._digests[digest]:
                    yield Leak(key, "near-image", hashed[theirs].where)

    def _search_text(self, text: str) -> Iterator[tuple[str, str]]:
        same = self._words.get(text, set())
        for key in same:
            yield key, "text"
        words = tokens(text)
        if len(words) >= SHINGLE:
            found = shingles(words, SHINGLE) & self._shingles.keys()
            for key, count in Counter(key for shingle in found for key in self._shingles[shingle]).items():
                if key not in same and count >= NEAR_SHARE * self._sizes[key]:
                    yield key, "near-text"


def _contents(cases: Sequence[Case]) -> Iterator[tuple[Case, str]]:
    suites: defaultdict[str, list[Case]] = defaultdict(list)
    for case in cases:
        suites[case.suite].append(case)
    for members in suites.values():
        yield from zip(members, contents([case.prompt for case in members]), strict=True)


def read_manifest(path: Path) -> Iterator[Entry]:
    """Read a ``.jsonl``, ``.csv`` or text file line by line, or the images of a folder.

    Raises :class:`SetupError`: one line with file, line, value and what was expected.
    """
    if path.is_dir():
        return _folder(path)
    if not path.is_file():
        raise SetupError(f"--against: {path}: no such file or folder")
    match path.suffix.lower():
        case ".jsonl":
            return _json_lines(path)
        case ".csv":
            return _csv_rows(path)
        case ".txt" | ".sha256" | "":
            return _text_lines(path)
    raise SetupError(f"--against: {path}: expected .jsonl, .csv, .txt or a folder of images")


def _folder(folder: Path) -> Iterator[Entry]:
    files = (str(path) for path in sorted(folder.rglob("*")) if path.suffix.lower() in IMAGE_SUFFIXES)
    while chunk := list(islice(files, 256)):
        for path, picture in inspect(chunk).items():
            if not picture.fault:
                yield Entry(path, (), picture.sha256, picture.look[:32])


def _json_lines(path: Path) -> Iterator[Entry]:
    for number, line in _lines(path):
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise SetupError(f"{path}:{number}: not valid JSON: {error}; got {line:.60}") from None
        yield _entry(f"{path}:{number}", values, tuple(_texts(values)))


def _texts(value: Any) -> Iterator[str]:
    """Chats keep their texts in lists of messages: any depth will do."""
    stack = [value]
    while stack:
        match stack.pop():
            case dict() as mapping:
                yield from (text for key in TEXT_KEYS if isinstance(text := mapping.get(key), str))
                stack += (one for one in mapping.values() if isinstance(one, dict | list))
            case list() as values:
                stack += values


def _csv_rows(path: Path) -> Iterator[Entry]:
    csv.field_size_limit(2**24)
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        reader = csv.DictReader(file)
        known = {*TEXT_KEYS, "sha256", "phash"}
        if not known.intersection(reader.fieldnames or ()):
            found = ", ".join(reader.fieldnames or ()) or "nothing"
            raise SetupError(f"{path}:1: columns {found:.80}; expected at least one of {', '.join(sorted(known))}")
        try:
            for row in reader:
                texts = tuple(text for key in TEXT_KEYS if (text := row.get(key)))
                yield _entry(f"{path}:{reader.line_num}", row, texts)
        except csv.Error as error:
            raise SetupError(f"{path}:{reader.line_num}: not valid CSV: {error}") from None


def _text_lines(path: Path) -> Iterator[Entry]:
    """A line is a text, or a digest as ``sha256sum`` prints it."""
    for number, line in _lines(path):
        digest = re.fullmatch(r"([0-9a-f]{64})(?: [ *].*)?", line)
        yield Entry(f"{path}:{number}", () if digest else (line,), digest[1] if digest else "")


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield number, line.strip()


def _entry(where: str, values: Any, texts: tuple[str, ...]) -> Entry:
    if not isinstance(values, dict):
        raise SetupError(f"{where}: expected a JSON object, got {values!r:.60}")
    hashes = {}
    for name in ("sha256", "phash"):
        hashes[name] = values.get(name) or ""
        if hashes[name] and not (isinstance(hashes[name], str) and re.fullmatch("[0-9a-fA-F]{64}", hashes[name])):
            hint = "; imagehash.phash(image, hash_size=16) gives them" if name == "phash" else ""
            raise SetupError(f"{where}: {name}: {hashes[name]!r:.40}; expected 64 hexadecimal digits{hint}")
    return Entry(where, texts, hashes["sha256"].lower(), bytes.fromhex(hashes["phash"]))
