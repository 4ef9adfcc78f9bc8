"""The store: every answer of every target, and every verdict that cost something, from the moment it exists.

A key is made of all that produced an answer (the target's fingerprint, the prompt, the content of the
images), so a killed run resumes, a second run asks nothing, and a changed checkpoint is asked anew.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pytest_mmsafety.cases import Case
from pytest_mmsafety.errors import SetupError
from pytest_mmsafety.verdicts import Verdict

VERSION = 1
APPLICATION = 0x6D6D7361
"""``mmsa``: what SQLite calls an application id; tells our files from those of other programs."""
BUSY_TIMEOUT = 60.0
"""Seconds to wait for another process that writes."""
_LOOKUP = 500  # SQLite takes at least 999 variables in a statement

_RESPONSES = """
CREATE TABLE IF NOT EXISTS responses (
    key TEXT PRIMARY KEY,
    target TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    case_key TEXT NOT NULL,
    prompt TEXT NOT NULL,
    response TEXT NOT NULL,
    created TEXT NOT NULL
) WITHOUT ROWID
"""
_VERDICTS = """
CREATE TABLE IF NOT EXISTS verdicts (
    key TEXT PRIMARY KEY,
    judge TEXT NOT NULL,
    label TEXT NOT NULL,
    score REAL,
    reason TEXT NOT NULL,
    created TEXT NOT NULL,
    probabilities TEXT NOT NULL DEFAULT '{}'
) WITHOUT ROWID
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """One row of the store."""

    key: str
    case: str
    prompt: str
    response: str


def response_key(fingerprint: str, prompt: str, image_digests: Sequence[str], sample: int = 1) -> str:
    """SHA-256 over everything that decides an answer."""
    asked = [fingerprint, prompt, list(image_digests), *([sample] if sample > 1 else [])]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()


def verdict_key(fingerprint: str, case: Case, image_digests: Sequence[str], response: str) -> str:
    """SHA-256 over everything that a judge sees: itself, the case by content and not by name, and the answer."""
    seen = [fingerprint, case.prompt, case.expected, sorted(case.tags.items()), list(image_digests), response]
    return hashlib.sha256(json.dumps(seen).encode()).hexdigest()


class Store:
    """Answers, and verdicts of judges with weights, in one SQLite file; several processes may share it.

    ``None`` keeps them in memory only.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        try:
            if path:
                path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = self._open(path)
        except (sqlite3.Error, OSError) as error:
            raise SetupError(
                f"--store: {path} cannot be used: {error}; expected a file of this program, a new path, or 'off'"
            ) from None

    def _open(self, path: Path | None) -> sqlite3.Connection:
        # The engine's thread is the only one to use it after this; sqlite3 would forbid the change of thread.
        connection = sqlite3.connect(
            path or ":memory:", timeout=BUSY_TIMEOUT, check_same_thread=False, isolation_level=None
        )
        connection.execute("BEGIN IMMEDIATE")  # two that make a new store at once: one waits for the other
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if tables and application != APPLICATION:
            raise sqlite3.DatabaseError("it is a database of another program")
        if tables and version != VERSION:
            raise sqlite3.DatabaseError(f"it has version {version}, this program writes version {VERSION}")
        connection.execute(_RESPONSES)
        connection.execute(_VERDICTS)
        self._add_probabilities(connection)
        connection.execute(f"PRAGMA application_id = {APPLICATION}")
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
        self._log_ahead(connection)
        return connection

    def _add_probabilities(self, connection: sqlite3.Connection) -> None:
        """Bring a store of 0.1.0's first weeks up to date: its verdicts had none."""
        if "probabilities" not in {column for _, column, *_ in connection.execute("PRAGMA table_info(verdicts)")}:
            connection.execute("ALTER TABLE verdicts ADD COLUMN probabilities TEXT NOT NULL DEFAULT '{}'")

    def _log_ahead(self, connection: sqlite3.Connection) -> None:
        """Write-ahead logging: readers never wait, and a killed process loses nothing that was committed."""
        connection.execute("PRAGMA synchronous = NORMAL")
        until = time.monotonic() + BUSY_TIMEOUT
        while True:  # unlike everything else, this switch does not wait for other processes by itself
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > until:
                    raise
                time.sleep(0.05)

    def get(self, keys: Sequence[str]) -> dict[str, str]:
        """Key -> answer, for those that are known."""
        return dict(self._rows("SELECT key, response FROM responses", keys))

    def get_verdicts(self, keys: Sequence[str]) -> dict[str, Verdict]:
        """Key -> verdict, for those that are known."""
        rows = self._rows("SELECT key, judge, label, score, reason, probabilities FROM verdicts", keys)
        return {
            key: Verdict(judge, label, score, reason, json.loads(probabilities))
            for key, judge, label, score, reason, probabilities in rows
        }

    def _rows(self, select: str, keys: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        for start in range(0, len(keys), _LOOKUP):
            some = keys[start : start + _LOOKUP]
            yield from self._connection.execute(f"{select} WHERE key IN ({','.join('?' * len(some))})", some)

    def put(self, target: str, fingerprint: str, answers: Iterable[Answer]) -> None:
        """Keep *answers*, all or none. Raises ``sqlite3.Error`` when the disk does not take them."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        rows = [(a.key, target, fingerprint, a.case, a.prompt, a.response, now) for a in answers]
        self._write("INSERT OR REPLACE INTO responses VALUES (?, ?, ?, ?, ?, ?, ?)", rows)

    def put_verdicts(self, verdicts: Mapping[str, Verdict]) -> None:
        """Keep *verdicts* by key, all or none. Raises ``sqlite3.Error`` when the disk does not take them."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        rows = [
            (key, v.judge, v.label, v.score, v.reason, now, json.dumps(dict(v.probabilities)))
            for key, v in verdicts.items()
        ]
        self._write("INSERT OR REPLACE INTO verdicts VALUES (?, ?, ?, ?, ?, ?, ?)", rows)

    def _write(self, insert: str, rows: Sequence[tuple[Any, ...]]) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            self._connection.executemany(insert, rows)
            self._connection.execute("COMMIT")
        except sqlite3.Error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def close(self) -> None:
        self._connection.close()
