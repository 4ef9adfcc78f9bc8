"""The teacher: which states of which tokens it gives, alone as in a batch, and what is kept of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_guardrank
import torch
import transformers as hf
from mini_material import labelled

from pytest_mmsafety.errors import SetupError
from pytest_mmsafety.targets.embedded.weights import SMOLLM2
from pytest_mmsafety.training.mini.held_out import HeldOutConfig, train
from pytest_mmsafety.training.mini.sources import LabelledAnswer
from pytest_mmsafety.training.mini.teacher import (
    ANSWER_TOKENS,
    BATCH,
    LAYERS,
    PROMPT_TOKENS,
    _load,
    _tokens,
    hidden_states,
)

WIDTH = 16


def answer(question: str, response: str) -> LabelledAnswer:
    return LabelledAnswer("s", question, response, harm=True, refusal=None)


ANSWERS = [answer(*pair) for pair in tiny_guardrank.pairs(BATCH + 5, seed=2)] + [
    answer("为何？", "是"),
    answer("q", "a " * 900),
]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder with a model of random weights, as deep as the real one needs to be."""
    folder = tmp_path_factory.mktemp("cache")
    shape = {"hidden_size": WIDTH, "intermediate_size": 16, "num_hidden_layers": 24, "num_attention_heads": 2}
    files = tiny_guardrank.build(folder / "built", llm=shape)
    files.llm.rename(folder / SMOLLM2.folder)
    return folder


@pytest.fixture(autouse=True)
def _installed(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("MMSAFETY_CACHE", str(cache))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def states(cache: Path) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MMSAFETY_CACHE", str(cache))
        return hidden_states(ANSWERS, None, lambda _, __: None)


def close(one: Any, other: Any) -> bool:
    """As far as half a number's bits tell."""
    return bool(np.allclose(one, other, rtol=2e-3, atol=2e-3))


def test_states_are_means_over_the_answer_of_the_whole_models_layers(cache: Path, states: Any) -> None:
    """The layers above the last one that is read are cut off, and with them the final normalisation."""
    folder = cache / SMOLLM2.folder
    tokenizer, model = hf.AutoTokenizer.from_pretrained(folder), hf.AutoModel.from_pretrained(folder).eval()
    assert len(model.layers) == 24 > max(LAYERS)
    for i in (0, 1, len(ANSWERS) - 2):
        tokens, start = _tokens(tokenizer, ANSWERS[i])
        with torch.inference_mode():
            found = model(input_ids=torch.tensor([tokens]), output_hidden_states=True).hidden_states
        wanted = np.concatenate([found[layer][0, start:].mean(0).numpy() for layer in LAYERS])
        assert close(states[i], wanted), i


def test_an_answer_has_the_same_states_alone_and_among_others(states: Any) -> None:
    assert states.shape == (len(ANSWERS), len(LAYERS) * WIDTH)
    assert states.dtype == np.float32
    for i in (0, 7, len(ANSWERS) - 1):
        assert close(hidden_states([ANSWERS[i]], None, lambda _, __: None)[0], states[i])
    assert close(hidden_states(ANSWERS[::-1], None, lambda _, __: None)[::-1], states)


def test_another_question_gives_an_answer_other_states(states: Any) -> None:
    other = hidden_states([ANSWERS[0]._replace(question="为何？")], None, lambda _, __: None)[0]
    assert not close(other, states[0])


def test_every_batch_is_told_of() -> None:
    told: list[tuple[int, int]] = []
    hidden_states(ANSWERS, None, lambda done, of: told.append((done, of)))
    assert told == [(BATCH, len(ANSWERS)), (len(ANSWERS), len(ANSWERS))]


def test_tokens_of_question_and_answer_are_cut_apart() -> None:
    tokenizer, _ = _load()
    tokens, start = _tokens(tokenizer, answer("Why? " * 500, "So. " * 900))
    between = tokenizer("\nAnswer: ")["input_ids"]
    assert start == PROMPT_TOKENS + len(between)
    assert len(tokens) == start + ANSWER_TOKENS
    assert tokens[PROMPT_TOKENS:start] == between
    short, begin = _tokens(tokenizer, answer("Why?", "So."))
    assert short[begin:] == tokenizer("So.")["input_ids"]
    assert short[: begin - len(between)] == tokenizer("Prompt: Why?")["input_ids"]


def test_the_cache_gives_what_was_read_and_only_of_the_same_answers(tmp_path: Path, states: Any) -> None:
    told: list[int] = []
    file = tmp_path / "deep" / "states"
    first = hidden_states(ANSWERS[:3], file, lambda done, _: told.append(done))
    assert close(first, states[:3])
    assert np.array_equal(hidden_states(ANSWERS[:3], file, lambda done, _: told.append(done)), first)
    assert told == [3], "read once"
    changed = [ANSWERS[0]._replace(response="other"), *ANSWERS[1:3]]
    assert not close(hidden_states(changed, file, lambda done, _: told.append(done)), first)
    assert told == [3, 3]
    relabelled = [one._replace(harm=False) for one in changed]
    hidden_states(relabelled, file, lambda done, _: told.append(done))
    assert told == [3, 3], "a label changes no state"
    assert [path.name for path in file.parent.iterdir()] == ["states"]


def test_a_cache_whose_place_was_taken_meanwhile_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"^--cache: .*states: cannot be written: Is a directory$"):
        hidden_states(ANSWERS[:1], tmp_path / "states", lambda _, __: (tmp_path / "states").mkdir())
    assert [path.name for path in tmp_path.iterdir()] == ["states"], "no half of a cache is left"


def test_a_cache_whose_folder_was_taken_meanwhile_is_one_line(tmp_path: Path) -> None:
    def take(_: int, __: int) -> None:
        (tmp_path / "deep").rmdir()
        (tmp_path / "deep").touch()

    with pytest.raises(SetupError, match=r"^--cache: .*states: cannot be written: Not a directory$"):
        hidden_states(ANSWERS[:1], tmp_path / "deep" / "states", take)


def test_a_training_with_a_teacher_says_so_and_changes_one_factor_alone(tmp_path: Path) -> None:
    answers = [*labelled("one", 8), *labelled("two", 8)]
    lines: list[str] = []
    arrays = []
    for taught in (0, 10):
        plan = HeldOutConfig(seed=1, per_source=100, taught=taught, cache=tmp_path / "states", resamples=5)
        lines.clear()
        found, card = train(answers, plan, lines.append)
        arrays.append(found)
        assert card["taught_per_source"] == taught
        assert (tmp_path / "states").exists() == (taught > 0)
        assert lines[0] == "32 answers, 32 of them to train on: features"
        assert lines[-1] == "the final weights, on all sources"
    with np.load(tmp_path / "states") as kept:
        assert kept["states"].shape == (20, len(LAYERS) * WIDTH), "ten of each source"
    giving, *others = (not np.array_equal(arrays[0]["ngrams"][i], arrays[1]["ngrams"][i]) for i in range(4))
    assert giving
    assert not any(others), "the teacher speaks of harm alone"


def test_without_the_model_it_says_what_to_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMSAFETY_CACHE", str(tmp_path))
    with pytest.raises(SetupError, match=r"^the teacher is not installed; run: mmsafety install embedded$"):
        hidden_states(ANSWERS[:1], None, lambda _, __: None)
