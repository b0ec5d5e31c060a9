"""GPU memory: batch presets by a card's size, and estimates of a run's use before anything is loaded.

An estimate is no measurement. What is kept for the backward pass was counted on the meta device, as a test
does again.
"""

import gc
from dataclasses import dataclass, fields
from typing import Any

import torch
from transformers import AutoModelForImageTextToText, PreTrainedConfig, PreTrainedModel

from src.model.family import family_of

GB = 1e9
TRAIN_TOKENS, PREFIX_TOKENS, ANSWER_TOKENS = 250, 160, 70
"""Tokens, rounded up: a training row; what the questions about an image share; a question and its options."""
NF4_BYTES = 0.516
"""Bytes of a weight: 4 bits and 0.127 bits of doubly quantised scales (QLoRA, arXiv:2305.14314, 3)."""
LORA_BYTES = 4 + 4 + 2 * 4
"""Bytes of a trained weight: itself, its gradient and two moments in float32."""
OVERHEAD = 0.8 * GB
"""Bytes for CUDA's context, libraries' workspaces, and holes between blocks."""
MERGED_FROM = 22 * GB
"""Least memory of a card that answers with the adapter merged, 16.8 GB of weights: one sold as 24 GB."""

ON_A_CPU = "an 8B model takes about a minute a training row and half a minute an answer on 2 cores"
"""The time that ``--cpu`` costs (benchmarks/README.md, a rehearsal)."""


@dataclass(frozen=True, slots=True)
class Preset:
    """Settings that depend on the model's size and the card's memory."""

    train_batch_size: int
    accumulation: int  # batches per optimizer step
    predict_batch_size: int
    learning_rate: float
    gradient_checkpointing: bool


TINY = Preset(8, 1, 16, 1e-3, gradient_checkpointing=False)
ROWS_PER_STEP = 16
"""Rows of an optimizer step on every card, so that an adapter does not depend on the card."""
BY_MEMORY = (
    (68, 16, False, 128),
    (40, 16, True, 64),
    (30, 16, True, 32),
    (22, 8, True, 8),
    (16.3, 4, True, 16),
    (12, 2, True, 8),
    (0, 1, True, 1),
)
"""Presets: least memory of a card in GB, rows trained at once, checkpointing, rows answered at once.

The estimates below fit the smallest card of each line; both loops halve their batches where memory is short.
"""


def free_memory() -> None:
    """Release what nothing refers to any more; dequantised layers sit in reference cycles."""
    gc.collect()
    torch.cuda.empty_cache()


def images_at_once(card: float) -> int:
    """Return how many images go through the frozen vision tower at once in training: 8 fill a large GPU.

    ``card``: bytes of the GPU, 0 without one; a CPU is as fast on one image as on many.
    """
    return next(images for least, images in ((30, 8), (20, 2), (0, 1)) if card >= least * GB)


def is_small(config: PreTrainedConfig) -> bool:
    """Tell whether a model of this size runs on a CPU."""
    return config.get_text_config().hidden_size < 2048


def is_merged(config: PreTrainedConfig, card: float) -> bool:
    """Tell whether the adapter is merged into the dequantised base: faster, but 2 bytes a weight.

    ``card``: bytes of the GPU, 0 without one.
    """
    return card >= MERGED_FROM if card else is_small(config)


def preset(config: PreTrainedConfig, card: float) -> Preset:
    """Return the settings for a model of this size on a GPU with ``card`` bytes."""
    if is_small(config):
        return TINY
    _, rows, checkpointing, answered = next(line for line in BY_MEMORY if card >= line[0] * GB)
    return Preset(rows, ROWS_PER_STEP // rows, answered, 1e-4, gradient_checkpointing=checkpointing)


@dataclass(frozen=True, slots=True)
class Estimate:
    """Bytes by what they hold."""

    weights: float
    adapter: float  # LoRA weights, their gradients and the optimizer's state
    activations: float
    cache: float  # keys and values of the prompts and answers
    overhead: float = OVERHEAD

    @property
    def total(self) -> float:
        """The sum of all parts."""
        return sum(getattr(self, field.name) for field in fields(self))

    def __str__(self) -> str:
        parts = ((field.name, getattr(self, field.name)) for field in fields(self))
        listed = ", ".join(f"{name} {value / GB:.1f}" for name, value in parts if value >= 0.05 * GB)
        return f"{self.total / GB:.1f} GB ({listed})"


def training(
    config: PreTrainedConfig, rows: int, checkpointing: bool, rank: int, dtype: torch.dtype
) -> Estimate:
    """Estimate a training step on ``rows`` rows at once, with LoRA of ``rank``, computing in ``dtype``."""
    text, model, family = config.get_text_config(), meta_model(config), family_of(config)
    layer = TRAIN_TOKENS * saved_by_layer(config)
    _, widest = family.connector_numbers(config)
    # The connector's projection needs room for gradients, too.
    gradients = 4 * widest * _connector_width(dtype)
    backward = family.patches * (saved_by_connector(config, dtype) + gradients)
    row = text.num_hidden_layers * layer + backward
    if checkpointing:  # the inputs of all layers; one layer or the connector at a time is computed again
        row = TRAIN_TOKENS * text.num_hidden_layers * 2 * text.hidden_size + max(layer, backward)
    adapted = _linear_layers(model.model.text_model.layers) + _linear_layers(model.model.connector)
    lora = rank * sum(linear.in_features + linear.out_features for linear in adapted)
    return Estimate(_weight_bytes(model, False), lora * LORA_BYTES, rows * row, 0)


def answering(config: PreTrainedConfig, rows: int, merged: bool, dtype: torch.dtype) -> Estimate:
    """Estimate answering ``rows`` rows at once, each about another image."""
    text: Any = config.get_text_config()
    vision: Any = config.vision_config
    head = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    key_values = 2 * text.num_hidden_layers * text.num_key_value_heads * head
    cache = rows * (PREFIX_TOKENS + ANSWER_TOKENS) * key_values * 2
    family = family_of(config)
    _, widest = family.connector_numbers(config)
    # The connector's projection is the widest point: gate, up and their product, of every patch.
    wide = rows * family.patches * 3 * widest * _connector_width(dtype)
    seen = rows * family.patches * 4 * max(vision.intermediate_size, 4 * vision.hidden_size) * 2
    hidden = rows * PREFIX_TOKENS * text.hidden_size * 2 * 4
    # The prefix' cache is still there while it is copied to the rows.
    weights = _weight_bytes(meta_model(config), merged)
    return Estimate(weights, 0, max(wide, seen, hidden) + seen, 2 * cache)


def saved_by_layer(config: PreTrainedConfig) -> int:
    """Return bytes per token that a text layer with LoRA keeps for its backward pass, in half precision."""
    text = config.get_text_config()
    return 32 * text.hidden_size + 10 * text.intermediate_size


def saved_by_connector(config: PreTrainedConfig, dtype: torch.dtype) -> float:
    """Return bytes per patch that the connector keeps for its backward pass."""
    numbers, _ = family_of(config).connector_numbers(config)
    return numbers * _connector_width(dtype)


def meta_model(config: PreTrainedConfig) -> PreTrainedModel:
    """Return a model on the meta device: it has shapes, but takes no memory."""
    with torch.device("meta"):
        return AutoModelForImageTextToText.from_config(config)


def _connector_width(dtype: torch.dtype) -> int:
    """Return bytes of a connector's activation, which float16 overflows."""
    return 4 if dtype is torch.float16 else dtype.itemsize


def _linear_layers(part: torch.nn.Module) -> list[torch.nn.Linear]:
    return [module for module in part.modules() if isinstance(module, torch.nn.Linear)]


def _weight_bytes(model: PreTrainedModel, merged: bool) -> float:
    """Return bytes of all weights: text layers in NF4 or merged, the rest in half precision."""
    quantised = sum(layer.weight.numel() for layer in _linear_layers(model.model.text_model.layers))
    total = sum(weight.numel() for weight in model.parameters())
    text = quantised * (2 if merged else NF4_BYTES)
    return text + (total - quantised) * 2
