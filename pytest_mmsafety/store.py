"""The store: every answer of every target, and every verdict that cost something, from the moment it exists.

A key is made of all that produced an answer (the target's fingerprint, the prompt, the content of the
images), so a killed run resumes, a second run asks nothing, and a changed checkpoint is asked anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pytest_mmsafety.cases import Case, Response
from pytest_mmsafety.errors import SetupError
from pytest_mmsafety.files import is_running
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
    created TEXT NOT NULL,
    reasoning TEXT NOT NULL DEFAULT '',
    ended TEXT NOT NULL DEFAULT '',
    prompt_tokens INTEGER,
    answer_tokens INTEGER,
    rendered TEXT NOT NULL DEFAULT '',
    checksum TEXT NOT NULL DEFAULT ''
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


_PARTS = "response, reasoning, ended, prompt_tokens, answer_tokens, rendered"
"""The columns of a ``Response``, in the order of its fields."""


_FRESH = "CREATE TABLE IF NOT EXISTS fresh (asked TEXT PRIMARY KEY, since TEXT NOT NULL)"

_CLAIMS = "CREATE TABLE IF NOT EXISTS claims (key TEXT PRIMARY KEY, host TEXT NOT NULL, pid INTEGER NOT NULL, at REAL)"
_HOST = socket.gethostname()
_CLAIMED_FOR = 600.0
"""Seconds for which a claim of another machine is believed: whether its process still runs cannot be seen from here."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer as the store keeps it."""

    key: str
    case: str
    prompt: str
    response: Response
    created: str
    """When it was given, as UTC in ISO 8601."""

    @property
    def checksum(self) -> str:
        """Over all that a judge or a reader sees, with the key: tells rows that were changed by other programs."""
        kept = [self.key, self.created, *astuple(self.response)]
        return hashlib.sha256(json.dumps(kept).encode()).hexdigest()[:32]


def response_key(fingerprint: str, case: Case, image_digests: Sequence[str]) -> str:
    """SHA-256 over everything that decides an answer."""
    asked = [fingerprint, case.prompt, list(image_digests), *([case.sample] if case.sample > 1 else [])]
    if case.max_new_tokens is not None:
        asked.append(f"max_new_tokens={case.max_new_tokens}")
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
        self.since = ""
        """Answers that were given before are taken for unknown; as UTC in ISO 8601."""
        self._claimed = False
        self.damaged = 0
        """Answers that were found and are not as they were written; they are taken for unknown."""
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
        connection.execute(_FRESH)
        connection.execute(_CLAIMS)
        self._add_columns(connection)
        connection.execute(f"PRAGMA application_id = {APPLICATION}")
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
        self._log_ahead(connection)
        return connection

    def _add_columns(self, connection: sqlite3.Connection) -> None:
        """Bring a store of 0.1.0's first weeks up to date."""
        if "probabilities" not in _columns(connection, "verdicts"):
            connection.execute("ALTER TABLE verdicts ADD COLUMN probabilities TEXT NOT NULL DEFAULT '{}'")
        if "checksum" in _columns(connection, "responses"):
            return
        for column in ("reasoning TEXT NOT NULL DEFAULT ''", "ended TEXT NOT NULL DEFAULT ''", "prompt_tokens INTEGER",
                       "answer_tokens INTEGER", "rendered TEXT NOT NULL DEFAULT ''",
                       "checksum TEXT NOT NULL DEFAULT ''"):  # fmt: skip
            connection.execute(f"ALTER TABLE responses ADD COLUMN {column}")
        rows = connection.execute("SELECT key, response, created FROM responses").fetchall()
        kept = [Answer(key, "", "", Response(text), at) for key, text, at in rows if isinstance(text, str)]
        sums = [(answer.checksum, answer.key) for answer in kept]
        connection.executemany("UPDATE responses SET checksum = ? WHERE key = ?", sums)

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

    def get(self, keys: Sequence[str]) -> dict[str, Answer]:
        """Key -> answer, for those that are known, as they were written, and not given before :attr:`since`."""
        found = {}
        columns = f"key, case_key, prompt, created, checksum, {_PARTS}"
        select = f"SELECT {columns} FROM responses"  # noqa: S608 - constants
        for key, case, prompt, created, checksum, *parts in self._rows(select, keys):
            if created < self.since:
                continue
            answer = Answer(key, case, prompt, Response(*parts), created)
            if isinstance(answer.response.answer, str) and answer.checksum == checksum:
                found[key] = answer
            else:
                self.damaged += 1
        return found

    def given_since(self, when: str) -> int:
        """How many answers were given from *when* on, as UTC in ISO 8601."""
        (count,) = self._connection.execute("SELECT count(*) FROM responses WHERE created >= ?", (when,)).fetchone()
        return int(count)

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
        rows = [
            (a.key, target, fingerprint, a.case, a.prompt, a.created, a.checksum, *astuple(a.response)) for a in answers
        ]
        columns = f"key, target, fingerprint, case_key, prompt, created, checksum, {_PARTS}"
        places = ", ".join("?" * len(columns.split(",")))
        self._write(f"INSERT OR REPLACE INTO responses ({columns}) VALUES ({places})", rows)  # noqa: S608

    def claim(self, keys: Sequence[str]) -> bool:
        """Whether no other process is asking one of *keys*; others are then told that this one does.

        A claim is a hint and nothing waits for it, so one that a kill left costs nothing.
        """
        if self.path is None:
            return True
        with self._transaction():
            claims = list(self._rows("SELECT host, pid, at FROM claims", keys))
            if any(_is_anothers(*claim) for claim in claims):
                return False
            rows = [(key, _HOST, os.getpid(), time.time()) for key in keys]
            self._connection.executemany("INSERT OR REPLACE INTO claims VALUES (?, ?, ?, ?)", rows)
        self._claimed = True
        return True

    def ask_anew(self, asked: str) -> None:
        """Take earlier answers for unknown from when asking *asked* (a target with its arguments) anew began.

        That is now, unless an earlier attempt did not come to its end: then this one goes on.
        """
        now = datetime.now(UTC).isoformat(timespec="microseconds")
        self._write("INSERT OR IGNORE INTO fresh VALUES (?, ?)", [(asked, now)])
        (self.since,) = self._connection.execute("SELECT since FROM fresh WHERE asked = ?", (asked,)).fetchone()

    def all_asked(self, asked: str) -> None:
        """Asking anew came to its end: the next time begins from the start."""
        self._write("DELETE FROM fresh WHERE asked = ?", [(asked,)])

    def put_verdicts(self, verdicts: Mapping[str, Verdict]) -> None:
        """Keep *verdicts* by key, all or none. Raises ``sqlite3.Error`` when the disk does not take them."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        rows = [
            (key, v.judge, v.label, v.score, v.reason, now, json.dumps(dict(v.probabilities)))
            for key, v in verdicts.items()
        ]
        self._write("INSERT OR REPLACE INTO verdicts VALUES (?, ?, ?, ?, ?, ?, ?)", rows)

    def _write(self, insert: str, rows: Sequence[tuple[Any, ...]]) -> None:
        with self._transaction():
            self._connection.executemany(insert, rows)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All or nothing."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except sqlite3.Error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def close(self) -> None:
        with suppress(sqlite3.Error):
            if self.path and self._claimed:
                self._connection.execute("DELETE FROM claims WHERE host = ? AND pid = ?", (_HOST, os.getpid()))
        self._connection.close()


def _is_anothers(host: str, pid: int, at: float) -> bool:
    """Whether the claim is one of another process that still runs, as far as that can be seen."""
    if host != _HOST:
        return time.time() - at < _CLAIMED_FOR
    return pid != os.getpid() and is_running(pid)


def _columns(connection: sqlite3.Connection, table: str) -> set[str]:
    return {column for _, column, *_ in connection.execute(f"PRAGMA table_info({table})")}
