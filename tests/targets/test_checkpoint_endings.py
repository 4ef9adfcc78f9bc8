"""What a checkpoint ships decides where its answer begins and ends: thoughts, end tokens, forbidden tokens."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
import scripted_checkpoints
import torch

from pytest_mmsafety.cases import Response
from pytest_mmsafety.errors import SetupError
from pytest_mmsafety.targets import Request
from pytest_mmsafety.targets.checkpoint import target as target_module
from pytest_mmsafety.targets.checkpoint.target import TransformersTarget

THOUGHT = ("<think>", "None", "</think>", "Yes", "<|im_end|>", "again")


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def answer(folder: Path, **args: str) -> Response:
    (response,) = TransformersTarget(str(folder), **{"max_new_tokens": "8", "device": "cpu", **args}).generate(
        [Request("Yes or no?")]
    )
    return response


def test_a_thought_between_special_tokens_is_no_part_of_the_answer(tmp_path: Path) -> None:
    folder = scripted_checkpoints.build("qwen2_vl", tmp_path / "q", THOUGHT, special=("<think>", "</think>"))
    found = answer(folder)
    assert (found.answer, found.reasoning, found.end) == ("Yes", "None", "stop")
    assert found.answer_tokens == 4
    assert found.prompt_tokens is not None
    assert found.prompt_tokens > 0


def test_a_thought_that_the_limit_cuts_leaves_no_answer(tmp_path: Path) -> None:
    folder = scripted_checkpoints.build("qwen2_vl", tmp_path / "q", THOUGHT, special=("<think>", "</think>"))
    found = answer(folder, max_new_tokens="2")
    assert (found.answer, found.reasoning, found.end) == ("", "None", "thinking")


def test_a_thought_that_the_template_begins_ends_in_the_answer(tmp_path: Path) -> None:
    folder = scripted_checkpoints.build("qwen2_vl", tmp_path / "q", ("None", "</think>", "Yes", "<|im_end|>"))
    template = (folder / "chat_template.jinja").read_text("utf-8")
    begun = template.replace("{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
                             "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n<think>\n' }}{% endif %}")  # fmt: skip
    assert begun != template
    (folder / "chat_template.jinja").write_text(begun, "utf-8")
    found = answer(folder)
    assert (found.answer, found.reasoning, found.end) == ("Yes", "None", "stop")
    assert answer(folder, max_new_tokens="1").end == "thinking"


def test_marks_that_are_plain_text_are_read_too(tmp_path: Path) -> None:
    folder = scripted_checkpoints.build("llava", tmp_path / "l", ("<think>", "None", "</think>", "Yes", "</s>"))
    found = answer(folder)
    assert (found.answer, found.reasoning, found.end) == ("Yes", "None", "stop")


def test_an_answer_that_the_limit_cuts_says_so(tmp_path: Path) -> None:
    folder = scripted_checkpoints.build("llava", tmp_path / "l", ("Yes", "and", "more", "words", "</s>"))
    assert answer(folder).end == "stop"
    cut = answer(folder, max_new_tokens="2")
    assert (cut.end, cut.answer_tokens) == ("length", 2)


@pytest.mark.parametrize(
    ("kind", "end", "generation"),
    [
        ("qwen2_vl", "<|im_end|>", {"eos_token_id": ["</s>"]}),  # only the template ends turns with it
        ("idefics3", "<end_of_utterance>", {}),  # in no list of end tokens
        ("qwen2_vl", "</s>", {"eos_token_id": ["<|im_end|>"]}),  # only the tokenizer says so
        ("llava", "again", {"eos_token_id": ["again"]}),  # only the generation config says so
    ],
)
def test_generation_ends_at_every_token_that_ends_a_turn(
    tmp_path: Path, kind: str, end: str, generation: dict[str, list[str]]
) -> None:
    folder = scripted_checkpoints.build(kind, tmp_path / "m", ("No", end, "USER", "Yes"), **generation)
    found = answer(folder)
    assert (found.answer, found.end) == ("No", "stop")


@pytest.mark.parametrize("forbidden", [{"suppress_tokens": ["No"]}, {"bad_words_ids": [["No"]]}])
def test_tokens_that_the_checkpoint_forbids_are_not_said(tmp_path: Path, forbidden: dict[str, object]) -> None:
    folder = scripted_checkpoints.build("qwen2_vl", tmp_path / "q", ("No", "<|im_end|>"), **forbidden)
    assert not answer(folder).answer.startswith("No")


def test_a_variable_reaches_the_template(tmp_path: Path) -> None:
    folder = scripted_checkpoints.build("qwen2_vl", tmp_path / "q", ("Yes", "<|im_end|>"))
    template = folder / "chat_template.jinja"
    template.write_text(
        "{% if enable_thinking is false %}{{ 'Do not think. ' }}{% endif %}" + template.read_text("utf-8")
    )
    plain, quiet = (
        TransformersTarget(str(folder), device="cpu", **args)
        for args in ({}, {"template.enable_thinking": "false"})
    )  # fmt: skip
    tokens = [target.generate([Request("Yes or no?")])[0].prompt_tokens for target in (plain, quiet)]
    assert tokens[1] > tokens[0]  # type: ignore[operator]
    assert plain.fingerprint != quiet.fingerprint


def test_an_argument_that_is_not_known_names_the_template_variables(tmp_path: Path) -> None:
    folder = scripted_checkpoints.build("llava", tmp_path / "l", ("Yes", "</s>"))
    with pytest.raises(
        SetupError, match=r"enable_thinking=false: the transformers target has no such argument;.*template\.NAME"
    ):
        TransformersTarget(str(folder), enable_thinking="false")


@pytest.mark.parametrize("stops", ["USER", ["nowhere", "USER"]])
def test_an_answer_ends_at_the_stop_strings_of_the_checkpoint(tmp_path: Path, stops: str | list[str]) -> None:
    folder = scripted_checkpoints.build("llava", tmp_path / "l", ("Yes", "USER", "again", "</s>"))
    set_generation(folder, stop_strings=stops)
    found = answer(folder)
    assert (found.answer, found.end) == ("Yes", "stop")
    assert answer(folder, max_new_tokens="2").end == "stop"
    assert answer(folder, max_new_tokens="1").end == "length"


def test_a_suite_limits_its_answers_unless_the_target_was_given_a_limit(tmp_path: Path) -> None:
    folder = scripted_checkpoints.build("llava", tmp_path / "l", ("Yes", "and", "more", "words", "</s>"))
    requests = [Request("Yes or no?", max_new_tokens=limit) for limit in (1, None, 2)]
    for args, lengths in (({}, [1, 4, 2]), ({"max_new_tokens": "3"}, [3, 3, 3])):
        found = TransformersTarget(str(folder), device="cpu", **args).generate(requests)
        assert [response.answer_tokens for response in found] == lengths


def test_what_the_model_was_given_is_kept(tmp_path: Path) -> None:
    folder = scripted_checkpoints.build("qwen2_vl", tmp_path / "q", ("Yes", "<|im_end|>"))
    rendered = answer(folder, system_prompt="Be brief.").rendered
    assert rendered.startswith("<|im_start|>")
    assert "Be brief." in rendered
    assert rendered.index("Be brief.") < rendered.index("Yes or no?")


@pytest.mark.parametrize("place", ["chat_template.jinja", "tokenizer_config.json"])
def test_a_date_in_the_template_is_in_the_fingerprint_and_stays_the_same_over_night(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    folder = scripted_checkpoints.build("qwen2_vl", tmp_path / "q", ("Yes", "<|im_end|>"))
    template = 'Today is {{ strftime_now("%d %b %Y") }}. ' + (folder / "chat_template.jinja").read_text("utf-8")
    if place.endswith(".jinja"):
        (folder / place).write_text(template, "utf-8")
    else:
        (folder / "chat_template.jinja").unlink()
        config = json.loads((folder / place).read_text("utf-8"))
        (folder / place).write_text(json.dumps({**config, "chat_template": template}), "utf-8")
    monkeypatch.setattr(
        target_module, "datetime", SimpleNamespace(now=lambda: datetime(2026, 3, 1, 23, 59, tzinfo=UTC))
    )
    today = TransformersTarget(str(folder), device="cpu", max_new_tokens="2")
    print_, remarks = today.fingerprint, today.remarks
    monkeypatch.setattr(target_module, "datetime", SimpleNamespace(now=lambda: datetime(2026, 3, 2, tzinfo=UTC)))
    assert TransformersTarget(str(folder), device="cpu", max_new_tokens="2").fingerprint != print_
    assert today.generate([Request("Yes or no?")])[0].rendered.startswith("Today is 01 Mar 2026. ")
    assert remarks[-1:] == [
        "the checkpoint's chat template writes the date (01 Mar 2026): on another day every case is asked anew"
    ]


def test_decoding_that_is_set_aside_is_named(tmp_path: Path) -> None:
    folder = scripted_checkpoints.build("llava", tmp_path / "l", ("Yes", "</s>"))
    (folder / "generation_config.json").write_text('{"eos_token_id": 1, "_from_model_config": true}')
    assert TransformersTarget(str(folder)).remarks == []
    set_generation(folder, temperature=0.7, do_sample=True, repetition_penalty=1.05, max_length=99, top_k=None)
    said = (
        "set aside of the checkpoint's generation_config.json: repetition_penalty=1.05, temperature=0.7; answers are "
    )
    assert TransformersTarget(str(folder)).remarks == [f"{said}greedy"]
    assert TransformersTarget(str(folder), temperature="0.2").remarks == [f"{said}sampled at temperature 0.2"]


def test_a_processor_that_fails_on_every_request_is_said_once_when_it_is_loaded(tmp_path: Path) -> None:
    folder = scripted_checkpoints.build("llava", tmp_path / "l", ("Yes", "</s>"))
    config = json.loads((folder / "processor_config.json").read_text("utf-8"))
    del config["patch_size"]
    (folder / "processor_config.json").write_text(json.dumps(config))
    with pytest.raises(SetupError, match=r"its processor fails on a request with one image: TypeError: .* complete\?$"):
        answer(folder)


def test_a_tokenizer_without_pad_and_end_is_said(tmp_path: Path) -> None:
    folder = scripted_checkpoints.build("llava", tmp_path / "l", ("Yes", "</s>"))
    config = json.loads((folder / "tokenizer_config.json").read_text("utf-8"))
    del config["pad_token"], config["eos_token"]
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(SetupError, match=r"its tokenizer has neither a pad_token nor an eos_token; expected one$"):
        answer(folder)


def set_generation(folder: Path, **values: object) -> None:
    path = folder / "generation_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **values}), "utf-8")
