"""Judges by name: the registered ones, objects and classes of the user's, and what is no judge."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from pytest_mmsafety.errors import SetupError
from pytest_mmsafety.judges import Judge
from pytest_mmsafety.judges.registry import check_judge, made, make_judge
from pytest_mmsafety.testing import ScriptedJudge, make_case

OWN = """
from pytest_mmsafety.errors import SetupError
from pytest_mmsafety.testing import ScriptedJudge

fetched = []
ready = ScriptedJudge(0.5, name="ready/1")
number = 7

class Own(ScriptedJudge):
    def __init__(self, args=()):
        super().__init__(name="own/" + ",".join(f"{key}={value}" for key, value in dict(args).items()))

    def fetch(self):
        fetched.append(self.name)

class Bare(ScriptedJudge):
    def __init__(self):
        super().__init__(name="bare/1")

class Fails:
    def __init__(self):
        raise ValueError("two\\nlines")

class Exits:
    def __init__(self):
        raise SystemExit("gone")

class Explains:
    def __init__(self):
        raise SetupError("--judge-args: give a key")

class NoFiles(Bare):
    def fetch(self):
        raise OSError("no disk")

class Listing(Bare):
    def __init__(self):
        super().__init__()
        self.expectations = ["safe"]
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "own_registry_judges", raising=False)
    (tmp_path / "own_registry_judges.py").write_text(OWN)
    return tmp_path


def own(name: str, root: Path, args: dict[str, str] | None = None, *, fetch: bool = False) -> Judge:
    return make_judge(f"own_registry_judges:{name}", root, args, fetch=fetch)


def fetched() -> list[str]:
    module: Any = sys.modules["own_registry_judges"]
    names: list[str] = module.fetched
    return names


@pytest.mark.parametrize("name", ["yes-no", "mmsafeaware-legacy", "choice", "refusal", "guardrank-mini"])
def test_registered_judges_are_made_by_their_name(name: str, tmp_path: Path) -> None:
    judge = make_judge(name, tmp_path)
    assert judge.name.partition("/")[0] == name
    assert isinstance(judge, Judge)


@pytest.mark.parametrize(
    ("name", "args", "wanted"),
    [
        ("ready", {}, "ready/1"),
        ("Bare", {}, "bare/1"),
        ("Own", {}, "own/"),
        ("Own", {"a": "1", "b": "2"}, "own/a=1,b=2"),
    ],
)
def test_an_object_is_taken_and_a_class_is_made(root: Path, name: str, args: dict[str, str], wanted: str) -> None:
    assert own(name, root, args).name == wanted


def test_an_object_is_the_very_one_that_the_module_has(root: Path) -> None:
    assert own("ready", root) is own("ready", root)
    assert own("Bare", root) is not own("Bare", root)
    assert own("ready", root).judge([make_case()], ["a"])[0].score == 0.5


def test_files_are_found_only_when_they_are_asked_for(root: Path) -> None:
    own("Own", root)
    assert fetched() == []
    own("Own", root, {"k": "v"}, fetch=True)
    assert fetched() == ["own/k=v"]
    assert own("ready", root, fetch=True).name == "ready/1"


@pytest.mark.parametrize(
    ("name", "args", "said"),
    [
        ("number", {}, "--judge: own_registry_judges:number: int is no judge; expected name, expectations and judge()"),
        ("Fails", {}, "--judge: own_registry_judges:Fails: ValueError: two lines"),
        ("Exits", {}, "--judge: own_registry_judges:Exits: SystemExit: gone"),
        ("Explains", {}, "--judge-args: give a key"),
        ("NoFiles", {}, "--judge: own_registry_judges:NoFiles: OSError: no disk"),
        (
            "Listing",
            {},
            "--judge: own_registry_judges:Listing: expectations is ['safe']; expected a frozenset of strings",
        ),
        ("Bare", {"a": "1", "b": "2"}, "--judge-args: the judge own_registry_judges:Bare takes no arguments; got a, b"),
        ("ready", {"a": "1"}, "--judge-args: the judge own_registry_judges:ready takes no arguments; got a"),
    ],
)
def test_what_cannot_be_made_is_one_line(root: Path, name: str, args: dict[str, str], said: str) -> None:
    with pytest.raises(SetupError) as error:
        own(name, root, args, fetch=True)
    assert str(error.value) == said


def test_a_name_that_is_not_known_lists_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(SetupError) as error:
        make_judge("guardrank-min", tmp_path)
    said = str(error.value)
    assert said.startswith(
        "--judge: 'guardrank-min' is not known; expected package.module:attribute or one of choice, "
    )
    assert said.endswith("; did you mean 'guardrank-mini'?")


def test_an_attribute_that_is_not_there_names_the_module(root: Path) -> None:
    with pytest.raises(SetupError, match=r"own_registry_judges"):
        own("Owm", root)
    with pytest.raises(SetupError, match=r"no_such_module_of_judges"):
        make_judge("no_such_module_of_judges:x", root)


def test_what_is_registered_and_needs_arguments_gets_an_empty_mapping() -> None:
    def needs(args: dict[str, str]) -> ScriptedJudge:
        return ScriptedJudge(name=f"needs/{len(args)}")

    assert made("needs", needs, {}, registered=True).name == "needs/0"
    assert made("needs", needs, {"a": "b"}, registered=True).name == "needs/1"
    assert made("ready", needs, {}, registered=False) is needs, "an object of the user's is taken as it is"


@pytest.mark.parametrize("expectations", [frozenset({"safe"}), {"safe"}, frozenset()])
def test_expectations_are_any_set(expectations: Any) -> None:
    judge = ScriptedJudge(expectations=expectations)
    assert check_judge(judge, "here") is judge


@pytest.mark.parametrize("lacks", ["name", "expectations", "judge"])
def test_a_judge_that_lacks_a_part_is_none(lacks: str) -> None:
    parts = {"name": "a/1", "expectations": frozenset({"safe"}), "judge": lambda *_: []}
    half = type("Half", (), {name: part for name, part in parts.items() if name != lacks})()
    with pytest.raises(SetupError, match=r"^here: Half is no judge; expected name, expectations and judge\(\)$"):
        check_judge(half, "here")
