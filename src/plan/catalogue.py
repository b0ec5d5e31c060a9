"""The cards that a plan can be made for, and the operations that a row costs."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, PreTrainedConfig

from src.model.memory import meta_model
from src.model.modeling import add_lora, card_memory, lora_config
from src.model.precision import compute_dtype
from src.settings import LoraSettings

MEAN_PATCHES = 1490
"""Patches of a model image; the means here are of official rows of the challenge."""
PROMPT_TOKENS, QUESTION_TOKENS, ANSWER_TOKENS = 101, 15, 10
"""Mean tokens: of the prompt that the questions about an image share, of a question, of its options."""
TRAIN_TOKENS = 121 + 9
"""Mean tokens of a training row and of its options."""


@dataclass(frozen=True, slots=True)
class Card:
    """A GPU as its maker's data sheet describes it."""

    name: str
    memory: float  # bytes
    tflops: float  # dense matrix products in half precision, TFLOP/s
    bfloat16: bool = True


_ALL = (
    Card("T4", 15.6e9, 65, bfloat16=False),
    Card("L4", 23.7e9, 121),
    Card("A10", 24.2e9, 125),
    Card("3090", 25.3e9, 71),
    Card("4090", 25.3e9, 165),
    Card("A100", 42.3e9, 312),
    Card("A100-80", 85.0e9, 312),
    Card("H100", 85.0e9, 989),
    Card("H200", 150.0e9, 989),
)
CARDS = {card.name: card for card in _ALL}
"""Cards by the name that ``--gpu`` takes; H100 and H200 with SXM."""


def card_here() -> Card:
    """Return the GPU of this machine, its throughput that of the most similar of `CARDS`."""
    name, memory = torch.cuda.get_device_name(), card_memory()
    like = min(_ALL, key=lambda card: (card.name not in name, abs(card.memory - memory)))
    return Card(name, memory, like.tflops, compute_dtype() is torch.bfloat16)


def training_flops(config: PreTrainedConfig, checkpointing: bool) -> float:
    """Return the operations of a mean training row, with those that checkpointing does a second time."""
    total = sum(forward_flops(config, MEAN_PATCHES, TRAIN_TOKENS, backward=True).values())
    again = forward_flops(config, MEAN_PATCHES, TRAIN_TOKENS) if checkpointing else {}
    return total + sum(flops for part, flops in again.items() if part != "vision")


def answering_flops(config: PreTrainedConfig, rows_per_image: float) -> float:
    """Return the operations of a mean answer; ``rows_per_image`` questions share an image and its prompt."""
    shared = sum(forward_flops(config, MEAN_PATCHES, PROMPT_TOKENS).values())
    return shared / rows_per_image + forward_flops(config, 0, QUESTION_TOKENS + ANSWER_TOKENS)["text"]


def forward_flops(
    config: PreTrainedConfig, patches: int, tokens: int, backward: bool = False
) -> dict[str, float]:
    """Return the floating-point operations of one row by part: ``text``, ``vision``, ``connector``.

    PyTorch counts them on a model without memory. ``backward`` adds the backward pass of training: LoRA on
    connector and text layers, the vision tower frozen.
    """
    return dict(_count(config.to_json_string(), patches, tokens, backward))


@lru_cache
def _count(json_config: str, patches: int, tokens: int, backward: bool) -> dict[str, float]:
    config = AutoConfig.for_model(**json.loads(json_config))
    model = meta_model(config)
    vision, connector, text = model.model.vision_model, model.model.connector, model.model.text_model
    if backward:
        add_lora(model, lora_config(LoraSettings()))
    with torch.device("meta"):
        images = torch.empty(1, patches, config.vision_config.hidden_size)
        latents = torch.empty(1, config.perceiver_config.resampler_n_latents, config.text_config.hidden_size)
        prompt = torch.empty(1, tokens, config.text_config.hidden_size, requires_grad=backward)

    def connect() -> torch.Tensor:  # the connector's own forward looks at the mask's values: there are none
        states, context = latents, connector.modality_projection(images)
        for layer in connector.perceiver_resampler.layers:
            states = layer(states, context)
        return states

    parts: dict[str, Callable[[], torch.Tensor]] = {
        "text": lambda: text(inputs_embeds=prompt).last_hidden_state
    }
    if patches:
        parts["vision"] = lambda: vision.encoder(inputs_embeds=images).last_hidden_state
        parts["connector"] = connect
    counts = {}
    for name, part in parts.items():
        trained = backward and name != "vision"
        with FlopCounterMode(display=False) as counter, torch.set_grad_enabled(trained):
            states = part()
            if trained:
                states.sum().backward()
        counts[name] = float(counter.get_total_flops())
    return counts
