"""Randomly initialised IDEFICS2s for the benchmarks: speed and memory do not depend on what the weights are.

Also what their work is in floating-point operations, and how many a GPU does at best.
"""

import shutil
import time
from pathlib import Path
from typing import Any

import torch
from transformers import Idefics2Config, Idefics2ForConditionalGeneration

from src.model.modeling import SPECIAL_TOKENS, compute_dtype

TINY = Path(__file__).resolve().parent.parent / "data" / "idefics2-tiny"
LATENTS = 64


def config(size: str) -> Idefics2Config:
    """``8b``: as published; ``100m``: the same shape at about 100 M parameters; ``tiny``: for tests."""
    width, inner, layers, heads, vision, vision_inner, vision_layers = {
        "8b": (4096, 14336, 32, 32, 1152, 4304, 27),
        "100m": (512, 1536, 8, 8, 512, 2048, 12),
        "tiny": (64, 128, 2, 2, 64, 128, 2),
    }[size]
    model_config = Idefics2Config(
        image_token_id=SPECIAL_TOKENS["<image>"],
        text_config={
            "model_type": "mistral", "vocab_size": 32003, "hidden_size": width, "intermediate_size": inner,
            "num_hidden_layers": layers, "num_attention_heads": heads, "num_key_value_heads": max(1, heads // 4),
            "max_position_embeddings": 4096, "sliding_window": None, "pad_token_id": 0,
        },
        vision_config={
            "hidden_size": vision, "intermediate_size": vision_inner, "num_hidden_layers": vision_layers,
            "num_attention_heads": max(1, vision // 72 if size == "8b" else vision // 64), "image_size": 980,
            "patch_size": 14,
        },
        perceiver_config={
            "hidden_size": width, "resampler_n_latents": LATENTS, "resampler_depth": 3,
            "resampler_n_heads": max(1, heads // 2), "resampler_head_dim": 96 if size == "8b" else 64,
            "num_key_value_heads": max(1, heads // 8),
        },
    )  # fmt: skip
    model_config.bos_token_id, model_config.eos_token_id, model_config.pad_token_id = (
        1,
        SPECIAL_TOKENS["<end_of_utterance>"],
        0,
    )
    return model_config


def write(size: str, folder: Path) -> Path:
    """Write such a model and the real processor to ``folder``; return it."""
    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with torch.device(device):
        torch.set_default_dtype(compute_dtype())
        model = Idefics2ForConditionalGeneration(config(size))
        torch.set_default_dtype(torch.float32)
    model.save_pretrained(folder)
    for file in TINY.iterdir():
        if file.name.startswith(("tokenizer", "processor", "chat")):
            shutil.copy(file, folder)
    return folder


def forward_flops(config: Idefics2Config, patches: int, tokens: int) -> dict[str, float]:
    """Floating-point operations of one forward pass of a row, by part: 2 per weight and token, and the attention."""
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


def matmul_rate(seconds: float = 2.0) -> float:
    """Operations per second of large matrix products in `compute_dtype` on this machine's device."""
    device, side = ("cuda", 8192) if torch.cuda.is_available() else ("cpu", 2048)
    a = torch.randn(side, side, device=device, dtype=compute_dtype())
    _ = a @ a
    _wait()
    done, start = 0, time.monotonic()
    while time.monotonic() - start < seconds:
        _ = a @ a
        _wait()
        done += 1
    return done * 2 * side**3 / (time.monotonic() - start)


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def machine() -> str:
    """The device in a few words."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
