"""The precision that each part of the model computes in."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from bitsandbytes.nn import Linear4bit
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput


def compute_dtype() -> torch.dtype:
    """Return bfloat16 on a GPU that has it, else float16 there; float32 on a CPU."""
    if not torch.cuda.is_available():
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


class ScaledLinear(torch.nn.Linear):
    """A frozen layer in float16 for float32 states that may be beyond 65,504, where float16 ends.

    Each token is divided by the power of two that makes its largest value 0.5 to 1, the product multiplied by
    it: exact but for rounding. Of 14,336 inputs no product overflows whose weights have a norm up to 500.
    """

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Return the products float32 (..., outputs) of float32 states (..., inputs)."""
        return _ScaledProduct.apply(states, self.weight)


class _ScaledProduct(torch.autograd.Function):
    """The product of `ScaledLinear` and, for the backward pass, that of the gradient, scaled alike."""

    @staticmethod
    def forward(ctx: Any, states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(weight)
        return _scaled_product(states, weight)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        return _scaled_product(gradients[0], ctx.saved_tensors[0].T), None


def _scaled_product(states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    exponent = torch.frexp(states.abs().amax(dim=-1, keepdim=True)).exponent
    product = torch.nn.functional.linear(torch.ldexp(states, -exponent).to(weight.dtype), weight)
    return torch.ldexp(product.float(), exponent)


def scale_connector(base: PreTrainedModel) -> None:
    """Let a float16 model's connector have float32 states, because they overflow, and `ScaledLinear` layers.

    All in float32 would take eight times as long on a card without bfloat16.
    """
    connector = base.model.connector
    for module in connector.modules():
        if isinstance(module, torch.nn.Linear):
            module.__class__ = ScaledLinear
            continue
        for parameter in module.parameters(recurse=False):
            parameter.data = parameter.data.float()
    no_autocast = torch.autocast(base.device.type, enabled=False)

    def before(_: Any, states: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        no_autocast.__enter__()
        return tuple(state.float() for state in states)

    def after(*_: Any) -> None:
        no_autocast.__exit__(None, None, None)

    connector.register_forward_pre_hook(before)
    connector.register_forward_hook(after, always_call=True)


def vision_in_bfloat16(base: PreTrainedModel) -> None:
    """Let the vision tower's layers compute in bfloat16 on a CPU that has AMX; elsewhere nothing changes.

    In place and for inference only, because their weights lose digits; their outputs are in the model's dtype
    again. ``benchmarks/README.md`` has the gain; an image's features then differ by some 1e-3 with the batch
    that it is in.
    """
    if base.device.type != "cpu" or not torch.cpu.get_capabilities().get("amx_bf16"):
        return
    # Not the whole tower: the model takes the dtype of its first parameter, the patch embedding, for its own.
    layers = base.model.vision_model.encoder.bfloat16()

    def before(_: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        dtype = next(layers.parameters()).dtype  # float32 within `in_float32`
        return args, {**kwargs, "inputs_embeds": kwargs["inputs_embeds"].to(dtype)}

    def after(_: Any, args: Any, output: BaseModelOutput) -> BaseModelOutput:
        return BaseModelOutput(last_hidden_state=output.last_hidden_state.to(base.dtype))

    layers.register_forward_pre_hook(before, with_kwargs=True)
    layers.register_forward_hook(after)


@contextlib.contextmanager
def in_float32(model: torch.nn.Module) -> Iterator[None]:
    """Let ``model`` compute in float32 within a block; NF4 weights stay, others take twice the memory."""
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
