"""The run file: what goes in comes out, and a file that is none is said to be none."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_mmsafety.errors import SetupError
from pytest_mmsafety.evaluation.evaluate import evaluate_gates
from pytest_mmsafety.files import write_atomically
from pytest_mmsafety.outcomes import Outcome
from pytest_mmsafety.run import FORMAT, ImageRef, Record, Run, RunSettings, load_run, save_run
from pytest_mmsafety.run import make_record as record_of
from pytest_mmsafety.testing import make_case, make_gate, make_record, make_run, make_verdict
from pytest_mmsafety.verdicts import Verdict

ODD = "你好 👍 \x00\x01\x1b[31m \u2028\u2029 \\ \" ' </script> \r\n " + "长" * 100_000


def record(number: int | str = 1, **changes: Any) -> Record:
    """A record with something in every field."""
    values: dict[str, Any] = {
        "tags": {"benchmark": "usb", "类别": "隐私"},
        "prompt": "p",
        "images": (ImageRef("images/图.png", "ab" * 32), ImageRef("gone.png", "")),
        "response": "r",
        "verdicts": (make_verdict(1.0, label="wrong", reason="says no"), make_verdict(None, "other/2")),
        "seconds": 0.125,
    }
    return make_record(number, **{**values, **changes})


def run(*records: Record, **changes: Any) -> Run:
    """A run with something in every field."""
    gates = [
        make_gate(name="a", where={"benchmark": ("usb", "x")}, why="因为"),
        make_gate(name="b", metric="accuracy", min=0.2, rule="assurance", alpha=0.01, max_unscored=0.0, judge="other"),
    ]
    values: dict[str, Any] = {
        "settings": RunSettings("parrot", {"temperature": "0"}, "mine:Harm", {"llm": "a"}, 4, 2, 0.5, True, 7),
        "gates": tuple(evaluate_gates(records, gates)),
        "policy": "release",
        "notes": ("a note",),
    }
    return make_run(records, **{**values, **changes})


def everything() -> Run:
    return run(
        record(1),
        record(2, response=None, verdicts=(), error="OSError: gone"),
        record(3, response=None, verdicts=(), skipped="never published", skip_kind="unpublished"),
        record(4, response=None, verdicts=()),
        record(5, response="", tags={}, images=(), verdicts=(make_verdict(1 / 3, "x/1", "half"),), stored=True),
        record("编号 6", response=ODD, prompt=ODD),
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
    one = run(record(name, response=answer, verdicts=(Verdict("j/1", name, score, answer),)))
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
    outcome = Outcome(
        case="s/1",
        response=ODD,
        verdicts=(Verdict("j/1", "x", 0.5, "why"), Verdict("k/1", "y", None)),
        error="damaged image",
        error_file="/x/b.png",
        skipped="never published",
        skip_kind="unpublished",
        image_digests=("ab",),
        seconds=0.5,
        stored=True,
    )
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
    case = make_case(images=(str(tmp_path / "images" / "图.png"), "/elsewhere/b.png"))
    made = record_of(case, Outcome(case.key, "yes", image_digests=("ab", "cd")), tmp_path)
    assert made.images == (ImageRef("images/图.png", "ab"), ImageRef("b.png", "cd"))
    assert made.cluster == "ab+cd"


@pytest.mark.parametrize(("file", "name"), [("images/图.png", "images/图.png"), ("/elsewhere/b.png", "b.png")])
def test_an_error_about_a_file_names_it_without_a_path_of_this_machine(tmp_path: Path, file: str, name: str) -> None:
    outcome = Outcome("demo/1", error="damaged image", error_file=str(tmp_path / file))
    assert record_of(make_case(), outcome, tmp_path).error == f"{name}: damaged image"


def test_a_case_that_was_not_run_has_a_record(tmp_path: Path) -> None:
    made = record_of(make_case(images=("/x/b.png",), cluster="own"), None, tmp_path)
    assert (made.response, made.error, made.skipped, made.skip_kind, made.verdicts) == (None, "", "", "", ())
    assert (made.images, made.cluster) == ((ImageRef("b.png", ""),), "own")


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
        (b"[]", "not a run file of this program; format is None, expected"),
        (b"null", "not a run file of this program; format is None"),
        (
            b'{"format": "mmsafety-labels/1"}',
            "not a run file of this program; format is 'mmsafety-labels/1', expected 'mmsa",
        ),
        (b'{"format": 1}', "not a run file of this program; format is 1"),
        (b'{"format": "mmsafety-run/2"}', "damaged run file: target: Field required"),
    ],
)
def test_a_file_that_is_no_run_is_said_to_be_none(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "r.json"
    path.write_bytes(content)
    assert damaged(path).startswith(message)


@pytest.mark.parametrize("version", ["1", "3"])
def test_a_run_of_another_version_is_refused_in_one_line_that_says_how_to_make_a_new_one(
    tmp_path: Path, version: str
) -> None:
    path = tmp_path / "r.json"
    save_run(run(record(1)), path)
    path.write_text(path.read_text().replace(FORMAT, f"mmsafety-run/{version}", 1))
    assert damaged(path) == (
        "a run file of another version; make it again: pytest --model=... --save-run=FILE "
        "(stored answers are not asked for again)"
        f"; format is 'mmsafety-run/{version}', expected 'mmsafety-run/2'"
    )


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ('"prompt": "p"', '"prompt": 5', "records.0.prompt"),
        ('"score": 1.0', '"score": "high"', "records.0.verdicts.0.score"),
        ('"stored": false', '"stored": "perhaps"', "records.0.stored"),
        ('"collected": 1', '"collected": null', "suites.0.collected"),
        ('"subset": 0.5', '"subset": "half"', "settings.subset"),
        ('"gates": [{"gate"', '"gates": [{"door"', "gates.0.gate"),
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


# --- a hostile file


AGAIN = "; make it again: pytest --model=... --save-run=FILE (stored answers are not asked for again)"


@pytest.mark.parametrize(
    ("where", "value", "problem"),
    [
        ("records.0.verdicts.0.score", -1, "records.0.verdicts.0.score: -1.0; expected a number from 0 to 1"),
        ("records.0.verdicts.0.score", 5, "records.0.verdicts.0.score: 5.0; expected a number from 0 to 1"),
        ("records.0.verdicts.0.score", "0", "records.0.verdicts.0.score: Input should be a valid number"),
        ("records.0.verdicts.0.score", False, "records.0.verdicts.0.score: Input should be a valid number"),
        ("records.0.verdicts.0.probabilities", {"no": 1.5}, "records.0.verdicts.0.probabilities.no: 1.5; expected a"),
        ("records.0.verdicts.0.probabilities", {"no": None}, "records.0.verdicts.0.probabilities.no: Input should be"),
        ("records.0.verdicts.0.labl", "x", "records.0.verdicts.0.labl: unknown key; did you mean 'label'?"),
        ("records.0.key", "demo/2", "records.1.key: 'demo/2' is there twice"),
        ("records.0.id", "7", "records.0.key: 'demo/1'; expected suite/id"),
        ("records.0.suite", "demoo", "suites.0.collected: 3, but it has 2 records"),
        ("records.0.expected", "bogus", "records.0.expected: 'bogus' is no expectation"),
        ("records.0.images.0.sha256", "abc", "records.0.images.0.sha256: 'abc'; expected a SHA-256, or nothing"),
        ("records.0.seconds", -1, "records.0.seconds: -1.0; expected at least 0"),
        ("records.0.prompt_tokens", 1.5, "records.0.prompt_tokens: Input should be a valid integer"),
        ("records.0.answer_tokens", -1, "records.0.answer_tokens: -1; expected at least 0"),
        ("records.0.end", "bored", "records.0.end: Input should be '', 'stop', 'length' or 'thinking'"),
        ("records.0.skip_kind", "lazy", "records.0.skip_kind: Input should be ''"),
        ("records.0.tags.n", 1, "records.0.tags.n: Input should be a valid string"),
        ("records.0.stored", 0, "records.0.stored: Input should be a valid boolean"),
        ("records.0.note", "x", "records.0.note: unknown key"),
        ("suites.0.collected", 4, "suites.0.collected: 4, but it has 3 records"),
        ("suites.0.collected", 3.5, "suites.0.collected: Input should be a valid integer"),
        ("suites.0.name", "dem", "suites.0.collected: 3, but it has 0 records"),
        ("suites.0.sha256", "", "suites.0.sha256: ''; expected a SHA-256"),
        ("settings.subset", 0, "settings.subset: 0.0; expected a share above 0, at most 1"),
        ("settings.batch_size", 0, "settings.batch_size: 0; expected at least 1"),
        ("settings.samples", "2", "settings.samples: Input should be a valid integer"),
        ("settings.target_calls", -1, "settings.target_calls: -1; expected at least 0"),
        ("settings.seed", "1", "settings.seed: unknown key"),
        ("gates.0.status", "fine", "gates.0.status: Input should be 'passed', 'failed'"),
        ("gates.0.gate.rule", "hope", "gates.0.gate.rule: Input should be 'evidence' or 'assurance'"),
        ("gates.0.gate.family", "mine", "gates.0.gate.family: Input should be 'holm', 'fdr' or 'none'"),
        ("gates.0.gate.metric", "accuracyy", "gates.0.gate.metric: 'accuracyy' is not known; did you mean 'accuracy'?"),
        ("gates.0.gate.max", 1.2, "gates.0.gate.max: 1.2; expected a number from 0 to 1"),
        ("gates.0.gate.alpha", 0, "gates.0.gate.alpha: 0.0; expected a number between 0 and 1"),
        ("gates.0.gate.min_cases", -1, "gates.0.gate.min_cases: -1; expected at least 0"),
        ("gates.0.gate.name", "b", "gates.1.name: 'b' is there twice"),
        ("gates.0.counts.n", 1.5, "gates.0.counts.n: Input should be a valid integer"),
        ("gates.0.counts.n", -1, "gates.0.counts.n: -1; expected at least 0"),
        ("gates.0.blocks", 0, "gates.0.blocks: Input should be a valid boolean"),
        ("gates.0.p_value", 2, "gates.0.p_value: 2.0; expected a number from 0 to 1"),
        ("gates.0.estimate", {"value": -1, "low": 0, "high": 1}, "gates.0.estimate.value: -1.0; expected a number"),
        ("gates.0.decided_after", -3, "gates.0.decided_after: -3; expected at least 0"),
        ("notes", "a note", "notes: Input should be a valid array"),
        ("noted", [], "noted: unknown key; did you mean 'notes'?"),
        ("digest", None, "digest: None; expected a SHA-256"),
        ("digest", "AB" * 32, "digest: 'ABAB"),
    ],
)
def test_what_cannot_be_in_a_run_is_refused_with_its_place(
    tmp_path: Path, where: str, value: object, problem: str
) -> None:
    path = tmp_path / "r.json"
    save_run(run(record(1), record(2), record(3)), path)
    content = json.loads(path.read_text())
    *parents, last = where.split(".")
    inside = content
    for part in parents:
        inside = inside[int(part) if part.isdigit() else part]
    inside[last] = value
    path.write_text(json.dumps(content))
    assert damaged(path).startswith(f"damaged run file: {problem}")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_what_is_no_number_is_never_read(tmp_path: Path, number: str) -> None:
    path = tmp_path / "r.json"
    save_run(run(record(1)), path)
    path.write_text(path.read_text().replace('"score": 1.0', f'"score": {number}', 1))
    assert damaged(path) == f"not a run file: {number} is not a finite number"


def test_a_key_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    save_run(run(record(1)), path)
    path.write_text(path.read_text().replace('"score": 1.0', '"score": 1.0, "score": 0.0', 1))
    assert damaged(path) == "not a run file: key 'score' is given twice"


@pytest.mark.parametrize("what", ["removed", "doubled", "answer", "score", "tag", "reason", "order"])
def test_records_that_are_not_those_that_were_saved_are_refused(tmp_path: Path, what: str) -> None:
    path = tmp_path / "r.json"
    save_run(run(record(1), record(2)), path)
    content = json.loads(path.read_text())
    first, second = content["records"]
    if what == "removed":
        content["records"] = [first]
        content["suites"][0]["collected"] = 1
    elif what == "doubled":
        content["records"].append({**first, "key": "demo/3", "id": "3"})
        content["suites"][0]["collected"] = 3
    elif what == "order":
        content["records"] = [second, first]
    else:
        changes: dict[str, Any] = {"answer": {"response": "R"}, "tag": {"tags": {**first["tags"], "类别": "毒性"}}}
        verdict = {"score": {"score": 0.0}, "reason": {"reason": "says yes"}}
        first |= changes.get(what, {})
        first["verdicts"][0] |= verdict.get(what, {})
    path.write_text(json.dumps(content))
    message = damaged(path)
    assert message.startswith("it was changed after it was saved: its digest is ")
    assert message.endswith(AGAIN)


@pytest.mark.parametrize("what", ["gates", "failures", "notes", "target", "complete"])
def test_a_head_that_is_not_the_one_that_was_saved_is_refused(tmp_path: Path, what: str) -> None:
    path = tmp_path / "r.json"
    save_run(everything(), path)
    content = json.loads(path.read_text(encoding="utf-8"))
    other = {"gates": [], "failures": ["x"], "notes": ["x"], "target": "x", "complete": False}
    path.write_text(json.dumps({**content, what: other[what]}), encoding="utf-8")
    assert damaged(path).startswith("it was changed after it was saved: its digest is ")


def test_the_digest_is_of_the_lines_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    save_run(everything(), path)
    text = path.read_text(encoding="utf-8")
    lines = [line.removesuffix(",") for line in text.split("\n")[:-1] if line not in ("{", '"records": [', "]", "}")]
    digest = hashlib.sha256("\n".join(lines[2:]).encode()).hexdigest()
    assert json.loads(text)["digest"] == digest


def test_whole_numbers_of_a_judge_are_no_change(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    save_run(run(record(1, verdicts=(Verdict("j/1", "x", 1),)), gates=()), path)
    assert load_run(path).records[0].score == 1


def test_how_the_file_is_laid_out_is_no_change(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    save_run(everything(), path)
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")), indent=3))
    assert load_run(path) == everything()


def attacked_run() -> Run:
    tags = [
        {}, {"attack": "regression", "original": "other/1"}, {"attack": "search", "original": "demo/0"},
        {"attack": "universal", "original": "demo/1"}, {"attack": "sweep", "plain": "1"}, {"attack": "sweep"},
    ]  # fmt: skip
    return make_run([make_record(i, tags=of_case) for i, of_case in enumerate(tags)])


def test_what_an_attack_made_is_told_from_the_cases_of_the_suites() -> None:
    records = attacked_run().records
    assert [each.attacked_by for each in records] == ["", "", "search", "universal", "sweep", "sweep"]
    assert [each.original for each in records] == ["demo/0", "demo/1", "demo/0", "demo/1", "demo/1", "demo/5"]
    assert attacked_run().own_records == records[:2]


def test_a_run_without_attacks_has_its_own_cases_and_is_whole(tmp_path: Path) -> None:
    own = attacked_run().without_attacks()
    assert [info.collected for info in own.suites] == [2]
    save_run(own, tmp_path / "run.json")
    assert load_run(tmp_path / "run.json").records == attacked_run().records[:2]
    assert own.without_attacks() is own
