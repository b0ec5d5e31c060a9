"""What the work is: idefics2-8b's sizes without its files, operations per row, and what cards are sold as."""

from dataclasses import dataclass
from typing import Any

from transformers import Idefics2Config

from src.model.memory import PATCHES

LATENTS = 64
PROMPT_TOKENS, QUESTION_TOKENS, ANSWER_TOKENS = 130, 25, 20
"""Of what is read once per picture, of a question, of what could be answered to it."""


@dataclass(frozen=True, slots=True)
class Card:
    """A GPU as its maker describes it."""

    memory: float  # bytes
    tflops: float  # of dense matrix products in half precision, TFLOP/s
    bfloat16: bool


CARDS = {
    "T4": Card(15.6e9, 65, False),
    "P100": Card(17.1e9, 19, False),
    "V100": Card(16.9e9, 125, False),
    "L4": Card(23.7e9, 121, True),
    "A10": Card(24.2e9, 125, True),
    "3090": Card(25.3e9, 71, True),
    "4090": Card(25.3e9, 165, True),
    "A100": Card(42.3e9, 312, True),
    "A100-80": Card(85.0e9, 312, True),
    "H100": Card(85.0e9, 989, True),
    "H200": Card(150.0e9, 989, True),
}
"""From the makers' data sheets; H100 and H200 with SXM."""
SHARE = {"training": 0.3, "inference": 0.2}
"""Of that rate that the work is assumed to reach; nothing has been measured on a card yet."""


def config_8b() -> Idefics2Config:
    """The configuration of HuggingFaceM4/idefics2-8b, as published; for estimates before it is fetched."""
    return idefics2(4096, 14336, 32, 32, 1152, 4304, 27, vision_heads=16, resampler_head=96)


def idefics2(
    width: int, inner: int, layers: int, heads: int, vision: int, vision_inner: int, vision_layers: int,
    vision_heads: int, resampler_head: int,
) -> Idefics2Config:  # fmt: skip
    """A configuration of idefics2-8b's shape with such sizes."""
    config = Idefics2Config(
        image_token_id=32001,
        text_config={
            "model_type": "mistral", "vocab_size": 32003, "hidden_size": width, "intermediate_size": inner,
            "num_hidden_layers": layers, "num_attention_heads": heads, "num_key_value_heads": max(1, heads // 4),
            "max_position_embeddings": 4096, "sliding_window": None, "pad_token_id": 0,
        },
        vision_config={
            "hidden_size": vision, "intermediate_size": vision_inner, "num_hidden_layers": vision_layers,
            "num_attention_heads": vision_heads, "image_size": 980, "patch_size": 14,
        },
        perceiver_config={
            "hidden_size": width, "resampler_n_latents": LATENTS, "resampler_depth": 3,
            "resampler_n_heads": max(1, heads // 2), "resampler_head_dim": resampler_head,
            "num_key_value_heads": max(1, heads // 8),
        },
    )  # fmt: skip
    config.bos_token_id, config.eos_token_id, config.pad_token_id = 1, 32002, 0
    return config


def forward_flops(config: Idefics2Config, patches: int, tokens: int) -> dict[str, float]:
    """Floating-point operations of one forward pass of a row, by part: 2 per weight and token, and the
    attention."""
    parts: tuple[Any, ...] = (config.vision_config, config.text_config, config.perceiver_config)
    vision, text, perceiver = parts
    per_patch = 4 * vision.hidden_size**2 + 2 * vision.hidden_size * vision.intermediate_size
    head = text.hidden_size // text.num_attention_heads
    kv = text.num_key_value_heads * head
    per_token = 2 * text.hidden_size * (text.hidden_size + kv) + 3 * text.hidden_size * text.intermediate_size
    latent, key_value = (perceiver.resampler_head_dim * n for n in
                         (perceiver.resampler_n_heads, perceiver.num_key_value_heads))  # fmt: skip
    projection = vision.hidden_size * text.intermediate_size * 2 + text.intermediate_size * text.hidden_size
    resampler = perceiver.resampler_depth * (
        LATENTS * (2 * text.hidden_size * latent + 12 * text.hidden_size**2)
        + (patches + LATENTS) * 2 * text.hidden_size * key_value
        + 2 * LATENTS * (patches + LATENTS) * latent
    )
    return {
        "vision": 2 * vision.num_hidden_layers * (patches * per_patch + 2 * patches**2 * vision.hidden_size),
        "connector": 2 * (patches * projection + resampler),
        "text": 2 * text.num_hidden_layers * (tokens * per_token + tokens**2 * text.hidden_size),
    }


def training_flops(config: Idefics2Config, checkpointing: bool) -> float:
    """Of a row: forward of all, backward to the inputs through text and connector, and what is computed
    again."""
    parts = forward_flops(config, PATCHES, PROMPT_TOKENS + QUESTION_TOKENS + ANSWER_TOKENS)
    return parts["vision"] + (3 if checkpointing else 2) * (parts["connector"] + parts["text"])


def answering_flops(config: Idefics2Config, rows_per_picture: float) -> float:
    """Of a row, whose picture and prompt are shared by ``rows_per_picture``."""
    shared = sum(forward_flops(config, PATCHES, PROMPT_TOKENS).values())
    return shared / rows_per_picture + forward_flops(config, 0, QUESTION_TOKENS + ANSWER_TOKENS)["text"]
