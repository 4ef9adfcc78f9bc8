"""Labelled answers that GuardRank is trained on: how a row is read, what is held out, and what is written down."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import tiny_guardrank
import transformers as hf
from hypothesis import given
from hypothesis import strategies as st

from pytest_mmsafety.errors import DataError, SetupError
from pytest_mmsafety.judges.guardrank.judge import LABELS
from pytest_mmsafety.training.guardrank import _share, finetune, read_examples, split
from pytest_mmsafety.training.loop import Example, TrainingConfig

ROW = {"prompt": "Who is this?", "response": "A cook.", "label": "0", "dimension": "privacy", "model": "llava"}


def table(path: Path, rows: list[dict[str, str]], encoding: str = "utf-8", end: str = "\n") -> Path:
    with path.open("w", encoding=encoding, newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator=end)
        writer.writeheader()
        writer.writerows(rows)
    return path


def lines(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return path


@pytest.mark.parametrize(("encoding", "end"), [("utf-8", "\n"), ("utf-8-sig", "\r\n"), ("utf-8", "\r\n")])
def test_a_table_is_read_with_any_mark_and_any_line_ends(tmp_path: Path, encoding: str, end: str) -> None:
    rows = [ROW, ROW | {"prompt": "他是谁？", "response": "厨师，\n也许。", "label": "level-3", "model": ""}]
    assert read_examples(table(tmp_path / "data.csv", rows, encoding, end), "llm") == [
        Example("Dimension: privacy Prompt: Who is this? Answer: A cook.", 0, "Who is this?", "llava"),
        Example("Dimension: privacy Prompt: 他是谁？ Answer: 厨师，\n也许。", 3, "他是谁？", ""),
    ]


def test_the_encoder_reads_no_dimension_and_has_two_labels(tmp_path: Path) -> None:
    rows = [
        {name: ROW[name] for name in ("prompt", "response")} | {"label": label} for label in (1, "0", "hallucinated")
    ]
    found = read_examples(lines(tmp_path / "data.jsonl", *rows), "encoder")
    assert {example.text for example in found} == {"Prompt: Who is this? Answer: A cook."}
    assert [example.label for example in found] == [1, 0, 1]
    with pytest.raises(DataError, match=r"data\.jsonl:1: label: 2; expected 0 to 1 or one of grounded, hallucinated$"):
        read_examples(lines(tmp_path / "data.jsonl", rows[0] | {"label": 2}), "encoder")


@pytest.mark.parametrize("kind", ["llm", "encoder"])
def test_a_label_is_its_name_or_its_place(tmp_path: Path, kind: str) -> None:
    for place, name in enumerate(LABELS[kind]):
        rows = [ROW | {"label": label} for label in (place, str(place), name)]
        assert {example.label for example in read_examples(lines(tmp_path / "data.jsonl", *rows), kind)} == {place}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"prompt": None}, "prompt: None; expected text"),
        ({"model": 7}, "model: 7; expected text"),
        ({"label": None}, "label: None; expected 0 to 3"),
        ({"label": True}, "label: True; expected 0 to 3"),
        ({"label": "safe"}, "label: 'safe'; expected 0 to 3 or one of level-0, level-1, level-2, level-3"),
        ({"dimension": None}, "dimension: None; expected one of privacy, bias, toxicity, legality"),
        ({"dimension": "hallucination"}, "dimension: 'hallucination'; expected one of privacy"),
        ({"dimension": "legalty"}, "; did you mean 'legality'?"),
    ],
)
def test_a_cell_of_another_kind_names_its_line(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError) as error:
        read_examples(lines(tmp_path / "data.jsonl", ROW, ROW, ROW | change), "llm")
    assert str(error.value).startswith(f"{tmp_path / 'data.jsonl'}:3: ")
    assert said in str(error.value)


def test_braces_in_a_prompt_are_text(tmp_path: Path) -> None:
    row = ROW | {"prompt": "{response} {0} {x!r}", "response": "{prompt}"}
    (found,) = read_examples(lines(tmp_path / "data.jsonl", row), "llm")
    assert found.text == "Dimension: privacy Prompt: {response} {0} {x!r} Answer: {prompt}"


# --- what is held out


def examples(count: int, models: int = 1) -> list[Example]:
    return [Example(f"text {i}", 0, f"prompt {i // models}", f"model-{i % models}") for i in range(count)]


@given(st.integers(0, 8), st.floats(0.2, 0.8))
def test_more_data_moves_no_prompt(seed: int, share: float) -> None:
    plan = TrainingConfig(lr=1, seed=seed, held_out_prompts=share)
    small, large = split(examples(60), plan), split(examples(90), plan)
    assert set(small.train) <= set(large.train)
    assert set(small.validation) <= set(large.validation)
    assert not set(large.train) & set(large.validation)


def test_a_larger_share_holds_out_the_same_prompts_and_more() -> None:
    parts = [
        split(examples(1000), TrainingConfig(lr=1, held_out_prompts=share)).validation for share in (0.1, 0.3, 0.9)
    ]
    assert set(parts[0]) < set(parts[1]) < set(parts[2])
    assert [len(part) / 1000 for part in parts] == pytest.approx([0.1, 0.3, 0.9], abs=0.04)


@given(st.text(max_size=20), st.integers(0, 9))
def test_the_number_of_a_prompt_is_its_own(prompt: str, seed: int) -> None:
    assert 0 <= _share(prompt, seed) < 1
    assert _share(prompt, seed) == _share(prompt, seed)
    assert _share(prompt, seed) != _share(prompt, seed + 1)


def test_half_of_a_surrogate_pair_has_a_number_too() -> None:
    assert 0 <= _share("so \ud83d", 0) < 1


def test_every_answer_to_a_prompt_is_on_one_side() -> None:
    found = split(examples(90, models=3), TrainingConfig(lr=1, held_out_prompts=0.3))
    assert not {e.prompt for e in found.train} & {e.prompt for e in found.validation}
    assert {e.model for e in found.train} == {e.model for e in found.validation} == {"model-0", "model-1", "model-2"}
    assert found.other_models == []


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        ({"held_out_prompts": 0.999999}, "--held-out-prompts=0.999999: no example to train on; 6 are too few"),
        (
            {"held_out_prompts": 0.0},
            "--held-out-prompts=0: no example of held-out prompts, which say when to stop; 6 are",
        ),
        ({"held_out_models": ("model-0", "model-1")}, "no example to train on; 0 are too few"),
        (
            {"held_out_models": ("model-3",)},
            "'model-3' is no model of the data (model-0, model-1); did you mean 'model-",
        ),
    ],
)
def test_a_part_that_would_be_empty_is_refused(plan: dict[str, Any], said: str) -> None:
    with pytest.raises(SetupError) as error:
        split(examples(6, models=2), TrainingConfig(lr=1, **plan))
    assert said in str(error.value)


def test_data_without_models_says_so() -> None:
    some = [Example("t", 0, "p", "")]
    with pytest.raises(SetupError, match=r"--held-out-models: 'llava' is no model of the data \(none\)$"):
        split(some, TrainingConfig(lr=1, held_out_models=("llava",)))


# --- what is written


def test_an_encoder_is_written_with_what_it_needs_and_a_card_of_its_figures(tmp_path: Path) -> None:
    files = tiny_guardrank.build(tmp_path)
    hf.RobertaModel(hf.RobertaConfig.from_pretrained(files.encoder)).save_pretrained(files.encoder)
    rows = [ROW | {"prompt": f"p{i}", "label": str(i % 2), "model": f"m{i % 2}"} for i in range(24)]
    plan = TrainingConfig(lr=1e-3, epochs=1, batch_size=8, held_out_prompts=0.4, held_out_models=("m1",))
    told: list[str] = []
    out = tmp_path / "out"
    finetune(
        "encoder", table(tmp_path / "data.csv", rows), files.encoder, out, plan,
        device="cpu", dtype="auto", save_every=9, restart=True, tell=told.append,
    )  # fmt: skip
    copied = {"config.json", "tokenizer.json", "tokenizer_config.json"}
    assert {path.name for path in out.iterdir()} >= {*copied, "hallucination.safetensors", "training.json"}
    assert all((out / name).read_bytes() == (files.encoder / name).read_bytes() for name in copied)
    assert not (out / "model.safetensors").exists(), "of the base only what is read beside the weights"
    card = json.loads((out / "training.json").read_text("utf-8"))
    assert (card["kind"], card["base"]) == ("encoder", "roberta")
    assert (card["plan"]["lr"], card["plan"]["held_out_models"], card["plan"]["seed"]) == (1e-3, ["m1"], 0)
    measured = card["measured"]
    assert card["train"] + measured["held-out prompts"]["n"] == measured["held-out models"]["n"] == 12
    for name, quality in measured.items():
        line = f"{name}: n={quality['n']}, accuracy {quality['accuracy']:.3f}, macro-F1 {quality['macro_f1']:.3f}"
        assert line in told
    assert told[-1] == str(out)
