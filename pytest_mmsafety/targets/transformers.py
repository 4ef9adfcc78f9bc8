"""Any image-text-to-text checkpoint that transformers can load: a folder, or a model of the Hugging Face hub.

    pytest --model=./llava-next-rc2 --model-args max_new_tokens=256,dtype=bfloat16

Nothing heavy happens before the first :meth:`TransformersTarget.generate`; torch is imported there.

**A batch answers like its members.** An answer must not depend on what else was asked in the same batch, or a gate
would flicker with the batch size. In float32 it does not, for the architectures listed in
docs/targets-transformers.md; what that takes is said where it is done. In half precision the kernels themselves
round differently for different batch shapes, which no caller can mend.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import importlib.metadata
import inspect
import json
import os
import platform
import re
import time
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_mmsafety.errors import MmsafetyError, SetupError, nearest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_mmsafety.targets import Request

ANSWER_FORMAT = 1
"""Raised whenever this file begins to ask, decode or trim differently, so that stored answers are not mistaken."""

DTYPES = ("auto", "float32", "bfloat16", "float16")
ATTENTIONS = ("eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention")

MISSING = "--model: a transformers checkpoint needs the package {}: pip install 'pytest-mmsafety[transformers]'"

REMEMBERED_SIZE = 16 * 2**20
"""Bytes from which on the digest of a file is kept between runs; smaller ones are read faster than looked up."""

# What lies in checkpoint folders but is never loaded by us: other formats, papers, training leftovers.
IGNORED_FOLDERS = (
    "original", "onnx", "openvino", "runs", "logs", "wandb", "checkpoint-*", "global_step*", "__pycache__",
)  # fmt: skip
IGNORED_FILES = (
    "*.md", "*.log", "*.png", "*.jpg", "*.jpeg", "*.gif", "*.webp", "*.pdf", "*.mp4", "LICENSE*", "NOTICE*",
    "*.bin", "*.pt", "*.pth", "*.ckpt", "*.onnx", "*.gguf", "*.h5", "*.msgpack", "*.tflite", "trainer_state.json",
)  # fmt: skip

# Architectures whose processors neither say nor check what they cannot do. The first cannot answer without an image,
# the second not with several.
NEEDS_IMAGE = frozenset({"blip", "blip-2", "florence2", "git", "instructblip", "kosmos-2", "paligemma", "pix2struct"})
ONE_IMAGE = frozenset({"blip", "blip-2", "florence2", "git", "instructblip", "kosmos-2", "pix2struct"})


class TransformersTarget:
    """Greedy answers of an image-text-to-text checkpoint, through its own chat template and processor."""

    def __init__(self, model: str, **args: str) -> None:
        self._options = _Options.parse(args)
        self._loaded: _Loaded | None = None
        self._fingerprint: str | None = None
        if Path(model).is_dir():
            self._folder: Path | None = Path(model).resolve()
            self._name = self._folder.name
            _check_folder(self._folder)
        elif re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", model):
            self._folder = None  # of the hub; found or fetched when needed
            self._name = model
        else:
            raise SetupError(f"--model={model}: expected a checkpoint folder or a hub id such as org/name")

    @property
    def name(self) -> str:
        return self._name

    @property
    def fingerprint(self) -> str:
        """Of every file that is loaded, all that changes decoding, and the versions that compute it.

        Taken once: the engine asks for every case, and the weights in memory do not change with the files.
        """
        if self._fingerprint is None:
            facts = [f"format={ANSWER_FORMAT}", *_digests(self._checkpoint()), *self._options.facts()]
            facts += [f"{package}={_version(package)}" for package in ("torch", "transformers")]
            self._fingerprint = hashlib.sha256("\n".join(facts).encode()).hexdigest()
        return self._fingerprint

    def generate(self, requests: Sequence[Request]) -> list[str]:
        """May raise torch's ``OutOfMemoryError``: the same requests in smaller batches can still succeed."""
        if self._loaded is None:
            self._loaded = _load(self._checkpoint(), self._options)
        answers = [""] * len(requests)
        # Apart, because processors take images for all of a batch or for none of it.
        for has_images in (True, False):
            rows = [row for row, request in enumerate(requests) if bool(request.images) is has_images]
            if rows:
                told = self._loaded.answer([requests[row] for row in rows])
                for row, answer in zip(rows, told, strict=True):
                    answers[row] = answer
        return answers

    def release(self) -> None:
        """Free the model, and hand its memory back to the device."""
        if self._loaded is None:
            return
        torch = self._loaded.torch
        self._loaded = None
        gc.collect()  # modules and their hooks refer to each other
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _checkpoint(self) -> Path:
        if self._folder is None:
            self._folder = _download(self._name, self._options.revision)
            _check_folder(self._folder)
        return self._folder


@dataclass(frozen=True, slots=True)
class _Options:
    """``--model-args`` of this target, checked."""

    max_new_tokens: int = 128
    dtype: str = "auto"
    device: str = "auto"
    system_prompt: str | None = None
    revision: str | None = None
    trust_remote_code: bool = False
    attn_implementation: str | None = None

    @classmethod
    def parse(cls, args: Mapping[str, str]) -> _Options:
        known = list(cls.__dataclass_fields__)
        for key in args:
            if key not in known:
                raise SetupError(
                    f"--model-args {key}={args[key]}: the transformers target has no such argument;"
                    f" expected one of {', '.join(known)}{nearest(key, known)}"
                )
        values: dict[str, Any] = dict(args)
        if "max_new_tokens" in args:
            values["max_new_tokens"] = _whole_number("max_new_tokens", args["max_new_tokens"])
        if "trust_remote_code" in args:
            values["trust_remote_code"] = _one_of("trust_remote_code", args, ("true", "false")) == "true"
        if "dtype" in args:
            _one_of("dtype", args, DTYPES)
        if "attn_implementation" in args:
            _one_of("attn_implementation", args, ATTENTIONS)
        if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", args.get("device", "auto")):
            raise SetupError(
                f"--model-args device={args['device']}: expected auto, cpu, cuda, cuda:N or mps"
                f"{nearest(args['device'], ('auto', 'cpu', 'cuda', 'mps'))}"
            )
        return cls(**values)

    def facts(self) -> list[str]:
        """List what of it can change an answer."""
        facts = asdict(self)
        facts.pop("revision")  # the files tell better what was loaded
        facts["device"] = self.device.split(":")[0]  # workers with a GPU each share their answers
        if self.device == "auto":
            facts["accelerators"] = _accelerators()
        return [f"{key}={value!r}" for key, value in sorted(facts.items())]


def _whole_number(key: str, value: str) -> int:
    if not re.fullmatch(r"0*[1-9]\d{0,6}", value):
        raise SetupError(f"--model-args {key}={value}: expected a whole number from 1 on")
    return int(value)


def _one_of(key: str, args: Mapping[str, str], allowed: Sequence[str]) -> str:
    if args[key] not in allowed:
        raise SetupError(
            f"--model-args {key}={args[key]}: expected one of {', '.join(allowed)}{nearest(args[key], allowed)}"
        )
    return args[key]


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        raise SetupError(MISSING.format(package)) from None


def _require(module: str) -> Any:
    """Import late: torch alone takes seconds, and `pytest --collect-only` needs none of it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise SetupError(MISSING.format(error.name or module)) from error


def _accelerators() -> list[str]:
    """List what ``device=auto`` chooses from, as far as the system tells without importing torch.

    Answers of a GPU and of a CPU (other number format, other rounding) must not share a fingerprint.
    """
    nodes = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")  # NVIDIA, AMD, and either under WSL
    found = [node for node in nodes if Path(node).exists()]
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in {"", "-1"}:
        found = []
    return [platform.system(), platform.machine(), *found]


# --- files ------------------------------------------------------------------------------------------------------------


def _check_folder(folder: Path) -> None:
    if not (folder / "config.json").is_file():
        raise SetupError(f"--model: {folder} is not a transformers checkpoint: config.json is missing")
    if any(folder.glob("*.safetensors")):
        return
    pickled = sorted(file.name for pattern in ("*.bin", "*.pt", "*.pth") for file in folder.glob(pattern))
    if pickled:
        raise SetupError(
            f"--model: {folder} has only pickled weights ({pickled[0]}), which can run any code and are not loaded;"
            " convert them: load with transformers where you trust them, then save_pretrained writes safetensors"
        )
    raise SetupError(f"--model: {folder} has no weights: expected model.safetensors or model-*.safetensors")


def _download(model: str, revision: str | None) -> Path:
    """Find a hub model in the local hub cache, and fetch what is not there yet."""
    hub, errors = _require("huggingface_hub"), _require("huggingface_hub.errors")
    where = f"--model={model}" + (f" (revision {revision})" if revision else "")
    unwanted = [*IGNORED_FILES, *(f"{folder}/*" for folder in IGNORED_FOLDERS)]
    try:
        with _quiet():
            return Path(hub.snapshot_download(model, revision=revision, ignore_patterns=unwanted))
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
            f" ({_first_line(error)}); give a folder, or fetch it with `hf download {model}` where there is a network"
        ) from None
    except (errors.HfHubHTTPError, errors.HFValidationError) as error:
        raise SetupError(f"{where}: {_first_line(error)}") from None


def _digests(folder: Path) -> Iterator[str]:
    """``path sha256`` of each file that can change an answer."""
    known = _DigestCache()
    for file in sorted(folder.rglob("*")):
        path = file.relative_to(folder)
        hidden = any(part.startswith(".") for part in path.parts)
        ignored = any(parent.match(glob) for parent in path.parents for glob in IGNORED_FOLDERS)
        if file.is_file() and not (hidden or ignored or any(path.match(glob) for glob in IGNORED_FILES)):
            yield f"{path.as_posix()} {known.digest(file)}"


class _DigestCache:
    """SHA-256 of files; those of large ones are kept between runs for as long as size and time of change stay.

    A convenience: a cache that is damaged or cannot be written costs time, never a run.
    """

    def __init__(self) -> None:
        root = os.environ.get("XDG_CACHE_HOME", "")
        self._path = (Path(root) if root else Path.home() / ".cache") / "pytest-mmsafety" / "digests.json"

    def digest(self, file: Path) -> str:
        file = file.resolve()
        stat = file.stat()
        state = [stat.st_size, stat.st_mtime_ns]
        if stat.st_size >= REMEMBERED_SIZE:
            remembered = self._read().get(str(file))
            if isinstance(remembered, list) and remembered[:2] == state:
                return str(remembered[2])
        with file.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        # A file changed this very moment could change again within the tick of the file system's clock.
        if stat.st_size >= REMEMBERED_SIZE and time.time_ns() - stat.st_mtime_ns > 2 * 10**9:
            self._remember(str(file), [*state, digest])
        return digest

    def _read(self) -> dict[str, Any]:
        try:
            entries = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
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


# --- loading ----------------------------------------------------------------------------------------------------------


def _load(folder: Path, options: _Options) -> _Loaded:
    torch, transformers = _require("torch"), _require("transformers")
    device = _device(torch, options.device)
    with _quiet():
        try:
            config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=options.trust_remote_code)
            _check_architecture(transformers, config, folder)
            processor = _load_processor(transformers, config, folder, options)
            model = _load_model(transformers, folder, options, device)
            chat = _Chat.of(processor, options.system_prompt)
        except MmsafetyError:
            raise
        except torch.OutOfMemoryError:
            raise SetupError(
                f"--model: {folder} does not fit on {device}; try a smaller --model-args dtype, or a server target"
            ) from None
        except Exception as error:  # a broken checkpoint raises anything from KeyError to SafetensorError
            hint = "; --model-args trust_remote_code=true allows it" if "trust_remote_code" in str(error) else ""
            raise SetupError(f"--model: {folder} cannot be loaded: {_first_line(error)}{hint}") from error
    _decode_greedily(transformers, model, processor.tokenizer, options.max_new_tokens)
    return _Loaded(torch, model, processor, chat, options.max_new_tokens)


def _device(torch: Any, wanted: str) -> str:
    has_mps = torch.backends.mps.is_available()
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "mps" if has_mps else "cpu"
    kind, _, number = wanted.partition(":")
    if kind == "cuda" and int(number or 0) >= torch.cuda.device_count():
        raise SetupError(f"--model-args device={wanted}: torch sees {torch.cuda.device_count()} CUDA devices")
    if kind == "mps" and not has_mps:
        raise SetupError(f"--model-args device={wanted}: torch sees no MPS device")
    return wanted


def _check_architecture(transformers: Any, config: Any, folder: Path) -> None:
    remote = "AutoModelForImageTextToText" in (getattr(config, "auto_map", None) or {})
    if not remote and type(config) not in transformers.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING:
        raise SetupError(
            f"--model: {folder} is of type {config.model_type!r}, which takes no images;"
            " expected an image-text-to-text checkpoint (AutoModelForImageTextToText)"
        )


def _load_processor(transformers: Any, config: Any, folder: Path, options: _Options) -> Any:
    """Load the checkpoint's processor, with an image processor that gives the same numbers on every machine.

    transformers prefers torchvision's where torchvision is installed, and they round differently from PIL's.
    """
    trust = options.trust_remote_code
    # By its module: before transformers 5.23 the package itself hides the class where there is no torchvision.
    auto_images = _require("transformers.models.auto.image_processing_auto").AutoImageProcessor
    has_torchvision = transformers.utils.is_torchvision_available()
    processor_class = transformers.PROCESSOR_MAPPING.get(type(config), None)
    if has_torchvision or processor_class is None or "video_processor" not in processor_class.get_attributes():
        processor = transformers.AutoProcessor.from_pretrained(folder, trust_remote_code=trust)
        if has_torchvision and hasattr(processor, "image_processor"):
            processor.image_processor = auto_images.from_pretrained(folder, trust_remote_code=trust, backend="pil")
    else:
        images = auto_images.from_pretrained(folder, trust_remote_code=trust, backend="pil")
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=trust)
        processor = _without_videos(processor_class, folder, {"image_processor": images, "tokenizer": tokenizer})
    if not hasattr(processor, "tokenizer"):
        raise SetupError(f"--model: {folder} has no processor for text: expected tokenizer files beside config.json")
    if processor.tokenizer.pad_token is None:
        processor.tokenizer.pad_token = processor.tokenizer.eos_token
    # Answers grow at the right end of a decoder's prompt, so it is padded at the left. An encoder counts positions from
    # the left: a T5 under InstructBLIP answers by its batch if padded there, and so does InstructBLIP's Q-Former in any
    # case. Hence no `padding_side` argument to the processor: it would reach both.
    processor.tokenizer.padding_side = "right" if _is_encoder_decoder(config) else "left"
    if hasattr(processor, "qformer_tokenizer"):
        processor.qformer_tokenizer.padding_side = "right"
    return processor


def _is_encoder_decoder(config: Any) -> bool:
    """InstructBLIP and BLIP-2 say it of their language model only."""
    return bool(config.is_encoder_decoder or config.get_text_config(decoder=True).is_encoder_decoder)


def _without_videos(processor_class: Any, folder: Path, parts: dict[str, Any]) -> Any:
    """Make a *processor_class* for images alone: the library makes no video processor without torchvision."""

    class ImagesOnly(processor_class):  # type: ignore[misc]
        def check_argument_for_proper_class(self, argument_name: str, argument: object) -> Any:
            if argument_name == "video_processor":
                return type(None)
            return super().check_argument_for_proper_class(argument_name, argument)

    saved, _ = processor_class.get_processor_dict(folder)
    parts = {**parts, "video_processor": None}
    return ImagesOnly.from_args_and_dict([parts[name] for name in processor_class.get_attributes()], saved)


def _load_model(transformers: Any, folder: Path, options: _Options, device: str) -> Any:
    dtype = "float32" if options.dtype == "auto" and device == "cpu" else options.dtype
    more: dict[str, Any] = {} if device == "cpu" else {"device_map": {"": device}}
    if options.attn_implementation:
        more["attn_implementation"] = options.attn_implementation
    model, report = transformers.AutoModelForImageTextToText.from_pretrained(
        folder,
        dtype=dtype,
        trust_remote_code=options.trust_remote_code,
        use_safetensors=True,
        output_loading_info=True,
        **more,
    )
    # The library fills what is missing with random numbers and a warning. Gating those would be absurd.
    missing = sorted({name for name, _ in model.named_parameters()} & set(report["missing_keys"]))
    if missing:
        raise SetupError(
            f"--model: {folder} is incomplete: {len(missing)} weights of {type(model).__name__} are in no file,"
            f" the first is {missing[0]}"
        )
    return model.eval()


def _decode_greedily(transformers: Any, model: Any, tokenizer: Any, max_new_tokens: int) -> None:
    """Replace the checkpoint's decoding by plain greedy search; of its own only the special tokens stay.

    Repetition penalties go too: they count padding as text, and so make an answer depend on its batch.
    """
    own = model.generation_config
    text = model.config.get_text_config(decoder=True)
    eos = next((ids for ids in (own.eos_token_id, text.eos_token_id, tokenizer.eos_token_id) if ids is not None), None)
    kept = ("bos_token_id", "decoder_start_token_id", "forced_bos_token_id", "forced_eos_token_id")
    greedy = transformers.GenerationConfig(
        max_new_tokens=max_new_tokens,
        do_sample=False,
        eos_token_id=eos,
        pad_token_id=tokenizer.pad_token_id,
        **{key: getattr(own, key, None) for key in kept},
    )
    for module in model.modules():  # InstructBLIP asks its language model, which has a configuration of its own
        if getattr(module, "generation_config", None) is not None:
            module.generation_config = greedy


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars and no advice from the libraries, for a while; errors still come through."""
    logging, hub = _require("transformers.utils.logging"), _require("huggingface_hub.utils")
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


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


# --- asking -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Chat:
    """How a request becomes the text that the processor takes."""

    tokenizer: Any
    template: str | None
    """None: the checkpoint knows no chats, and gets the bare prompt."""
    system_prompt: str | None
    takes_parts: bool
    """Whether the template wants a message as a list of parts, not as a string."""
    image_token: str
    """What has to be written into the text for each image; empty where template or processor write it."""

    @classmethod
    def of(cls, processor: Any, system_prompt: str | None) -> _Chat:
        """Find out by trying: templates come without a description."""
        tokenizer = processor.tokenizer
        template = getattr(processor, "chat_template", None) or tokenizer.chat_template
        if isinstance(template, dict):
            if "default" not in template:
                raise SetupError(f"--model: of the chat templates {', '.join(template)} none is called default")
            template = template["default"]
        # InstructBLIP and BLIP-2 count out their image tokens themselves, and say so with their query tokens.
        token = "" if hasattr(processor, "num_query_tokens") else str(getattr(processor, "image_token", None) or "")
        if template is None:
            if system_prompt is not None:
                raise SetupError("--model-args system_prompt: the checkpoint has no chat template to put it into")
            return cls(tokenizer, None, None, takes_parts=False, image_token=token)
        for takes_parts in (True, False):
            chat = cls(tokenizer, template, None, takes_parts=takes_parts, image_token="")
            text, with_image = chat._probe(images=0), chat._probe(images=1)
            if text is None or "'type'" in text:  # refused, or wrote the list as Python writes it
                continue
            if with_image is None or with_image == text:  # made for text alone
                chat = cls(tokenizer, template, None, takes_parts=takes_parts, image_token=f"{token}\n")
            return chat._with_system_prompt(system_prompt)
        raise SetupError("--model: the checkpoint's chat template takes no user message, as parts or as a string")

    def _with_system_prompt(self, system_prompt: str | None) -> _Chat:
        chat = _Chat(self.tokenizer, self.template, system_prompt, self.takes_parts, self.image_token)
        if system_prompt is not None and system_prompt.strip() not in (chat._probe(images=0) or ""):
            raise SetupError("--model-args system_prompt: the checkpoint's chat template takes no system message")
        return chat

    def _probe(self, images: int) -> str | None:
        try:
            text = self.render("What is this?", images)
        except Exception:  # noqa: BLE001 - templates are programs, and raise what they like
            return None
        return text if "What is this?" in text else None

    def render(self, prompt: str, images: int) -> str:
        written = self.image_token * images + prompt
        if self.template is None:
            return written
        messages = [self._message("user", written, 0 if self.image_token else images)]
        if self.system_prompt is not None:
            messages.insert(0, self._message("system", self.system_prompt, 0))
        return str(
            self.tokenizer.apply_chat_template(
                messages, chat_template=self.template, add_generation_prompt=True, tokenize=False
            )
        )

    def _message(self, role: str, text: str, images: int) -> dict[str, Any]:
        if not self.takes_parts:
            return {"role": role, "content": text}
        return {"role": role, "content": [*({"type": "image"} for _ in range(images)), {"type": "text", "text": text}]}


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A checkpoint in memory."""

    torch: Any
    model: Any
    processor: Any
    chat: _Chat
    max_new_tokens: int

    def answer(self, requests: Sequence[Request]) -> list[str]:
        """All with images, or all without."""
        for request in requests:
            self._check(request)
        with self.torch.inference_mode():
            inputs = self._inputs(requests)
            try:
                output = self.model.generate(**inputs)
            except self.torch.OutOfMemoryError as error:
                # The frames hold the tensors of the failed batch, which whoever tries a smaller one needs the room of.
                traceback.clear_frames(error.__traceback__)
                raise
        rows = self._new_tokens(inputs["input_ids"], output)
        return [text.strip() for text in self.processor.tokenizer.batch_decode(rows, skip_special_tokens=True)]

    def _check(self, request: Request) -> None:
        kind = self.model.config.model_type
        if not request.images and kind in NEEDS_IMAGE:
            raise MmsafetyError(f"a {kind} checkpoint cannot answer a request without an image")
        if len(request.images) > 1 and kind in ONE_IMAGE:
            raise MmsafetyError(f"a {kind} checkpoint takes one image a request, not {len(request.images)}")
        for holder in (self.processor, self.processor.tokenizer):
            # Would be taken for one more image, and misplace all images of the batch.
            token = str(getattr(holder, "image_token", None) or "")
            if token and token in request.prompt:
                raise MmsafetyError(f"the prompt contains {token!r}, which stands for an image in this checkpoint")

    def _inputs(self, requests: Sequence[Request]) -> dict[str, Any]:
        texts = [self.chat.render(request.prompt, len(request.images)) for request in requests]
        more: dict[str, Any] = {}
        if requests[0].images:
            more["images"] = [list(request.images) for request in requests]
        bos = self.processor.tokenizer.bos_token
        if bos and texts[0].startswith(bos):
            more["add_special_tokens"] = False  # the template wrote it already
        # PaliGemma's processor turns tensors back into arrays, in a way that NumPy 2 warns about.
        tensors = "np" if self.model.config.model_type == "paligemma" else "pt"
        batch = self.processor(text=texts, padding=True, return_tensors=tensors, **more).convert_to_tensors("pt")
        batch.pop("labels", None)  # it also prepares for training, and the model would work out the loss
        if "token_type_ids" not in inspect.signature(self.model.forward).parameters:
            batch.pop("token_type_ids", None)  # tokenizers hand them out to models that know no such thing
        self._check_lengths(batch)
        return {key: self._on_device(value) for key, value in batch.items()}

    def _check_lengths(self, batch: Mapping[str, Any]) -> None:
        """Tables of positions end somewhere; on a GPU, to read beyond takes the whole process down."""
        config = self.model.config
        room = getattr(config.get_text_config(decoder=True), "max_position_embeddings", None)
        longest = int(batch["attention_mask"].sum(dim=1).max())
        if isinstance(room, int) and not _is_encoder_decoder(config) and longest + self.max_new_tokens > room:
            raise MmsafetyError(
                f"a request of {longest} tokens and an answer of {self.max_new_tokens} exceed the {room} positions"
                " of the checkpoint; lower --model-args max_new_tokens or shorten the case"
            )
        if "qformer_input_ids" in batch:
            room = config.qformer_config.max_position_embeddings
            longest = batch["qformer_input_ids"].shape[1]
            if longest > room:
                raise MmsafetyError(f"a prompt of {longest} tokens exceeds the {room} positions of the Q-Former")

    def _on_device(self, value: Any) -> Any:
        if not self.torch.is_tensor(value):
            return value
        if value.is_floating_point():
            return value.to(self.model.device, self.model.dtype)
        return value.to(self.model.device)

    def _new_tokens(self, prompt: Any, output: Any) -> list[list[int]]:
        """Cut the prompt, which decoders repeat unless they were fed embeddings, and what follows the end."""
        width = prompt.shape[1]
        if output.shape[1] >= width and bool((output[:, :width] == prompt).all()):
            output = output[:, width:]
        ends = self.model.generation_config.eos_token_id
        ends = set(ends if isinstance(ends, list) else [ends])
        rows = []
        for row in output.tolist():
            # What follows the end is padding for the longer answers of the batch; not every checkpoint pads with a
            # special token that decoding would skip.
            end = next((place for place, token in enumerate(row) if token in ends), len(row))
            rows.append(row[:end])
        return rows
