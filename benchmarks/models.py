"""Randomly initialised IDEFICS2s for the benchmarks: speed and memory do not depend on what the weights are.

Also how many operations a machine does at best.
"""

import shutil
import time
from pathlib import Path

import torch
from transformers import Idefics2Config, Idefics2ForConditionalGeneration

from src.model.precision import compute_dtype
from src.plan.sizes import config_8b, idefics2

TINY = Path(__file__).resolve().parent.parent / "data" / "idefics2-tiny"


def config(size: str) -> Idefics2Config:
    """``8b``: as published; ``100m``: the same shape at about 100 M parameters; ``tiny``: for tests."""
    if size == "8b":
        return config_8b()
    sizes = {"100m": (512, 1536, 8, 8, 512, 2048, 12), "tiny": (64, 128, 2, 2, 64, 128, 2)}[size]
    return idefics2(*sizes, vision_heads=max(1, sizes[4] // 64), resampler_head=64)


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
    return (
        torch.cuda.get_device_name()
        if torch.cuda.is_available()
        else f"CPU, {torch.get_num_threads()} threads"
    )
