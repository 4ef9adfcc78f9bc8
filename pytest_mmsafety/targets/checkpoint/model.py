"""A checkpoint in memory: loaded with its processor and chat template, and asked in batches."""

from __future__ import annotations

import hashlib
import inspect
import json
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_mmsafety.cases import Response
from pytest_mmsafety.errors import MmsafetyError, SetupError
from pytest_mmsafety.targets import Request
from pytest_mmsafety.targets.checkpoint.chat import Chat, special_tokens
from pytest_mmsafety.targets.checkpoint.files import DECODING, first_line, quiet, require
from pytest_mmsafety.targets.checkpoint.torch import choose_device
from pytest_mmsafety.targets.reasoning import ANSWER_MARKS, THOUGHT_MARKS, opens_thought, split_reasoning

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from pytest_mmsafety.cases import End
    from pytest_mmsafety.targets.checkpoint.options import Options

# Architectures whose processors neither say nor check what they cannot do. The first cannot answer without an image,
# the second not with several.
NEEDS_IMAGE = frozenset({"blip", "blip-2", "florence2", "git", "instructblip", "kosmos-2", "paligemma", "pix2struct"})
ONE_IMAGE = frozenset({"blip", "blip-2", "florence2", "git", "instructblip", "kosmos-2", "pix2struct"})


def load(folder: Path, options: Options, now: datetime) -> Loaded:
    torch, transformers = require("torch"), require("transformers")
    device = choose_device(torch, options.device)
    with quiet():
        try:
            config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=options.trust_remote_code)
            _check_architecture(transformers, config, folder)
            processor = _load_processor(transformers, config, folder, options)
            model = _load_model(transformers, folder, options, device)
            chat = Chat.of(processor, options.system_prompt, options.template, now)
        except MmsafetyError:
            raise
        except torch.OutOfMemoryError:
            raise SetupError(
                f"--model: {folder} does not fit on {device}; try a smaller --model-args dtype, or a server target"
            ) from None
        except Exception as error:  # a broken checkpoint raises anything from KeyError to SafetensorError
            hint = "; --model-args trust_remote_code=true allows it" if "trust_remote_code" in str(error) else ""
            raise SetupError(f"--model: {folder} cannot be loaded: {first_line(error)}{hint}") from error
    own = model.generation_config
    stop_strings = [own.stop_strings] if isinstance(own.stop_strings, str) else own.stop_strings or ()
    _set_decoding(transformers, model, processor.tokenizer, options, chat.turn_ends())
    seed = options.seed if options.temperature else None
    marks = _special_marks(processor.tokenizer)
    loaded = Loaded(torch, model, processor, chat, seed, marks, tuple(filter(None, stop_strings)))
    loaded.try_processor(folder)
    return loaded


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
    if processor.tokenizer.pad_token is None:
        raise SetupError(f"--model: {folder}: its tokenizer has neither a pad_token nor an eos_token; expected one")
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


def _set_decoding(transformers: Any, model: Any, tokenizer: Any, options: Options, turn_ends: Collection[int]) -> None:
    """Replace the checkpoint's decoding by greedy search or plain sampling; special and forbidden tokens stay.

    Generation ends at any token that generation config, model, tokenizer or chat template (*turn_ends*) end a turn
    with: they disagree in many checkpoints, and a model that runs on answers its own questions. Repetition penalties
    go: they count padding as text, and so make an answer depend on its batch.
    """
    own = model.generation_config
    text = model.config.get_text_config(decoder=True)
    ends = {*turn_ends, *_ids(own.eos_token_id), *_ids(text.eos_token_id), *_ids(tokenizer.eos_token_id)}
    sampling = {"temperature": options.temperature, "top_k": 0, "top_p": 1.0} if options.temperature else {}
    decoding = transformers.GenerationConfig(
        do_sample=bool(options.temperature),
        **sampling,
        eos_token_id=sorted(ends) or None,
        pad_token_id=tokenizer.pad_token_id,
        **{key: getattr(own, key, None) for key in DECODING},
    )
    for module in model.modules():  # InstructBLIP asks its language model, which has a configuration of its own
        if getattr(module, "generation_config", None) is not None:
            module.generation_config = decoding


def _ids(found: int | Sequence[int] | None) -> Sequence[int]:
    """Of a config that has one id, several or none."""
    return () if found is None else (found,) if isinstance(found, int) else found


def _special_marks(tokenizer: Any) -> dict[int, str]:
    """Marks around thoughts and answers that are special tokens: decoding would drop them, and with them the border."""
    marks = {*(mark for pair in THOUGHT_MARKS for mark in pair), *ANSWER_MARKS}
    return {token: text for token, text in special_tokens(tokenizer).items() if text in marks}


def _seed_of(seed: int, requests: Sequence[Request]) -> int:
    """The same batch samples the same answers, another sample number or seed others."""
    asked = [[request.prompt, request.image_digests, request.sample] for request in requests]
    return int.from_bytes(hashlib.sha256(json.dumps([seed, asked]).encode()).digest()[:8])


@dataclass(frozen=True, slots=True)
class Loaded:
    """A checkpoint in memory."""

    torch: Any
    model: Any
    processor: Any
    chat: Chat
    seed: int | None
    """For sampling; ``None``: greedy."""
    marks: Mapping[int, str]
    """Special tokens that stand around thoughts and answers."""
    stop_strings: Sequence[str]
    """Texts at which the checkpoint's own decoding ends an answer."""

    def answer(self, requests: Sequence[Request], max_new_tokens: int) -> list[Response]:
        """All with images, or all without; answers of at most *max_new_tokens*."""
        for request in requests:
            self._check(request)
        texts = [self.chat.render(request.prompt, len(request.images)) for request in requests]
        with self.torch.inference_mode():
            inputs = self._inputs(texts, requests)
            self._check_lengths(inputs, max_new_tokens)
            if self.seed is not None:
                self.torch.manual_seed(_seed_of(self.seed, requests))
            try:
                output = self.model.generate(**inputs, max_new_tokens=max_new_tokens)
            except self.torch.OutOfMemoryError as error:
                # The frames hold the tensors of the failed batch, whose room a smaller one needs.
                traceback.clear_frames(error.__traceback__)
                raise
        rows = self._new_tokens(inputs["input_ids"], output)
        prompts = inputs["attention_mask"].sum(dim=1).tolist()
        return [
            self._response(text, tokens, prompt=int(prompt), ended=ended)
            for text, (tokens, ended), prompt in zip(texts, rows, prompts, strict=True)
        ]

    def try_processor(self, folder: Path) -> None:
        """Raise :class:`SetupError` for what would fail with every case: a processor without the size of patches."""
        from PIL import Image  # not at collection

        image = Image.new("RGB", (224, 224), "grey")
        request = Request("What is this?", (image,))
        try:
            self._inputs([self.chat.render(request.prompt, 1)], [request])
        except Exception as error:  # a broken processor raises what it likes
            raise SetupError(
                f"--model: {folder}: its processor fails on a request with one image: {first_line(error)}; "
                "is processor_config.json or preprocessor_config.json complete?"
            ) from error

    def _response(self, rendered: str, tokens: Sequence[int], *, prompt: int, ended: bool) -> Response:
        """The answer without the thoughts before it, which the template may have begun."""
        text = self._decode(tokens)
        stops = [place for stop in self.stop_strings if (place := text.find(stop)) >= 0]
        text = text[: min(stops)] if stops else text
        answer, reasoning, finished = split_reasoning(text.strip(), opened=opens_thought(rendered))
        end: End = "stop" if ended or stops else "length"
        return Response(answer, reasoning, end if finished else "thinking", prompt, len(tokens), rendered)

    def _decode(self, tokens: Sequence[int]) -> str:
        """Text without special tokens, but for the marks around thoughts and answers."""
        decode = self.processor.tokenizer.decode
        if not self.marks.keys() & set(tokens):
            return str(decode(tokens, skip_special_tokens=True))
        pieces, here = [], 0
        for place, token in enumerate(tokens):
            if token in self.marks:
                pieces += [decode(tokens[here:place], skip_special_tokens=True), self.marks[token]]
                here = place + 1
        return "".join([*pieces, decode(tokens[here:], skip_special_tokens=True)])

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

    def _inputs(self, texts: list[str], requests: Sequence[Request]) -> dict[str, Any]:
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
        return {key: self._on_device(value) for key, value in batch.items()}

    def _check_lengths(self, batch: Mapping[str, Any], max_new_tokens: int) -> None:
        """Tables of positions end somewhere; on a GPU, to read beyond takes the whole process down."""
        config = self.model.config
        room = getattr(config.get_text_config(decoder=True), "max_position_embeddings", None)
        longest = int(batch["attention_mask"].sum(dim=1).max())
        if isinstance(room, int) and not _is_encoder_decoder(config) and longest + max_new_tokens > room:
            raise MmsafetyError(
                f"a request of {longest} tokens and an answer of {max_new_tokens} exceed the {room} positions"
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

    def _new_tokens(self, prompt: Any, output: Any) -> list[tuple[list[int], bool]]:
        """Cut the prompt, which decoders repeat unless they were fed embeddings, and what follows the end.

        With each row whether there was an end.
        """
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
            rows.append((row[:end], end < len(row)))
        return rows
