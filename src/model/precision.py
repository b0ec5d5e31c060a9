"""In which precision what part computes."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from bitsandbytes.nn import Linear4bit
from transformers import Idefics2ForConditionalGeneration
from transformers.modeling_outputs import BaseModelOutput


def compute_dtype() -> torch.dtype:
    """bfloat16 on a GPU that has it, else float16 there; float32 on a CPU."""
    if not torch.cuda.is_available():
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


def connector_in_float32(base: Idefics2ForConditionalGeneration) -> None:
    """Let the connector compute in float32, whatever is around it: its products overflow float16 (beyond
    65,504)."""
    connector = base.model.connector.float()
    forward = connector.forward

    def forward_in_float32(image_hidden_states: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        with torch.autocast(image_hidden_states.device.type, enabled=False):
            return forward(image_hidden_states.float(), attention_mask=attention_mask)

    connector.forward = forward_in_float32


def vision_in_bfloat16(base: Idefics2ForConditionalGeneration) -> None:
    """Let the vision tower's layers compute in bfloat16 on a CPU that has AMX; elsewhere nothing changes.

    In place and for inference only, because their weights lose digits; what comes out of them is in the dtype
    of before. ``benchmarks/README.md`` has what it gains; a picture's features then differ by some 1e-3 with
    the batch that it is in.
    """
    if base.device.type != "cpu" or not torch.cpu.get_capabilities().get("amx_bf16"):
        return
    # Not the whole tower: the patches' embedding is the model's first parameter, by which it tells its own
    # dtype.
    layers = base.model.vision_model.encoder.bfloat16()
    forward = layers.forward

    def in_bfloat16(inputs_embeds: torch.Tensor, **rest: Any) -> BaseModelOutput:
        dtype = next(layers.parameters()).dtype  # another one within `in_float32`
        states = forward(inputs_embeds=inputs_embeds.to(dtype), **rest).last_hidden_state
        return BaseModelOutput(last_hidden_state=states.to(inputs_embeds.dtype))

    layers.forward = in_bfloat16


@contextlib.contextmanager
def in_float32(model: torch.nn.Module) -> Iterator[None]:
    """Let ``model`` compute in float32 for a while, NF4 weights as they are; the others take twice the
    memory."""
    halves = {p: p.dtype for p in model.parameters() if p.dtype in (torch.float16, torch.bfloat16)}
    quantised = {layer: layer.compute_dtype for layer in model.modules() if isinstance(layer, Linear4bit)}
    try:
        for parameter in halves:
            parameter.data = parameter.data.float()
        for layer in quantised:
            layer.compute_dtype = torch.float32
        yield
    finally:
        for parameter, dtype in halves.items():
            parameter.data = parameter.data.to(dtype)  # exact: it came from there
        for layer, dtype in quantised.items():
            layer.compute_dtype = dtype
