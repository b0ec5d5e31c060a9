"""GPU memory: what a run will take, computed from the model's sizes before anything is loaded, and presets by
it.

Estimates, not measurements: what is kept for the backward pass was counted on the meta device (a test holds
that).
"""

import json
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

import torch
from transformers import Idefics2Config, Idefics2ForConditionalGeneration

GB = 1e9
PATCHES = 43 * 43
"""Of a picture of 602 x 602 px, the largest that the default settings make."""
TRAIN_TOKENS, PREFIX_TOKENS, ANSWER_TOKENS = 250, 160, 70
"""Per row, rounded up: picture, readings, question, answer and options; what questions of a picture share;
the rest."""
NF4_BYTES = 0.516
"""Per weight: 4 bits, and their scales, doubly quantised (0.127 bits, QLoRA, arXiv:2305.14314, section 3)."""
LORA_BYTES = 4 + 4 + 2
"""Per trained weight: itself and its gradient in float32, two moments of 8 bits."""
OVERHEAD = 0.8 * GB
"""CUDA's context, libraries' workspaces, holes between blocks."""


@dataclass(frozen=True, slots=True)
class Preset:
    """What depends on the model's size and the card's memory: batch sizes, learning rate, memory savers."""

    train_batch_size: int
    accumulation: int  # batches per optimizer step
    predict_batch_size: int
    learning_rate: float
    gradient_checkpointing: bool
    needs_cuda: bool


ROWS_PER_STEP = 16
"""On every card, so that an adapter does not depend on the card."""
TRAINING = ((16, False), (16, True), (8, True), (4, True), (2, True), (1, True))
"""Rows at once and whether activations are computed again, the fastest first."""
ANSWERING = (128, 64, 32, 16, 8, 4, 2, 1)
SHARE = 0.85
"""Of a card's memory that an estimate may take; the rest is for what it does not know."""
MERGED_FROM = 22 * GB
"""Memory of a card (one sold as 24 GB) from which on the model answers merged into half precision: 16.8 GB of
it."""
TINY = Preset(8, 1, 16, 1e-3, gradient_checkpointing=False, needs_cuda=False)


def is_small(config: Idefics2Config) -> bool:
    """Whether a model of this size runs on a CPU."""
    return config.get_text_config().hidden_size < 2048


def is_merged(config: Idefics2Config, card: float) -> bool:
    """Whether the adapter is merged into the dequantised base: faster, where the memory (2 bytes a weight)
    suffices.

    ``card``: bytes of the GPU, 0 without one.
    """
    return card >= MERGED_FROM if card else is_small(config)


def preset(config: Idefics2Config, card: float, dtype: torch.dtype, rank: int = 16) -> Preset:
    """The fastest way that fits a GPU with ``card`` bytes, computing in ``dtype``; the smallest where none
    does."""
    limit = SHARE * card
    fitting = (way for way in TRAINING if training(config, *way, rank, dtype).total <= limit)
    rows, checkpointing = next(fitting, TRAINING[-1])
    merged = is_merged(config, card)
    answered = (count for count in ANSWERING if answering(config, count, merged, dtype).total <= limit)
    return Preset(
        rows,
        ROWS_PER_STEP // rows,
        next(answered, 1),
        1e-4,
        gradient_checkpointing=checkpointing,
        needs_cuda=True,
    )


@dataclass(frozen=True, slots=True)
class Estimate:
    """Bytes by what they hold."""

    weights: float
    adapter: float  # LoRA weights, their gradients and the optimizer's state
    activations: float
    cache: float  # keys and values of what was read and written
    overhead: float = OVERHEAD

    @property
    def total(self) -> float:
        """All of it."""
        return sum(getattr(self, field.name) for field in fields(self))

    def __str__(self) -> str:
        parts = ((field.name, getattr(self, field.name)) for field in fields(self))
        listed = ", ".join(f"{name} {value / GB:.1f}" for name, value in parts if value >= 0.05 * GB)
        return f"{self.total / GB:.1f} GB ({listed})"


def training(
    config: Idefics2Config, rows: int, checkpointing: bool, rank: int, dtype: torch.dtype
) -> Estimate:
    """Of a training step on ``rows`` rows at once, with LoRA matrices of ``rank``, computing in ``dtype``."""
    sizes = _sizes(config)
    layer, connector = TRAIN_TOKENS * saved_by_layer(config), PATCHES * saved_by_connector(config, dtype)
    backward = (
        PATCHES * 4 * sizes.inner * _width(dtype)
    )  # gradients on their way through the connector's projection
    if checkpointing:  # the inputs of all layers; one layer or the connector at a time is computed again
        row = TRAIN_TOKENS * sizes.layers * 2 * sizes.hidden + max(layer, connector + backward)
    else:
        row = sizes.layers * layer + connector + backward
    return Estimate(_weights(config, False, dtype), sizes.lora(rank) * LORA_BYTES, rows * row, 0)


def answering(config: Idefics2Config, rows: int, merged: bool, dtype: torch.dtype) -> Estimate:
    """Of answering ``rows`` rows at once, each of another picture."""
    sizes = _sizes(config)
    cache = rows * (PREFIX_TOKENS + ANSWER_TOKENS) * sizes.layers * 2 * 2 * sizes.key_values
    # The connector's projection is the widest point: gate, up and their product, of every patch.
    wide = rows * PATCHES * 3 * sizes.inner * _width(dtype)
    vision = rows * PATCHES * 4 * sizes.vision * 2
    logits = rows * PREFIX_TOKENS * sizes.hidden * 2 * 4
    # The prefix' cache is still there while it is copied to the rows.
    return Estimate(_weights(config, merged, dtype), 0, max(wide, vision, logits) + vision, 2 * cache)


def saved_by_layer(config: Idefics2Config) -> int:
    """Bytes per token that a text layer with LoRA keeps for its backward pass, in half precision."""
    sizes = _sizes(config)
    return 32 * sizes.hidden + 10 * sizes.inner


def saved_by_connector(config: Idefics2Config, dtype: torch.dtype) -> int:
    """Bytes per patch that the connector keeps for its backward pass: its projection, and what each block
    reads."""
    perceiver: Any = config.perceiver_config
    sizes, depth = _sizes(config), perceiver.resampler_depth
    return (5 * sizes.inner + 9 * depth * sizes.hidden) * _width(dtype)


def _width(dtype: torch.dtype) -> int:
    """Bytes of a number in the connector, which float16 overflows."""
    return 4 if dtype is torch.float16 else dtype.itemsize


@dataclass(frozen=True, slots=True)
class _Sizes:
    hidden: int
    inner: int
    layers: int
    key_values: int
    vision: int
    parameters: dict[str, int]
    lora_per_rank: int

    def lora(self, rank: int) -> int:
        return rank * self.lora_per_rank


def _sizes(config: Idefics2Config) -> _Sizes:
    return _sizes_of(config.to_json_string())


@lru_cache(maxsize=4)
def _sizes_of(json_config: str) -> _Sizes:
    """Counted on the meta device, where a model has sizes but no weights."""
    config = Idefics2Config(**json.loads(json_config))
    with torch.device("meta"):
        model = Idefics2ForConditionalGeneration(config)
    body: Any = model.model
    parameters = {name: sum(p.numel() for p in part.parameters()) for name, part in body.named_children()}
    linear = [m for m in body.text_model.layers.modules() if isinstance(m, torch.nn.Linear)]
    parameters["quantised"] = sum(m.weight.numel() for m in linear)
    parameters["all"] = sum(p.numel() for p in model.parameters())
    adapted = [*linear, *(m for m in body.connector.modules() if isinstance(m, torch.nn.Linear))]
    text: Any = config.get_text_config()
    head = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    vision: Any = config.vision_config
    return _Sizes(
        text.hidden_size, text.intermediate_size, text.num_hidden_layers, head * text.num_key_value_heads,
        max(vision.intermediate_size, 4 * vision.hidden_size), parameters,
        sum(m.in_features + m.out_features for m in adapted),
    )  # fmt: skip


def _weights(config: Idefics2Config, merged: bool, dtype: torch.dtype) -> float:
    counts = _sizes(config).parameters
    text = counts["quantised"] * (2 if merged else NF4_BYTES)
    extra = counts["connector"] * (_width(dtype) - 2)
    return text + (counts["all"] - counts["quantised"]) * 2 + extra
