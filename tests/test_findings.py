"""Findings, and how a run keeps them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from perturbed import BOTH

from pytest_mmsafety import Change, Finding
from pytest_mmsafety.errors import SetupError
from pytest_mmsafety.findings import simplest
from pytest_mmsafety.perturbations import PERTURBATIONS
from pytest_mmsafety.run import load_run, save_run
from pytest_mmsafety.testing import make_finding, make_record, make_run


@pytest.fixture(autouse=True)
def _perturbations(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, perturbation in BOTH.items():
        monkeypatch.setitem(PERTURBATIONS, name, perturbation)


def test_the_simplest_is_the_first_of_each_case() -> None:
    first, second, other = make_finding("demo/1"), make_finding("demo/1", calls=2), make_finding("demo/2")
    assert simplest([first, second, other]) == [first, other]
    assert simplest([]) == []


def test_findings_and_judge_faults_are_saved_and_loaded(tmp_path: Path) -> None:
    finding = make_finding(
        "demo/1", (Change("shout", 0.25, {"mark": "?", "words": (0, 2)}), Change("blur", 1.0)), calls=3
    )
    run = make_run([make_record(1)], findings=(finding,), judge_faults=(make_finding("demo/1", calls=9),))
    save_run(run, tmp_path / "r.json")
    assert load_run(tmp_path / "r.json") == run
    assert json.loads((tmp_path / "r.json").read_text())["findings"] == [
        {
            "case": "demo/1",
            "direction": "right-to-wrong",
            "perturbations": [
                {"name": "shout", "strength": 0.25, "parameters": {"mark": "?", "words": [0, 2]}},
                {"name": "blur", "strength": 1.0, "parameters": {}},
            ],
            "calls": 3,
            "answer_before": "yes",
            "answer_after": "no",
        }
    ]


def test_the_baselines_of_the_repository_have_none() -> None:
    root = Path(__file__).parents[1]
    for path in (root / "reports" / "baselines").glob("*.json"):
        run = load_run(path)
        assert (run.findings, run.judge_faults) == ((), ())


@pytest.mark.parametrize("key", ["findings", "judge_faults"])
@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"case": "demo/12"}, "0.case: 'demo/12' is not among the records; did you mean 'demo/1'?"),
        ({"calls": 0}, "0.calls: 0; expected at least 1"),
        ({"perturbations": []}, "0.perturbations: there is none; expected at least one"),
        ({"direction": "up"}, "0.direction: Input should be 'safe-to-unsafe', 'answered-to-refused' or 'right-"),
        ({"answer": "x"}, "0.answer: unknown key; did you mean 'answer_after'?"),
        (
            {"perturbations": [{"name": "shoutt", "strength": 1, "parameters": {}}]},
            "0.perturbations.0: 'shoutt' is no perturbation; expected one of ",
        ),
        (
            {"perturbations": [{"name": "shout", "strength": 1.5, "parameters": {}}]},
            "0.perturbations.0: shout: strength 1.5; expected a number from 0 to 1",
        ),
        (
            {"perturbations": [{"name": "shout", "strength": 1, "parameters": {"mark": "#"}}]},
            "0.perturbations.0: shout: mark: '#'; expected one of !, ?",
        ),
        ({"perturbations": [{"name": "shout", "strength": "1"}]}, "0.perturbations.0.strength: Input should be a"),
    ],
)
def test_what_cannot_be_a_finding_is_refused_with_its_place(
    tmp_path: Path, key: str, change: dict[str, Any], problem: str
) -> None:
    path = tmp_path / "r.json"
    save_run(make_run([make_record(1)], **{key: (make_finding("demo/1"),)}), path)
    content = json.loads(path.read_text())
    content[key][0] |= change
    path.write_text(json.dumps(content))
    with pytest.raises(SetupError) as error:
        load_run(path)
    assert str(error.value).startswith(f"{path}: damaged run file: {key}.{problem}")
    assert "\n" not in str(error.value)


def test_a_finding_is_public() -> None:
    assert Finding("demo/1", "right-to-wrong", (Change("shout", 0.5),), 1, "yes", "no").case == "demo/1"
