"""The store: what was answered is never asked again, and a file that is none is never touched."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pytest_mmsafety.cases import Response
from pytest_mmsafety.errors import SetupError
from pytest_mmsafety.store import VERSION, Answer, Store, response_key
from pytest_mmsafety.testing import make_case

NOT_ROOT = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write into any folder")


def answers(*keys: str, response: str = "yes") -> list[Answer]:
    return [
        Answer(key, f"suite/{key}", "prompt", Response(response), "2026-01-01T00:00:00.000000+00:00") for key in keys
    ]


def responses(store: Store, *keys: str) -> dict[str, str]:
    return {key: answer.response.answer for key, answer in store.get(keys).items()}


def complaint(path: Path) -> str:
    with pytest.raises(SetupError) as error:
        Store(path)
    message = str(error.value)
    assert message.startswith(f"--store: {path} cannot be used: ")
    assert message.endswith("; expected a file of this program, a new path, or 'off'")
    assert "\n" not in message
    return message


def test_what_is_put_is_found_again(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "商店.sqlite3"
    store = Store(path)
    store.put("target", "print", answers("a", "b", response="你好 \x00 👍"))
    store.close()
    store = Store(path)
    assert responses(store, "a", "b", "c") == {"a": "你好 \x00 👍", "b": "你好 \x00 👍"}
    assert store.get([]) == {}
    store.put("target", "print", answers("a", response="again"))
    assert responses(store, "a") == {"a": "again"}
    store.close()


def test_asking_anew_forgets_what_was_answered_before_it_began(tmp_path: Path) -> None:
    def store() -> Store:
        found = Store(tmp_path / "s")
        found.ask_anew("model a")
        return found

    Store(tmp_path / "s").put("target", "print", answers("a", "b"))
    first = store()
    assert responses(first, "a", "b") == {}
    now = datetime.now(UTC).isoformat(timespec="microseconds")
    first.put("target", "print", [Answer("a", "s/a", "prompt", Response("anew"), now)])
    first.close()  # the run ended here, before b was asked
    assert responses(store(), "a", "b") == {"a": "anew"}
    assert responses(Store(tmp_path / "s"), "a", "b") == {"a": "anew", "b": "yes"}
    store().all_asked("model b")
    assert responses(store(), "a", "b") == {"a": "anew"}
    store().all_asked("model a")
    assert responses(store(), "a", "b") == {}


def test_without_a_path_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = Store(None)
    store.put("target", "print", answers("a"))
    assert responses(store, "a") == {"a": "yes"}
    store.close()
    assert list(tmp_path.iterdir()) == []


def test_ten_thousand_keys_at_once() -> None:
    store = Store(None)
    keys = [response_key("print", make_case(prompt=f"prompt {i}"), []) for i in range(10_000)]
    store.put("target", "print", answers(*keys))
    assert len(store.get(keys)) == 10_000
    assert store.get([*keys, "unknown"]).keys() == set(keys)
    store.close()


def test_the_key_changes_with_each_ingredient() -> None:
    def key(fingerprint: str, prompt: str, images: Sequence[str], **more: int) -> str:
        return response_key(fingerprint, make_case(prompt=prompt, **more), images)

    keys = {
        key("print", "prompt", ["a", "b"]),
        key("print2", "prompt", ["a", "b"]),
        key("print", "prompt ", ["a", "b"]),
        key("print", "prompt", ["b", "a"]),
        key("print", "prompt", ["a"]),
        key("print", "prompt", ["a", "b", "b"]),
        key("print", "prompt", ["ab"]),
        key("printprompt", "", ["a", "b"]),
        key("print", 'prompt", ["a', ["b"]),
        key("print", "prompt", ["a", "b"], sample=2),
        key("print", "prompt", ["a", "b"], max_new_tokens=2),
        key("print", "prompt", ["a", "b"], max_new_tokens=8),
    }
    assert len(keys) == 12
    assert key("print", "prompt", ("a", "b")) in keys


def test_a_batch_is_kept_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    store = Store(tmp_path / "s")
    bad = [*answers("a", "b"), Answer("c", "suite/c", "prompt", Response(None), "")]  # type: ignore[arg-type]
    with pytest.raises(sqlite3.Error):
        store.put("target", "print", bad)
    assert store.get(["a", "b", "c"]) == {}
    store.put("target", "print", answers("a"))
    assert responses(store, "a") == {"a": "yes"}
    store.close()


def test_a_reader_sees_what_a_killed_writer_committed(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from pytest_mmsafety.store import Store, Answer;"
        "from pytest_mmsafety.cases import Response;"
        "store = Store(Path(sys.argv[1])); store.put('t', 'f', [Answer('a', 'c', 'p', Response('r'), '')]);"
        "store._connection.execute('BEGIN IMMEDIATE');"
        'store._connection.execute("INSERT INTO responses (key, target, fingerprint, case_key, prompt, response, created)'
        " VALUES ('b', 't', 'f', 'c', 'p', 'r', 'now')\"); os._exit(9)"
    )
    path = tmp_path / "s"
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == 9
    store = Store(path)
    assert responses(store, "a", "b") == {"a": "r"}
    store.close()


def test_two_processes_write_at_once(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from pytest_mmsafety.store import Store, Answer;"
        "from pytest_mmsafety.cases import Response;"
        "store = Store(Path(sys.argv[1])); mine = sys.argv[2];"
        "[store.put('t', 'f', [Answer(f'{mine}-{i}-{j}', 'c', 'p', Response('r'), '') for j in range(8)]) for i in range(100)];"
        "store.close()"
    )
    path = tmp_path / "s"
    Store(path).close()
    writers = [subprocess.Popen([sys.executable, "-c", code, str(path), name]) for name in ("one", "two", "three")]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    store = Store(path)
    keys = [f"{name}-{i}-{j}" for name in ("one", "two", "three") for i in range(100) for j in range(8)]
    assert len(store.get(keys)) == 2400
    store.close()


def test_two_processes_that_open_a_new_store_at_once_wait_for_each_other(tmp_path: Path) -> None:
    path = tmp_path / "s"
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    done: list[str] = []

    def let_go() -> None:
        done.append("the other let go")
        other.execute("ROLLBACK")

    timer = threading.Timer(0.5, let_go)
    timer.start()
    try:
        Store(path).close()
        done.append("opened")
        assert done == ["the other let go", "opened"]
    finally:
        timer.join()
        other.close()


# --- files that are no store


def test_a_text_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("important notes, not a database at all\n" * 20)
    assert "file is not a database" in complaint(path)
    assert path.read_text().startswith("important")


def test_a_database_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE customers (name TEXT)")
    other.close()
    before = path.read_bytes()
    assert "it is a database of another program" in complaint(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("table", ["customers (name TEXT)", "responses (id INTEGER, text TEXT)"])
def test_another_programs_database_of_the_same_version_is_refused(tmp_path: Path, table: str) -> None:
    path = tmp_path / "other.db"
    other = sqlite3.connect(path)
    other.execute(f"CREATE TABLE {table}")
    other.execute(f"PRAGMA user_version = {VERSION}")
    other.close()
    assert "another program" in complaint(path)


def test_a_newer_store_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s"
    Store(path).close()
    newer = sqlite3.connect(path)
    newer.execute(f"PRAGMA user_version = {VERSION + 1}")
    newer.close()
    assert f"it has version {VERSION + 1}, this program writes version {VERSION}" in complaint(path)


def test_an_empty_file_becomes_a_store(tmp_path: Path) -> None:
    (tmp_path / "s").touch()
    Store(tmp_path / "s").close()
    assert (tmp_path / "s").stat().st_size > 0


def make_folder(tmp_path: Path) -> Path:
    return tmp_path


def below_a_file(tmp_path: Path) -> Path:
    (tmp_path / "file").touch()
    return tmp_path / "file" / "s"


def no_such_place(_: Path) -> Path:
    return Path("/proc/no/such/place")


@pytest.mark.parametrize("where", [make_folder, below_a_file, no_such_place])
def test_a_place_where_no_file_can_be(tmp_path: Path, where: Callable[[Path], Path]) -> None:
    complaint(where(tmp_path))


@NOT_ROOT
def test_a_read_only_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        complaint(tmp_path / "s")
    finally:
        tmp_path.chmod(0o700)


@NOT_ROOT
def test_a_read_only_store(tmp_path: Path) -> None:
    path = tmp_path / "s"
    Store(path).close()
    path.chmod(0o400)
    complaint(path)
