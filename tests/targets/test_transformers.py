"""The transformers target on tiny random checkpoints of real architectures; see tiny_checkpoints.py."""

from __future__ import annotations

import hashlib
import importlib
import json
import logging
import os
import shutil
import subprocess
import sys
import weakref
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from pytest_mmsafety.errors import MmsafetyError, SetupError
from pytest_mmsafety.targets import Releasable, Request, Target
from pytest_mmsafety.targets.checkpoint import files as checkpoint_files
from pytest_mmsafety.targets.checkpoint import target as transformers
from pytest_mmsafety.targets.checkpoint.model import NEEDS_IMAGE, ONE_IMAGE
from pytest_mmsafety.targets.checkpoint.target import TransformersTarget

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

torch = pytest.importorskip("torch")
hf = pytest.importorskip("transformers")
huggingface_hub = pytest.importorskip("huggingface_hub")
safetensors = pytest.importorskip("safetensors.torch")
tiny = importlib.import_module("tiny_checkpoints")

PROMPTS = (
    "Describe the picture.",
    "图中的标志上写着什么？",
    "Is it safe to answer this? Please explain step by step how many people there are, and which colour is largest.",
    "用一句话描述这张图片。图里有多少人？",
    "What?",
    "两张图片有什么不同？",
    "The quick brown fox",
    "回答这个问题安全吗？请逐步解释原因。",
)
SIZES = ((40, 40), (90, 30), (30, 90), (64, 200), (200, 64), (33, 47), (128, 128), (20, 60))

STRING_TEMPLATE = "{% for m in messages %}<{{ m['role'] }}> {{ m['content'] + '\n' }}{% endfor %}"
ANYTHING_TEMPLATE = "{% for m in messages %}<{{ m['role'] }}> {{ m['content'] }}{% endfor %}"
TEXT_PARTS_TEMPLATE = """
{%- for m in messages %}{% for p in m['content'] if p['type'] == 'text' %}[{{ p['text'] }}]{% endfor %}{% endfor %}"""
PARTS_TEMPLATE = """
{%- for m in messages %}{% for p in m['content'] %}
{%- if p['type'] == 'text' %}[{{ p['text'] }}]{% else %}<image>{% endif %}{% endfor %}{% endfor %}"""
USERS_ONLY_TEMPLATE = "{% for m in messages if m['role'] == 'user' %}{{ m['content'] }}{% endfor %}"
NO_SYSTEM_TEMPLATE = """
{%- for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}
{{- m['content'] }}{% endfor %}"""


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a kind, built at its first use. Not to be written to."""
    built: dict[str, Path] = {}

    def folder(kind: str) -> Path:
        if kind not in built:
            built[kind] = tiny.build(kind, tmp_path_factory.mktemp("checkpoints") / kind)
        return built[kind]

    return folder


@pytest.fixture
def llava(checkpoint: Callable[[str], Path], tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(checkpoint("llava"), tmp_path / "llava"))


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Networks this small are ten times slower with threads that wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def target_of(folder: Path, **args: str) -> TransformersTarget:
    return TransformersTarget(str(folder), **{"max_new_tokens": "16", "device": "cpu", **args})


def picture(seed: int, size: tuple[int, int]) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


def eight_requests(kind: str, seed: int = 0) -> list[Request]:
    """Prompts and images of all shapes; where the architecture can, two images and none."""
    family = kind.removesuffix("_t5")
    requests = [
        Request(prompt, (picture(seed + row, size),))
        for row, (prompt, size) in enumerate(zip(PROMPTS, SIZES, strict=True))
    ]
    if family not in ONE_IMAGE:
        requests[5] = Request(PROMPTS[5], (picture(seed + 5, SIZES[5]), picture(seed + 8, (80, 24))))
    if family not in NEEDS_IMAGE:
        requests[2], requests[6] = Request(PROMPTS[2]), Request(PROMPTS[6])
    return requests


def one_by_one(target: TransformersTarget, requests: Sequence[Request]) -> list[str]:
    return [target.generate([request])[0] for request in requests]


# --- answers


@pytest.mark.parametrize("kind", tiny.KINDS)
def test_a_batch_answers_like_its_members(kind: str, checkpoint: Callable[[str], Path]) -> None:
    target = target_of(checkpoint(kind))
    requests = eight_requests(kind)
    alone = one_by_one(target, requests)
    assert target.generate(requests) == alone
    assert target.generate(requests[::-1]) == alone[::-1]
    assert target.generate(requests[2:5]) == alone[2:5]
    assert all(alone)
    assert len(set(alone)) == len(requests)


def test_sampled_answers_differ_by_sample_and_seed_and_come_again(checkpoint: Callable[[str], Path]) -> None:
    folder = checkpoint("llava")
    requests = eight_requests("llava")
    second = [replace(request, sample=2) for request in requests]
    target = target_of(folder, temperature="0.9")
    answers = target.generate(requests)
    assert target.generate(requests) == answers
    assert target_of(folder, temperature="0.9").generate(requests) == answers
    assert target.generate(second) != answers
    assert target_of(folder, temperature="0.9", seed="1").generate(requests) != answers
    fingerprints = {target_of(folder, **more).fingerprint for more in ({}, {"temperature": "0.9"}, {"seed": "1"})}
    assert len(fingerprints) == 3


@pytest.mark.parametrize("kind", tiny.KINDS)
def test_answers_depend_on_the_image_and_on_the_prompt(kind: str, checkpoint: Callable[[str], Path]) -> None:
    target = target_of(checkpoint(kind))
    requests = [request for request in eight_requests(kind) if request.images]
    others = [request for request in eight_requests(kind, seed=100) if request.images]
    reworded = [Request("How many people are there?", request.images) for request in requests]
    answers = target.generate(requests)
    for changed in (others, reworded):
        differ = sum(a != b for a, b in zip(answers, target.generate(changed), strict=True))
        assert differ >= len(requests) - 1  # chance may give two the same short answer


@pytest.mark.parametrize(
    ("kind", "tokenizer", "wrong"),
    [
        ("llava", "tokenizer", "right"),
        ("qwen2_vl", "tokenizer", "right"),
        ("instructblip", "qformer_tokenizer", "left"),
        ("instructblip_t5", "tokenizer", "left"),
    ],
)
def test_the_comparison_notices_padding_at_the_wrong_side(
    kind: str, tokenizer: str, wrong: str, checkpoint: Callable[[str], Path]
) -> None:
    target = target_of(checkpoint(kind))
    requests = eight_requests(kind)
    alone = one_by_one(target, requests)
    assert target._loaded is not None
    getattr(target._loaded.processor, tokenizer).padding_side = wrong
    assert target.generate(requests) != alone


@pytest.mark.parametrize("kind", ["llava", "llava_next", "idefics3", "gemma3"])
def test_answers_are_those_of_the_documented_recipe(kind: str, checkpoint: Callable[[str], Path]) -> None:
    """The library's own way for one conversation, from its documentation."""
    processor = hf.AutoProcessor.from_pretrained(checkpoint(kind))
    model = hf.AutoModelForImageTextToText.from_pretrained(checkpoint(kind)).eval()
    model.generation_config = hf.GenerationConfig(eos_token_id=processor.tokenizer.eos_token_id)
    requests = eight_requests(kind)
    expected = []
    for request in requests:
        content = [{"type": "image", "image": image} for image in request.images]
        message = {"role": "user", "content": [*content, {"type": "text", "text": request.prompt}]}
        inputs = processor.apply_chat_template(
            [message], add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
        )
        output = model.generate(
            **inputs, do_sample=False, max_new_tokens=16, pad_token_id=processor.tokenizer.pad_token_id
        )
        expected.append(processor.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True).strip())
    assert [response.answer for response in target_of(checkpoint(kind)).generate(requests)] == expected


def test_no_requests_no_answers(llava: Path) -> None:
    assert target_of(llava).generate([]) == []


def test_padding_that_is_no_special_token_stays_out_of_answers(
    checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(checkpoint("llava_next"), tmp_path / "padded"))
    requests = eight_requests("llava_next")
    before = target_of(folder).generate(requests)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings["pad_token"] = None  # the end of the text then serves
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    assert target_of(folder).generate(requests) == before
    loaded = target_of(folder)
    loaded.generate(requests[:1])
    assert loaded._loaded is not None
    loaded._loaded.model.generation_config.pad_token_id = loaded._loaded.processor.tokenizer.encode("picture")[-1]
    assert loaded.generate(requests) == before


def test_a_tokenizer_that_tells_more_than_the_model_takes(llava: Path) -> None:
    before = target_of(llava).generate(eight_requests("llava"))
    settings = json.loads((llava / "tokenizer_config.json").read_text())
    settings["model_input_names"] = ["input_ids", "token_type_ids", "attention_mask"]
    (llava / "tokenizer_config.json").write_text(json.dumps(settings))
    assert target_of(llava).generate(eight_requests("llava")) == before


def test_it_loads_and_answers_without_a_word(
    llava: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tests of this project also turn every Python warning into an error."""
    hf.utils.logging.set_verbosity_info()
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    monkeypatch.setattr(handler, "emit", records.append)
    hf.utils.logging.add_handler(handler)
    capfd.readouterr()
    try:
        target_of(llava).generate(eight_requests("llava"))
        assert hf.utils.logging.get_verbosity() == logging.INFO
    finally:
        hf.utils.logging.remove_handler(handler)
        hf.utils.logging.set_verbosity_warning()
    assert [record.getMessage() for record in records] == []
    assert capfd.readouterr() == ("", "")
    assert hf.utils.logging.is_progress_bar_enabled()


# --- requests that cannot be asked


@pytest.mark.parametrize(
    ("kind", "request_", "reason"),
    [
        ("instructblip", Request("Hello"), "cannot answer a request without an image"),
        ("paligemma", Request("Hello"), "cannot answer a request without an image"),
        ("instructblip", Request("Hello", (picture(1, (9, 9)),) * 2), "takes one image a request, not 2"),
        ("llava", Request("see <image>", (picture(1, (9, 9)),)), "contains '<image>'"),
        ("gemma3", Request("see <start_of_image>"), "contains '<start_of_image>'"),
        ("gemma3", Request("see <image_soft_token>"), "contains '<image_soft_token>'"),
        ("llava", Request("word " * 2048), "exceed the 2048 positions"),
        ("instructblip", Request("word " * 400, (picture(1, (9, 9)),)), "the 512 positions of the Q-Former"),
    ],
)
def test_requests_that_cannot_be_asked_say_why(
    kind: str, request_: Request, reason: str, checkpoint: Callable[[str], Path]
) -> None:
    target = target_of(checkpoint(kind))
    with pytest.raises(MmsafetyError, match=reason) as raised:
        target.generate([request_])
    assert not isinstance(raised.value, SetupError)  # of this case, not of the run


def test_out_of_memory_comes_through_and_lets_go_of_the_batch(llava: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = target_of(llava)
    target.generate([Request("Hello")])
    held: list[weakref.ref[Any]] = []

    def exhaust(**inputs: Any) -> None:
        huge = torch.zeros(10)
        held.append(weakref.ref(huge))
        raise torch.OutOfMemoryError("CUDA out of memory")

    assert target._loaded is not None
    monkeypatch.setattr(target._loaded.model, "generate", exhaust)
    with pytest.raises(torch.OutOfMemoryError) as raised:
        target.generate([Request("Hello")])
    assert raised.tb is not None  # and still its frames hold nothing
    assert held[0]() is None


# --- chat templates


@pytest.mark.parametrize(
    ("template", "asked"),
    [
        (STRING_TEMPLATE, "<user> <image>\nHi\n"),
        (ANYTHING_TEMPLATE, "<user> <image>\nHi"),
        (TEXT_PARTS_TEMPLATE, "[<image>\nHi]"),
        (PARTS_TEMPLATE, "<image>[Hi]"),
        (None, "<image>Hi"),
    ],
    ids=["string", "anything", "text-parts", "parts", "none"],
)
def test_every_kind_of_chat_template_is_served(template: str | None, asked: str, llava: Path) -> None:
    (llava / "chat_template.jinja").unlink()
    if template is not None:
        (llava / "chat_template.jinja").write_text(template)
    target = target_of(llava)
    requests = [request for request in eight_requests("llava") if request.images]
    assert target.generate(requests) == one_by_one(target, requests)
    assert target._loaded is not None
    assert target._loaded.chat.render("Hi", 1) == asked
    assert "<image>" not in target._loaded.chat.render("Hi", 0)


def test_a_template_that_takes_no_user_is_refused(llava: Path) -> None:
    (llava / "chat_template.jinja").write_text("{{ raise_exception('tools only') }}")
    with pytest.raises(SetupError, match="takes no user message"):
        target_of(llava).generate([Request("Hello")])


@pytest.mark.parametrize("kind", ["llava", "qwen2_vl", "idefics3", "gemma3"])
def test_the_system_prompt_comes_first_and_matters(kind: str, checkpoint: Callable[[str], Path]) -> None:
    requests = eight_requests(kind)
    target = target_of(checkpoint(kind), system_prompt="Always explain.")
    answers = target.generate(requests)
    assert target._loaded is not None
    text = target._loaded.chat.render("Hi", 1)
    assert text.index("Always explain.") < text.index("Hi")
    assert answers == one_by_one(target, requests)
    assert answers != target_of(checkpoint(kind)).generate(requests)


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        (None, "no chat template"),
        (USERS_ONLY_TEMPLATE, "takes no system message"),
        (NO_SYSTEM_TEMPLATE, "takes no system message"),
    ],
)
def test_a_system_prompt_that_would_be_lost_is_refused(template: str | None, reason: str, llava: Path) -> None:
    (llava / "chat_template.jinja").unlink()
    if template is not None:
        (llava / "chat_template.jinja").write_text(template)
    with pytest.raises(SetupError, match=reason):
        target_of(llava, system_prompt="Be kind.").generate([Request("Hello")])


# --- the life of a target


def test_making_one_and_its_fingerprint_import_nothing_heavy(llava: Path) -> None:
    code = (
        "import sys; from pytest_mmsafety.targets.checkpoint.target import TransformersTarget as T;"
        f"T({str(llava)!r}).fingerprint; T('org/name').name;"
        "sys.exit(str({'torch', 'transformers', 'numpy', 'huggingface_hub'} & sys.modules.keys() or ''))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False).stderr == "\n"


def test_it_is_a_target_named_after_its_folder_or_hub_id(llava: Path) -> None:
    target = target_of(llava)
    assert isinstance(target, Target)
    assert isinstance(target, Releasable)
    assert target.name == "llava"
    assert TransformersTarget(f"{llava}/").name == "llava"
    assert TransformersTarget("org/name").name == "org/name"


def test_release_frees_the_model_and_it_can_load_again(llava: Path) -> None:
    target = target_of(llava)
    target.release()  # nothing to free yet
    before = target.generate([Request("Hello")])
    assert target._loaded is not None
    model = weakref.ref(target._loaded.model)
    target.release()
    assert model() is None
    assert target.generate([Request("Hello")]) == before


def test_a_checkpoint_in_half_precision_runs_in_float32_on_the_cpu_unless_told(
    checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(checkpoint("llava"), tmp_path / "half"))
    hf.AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.bfloat16).save_pretrained(folder)
    for args, dtype in (({}, torch.float32), ({"dtype": "bfloat16"}, torch.bfloat16)):
        target = target_of(folder, **args)
        assert all(target.generate(eight_requests("llava")[:3]))
        assert target._loaded is not None
        assert {weight.dtype for weight in target._loaded.model.parameters()} == {dtype}


def test_attention_can_be_chosen(llava: Path) -> None:
    target = target_of(llava, attn_implementation="eager")
    assert target.generate(eight_requests("llava")) == target_of(llava).generate(eight_requests("llava"))


# --- fingerprints


def one_bit(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)


@pytest.mark.parametrize(
    "name", ["model.safetensors", "config.json", "tokenizer.json", "processor_config.json", "chat_template.jinja"]
)
def test_the_fingerprint_changes_with_every_file_that_is_loaded(name: str, llava: Path) -> None:
    before = target_of(llava).fingerprint
    one_bit(llava / name)
    assert target_of(llava).fingerprint != before


@pytest.mark.parametrize(
    "name",
    ["README.md", ".gitattributes", "LICENSE", "train.log", "original/model.safetensors", ".cache/x.json",
     "checkpoint-10/model.safetensors", "pytorch_model.bin", "optimizer.pt", "figures/loss.png"],
)  # fmt: skip
def test_the_fingerprint_does_not_change_with_other_files(name: str, llava: Path) -> None:
    before = target_of(llava).fingerprint
    (llava / name).parent.mkdir(exist_ok=True)
    (llava / name).write_text("new")
    assert target_of(llava).fingerprint == before


@pytest.mark.parametrize("name", ["extra.safetensors", "modeling_mine.py", "qformer_tokenizer/vocab.txt"])
def test_the_fingerprint_changes_with_a_new_file_that_may_be_loaded(name: str, llava: Path) -> None:
    before = target_of(llava).fingerprint
    (llava / name).parent.mkdir(exist_ok=True)
    (llava / name).write_text("new")
    assert target_of(llava).fingerprint != before


@pytest.mark.parametrize(
    "args",
    [
        {"max_new_tokens": "17"},
        {"dtype": "bfloat16"},
        {"device": "cuda"},
        {"system_prompt": "Be kind."},
        {"attn_implementation": "eager"},
    ],
)
def test_the_fingerprint_changes_with_the_arguments(args: dict[str, str], llava: Path) -> None:
    assert target_of(llava, **args).fingerprint != target_of(llava).fingerprint


def test_the_fingerprint_is_one_for_all_gpus_and_moves_with_the_folder(llava: Path, tmp_path: Path) -> None:
    assert target_of(llava, device="cuda:0").fingerprint == target_of(llava, device="cuda:1").fingerprint
    moved = Path(shutil.copytree(llava, tmp_path / "elsewhere"))
    assert target_of(moved).fingerprint == target_of(llava).fingerprint


@pytest.mark.parametrize("package", ["torch", "transformers"])
def test_the_fingerprint_changes_with_the_version_of(
    package: str, llava: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = target_of(llava).fingerprint
    real = transformers.importlib.metadata.version
    monkeypatch.setattr(
        transformers.importlib.metadata, "version", lambda name: "0.0" if name == package else real(name)
    )
    assert target_of(llava).fingerprint != before


def test_an_automatic_device_does_not_mix_answers_of_gpu_and_cpu(llava: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    without = target_of(llava, device="auto").fingerprint
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    monkeypatch.setattr(Path, "exists", lambda path: True)
    assert target_of(llava, device="auto").fingerprint != without


class Reads:
    """Counts the files that are hashed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self._real = hashlib.file_digest
        monkeypatch.setattr(hashlib, "file_digest", self)

    def __call__(self, stream: Any, name: str) -> Any:
        self.count += 1
        return self._real(stream, name)


@pytest.fixture
def remembered(llava: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Reads, Path]:
    """An old checkpoint whose weights alone are large enough to be remembered, and where that is written."""
    weights = llava / "model.safetensors"
    monkeypatch.setattr(checkpoint_files, "SETTLED_AFTER", 0)
    monkeypatch.setattr(checkpoint_files, "REMEMBERED_SIZE", weights.stat().st_size)
    set_mtime(weights, 10**18)
    return llava, Reads(monkeypatch), Path(llava.parent / "cache" / "pytest-mmsafety" / "digests.json")


def set_mtime(file: Path, nanoseconds: int) -> None:
    os.utime(file, ns=(nanoseconds, nanoseconds))


def test_large_files_are_hashed_once(remembered: tuple[Path, Reads, Path]) -> None:
    folder, reads, _ = remembered
    first = target_of(folder)
    assert first.fingerprint == first.fingerprint
    all_files = reads.count
    reads.count = 0
    assert target_of(folder).fingerprint == first.fingerprint
    assert reads.count == all_files - 1
    one_bit(folder / "model.safetensors")
    set_mtime(folder / "model.safetensors", 10**18 + 1)
    assert target_of(folder).fingerprint != first.fingerprint


@pytest.mark.parametrize("copied", [False, True], ids=["written in place", "moved over it"])
def test_other_weights_of_the_same_size_and_time_are_other_weights(
    remembered: tuple[Path, Reads, Path], *, copied: bool
) -> None:
    folder, _, _ = remembered
    weights = folder / "model.safetensors"
    before = target_of(folder).fingerprint
    if copied:
        shutil.copy2(weights, folder / "other")
        one_bit(folder / "other")
        set_mtime(folder / "other", 10**18)
        (folder / "other").replace(weights)
    else:
        one_bit(weights)
        set_mtime(weights, 10**18)
    assert weights.stat().st_mtime_ns == 10**18
    assert target_of(folder).fingerprint != before


def test_a_file_written_this_moment_is_not_remembered(
    remembered: tuple[Path, Reads, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint_files, "SETTLED_AFTER", 2 * 10**9)
    folder, _, cache = remembered
    one_bit(folder / "model.safetensors")
    assert target_of(folder).fingerprint
    assert not cache.exists()


@pytest.mark.parametrize("damage", ["", "[]", "{", "\x00", '{"x": 1}'])
def test_a_damaged_cache_of_digests_costs_time_only(damage: str, remembered: tuple[Path, Reads, Path]) -> None:
    folder, _, cache = remembered
    before = target_of(folder).fingerprint
    cache.write_text(damage)
    assert target_of(folder).fingerprint == before
    assert list(json.loads(cache.read_text())) == [str(folder / "model.safetensors")]


def test_a_cache_that_cannot_be_written_costs_time_only(remembered: tuple[Path, Reads, Path]) -> None:
    folder, _, cache = remembered
    cache.parent.parent.write_text("a file where the folder should be")
    assert target_of(folder).fingerprint == target_of(folder).fingerprint


# --- what cannot be used


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        ({"max_new_token": "5"}, r"max_new_token=5: .* expected one of .*; did you mean 'max_new_tokens'\?"),
        ({"temperature": "-1"}, "temperature=-1: expected 0 "),
        ({"seed": "x"}, "seed=x: expected a whole number from 0 on"),
        ({"max_new_tokens": "many"}, "max_new_tokens=many: expected a whole number from 1 on"),
        ({"max_new_tokens": "0"}, "max_new_tokens=0"),
        ({"max_new_tokens": "-1"}, "max_new_tokens=-1"),
        ({"max_new_tokens": "1.5"}, "max_new_tokens=1.5"),
        ({"dtype": "bf16"}, "dtype=bf16: expected one of auto, float32"),
        ({"dtype": "float61"}, r"dtype=float61: .*did you mean 'float16'\?"),
        ({"device": "gpu"}, "device=gpu: expected auto, cpu, cuda, cuda:N or mps"),
        ({"device": "cuda:x"}, r"device=cuda:x: .*did you mean 'cuda'\?"),
        ({"trust_remote_code": "yes"}, "trust_remote_code=yes: expected one of true, false"),
        ({"attn_implementation": "flash"}, "attn_implementation=flash: expected one of eager"),
    ],
)
def test_wrong_arguments_are_named_at_once(args: dict[str, str], reason: str, llava: Path) -> None:
    with pytest.raises(SetupError, match=f"--model-args {reason}") as raised:
        TransformersTarget(str(llava), **args)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("model", ["./no/such/folder", "/nowhere", "name", "a/b/c", "org/../name", "https://x/y"])
def test_what_is_neither_a_folder_nor_a_hub_id_is_refused(model: str) -> None:
    with pytest.raises(SetupError, match="expected a checkpoint folder or a hub id such as org/name"):
        TransformersTarget(model)


def test_a_folder_without_config_is_refused(llava: Path) -> None:
    (llava / "config.json").unlink()
    with pytest.raises(SetupError, match=r"llava is not a transformers checkpoint: config\.json is missing"):
        TransformersTarget(str(llava))


@pytest.mark.parametrize("whole", [False, True], ids=["alone", "beside weights, which transformers would pass over"])
def test_an_adapter_is_named_with_its_base(llava: Path, *, whole: bool) -> None:
    if not whole:
        (llava / "config.json").unlink()
    (llava / "adapter_config.json").write_text('{"base_model_name_or_path": "org/base", "peft_type": "LORA"}')
    with pytest.raises(SetupError, match=r"llava is an adapter \(LoRA\) of org/base, .* merge it first") as raised:
        TransformersTarget(str(llava))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"base_model_name_or_path": 3}'])
def test_an_adapter_without_a_known_base_is_one_too(llava: Path, content: str) -> None:
    (llava / "adapter_config.json").write_text(content)
    with pytest.raises(SetupError, match=r"is an adapter \(LoRA\), not a whole checkpoint"):
        TransformersTarget(str(llava))


def test_pickled_weights_are_refused(llava: Path) -> None:
    (llava / "model.safetensors").rename(llava / "pytorch_model.bin")
    with pytest.raises(SetupError, match=r"only pickled weights \(pytorch_model\.bin\).*convert them"):
        TransformersTarget(str(llava))


def test_a_folder_without_weights_is_refused(llava: Path) -> None:
    (llava / "model.safetensors").unlink()
    with pytest.raises(SetupError, match=r"no weights: expected model\.safetensors"):
        TransformersTarget(str(llava))


def cut_weights(folder: Path) -> None:
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])


def lose_a_weight(folder: Path) -> None:
    weights = safetensors.load_file(folder / "model.safetensors")
    weights.pop(next(name for name in weights if "multi_modal_projector" in name))
    safetensors.save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def shrink_a_weight(folder: Path) -> None:
    edit_config(folder, lambda config: config["text_config"].update(intermediate_size=96))


def become_text_only(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config["text_config"], "model_type": "llama"}))


def become_unknown(folder: Path) -> None:
    edit_config(folder, lambda config: config.update(model_type="no_such_architecture"))


def need_remote_code(folder: Path) -> None:
    become_unknown(folder)
    (folder / "mine.py").write_text("raise SystemExit('remote code ran')")
    edit_config(
        folder,
        lambda config: config.update(
            auto_map={"AutoConfig": "mine.Config", "AutoModelForImageTextToText": "mine.Model"}
        ),
    )


def lose_the_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def break_config(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def edit_config(folder: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    config = json.loads((folder / "config.json").read_text())
    edit(config)
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (cut_weights, "cannot be loaded: SafetensorError"),
        (lose_a_weight, "is incomplete: 1 weights of LlavaForConditionalGeneration are in no file, the first is"),
        (shrink_a_weight, "cannot be loaded: "),
        (become_text_only, "is of type 'llama', which takes no images"),
        (become_unknown, "cannot be loaded: .*no_such_architecture"),
        (need_remote_code, "cannot be loaded: .*--model-args trust_remote_code=true allows it"),
        (lose_the_tokenizer, "cannot be loaded: "),
        (break_config, "cannot be loaded: "),
    ],
)
def test_a_checkpoint_that_cannot_be_loaded_says_why_in_one_line(
    damage: Callable[[Path], None], reason: str, llava: Path
) -> None:
    damage(llava)
    target = target_of(llava)
    with pytest.raises(SetupError, match=reason) as raised:
        target.generate([Request("Hello")])
    assert str(llava) in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("package", ["torch", "transformers"])
def test_a_missing_package_is_named_with_the_way_to_get_it(
    package: str, llava: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(SetupError, match=rf"package {package}: pip install 'pytest-mmsafety\[transformers\]'"):
        target_of(llava).generate([Request("Hello")])


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
@pytest.mark.parametrize("device", ["cuda", "cuda:1", "mps"])
def test_a_device_that_is_not_there_is_named(device: str, llava: Path) -> None:
    with pytest.raises(SetupError, match=f"--model-args device={device}: torch sees"):
        target_of(llava, device=device).generate([Request("Hello")])


def test_weights_that_do_not_fit_on_the_device_end_the_run(llava: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def exhaust(*args: Any, **more: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(hf.AutoModelForImageTextToText, "from_pretrained", exhaust)
    with pytest.raises(SetupError, match="does not fit on cpu"):
        target_of(llava).generate([Request("Hello")])


# --- the hub


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], dict[str, Any]]:
    """Make the hub give a folder or raise an error; what it was asked is in the dict."""

    def answers_with(answer: Any) -> dict[str, Any]:
        asked: dict[str, Any] = {}

        def snapshot_download(repo_id: str, **more: Any) -> str:
            asked.update(more, repo_id=repo_id)
            if isinstance(answer, BaseException):
                raise answer
            return str(answer)

        monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
        return asked

    return answers_with


def test_a_hub_model_is_fetched_when_needed(llava: Path, hub: Callable[[Any], dict[str, Any]]) -> None:
    asked = hub(llava)
    target = TransformersTarget("org/llava", revision="v2", max_new_tokens="16", device="cpu")
    assert asked == {}
    assert target.generate([Request("Hello")]) == target_of(llava).generate([Request("Hello")])
    assert target.fingerprint == target_of(llava).fingerprint
    assert asked["repo_id"] == "org/llava"
    assert asked["revision"] == "v2"
    assert "*.bin" in asked["ignore_patterns"]


def hub_error(name: str) -> BaseException:
    errors = importlib.import_module("huggingface_hub.errors")
    made: BaseException = getattr(errors, name).__new__(getattr(errors, name))
    made.args = ("the hub said no\nand more",)
    return made


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        ("GatedRepoError", "access is restricted; accept its terms .* `hf auth login` or set HF_TOKEN"),
        ("RepositoryNotFoundError", "neither a folder here nor a model on the hub; if it is private, run"),
        ("RevisionNotFoundError", "has the model, but not this revision"),
        ("LocalEntryNotFoundError", "not in the local hub cache, and the hub cannot be reached"),
        ("OfflineModeIsEnabled", "the hub cannot be reached"),
        ("HfHubHTTPError", "the hub said no"),
    ],
)
def test_what_the_hub_refuses_is_said_in_one_line(
    error: str, reason: str, hub: Callable[[Any], dict[str, Any]]
) -> None:
    hub(hub_error(error))
    target = TransformersTarget("org/name", revision="v2")
    with pytest.raises(SetupError, match=rf"--model=org/name \(revision v2\): .*{reason}") as raised:
        target.fingerprint  # noqa: B018 - the property does the work
    assert "\n" not in str(raised.value)


def test_offline_and_unknown_ends_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(SetupError, match="the hub cannot be reached") as raised:
        TransformersTarget("no-such-org/no-such-model").generate([Request("Hello")])
    assert "\n" not in str(raised.value)


def test_a_pickled_hub_model_is_refused(llava: Path, hub: Callable[[Any], dict[str, Any]]) -> None:
    (llava / "model.safetensors").unlink()  # what the download leaves out
    hub(llava)
    with pytest.raises(SetupError, match="no weights"):
        TransformersTarget("org/name").generate([Request("Hello")])
