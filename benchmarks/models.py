"""Randomly initialised IDEFICS2s for the benchmarks: speed and memory do not depend on what the weights are.

Also the operations that a machine does at best.
"""

import json
import shutil
import time
from pathlib import Path

import torch
from huggingface_hub import split_torch_state_dict_into_shards
from safetensors.torch import save_file
from transformers import Idefics2Config

from src.model.family import hub_config
from src.model.memory import meta_model
from src.model.precision import compute_dtype

TINY = Path(__file__).resolve().parent.parent / "data" / "idefics2-tiny"
SHARD_BYTES = 2 * 10**9
"""Bytes of a file of weights in float32; `write` has no more than one file in memory."""


def config(size: str) -> Idefics2Config:
    """Return a configuration: ``8b`` as published, ``100m`` (parameters) or ``tiny`` of the same shape."""
    if size == "8b":
        return hub_config()
    sizes = {"100m": (512, 1536, 8, 8, 2048, 12), "tiny": (64, 128, 2, 2, 128, 2)}
    width, inner, layers, heads, vision_inner, vision_layers = sizes[size]
    text = {"model_type": "mistral", "vocab_size": 32003, "pad_token_id": 0, "hidden_size": width}
    text |= {"intermediate_size": inner, "num_hidden_layers": layers}
    text |= {"num_attention_heads": heads, "num_key_value_heads": max(1, heads // 4)}
    vision = {"hidden_size": width, "intermediate_size": vision_inner, "num_hidden_layers": vision_layers}
    vision |= {"num_attention_heads": width // 64, "image_size": 980, "patch_size": 14}
    perceiver = {"hidden_size": width, "resampler_n_heads": heads // 2, "resampler_head_dim": 64}
    perceiver |= {"num_key_value_heads": max(1, heads // 8)}
    tokens = {"bos_token_id": 1, "eos_token_id": 32002, "pad_token_id": 0}
    return Idefics2Config(text_config=text, vision_config=vision, perceiver_config=perceiver, **tokens)


def write(size: str, folder: Path, dtype: torch.dtype | None = None) -> Path:
    """Write such a model, file by file, and the real processor to ``folder``; return it.

    ``dtype``: of the weights; `compute_dtype` by default.
    """
    torch.manual_seed(0)
    folder.mkdir(parents=True, exist_ok=True)
    model = meta_model(config(size))
    shapes = model.state_dict()
    split = split_torch_state_dict_into_shards(shapes, max_shard_size=SHARD_BYTES)
    for file, names in split.filename_to_tensors.items():
        tensors = {name: _random(name, shapes[name].shape, dtype or compute_dtype()) for name in names}
        save_file(tensors, folder / file, metadata={"format": "pt"})
    if split.is_sharded:
        index = {"metadata": split.metadata, "weight_map": split.tensor_to_filename}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    model.config.save_pretrained(folder)
    model.generation_config.save_pretrained(folder)
    for path in TINY.iterdir():
        if path.name.startswith(("tokenizer", "processor", "chat")):
            shutil.copy(path, folder)
    return folder


def _random(name: str, shape: torch.Size, dtype: torch.dtype) -> torch.Tensor:
    """Return a tensor: ones for the scales of norms, zeros for biases, else random."""
    if len(shape) == 1:
        return torch.full(shape, 0.0 if name.endswith("bias") else 1.0, dtype=dtype)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.randn(shape, device=device, dtype=dtype).mul_(0.02).cpu()


def matmul_rate(seconds: float = 2.0) -> float:
    """Return operations per second of large matrix products in `compute_dtype` on this machine's device."""
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
    """Return the device in a few words."""
    return (
        torch.cuda.get_device_name()
        if torch.cuda.is_available()
        else f"CPU, {torch.get_num_threads()} threads"
    )
