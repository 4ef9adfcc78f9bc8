"""GuardRank's models in memory: batches by length, memory that runs out, and bases that are of another kind."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny_guardrank
import torch
import transformers as hf
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from tiny_guardrank import Files

from pytest_mmsafety.errors import SetupError
from pytest_mmsafety.judges.guardrank.models import (
    MARGIN,
    Place,
    Scorer,
    _loading,
    by_length,
    encoder_of,
    load_encoder,
    load_llm,
    place_of,
)

WHERE = {name: f"--judge-args {name}=x" for name in ("llm", "adapter", "hallucination", "encoder")}
PLACE = Place("cpu", "float32", 1024)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return tiny_guardrank.build(tmp_path_factory.mktemp("scorer"))


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Room:
    """A model with room for so many tokens, that gives for a text its length and its sum."""

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens
        self.batches: list[list[list[int]]] = []

    def __call__(self, ids: Any, rows: list[list[int]]) -> Any:
        self.batches.append(ids.tolist())
        if ids.numel() > self.tokens:
            raise torch.OutOfMemoryError("full")
        return torch.tensor([[float(len(row)), float(sum(row))] for row in rows])


def scorer(room: Room, budget: int = 1000) -> Scorer:
    return Scorer(torch, lambda text: [int(word) for word in text.split()], room, 9, "cpu", budget)


def text_of(numbers: Sequence[int]) -> str:
    return " ".join(map(str, numbers))


# --- batches


@given(
    st.lists(st.lists(st.integers(0, 8), min_size=1, max_size=9), max_size=12), st.integers(1, 60), st.integers(9, 60)
)
def test_logits_come_in_order_whatever_the_budget_and_the_room(rows: list[list[int]], budget: int, tokens: int) -> None:
    room = Room(tokens)
    found = scorer(room, budget).logits([text_of(row) for row in rows])
    assert found == [[float(len(row)), float(sum(row))] for row in rows]
    assert all(len({len(row) for row in batch}) == 1 for batch in room.batches), "padded to one length"


def test_a_text_that_occurs_twice_is_read_once_and_padded_at_the_right() -> None:
    room = Room(1000)
    found = scorer(room).logits(["1 2 3", "4", "1 2 3"])
    assert found == [[3.0, 6.0], [1.0, 4.0], [3.0, 6.0]]
    assert room.batches == [[[1, 2, 3], [4, 9, 9]]]


def test_a_batch_without_room_is_halved_and_later_ones_are_smaller() -> None:
    room = Room(4)
    of = scorer(room, 16)
    texts = [text_of([i, i]) for i in range(8)]
    assert [row[1] for row in of.logits(texts)] == [2.0 * i for i in range(8)]
    assert [len(batch) for batch in room.batches] == [8, 4, 2, 2, 4, 2, 2]
    assert of.budget == 2, "halved at each failure, and never below the longest text"
    room.batches.clear()
    of.logits(texts)
    assert [len(batch) for batch in room.batches] == [1] * 8


def test_one_text_that_does_not_fit_is_not_tried_again() -> None:
    room = Room(2)
    with pytest.raises(torch.OutOfMemoryError):
        scorer(room).logits(["1 2 3", "4"])
    assert [len(batch) for batch in room.batches] == [2, 1]


def test_the_longest_texts_come_first_and_a_batch_is_as_full_as_it_can_be() -> None:
    assert list(by_length([1, 5, 3, 5, 2], 10)) == [[1, 3], [2, 4, 0]]
    assert list(by_length([0, 0, 0], 2)) == [[0, 1], [2]], "a text without tokens takes the room of one"
    assert list(by_length([7], 1)) == [[0]]
    assert list(by_length([], 10)) == []


@given(st.lists(st.integers(0, 3), min_size=1, max_size=9), st.sampled_from(["first", "last"]))
def test_the_place_that_is_scored_is_what_the_rule_says(row: list[int], stop: str) -> None:
    before = row[: row.index(2)] if stop == "first" and 2 in row else row
    wanted = [place for place, token in enumerate(before) if stop == "first" or token != 2]
    assert place_of(row, 2, stop) == (wanted[-1] if wanted else 0)


def test_tokens_of_a_long_text_are_found_in_its_beginning(files: Files) -> None:
    tokenizer: Any = hf.AutoTokenizer.from_pretrained(files.llm)
    read: list[int] = []

    class Counting:
        """The same tokenizer, which remembers how much it was given."""

        is_fast = True

        def get_vocab(self) -> Any:
            return tokenizer.get_vocab()

        def __call__(self, text: str, **options: Any) -> Any:
            read.append(len(text))
            return tokenizer(text, **options)

    encode = encoder_of(Counting(), 16)
    text = "a gate keeps " * 4_000
    assert encode(text) == tokenizer(text, max_length=16, truncation=True)["input_ids"]
    assert len(read) == 1
    assert read[0] == 16 * max(map(len, tokenizer.get_vocab())) + MARGIN
    assert encode("short") == tokenizer("short")["input_ids"]
    assert encode("so \ud83d so") == tokenizer("so ? so")["input_ids"]


# --- what is loaded


def changed(files: Files, folder: Path, **changes: Path) -> Files:
    """Copies, of which a test may damage one."""
    for name in ("llm", "adapter", "encoder"):
        shutil.copytree(getattr(files, name), folder / name)
    copied = Files(folder / "llm", folder / "adapter", files.hallucination, folder / "encoder")
    return replace(copied, **changes)


def load(files: Files, part: str) -> Scorer:
    if part == "llm":
        return load_llm(files.llm, files.adapter, WHERE, PLACE, "last")
    return load_encoder(files.encoder, files.hallucination, WHERE, PLACE)


def test_the_device_and_the_batch_are_those_of_the_place(files: Files) -> None:
    for part, labels in (("llm", 4), ("encoder", 2)):
        of = load(files, part)
        assert (of.device, of.budget) == ("cpu", 1024)
        (logits,) = of.logits(["Is it safe?"])
        assert len(logits) == labels
        assert part == "llm" or min(logits) >= 0, "behind a ReLU"


def test_a_base_that_lacks_weights_names_the_first(files: Files, tmp_path: Path) -> None:
    of = changed(files, tmp_path)
    tensors = load_file(of.llm / "model.safetensors")
    for name in ("model.layers.1.mlp.up_proj.weight", "model.layers.0.mlp.up_proj.weight"):
        del tensors[name]
    save_file(tensors, of.llm / "model.safetensors", {"format": "pt"})
    said = r"^--judge-args llm=x: 2 weights are in no file, the first is model\.layers\.0\.mlp\.up_proj\.weight$"
    with pytest.raises(SetupError, match=said):
        load(of, "llm")


def test_a_tokenizer_without_an_end_of_text_is_refused(files: Files, tmp_path: Path) -> None:
    of = changed(files, tmp_path)
    tokenizer = hf.AutoTokenizer.from_pretrained(of.llm)
    tokenizer.eos_token = None
    tokenizer.save_pretrained(of.llm)
    with pytest.raises(
        SetupError, match=r"^--judge-args llm=x: its tokenizer has no end-of-text token, which GuardRank pads"
    ):
        load(of, "llm")


def test_an_encoder_of_another_kind_is_refused(files: Files, tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"^--judge-args encoder=x: it is of type 'llama'; expected 'roberta'$"):
        load(changed(files, tmp_path, encoder=files.llm), "encoder")


def test_a_base_that_cannot_be_read_is_one_line(files: Files, tmp_path: Path) -> None:
    of = changed(files, tmp_path)
    (of.llm / "model.safetensors").write_bytes(b"half a file")
    (of.encoder / "config.json").write_text("{")
    for part, name in (("llm", "llm"), ("encoder", "hallucination")):
        with pytest.raises(SetupError) as error:
            load(of, part)
        assert str(error.value).startswith(f"--judge-args {name}=x: cannot be loaded: ")
        assert "\n" not in str(error.value)


def test_a_model_that_does_not_fit_says_what_to_do() -> None:
    with (
        pytest.raises(
            SetupError, match=r"^here: does not fit on cuda:1; --judge-phase=after judges when the target has left"
        ),
        _loading(torch, "here", "cuda:1"),
    ):
        raise torch.OutOfMemoryError("CUDA out of memory")
    with pytest.raises(KeyboardInterrupt), _loading(torch, "here", "cpu"):
        raise KeyboardInterrupt


def test_half_precision_is_close_to_the_whole(files: Files) -> None:
    whole, half = (
        load_llm(files.llm, files.adapter, WHERE, PLACE._replace(dtype=dtype), "last").logits(["Is it safe?"])[0]
        for dtype in ("float32", "bfloat16")
    )
    assert half != whole
    assert half == pytest.approx(whole, abs=0.15 * max(map(abs, whole)))
