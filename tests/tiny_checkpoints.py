"""Tiny image-text-to-text checkpoints with random weights, built on disk in a second or two each.

    build("llava", tmp_path / "llava")

They have the files of a real checkpoint (config, safetensors, tokenizer, processor, chat template) and the real
architecture, so that whatever loads a released model loads them too. What they say means nothing; but it depends on
every word and pixel of the request, which is what tests of batching need:

* weights are drawn wide, for a narrow network answers every prompt alike;
* special tokens are never said, except the end of the text now and then, so that answers differ in length;
* image sizes, tiles and sequence lengths are shrunk until a case costs milliseconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import transformers as hf
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TEXT = """
The quick brown fox jumps over the lazy dog, and a gate keeps unsafe checkpoints from being shipped.
Describe the picture. What is written on the sign? Is it safe to answer this question about two images?
How many people are there, and which colour is the largest shape? Please explain step by step.
用一句话描述这张图片。图中的标志上写着什么？回答这个问题安全吗？请逐步解释原因。
两张图片有什么不同？最大的形状是什么颜色？图里有多少人？我们不应该发布不安全的模型。
"""

IMAGE_SIZE, PATCH = 32, 8
"""Of every vision tower here but Qwen's, which takes images as they come."""

LLAVA_TEMPLATE = (
    "{% for message in messages %}{% if message['role'] == 'system' %}{{ message['content'][0]['text'] + ' ' }}"
    "{% else %}{{ message['role'].upper() + ': ' }}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}{{ '<image>\n' }}"
    "{% else %}{{ part['text'] + ' ' }}{% endif %}{% endfor %}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
QWEN_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}"
    "{{ '<|vision_start|><|image_pad|><|vision_end|>' }}{% else %}{{ part['text'] }}{% endif %}{% endfor %}"
    "{% endif %}{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
IDEFICS_TEMPLATE = (
    "<s>{% for message in messages %}{{ message['role'].capitalize() + ': ' }}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}{{ '<image>' }}"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}<end_of_utterance>\n{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
GEMMA_TEMPLATE = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{% set first = messages[0]['content'][0]['text'] + '\n\n' %}"
    "{% set turns = messages[1:] %}{% else %}{% set first = '' %}{% set turns = messages %}{% endif %}"
    "{% for message in turns %}{{ '<start_of_turn>' + message['role'] + '\n' + (first if loop.first else '') }}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}{{ '<start_of_image>' }}"
    "{% else %}{{ part['text'] | trim }}{% endif %}{% endfor %}{{ '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)


def build(kind: str, folder: Path) -> Path:
    """Write the checkpoint *kind*, one of :data:`KINDS`, into *folder* and return it."""
    torch.manual_seed(20)
    model, tokenizer = _BUILDERS[kind](folder)
    _widen(model, tokenizer)
    model.save_pretrained(folder)
    return folder


def _tokenizer(*tokens: str, pad: str = "<pad>", **named: str) -> Any:
    """A BPE tokenizer that knows TEXT; *tokens* and the *named* ones, ``image_token="<image>"``, are special."""
    special = list(dict.fromkeys(["<unk>", pad, "<s>", "</s>", *named.values(), *tokens]))
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(TEXT.splitlines(), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
    )
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        pad_token=pad,
        additional_special_tokens=list(tokens),
        extra_special_tokens=dict(named),
        model_max_length=4096,
    )


def _text(tokenizer: Any, **more: Any) -> dict[str, Any]:
    """The language model's half of a config, for every llama-like one."""
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 2048,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "tie_word_embeddings": False,
        **more,
    }


def _vision(**more: Any) -> dict[str, Any]:
    """The vision tower's half, for every CLIP-like one."""
    return {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": IMAGE_SIZE,
        "patch_size": PATCH,
        **more,
    }


def _widen(model: Any, tokenizer: Any) -> None:
    """Draw the weights wide enough for answers to differ, and silence special tokens."""
    # Gemma multiplies its embeddings, and so drowns what the layers add to them.
    embedding = 0.1 if "gemma" in model.config.model_type else 1.0
    for name, weight in model.named_parameters():
        if weight.dim() > 1:
            torch.nn.init.normal_(weight, std=embedding if "embed" in name else 1.5 * weight[0].numel() ** -0.5)
    head = model.get_output_embeddings().weight.data
    silent = [token for token in tokenizer.all_special_ids if token != tokenizer.eos_token_id]
    head[silent] = 0.0
    head[len(tokenizer) :] = 0.0
    head[tokenizer.eos_token_id] *= 1.2
    # What released checkpoints carry, and greedy decoding must get rid of without a warning.
    model.generation_config = hf.GenerationConfig(
        do_sample=True, temperature=0.6, top_p=0.9, top_k=20, repetition_penalty=1.05, max_length=4096,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=[tokenizer.eos_token_id], pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip


def _llava(folder: Path) -> tuple[Any, Any]:
    tokenizer = _tokenizer(image_token="<image>")
    size = {"height": IMAGE_SIZE, "width": IMAGE_SIZE}
    hf.LlavaProcessor(
        hf.CLIPImageProcessorPil(size={"shortest_edge": IMAGE_SIZE}, crop_size=size),
        tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=LLAVA_TEMPLATE,
    ).save_pretrained(folder)
    config = hf.LlavaConfig(
        text_config=hf.LlamaConfig(**_text(tokenizer)),
        vision_config=hf.CLIPVisionConfig(**_vision()),
        image_token_id=tokenizer.image_token_id,
    )
    return hf.LlavaForConditionalGeneration(config), tokenizer


def _llava_next(folder: Path) -> tuple[Any, Any]:
    tokenizer = _tokenizer(image_token="<image>")
    size = {"height": IMAGE_SIZE, "width": IMAGE_SIZE}
    grid = [[IMAGE_SIZE, 2 * IMAGE_SIZE], [2 * IMAGE_SIZE, IMAGE_SIZE], [2 * IMAGE_SIZE, 2 * IMAGE_SIZE]]
    hf.LlavaNextProcessor(
        hf.LlavaNextImageProcessorPil(size={"shortest_edge": IMAGE_SIZE}, crop_size=size, image_grid_pinpoints=grid),
        tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=LLAVA_TEMPLATE,
    ).save_pretrained(folder)
    config = hf.LlavaNextConfig(
        text_config=hf.LlamaConfig(**_text(tokenizer)),
        vision_config=hf.CLIPVisionConfig(**_vision()),
        image_token_id=tokenizer.image_token_id,
        image_grid_pinpoints=grid,
    )
    return hf.LlavaNextForConditionalGeneration(config), tokenizer


def _qwen2_vl(folder: Path) -> tuple[Any, Any]:
    vision = {"depth": 2, "embed_dim": 32, "num_heads": 2, "hidden_size": 64, "mlp_ratio": 2}
    return _qwen(folder, "Qwen2VL", vision)


def _qwen2_5_vl(folder: Path) -> tuple[Any, Any]:
    vision = {"depth": 2, "hidden_size": 32, "out_hidden_size": 64, "intermediate_size": 64, "num_heads": 2}
    # Windows smaller than the images, and a layer of either kind.
    return _qwen(folder, "Qwen2_5_VL", {**vision, "window_size": 32, "fullatt_block_indexes": [1]})


def _qwen3_vl(folder: Path) -> tuple[Any, Any]:
    vision = {"depth": 2, "hidden_size": 32, "out_hidden_size": 64, "intermediate_size": 64, "num_heads": 2}
    return _qwen(folder, "Qwen3VL", {**vision, "num_position_embeddings": 64, "deepstack_visual_indexes": [0, 1]})


def _qwen(folder: Path, family: str, vision: dict[str, Any]) -> tuple[Any, Any]:
    tokenizer = _tokenizer(
        "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"
    )
    tokenizer.chat_template = QWEN_TEMPLATE
    tokenizer.save_pretrained(folder)
    # The processor itself cannot be made without torchvision, because of its video half. Releases have this file too.
    size = {"shortest_edge": 16 * 16, "longest_edge": 64 * 64}
    images = hf.Qwen2VLImageProcessorPil(patch_size=PATCH, merge_size=2, size=size)
    images._processor_class = f"{family}Processor"
    images.save_pretrained(folder)
    token = tokenizer.convert_tokens_to_ids
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]}
    config = getattr(hf, f"{family}Config")(
        text_config=_text(tokenizer, rope_parameters=rope),
        vision_config={**vision, "patch_size": PATCH, "spatial_merge_size": 2, "temporal_patch_size": 2},
        image_token_id=token("<|image_pad|>"),
        video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token("<|vision_start|>"),
        vision_end_token_id=token("<|vision_end|>"),
    )
    return getattr(hf, f"{family}ForConditionalGeneration")(config), tokenizer


def _idefics3(folder: Path) -> tuple[Any, Any]:
    tiles = [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]
    tokenizer = _tokenizer("<fake_token_around_image>", "<image>", "<end_of_utterance>", "<global-img>", *tiles)
    hf.Idefics3Processor(
        Idefics3ImageProcessorPil(size={"longest_edge": 3 * IMAGE_SIZE}, max_image_size={"longest_edge": IMAGE_SIZE}),
        tokenizer,
        image_seq_len=4,
        chat_template=IDEFICS_TEMPLATE,
    ).save_pretrained(folder)
    config = hf.Idefics3Config(
        text_config=hf.LlamaConfig(**_text(tokenizer)),
        vision_config=_vision(),
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        pad_token_id=tokenizer.pad_token_id,
        scale_factor=2,
    )
    return hf.Idefics3ForConditionalGeneration(config), tokenizer


def _gemma3(folder: Path) -> tuple[Any, Any]:
    tokenizer = _tokenizer(
        "<start_of_turn>", "<end_of_turn>",
        image_token="<image_soft_token>", boi_token="<start_of_image>", eoi_token="<end_of_image>",
    )  # fmt: skip
    hf.Gemma3Processor(
        hf.Gemma3ImageProcessorPil(
            size={"height": IMAGE_SIZE, "width": IMAGE_SIZE},
            image_seq_length=4,
            do_pan_and_scan=True,
            pan_and_scan_min_crop_size=16,
            pan_and_scan_max_num_crops=3,
            pan_and_scan_min_ratio_to_activate=1.2,
        ),
        tokenizer,
        image_seq_length=4,
        chat_template=GEMMA_TEMPLATE,
    ).save_pretrained(folder)
    config = hf.Gemma3Config(
        # A window shorter than the prompts, and both kinds of layers.
        text_config=_text(
            tokenizer, head_dim=16, query_pre_attn_scalar=16, sliding_window=16,
            layer_types=["sliding_attention", "full_attention"],
        ),
        vision_config=_vision(vision_use_head=False),
        mm_tokens_per_image=4,
        image_token_index=tokenizer.image_token_id,
        boi_token_index=tokenizer.boi_token_id,
        eoi_token_index=tokenizer.eoi_token_id,
        tie_word_embeddings=False,
    )  # fmt: skip
    return hf.Gemma3ForConditionalGeneration(config), tokenizer


def _paligemma(folder: Path) -> tuple[Any, Any]:
    tokenizer = _tokenizer(image_token="<image>")
    images = hf.SiglipImageProcessorPil(size={"height": IMAGE_SIZE, "width": IMAGE_SIZE})
    images.image_seq_length = (IMAGE_SIZE // PATCH) ** 2
    hf.PaliGemmaProcessor(images, tokenizer).save_pretrained(folder)
    config = hf.PaliGemmaConfig(
        text_config={"model_type": "gemma", **_text(tokenizer, head_dim=16)},
        vision_config={"model_type": "siglip_vision_model", **_vision(vision_use_head=False)},
        image_token_index=tokenizer.image_token_id,
        projection_dim=64,
        hidden_size=64,
        tie_word_embeddings=False,
    )
    return hf.PaliGemmaForConditionalGeneration(config), tokenizer


def _instructblip(folder: Path) -> tuple[Any, Any]:
    return _blip(folder, lambda tokenizer: {"model_type": "llama", **_text(tokenizer)})


def _instructblip_t5(folder: Path) -> tuple[Any, Any]:
    return _blip(
        folder,
        lambda tokenizer: {
            "model_type": "t5", "vocab_size": len(tokenizer), "d_model": 64, "d_kv": 16, "d_ff": 128,
            "num_layers": 2, "num_heads": 4, "decoder_start_token_id": tokenizer.pad_token_id,
            "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id,
            "tie_word_embeddings": False, "is_encoder_decoder": True,
        },
    )  # fmt: skip


def _blip(folder: Path, text_config: Callable[[Any], dict[str, Any]]) -> tuple[Any, Any]:
    tokenizer = _tokenizer("<image>")
    readers = _tokenizer()
    hf.InstructBlipProcessor(
        hf.BlipImageProcessorPil(size={"height": IMAGE_SIZE, "width": IMAGE_SIZE}),
        tokenizer,
        readers,
        num_query_tokens=4,
    ).save_pretrained(folder)
    config = hf.InstructBlipConfig(
        vision_config=_vision(),
        qformer_config={
            "vocab_size": len(readers), "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
            "num_attention_heads": 2, "encoder_hidden_size": 32, "max_position_embeddings": 512,
        },
        text_config=text_config(tokenizer),
        num_query_tokens=4,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )  # fmt: skip
    return hf.InstructBlipForConditionalGeneration(config), tokenizer


_BUILDERS: dict[str, Callable[[Path], tuple[Any, Any]]] = {
    "llava": _llava,
    "llava_next": _llava_next,
    "qwen2_vl": _qwen2_vl,
    "qwen2_5_vl": _qwen2_5_vl,
    "qwen3_vl": _qwen3_vl,
    "idefics3": _idefics3,
    "gemma3": _gemma3,
    "paligemma": _paligemma,
    "instructblip": _instructblip,
    "instructblip_t5": _instructblip_t5,
}
KINDS = tuple(_BUILDERS)
