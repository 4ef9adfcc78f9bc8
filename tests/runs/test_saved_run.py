"""``--save-run``: what a whole run remembers of its machine, and what it must not."""

from __future__ import annotations

from project import Project, row

from pytest_mmsafety.run import load_run


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
    assert settings.model_args == {"max_new_tokens": "64", "tokenizer": "slow"}
