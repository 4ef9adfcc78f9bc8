"""The run file: what goes in comes out, and a file that is none is said to be none."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Project, row
from hypothesis import given
from hypothesis import strategies as st

from pytest_mmsafety.cases import Case
from pytest_mmsafety.errors import SetupError
from pytest_mmsafety.evaluation.evaluate import evaluate_gates
from pytest_mmsafety.files import write_atomically
from pytest_mmsafety.gates import Gate
from pytest_mmsafety.outcomes import Outcome
from pytest_mmsafety.run import FORMAT, ImageRef, Record, Run, SuiteInfo, load_run, make_record, save_run
from pytest_mmsafety.verdicts import Verdict

ODD = "你好 👍 \x00\x01\x1b[31m \u2028\u2029 \\ \" ' </script> \r\n " + "长" * 100_000


def record(number: int = 1, **keys: Any) -> Record:
    defaults: dict[str, Any] = {
        "key": f"s/{number}",
        "suite": "s",
        "id": str(number),
        "tags": {"benchmark": "usb", "类别": "隐私"},
        "expected": "yes",
        "prompt": "p",
        "images": (ImageRef("images/图.png", "ab" * 32), ImageRef("gone.png", "")),
        "cluster": str(number),
        "response": "r",
        "verdicts": (Verdict("yes-no/1", "wrong", 1.0, "says no"), Verdict("other/2", "unscored", None)),
        "error": "",
        "skipped": "",
        "seconds": 0.125,
        "stored": False,
    }
    return Record(**{**defaults, **keys})


def run(*records: Record, **keys: Any) -> Run:
    gates = [
        Gate("a", "failure_rate", {"benchmark": ("usb", "x")}, 0.2, None, "evidence", 0.05, 0.1, why="因为"),
        Gate("b", "accuracy", {}, None, 0.2, "assurance", 0.01, 0.0, judge="other"),
    ]
    defaults: dict[str, Any] = {
        "target": "parrot",
        "fingerprint": "f",
        "created": "2026-01-01T00:00:00+00:00",
        "version": "0.1.0",
        "environment": {"python": "3.11"},
        "settings": {"batch_size": "8"},
        "suites": (SuiteInfo("s", "usb", "Title", "ab" * 32, 3),),
        "records": records,
        "gates": tuple(evaluate_gates(records, gates)),
        "policy": "release",
        "notes": ("a note",),
    }
    return Run(**{**defaults, **keys})


def everything() -> Run:
    return run(
        record(1),
        record(2, response=None, verdicts=(), error="OSError: gone"),
        record(3, response=None, verdicts=(), skipped="never published"),
        record(4, response=None, verdicts=()),
        record(5, response="", tags={}, images=(), verdicts=(Verdict("x/1", "half", 1 / 3),), stored=True),
        record(6, response=ODD, prompt=ODD, id="编号 6"),
    )


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "new" / "运行.json"
    save_run(everything(), path)
    assert load_run(path) == everything()
    save_run(load_run(path), tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == path.read_bytes()


def test_a_run_without_records_is_a_run(tmp_path: Path) -> None:
    save_run(run(), tmp_path / "r")
    assert load_run(tmp_path / "r") == run()


@given(st.text(max_size=50), st.text(max_size=200), st.one_of(st.none(), st.floats(0, 1)))
def test_any_answer_survives(
    tmp_path_factory: pytest.TempPathFactory, name: str, answer: str, score: float | None
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.json"
    one = run(record(1, response=answer, id=name, verdicts=(Verdict("j/1", name, score, answer),)))
    save_run(one, path)
    assert load_run(path) == one


def builtins_only(value: object) -> bool:
    if isinstance(value, dict):
        return all(type(key) is str and builtins_only(one) for key, one in value.items())
    if isinstance(value, list):
        return all(builtins_only(one) for one in value)
    return value is None or type(value) in (str, int, bool) or (type(value) is float and math.isfinite(value))


def no_constant(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


def test_the_file_is_plain_json_of_builtins_with_a_record_a_line(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    save_run(everything(), path)
    text = path.read_text(encoding="utf-8")
    content = json.loads(text, parse_constant=no_constant)
    assert builtins_only(content)
    assert content["format"] == FORMAT
    assert "你好" in text
    records = text.partition('"records": [\n')[2].rpartition("\n]\n}\n")[0].split("\n")
    assert len(records) == 6
    assert all(json.loads(line.removesuffix(",")) for line in records)


@pytest.mark.parametrize("number", [math.nan])
def test_what_is_no_number_is_never_written(tmp_path: Path, number: float) -> None:
    path = tmp_path / "r.json"
    try:
        save_run(run(record(1, verdicts=(Verdict("j/1", "x", number),)), gates=()), path)
    except ValueError:
        return
    json.loads(path.read_text(), parse_constant=no_constant)


def test_half_a_surrogate_pair_does_not_cost_the_run(tmp_path: Path) -> None:
    save_run(run(record(1, response=None, verdicts=(), error="\ud800")), tmp_path / "r")


def test_outcomes_are_builtins_and_come_back() -> None:
    outcome = Outcome("s/1", ODD, (Verdict("j/1", "x", 0.5, "why"), Verdict("k/1", "y", None)), "", "", ("ab",), 0.5)
    data = outcome.to_dict()
    assert builtins_only(data)
    assert Outcome.from_dict(json.loads(json.dumps(data))) == outcome
    assert Outcome.from_dict(Outcome("s/1").to_dict()) == Outcome("s/1")


# --- writing


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    save_run(run(record(1)), path)
    before = path.read_bytes()

    def parts() -> Iterator[str]:
        yield "{" * 100_000
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, parts())
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_disk_that_is_full_leaves_the_old_file(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    path = tmp_path / "r.json"
    save_run(run(record(1)), path)
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            save_run(everything(), path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("where", ["folder", "file/r.json", "x" * 300])
def test_a_place_that_cannot_be_written(tmp_path: Path, where: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(OSError):  # noqa: PT011 - any of its kinds
        save_run(run(), tmp_path / where)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX files")
def test_a_device_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with contextlib.suppress(OSError):
        save_run(run(), tmp_path / "pipe")
    assert (tmp_path / "pipe").is_fifo()


# --- what a run remembers of its machine


def test_images_are_named_without_a_path_of_this_machine(tmp_path: Path) -> None:
    case = Case("a", "s", "p", "yes", images=(str(tmp_path / "images" / "图.png"), "/elsewhere/b.png"))
    made = make_record(case, Outcome("s/a", "yes", image_digests=("ab", "cd")), tmp_path)
    assert made.images == (ImageRef("images/图.png", "ab"), ImageRef("b.png", "cd"))
    assert made.cluster == "ab+cd"


def test_a_case_that_was_not_run_has_a_record(tmp_path: Path) -> None:
    made = make_record(Case("a", "s", "p", "yes", images=("/x/b.png",), cluster="own"), None, tmp_path)
    assert (made.response, made.error, made.skipped, made.verdicts) == (None, "", "", ())
    assert (made.images, made.cluster) == ((ImageRef("b.png", ""),), "own")


def test_no_path_of_this_machine_is_in_the_file(project: Project) -> None:
    (project.path / "cases").mkdir()
    (project.path / "cases" / "bad.png").write_bytes(b"no image")
    project.suite([row(1), row(2, images=["bad.png"])])
    project.run_here("--save-run=run.json", project.thresholds({"name": "a", "metric": "accuracy", "min": 0.5}))
    assert str(project.path) not in (project.path / "run.json").read_text()


def test_no_secret_is_in_the_file(project: Project) -> None:
    project.suite([row(1)])
    project.run_here("--save-run=run.json", "--model-args=api_key=sk-very-secret,temperature=0")
    text = (project.path / "run.json").read_text()
    assert "temperature" in text
    assert "sk-very-secret" not in text


def test_how_the_target_was_decoded_is_in_the_file(project: Project) -> None:
    project.suite([row(1)])
    project.run_here("--save-run=run.json", "--model-args=max_new_tokens=64,tokenizer=slow")
    settings = load_run(project.path / "run.json").settings
    assert (settings["model_args.max_new_tokens"], settings["model_args.tokenizer"]) == ("64", "slow")


# --- reading


def damaged(path: Path) -> str:
    with pytest.raises(SetupError) as error:
        load_run(path)
    message = str(error.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a run file: "),
        (b"\xff\xfe", "not a run file: 'utf-8' codec"),
        (b"{", "not a run file: "),
        (b"[" * 100_000, "not a run file: "),
        (b"[]", "not a run file of this program: format is None, expected"),
        (b"null", "not a run file of this program: format is None"),
        (b'{"format": "mmsafety-run/2"}', "not a run file of this program: format is 'mmsafety-run/2', expected 'mmsa"),
        (b'{"format": 1}', "not a run file of this program: format is 1"),
        (b'{"format": "mmsafety-run/1"}', "damaged run file: target: Field required"),
    ],
)
def test_a_file_that_is_no_run_is_said_to_be_none(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "r.json"
    path.write_bytes(content)
    assert damaged(path).startswith(message)


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ('"prompt": "p"', '"prompt": 5', "records.0.prompt"),
        ('"score": 1.0', '"score": "high"', "records.0.verdicts.0.score"),
        ('"stored": false', '"stored": "perhaps"', "records.0.stored"),
        ('"collected": 3', '"collected": null', "suites.0.collected"),
        ('"records": [', '"records_": [', "records"),
    ],
)
def test_a_damaged_run_says_where(tmp_path: Path, old: str, new: str, where: str) -> None:
    path = tmp_path / "r.json"
    save_run(run(record(1)), path)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    assert damaged(path).startswith(f"damaged run file: {where}: ")


def test_half_a_run_is_no_run(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    save_run(run(record(1), record(2)), path)
    text = path.read_text()
    for size in range(0, len(text) - 3, 97):
        path.write_text(text[:size])
        damaged(path)


def test_what_is_no_file_is_no_run(tmp_path: Path) -> None:
    assert "No such file" in damaged(tmp_path / "missing.json")
    assert "Is a directory" in damaged(tmp_path)
