"""The files of a checkpoint: where they are, what of them counts, and how to load them in peace."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_mmsafety.errors import SetupError
from pytest_mmsafety.targets.checkpoint.torch import import_torch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MISSING = "--model: a transformers checkpoint needs the package {}: pip install 'pytest-mmsafety[transformers]'"

REMEMBERED_SIZE = 16 * 2**20
"""Bytes from which on the digest of a file is kept between runs; smaller ones are read faster than looked up."""

SETTLED_AFTER = 2 * 10**9
"""Nanoseconds: a file changed this very moment could change again within the tick of the file system's clock."""

# What lies in checkpoint folders but is never loaded by us: other formats, papers, training leftovers.
IGNORED_FOLDERS = (
    "original", "onnx", "openvino", "runs", "logs", "wandb", "checkpoint-*", "global_step*", "__pycache__",
)  # fmt: skip
IGNORED_FILES = (
    "*.md", "*.log", "*.png", "*.jpg", "*.jpeg", "*.gif", "*.webp", "*.pdf", "*.mp4", "LICENSE*", "NOTICE*",
    "*.bin", "*.pt", "*.pth", "*.ckpt", "*.onnx", "*.gguf", "*.h5", "*.msgpack", "*.tflite", "trainer_state.json",
)  # fmt: skip


def check_folder(folder: Path, where: str = "--model") -> None:
    if (folder / "adapter_config.json").is_file():
        base = _base_of(folder)
        raise SetupError(
            f"{where}: {folder} is an adapter (LoRA){base and f' of {base}'}, not a whole checkpoint;"
            " merge it first: peft's merge_and_unload(), then save_pretrained into a new folder"
        )
    if not (folder / "config.json").is_file():
        raise SetupError(f"{where}: {folder} is not a transformers checkpoint: config.json is missing")
    if any(folder.glob("*.safetensors")):
        return
    pickled = sorted(file.name for pattern in ("*.bin", "*.pt", "*.pth") for file in folder.glob(pattern))
    if pickled:
        raise SetupError(
            f"{where}: {folder} has only pickled weights ({pickled[0]}), which can run any code and are not loaded;"
            " convert them: load with transformers where you trust them, then save_pretrained writes safetensors"
        )
    raise SetupError(f"{where}: {folder} has no weights: expected model.safetensors or model-*.safetensors")


def _base_of(folder: Path) -> str:
    try:
        base = json.loads((folder / "adapter_config.json").read_text("utf-8"))["base_model_name_or_path"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ""
    return f"{base:.80}" if isinstance(base, str) else ""


def download(
    model: str, revision: str | None, *, option: str = "--model=", patterns: Sequence[str] | None = None
) -> Path:
    """Find a hub model in the local hub cache, and fetch what is not there yet.

    *patterns*: the files that are wanted; by default all that a target loads. *option* is named in errors.
    """
    hub, errors = require("huggingface_hub"), require("huggingface_hub.errors")
    where = f"{option}{model}" + (f" (revision {revision})" if revision else "")
    unwanted = None if patterns else [*IGNORED_FILES, *(f"{folder}/*" for folder in IGNORED_FOLDERS)]
    wanted = list(patterns) if patterns else None
    try:
        return Path(hub.snapshot_download(model, revision=revision, allow_patterns=wanted, ignore_patterns=unwanted))
    except errors.GatedRepoError:
        raise SetupError(
            f"{where}: access is restricted; accept its terms on its hub page, then run `hf auth login` or set HF_TOKEN"
        ) from None
    except errors.RevisionNotFoundError:
        raise SetupError(f"{where}: the hub has the model, but not this revision") from None
    except errors.RepositoryNotFoundError:
        raise SetupError(
            f"{where}: neither a folder here nor a model on the hub;"
            " if it is private, run `hf auth login` or set HF_TOKEN"
        ) from None
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled, OSError) as error:
        raise SetupError(
            f"{where}: not a folder here, not in the local hub cache, and the hub cannot be reached"
            f" ({first_line(error)}); give a folder, or fetch it with `hf download {model}` where there is a network"
        ) from None
    except (errors.HfHubHTTPError, errors.HFValidationError) as error:
        raise SetupError(f"{where}: {first_line(error)}") from None


DECODING = (
    "bos_token_id", "decoder_start_token_id", "forced_bos_token_id", "forced_eos_token_id", "suppress_tokens",
    "begin_suppress_tokens", "bad_words_ids",
)  # fmt: skip
"""What of a checkpoint's generation config is taken over as it is."""
_UNDERSTOOD = {*DECODING, "eos_token_id", "pad_token_id", "stop_strings", "transformers_version", "use_cache"}
_UNDERSTOOD |= {"max_new_tokens", "max_length", "do_sample"}


def set_aside(folder: Path) -> list[str]:
    """``name=value`` of what the generation config of a checkpoint asks for, and a target does otherwise."""
    try:
        config = json.loads((folder / "generation_config.json").read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return []
    found = config.items() if isinstance(config, dict) else ()
    return [
        f"{name}={value!r:.40}"
        for name, value in sorted(found)
        if name not in _UNDERSTOOD and not name.startswith("_") and value not in (None, False)
    ]


def digests(folder: Path) -> Iterator[str]:
    """``path sha256`` of each file that can change an answer."""
    known = _DigestCache()
    for file in sorted(folder.rglob("*")):
        path = file.relative_to(folder)
        hidden = any(part.startswith(".") for part in path.parts)
        ignored = any(parent.match(glob) for parent in path.parents for glob in IGNORED_FOLDERS)
        if file.is_file() and not (hidden or ignored or any(path.match(glob) for glob in IGNORED_FILES)):
            yield f"{path.as_posix()} {known.digest(file)}"


def file_digest(file: Path) -> str:
    """SHA-256 of *file*, remembered between runs if it is large."""
    return _DigestCache().digest(file)


class _DigestCache:
    """SHA-256 of files; those of large ones are kept between runs for as long as nothing tells of a change.

    Size and time of modification alone do not: copies and archives restore both. The inode, and the time when it was
    changed, no copy can keep. A convenience: a cache that is damaged or cannot be written costs time, never a run.
    """

    def __init__(self) -> None:
        root = os.environ.get("XDG_CACHE_HOME", "")
        self._path = (Path(root) if root else Path.home() / ".cache") / "pytest-mmsafety" / "digests.json"

    def digest(self, file: Path) -> str:
        file = file.resolve()
        stat = file.stat()
        state = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
        if stat.st_size >= REMEMBERED_SIZE:
            remembered = self._read().get(str(file))
            if isinstance(remembered, list) and remembered[:-1] == state:
                return str(remembered[-1])
        with file.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        if stat.st_size >= REMEMBERED_SIZE and time.time_ns() - stat.st_ctime_ns > SETTLED_AFTER:
            self._remember(str(file), [*state, digest])
        return digest

    def _read(self) -> dict[str, Any]:
        try:
            entries = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        return entries if isinstance(entries, dict) else {}

    def _remember(self, file: str, entry: list[Any]) -> None:
        entries = {known: value for known, value in self._read().items() if Path(known).exists()}
        entries[file] = entry
        partial = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(json.dumps(entries), encoding="utf-8")
            partial.replace(self._path)  # other processes read the old file or the new one, never half of it


def require(module: str) -> Any:
    """Import late: torch alone takes seconds, and `pytest --collect-only` needs none of it."""
    try:
        return import_torch() if module == "torch" else importlib.import_module(module)
    except ImportError as error:
        raise SetupError(MISSING.format(error.name or module)) from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No progress bars and no advice from the libraries, for a while; errors still come through."""
    logging, hub = require("transformers.utils.logging"), require("huggingface_hub.utils")
    verbosity = logging.get_verbosity()
    had_bars = logging.is_progress_bar_enabled() and not hub.are_progress_bars_disabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if had_bars:
            logging.enable_progress_bar()


def first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
