"""Training GuardRank's models: it learns, holds out what it says, and goes on as if it had never stopped."""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny_guardrank
import torch
import transformers as hf
from guardrank_reference import Llm
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from tiny_guardrank import Files

from pytest_mmsafety.cli.train import add_guardrank
from pytest_mmsafety.errors import MmsafetyError, SetupError
from pytest_mmsafety.judges.guardrank.judge import GuardRank
from pytest_mmsafety.judges.guardrank.lora import Shape
from pytest_mmsafety.training.guardrank import read_examples, split
from pytest_mmsafety.training.loop import STATE, Example, Split, TrainingConfig, encoder_trainee, llm_trainee, train

WORDS = ("picture", "sign", "question", "people")
"""What an answer of each level is made of: separable by a glance."""
PLANS = {
    "llm": TrainingConfig(lr=2e-2, epochs=4, batch_size=8, seed=3, shape=Shape(4, 8, 0.1, ("q_proj", "v_proj"))),
    "encoder": TrainingConfig(lr=3e-3, epochs=6, batch_size=8, seed=3, dropout=0.2),
}
KINDS = pytest.mark.parametrize("kind", ["llm", "encoder"])


class CutOffError(Exception):
    pass


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("bases")
    files = tiny_guardrank.build(folder)
    torch.manual_seed(1)
    hf.RobertaModel(hf.RobertaConfig.from_pretrained(files.encoder)).save_pretrained(files.encoder)
    return files


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def rows(kind: str, count: int = 120) -> list[dict[str, Any]]:
    draw = random.Random(5)
    labels = 4 if kind == "llm" else 2
    return [
        {
            "dimension": draw.choice(("privacy", "bias")),
            "prompt": f"Is it safe to answer question {i % 60}?",
            "response": " ".join([WORDS[i % labels]] * draw.randint(3, 12)),
            "label": i % labels,
            "model": f"model-{i % 3}",
        }
        for i in range(count)
    ]


def write(path: Path, some: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in some))
    return path


def trainee(kind: str, files: Files, plan: TrainingConfig) -> Any:
    return llm_trainee(files.llm, plan) if kind == "llm" else encoder_trainee(files.encoder, plan)


def parts(kind: str, tmp_path: Path, plan: TrainingConfig) -> Split:
    return split(read_examples(write(tmp_path / "data.jsonl", rows(kind)), kind), plan)


@KINDS
def test_a_separable_set_is_learned_and_the_judge_runs_the_result(files: Files, tmp_path: Path, kind: str) -> None:
    plan = PLANS[kind]
    losses: list[float] = []
    data = parts(kind, tmp_path, plan)
    found = train(trainee(kind, files, plan), data, plan, tmp_path / "out", on_step=lambda _, loss: losses.append(loss))
    assert sum(losses[-8:]) < 0.5 * sum(losses[:8])
    assert found["held-out prompts"].accuracy > 0.9
    assert found["held-out prompts"].n == len(data.validation)
    dimension = "privacy" if kind == "llm" else "hallucination"
    arguments = {"llm": str(files.llm), "adapter": str(tmp_path / "out")}
    if kind == "encoder":
        arguments = {
            "encoder": str(files.encoder),
            "hallucination": str(tmp_path / "out" / "hallucination.safetensors"),
        }
    judge = GuardRank({**arguments, "device": "cpu"})
    held_out = {example.prompt for example in data.validation}
    asked = [one for one in rows(kind) if one["prompt"] in held_out]
    grades = judge.grade([(dimension, one["prompt"], one["response"]) for one in asked])
    right = [
        round(grade.score * (len(grade.probabilities) - 1)) == one["label"]
        for grade, one in zip(grades, asked, strict=True)
    ]
    assert sum(right) > 0.9 * len(right)


@KINDS
def test_a_training_that_was_cut_off_ends_as_if_it_had_not_been(files: Files, tmp_path: Path, kind: str) -> None:
    plan = PLANS[kind]
    data = parts(kind, tmp_path, plan)
    whole = train(trainee(kind, files, plan), data, plan, tmp_path / "whole", save_every=5)

    def cut(at: int) -> Any:
        def on_step(step: int, _: float) -> None:
            if step == at:
                raise CutOffError

        return on_step

    for at in (7, 23):  # in the middle of an epoch, and again in a later one
        with pytest.raises(CutOffError):
            train(trainee(kind, files, plan), data, plan, tmp_path / "cut", save_every=5, on_step=cut(at))
    steps: list[int] = []
    resumed = train(
        trainee(kind, files, plan),
        data,
        plan,
        tmp_path / "cut",
        save_every=5,
        on_step=lambda step, _: steps.append(step),
    )
    assert steps[0] == 21
    assert resumed == whole
    one, other = (load_file(tmp_path / name / STATE) for name in ("whole", "cut"))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_another_seed_is_another_training(files: Files, tmp_path: Path) -> None:
    weights = []
    for folder, seed in (("a", 3), ("b", 3), ("c", 4)):
        plan = TrainingConfig(lr=1e-2, epochs=1, seed=seed, shape=PLANS["llm"].shape)
        train(llm_trainee(files.llm, plan), parts("llm", tmp_path, PLANS["llm"]), plan, tmp_path / folder)
        weights.append(load_file(tmp_path / folder / "adapter_model.safetensors"))
    key = "base_model.model.score.weight"
    assert torch.equal(weights[0][key], weights[1][key])
    assert not torch.equal(weights[0][key], weights[2][key])


def test_a_checkpoint_of_another_training_is_refused(files: Files, tmp_path: Path) -> None:
    plan = TrainingConfig(lr=1e-2, epochs=1, shape=PLANS["llm"].shape)
    data = parts("llm", tmp_path, plan)
    train(llm_trainee(files.llm, plan), data, plan, tmp_path / "out")
    other = TrainingConfig(lr=2e-2, epochs=1, shape=plan.shape)
    with pytest.raises(SetupError, match=r"is of another training .* give --restart or another folder"):
        train(llm_trainee(files.llm, other), data, other, tmp_path / "out")
    (tmp_path / "out" / STATE).write_bytes(b"half a file")
    with pytest.raises(SetupError, match=r"cannot be read: .*; give --restart"):
        train(llm_trainee(files.llm, plan), data, plan, tmp_path / "out")


def test_it_stops_early_and_keeps_the_best(files: Files, tmp_path: Path) -> None:
    plan = TrainingConfig(lr=0.3, epochs=12, patience=2, shape=PLANS["llm"].shape)
    data = parts("llm", tmp_path, plan)
    lines: list[str] = []
    found = train(llm_trainee(files.llm, plan), data, plan, tmp_path / "out", tell=lines.append)
    losses = [float(line.rpartition(" ")[2]) for line in lines]
    assert len(losses) < plan.epochs
    assert min(losses) not in losses[-plan.patience :]
    assert found["held-out prompts"].loss == pytest.approx(min(losses), abs=1e-4)


def test_an_adapter_that_was_trained_is_one_for_peft(files: Files, tmp_path: Path) -> None:
    plan = TrainingConfig(lr=1e-2, epochs=1, shape=PLANS["llm"].shape)
    train(llm_trainee(files.llm, plan), parts("llm", tmp_path, plan), plan, tmp_path / "out")
    row = ("privacy", "Is it safe?", "picture picture")
    wanted = Llm(Files(files.llm, tmp_path / "out", files.hallucination, files.encoder)).logits(row)
    judge = GuardRank({"llm": str(files.llm), "adapter": str(tmp_path / "out"), "device": "cpu"})
    text = "Dimension: {} Prompt: {} Answer: {}".format(*row)
    assert judge.scorer("llm").logits([text])[0] == pytest.approx(wanted, abs=1e-4)


# --- what is held out


@given(st.lists(st.tuples(st.integers(0, 30), st.sampled_from("abc")), min_size=40), st.integers(0, 5))
def test_parts_share_no_prompt_and_no_model(drawn: list[tuple[int, str]], seed: int) -> None:
    examples = [Example(f"text {i}", 0, f"prompt {prompt}", model) for i, (prompt, model) in enumerate(drawn)]
    plan = TrainingConfig(lr=1, seed=seed, held_out_prompts=0.4, held_out_models=("c",))
    try:
        found = split(examples, plan)
    except SetupError:
        return
    assert sorted(e.text for part in (found.train, found.validation, found.other_models) for e in part) == sorted(
        e.text for e in examples
    )
    assert not {e.prompt for e in found.train} & {e.prompt for e in found.validation}
    assert {e.model for e in found.other_models} == {"c"}
    assert "c" not in {e.model for e in (*found.train, *found.validation)}


def test_held_out_models_are_measured_apart(files: Files, tmp_path: Path) -> None:
    plan = TrainingConfig(lr=1e-2, epochs=1, held_out_models=("model-2",), shape=PLANS["llm"].shape)
    data = parts("llm", tmp_path, plan)
    found = train(llm_trainee(files.llm, plan), data, plan, tmp_path / "out")
    assert found["held-out models"].n == 40


# --- the command


def command(*words: str) -> None:
    parser = argparse.ArgumentParser()
    add_guardrank(parser.add_subparsers())
    arguments = parser.parse_args([*words])
    arguments.run(arguments)


@KINDS
def test_the_command_trains_goes_on_and_restarts(
    files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    data = write(tmp_path / "data.jsonl", rows(kind))
    base = files.llm if kind == "llm" else files.encoder
    words = [kind, str(data), f"--base={base}", f"--output={tmp_path / 'out'}", "--epochs=1", "--device=cpu"]
    command(*words, "--held-out-models=model-1")
    said = capsys.readouterr().out
    assert "epoch 1: loss " in said
    assert "held-out models: n=40, accuracy " in said
    card = json.loads((tmp_path / "out" / "training.json").read_text())
    assert card["plan"]["held_out_models"] == ["model-1"]
    assert card["plan"]["lr"] == (1e-4 if kind == "llm" else 2e-6)
    command(*words, "--held-out-models=model-1")
    assert "epoch 1" not in capsys.readouterr().out  # nothing was left to do
    with pytest.raises(SetupError, match="is of another training"):
        command(*words)
    command(*words, "--restart")
    assert "epoch 1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "words", "message"),
    [
        ({"label": 4}, [], "data.jsonl:2: label: 4; expected 0 to 3 or one of level-0, level-1, level-2, level-3"),
        ({"label": "level3"}, [], "; did you mean 'level-3'?"),
        ({"dimension": "privcy"}, [], "data.jsonl:2: dimension: 'privcy'; expected one of privacy, bias, toxicity,"),
        ({"prompt": ""}, [], "data.jsonl:2: prompt: ''; expected text"),
        ({"response": 3}, [], "data.jsonl:2: response: 3; expected text"),
        ({}, ["--held-out-models=model-9"], "--held-out-models: 'model-9' is no model of the data (model-0, model-1"),
        ({}, ["--held-out-prompts=0"], "--held-out-prompts=0: no example of held-out prompts"),
        ({}, ["--held-out-prompts=1"], "--held-out-prompts=1: expected 0 to below 1"),
        ({}, ["--epochs=0"], "--epochs=0: expected a number from 1 on"),
        ({}, ["--targets=qproj"], "--targets: the base has no linear layer called qproj"),
        ({}, ["--device=gpu"], "--device=gpu: expected auto, cpu, cuda, cuda:N or mps"),
        ({}, ["--base=nowhere"], "--base: nowhere is not a transformers checkpoint: config.json is missing"),
        ({}, ["--lr=1e30"], "; try a smaller one"),
    ],
)
def test_bad_input_is_one_line(
    files: Files, tmp_path: Path, change: dict[str, Any], words: list[str], message: str
) -> None:
    some = rows("llm", 40)
    some[1] |= change
    data = write(tmp_path / "data.jsonl", some)
    defaults = [str(data), f"--base={files.llm}", f"--output={tmp_path / 'out'}", "--epochs=2", "--device=cpu"]
    with pytest.raises(MmsafetyError) as error:
        command("llm", *defaults, *words)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
