"""A checkpoint in memory: loaded with its processor and chat template, and asked in batches."""

from __future__ import annotations

import hashlib
import inspect
import json
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_mmsafety.errors import MmsafetyError, SetupError
from pytest_mmsafety.targets.checkpoint.files import first_line, quiet, require
from pytest_mmsafety.targets.checkpoint.torch import choose_device

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pytest_mmsafety.targets import Request
    from pytest_mmsafety.targets.checkpoint.options import Options

# Architectures whose processors neither say nor check what they cannot do. The first cannot answer without an image,
# the second not with several.
NEEDS_IMAGE = frozenset({"blip", "blip-2", "florence2", "git", "instructblip", "kosmos-2", "paligemma", "pix2struct"})
ONE_IMAGE = frozenset({"blip", "blip-2", "florence2", "git", "instructblip", "kosmos-2", "pix2struct"})


def load(folder: Path, options: Options) -> Loaded:
    torch, transformers = require("torch"), require("transformers")
    device = choose_device(torch, options.device)
    with quiet():
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
            raise SetupError(f"--model: {folder} cannot be loaded: {first_line(error)}{hint}") from error
    _set_decoding(transformers, model, processor.tokenizer, options)
    return Loaded(torch, model, processor, chat, options.max_new_tokens, options.seed if options.temperature else None)


def _check_architecture(transformers: Any, config: Any, folder: Path) -> None:
    remote = "AutoModelForImageTextToText" in (getattr(config, "auto_map", None) or {})
    if not remote and type(config) not in transformers.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING:
        raise SetupError(
            f"--model: {folder} is of type {config.model_type!r}, which takes no images;"
            " expected an image-text-to-text checkpoint (AutoModelForImageTextToText)"
        )


def _load_processor(transformers: Any, config: Any, folder: Path, options: Options) -> Any:
    """Load the checkpoint's processor, with an image processor that gives the same numbers on every machine.

    transformers prefers torchvision's where torchvision is installed, and they round differently from PIL's.
    """
    trust = options.trust_remote_code
    # By its module: before transformers 5.23 the package itself hides the class where there is no torchvision.
    auto_images = require("transformers.models.auto.image_processing_auto").AutoImageProcessor
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


def _load_model(transformers: Any, folder: Path, options: Options, device: str) -> Any:
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


def _set_decoding(transformers: Any, model: Any, tokenizer: Any, options: Options) -> None:
    """Replace the checkpoint's decoding by greedy search or plain sampling; of its own only the special tokens stay.

    Repetition penalties go too: they count padding as text, and so make an answer depend on its batch.
    """
    own = model.generation_config
    text = model.config.get_text_config(decoder=True)
    eos = next((ids for ids in (own.eos_token_id, text.eos_token_id, tokenizer.eos_token_id) if ids is not None), None)
    kept = ("bos_token_id", "decoder_start_token_id", "forced_bos_token_id", "forced_eos_token_id")
    sampling = {"temperature": options.temperature, "top_k": 0, "top_p": 1.0} if options.temperature else {}
    decoding = transformers.GenerationConfig(
        max_new_tokens=options.max_new_tokens,
        do_sample=bool(options.temperature),
        **sampling,
        eos_token_id=eos,
        pad_token_id=tokenizer.pad_token_id,
        **{key: getattr(own, key, None) for key in kept},
    )
    for module in model.modules():  # InstructBLIP asks its language model, which has a configuration of its own
        if getattr(module, "generation_config", None) is not None:
            module.generation_config = decoding


def _seed_of(seed: int, requests: Sequence[Request]) -> int:
    """The same batch samples the same answers, another sample number or seed others."""
    asked = [[request.prompt, request.image_digests, request.sample] for request in requests]
    return int.from_bytes(hashlib.sha256(json.dumps([seed, asked]).encode()).digest()[:8])


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
class Loaded:
    """A checkpoint in memory."""

    torch: Any
    model: Any
    processor: Any
    chat: _Chat
    max_new_tokens: int
    seed: int | None
    """For sampling; ``None``: greedy."""

    def answer(self, requests: Sequence[Request]) -> list[str]:
        """All with images, or all without."""
        for request in requests:
            self._check(request)
        with self.torch.inference_mode():
            inputs = self._inputs(requests)
            if self.seed is not None:
                self.torch.manual_seed(_seed_of(self.seed, requests))
            try:
                output = self.model.generate(**inputs)
            except self.torch.OutOfMemoryError as error:
                # The frames hold the tensors of the failed batch, whose room a smaller one needs.
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
