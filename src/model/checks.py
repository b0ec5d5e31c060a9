"""What is found out before anything is loaded: whether weights are whole, and why there is no GPU to use."""

import ctypes
import json
from pathlib import Path

import torch

from src.data.errors import InputError

_LFS = b"version https://git-lfs"
_NEEDED_DRIVER = {13: "580 or newer", 12: "525 or newer"}
"""Linux drivers for each major version of CUDA (NVIDIA's table of compatibility)."""
_OTHER_BUILDS = {12: "cu126", 11: "cu118"}
"""PyTorch's package index for builds that run with a driver of that CUDA version."""


def check_weights(folder: Path) -> None:
    """Raise `InputError` when a safetensors file in ``folder``, or a part that its index names, is not
    whole."""
    files = set(folder.glob("*.safetensors"))
    for index in folder.glob("*.safetensors.index.json"):
        try:
            files |= {folder / name for name in json.loads(index.read_bytes())["weight_map"].values()}
        except (ValueError, KeyError, TypeError, AttributeError):
            raise InputError(f"{index}: is not a readable index of weights; fetch the model again") from None
    for path in sorted(files):
        if fault := weights_fault(path):
            raise InputError(f"{path}: {fault}")


def weights_fault(path: Path) -> str:
    """What is wrong with a safetensors file and what to do, by its header and size; empty when it is
    whole."""
    again = "fetch it again"
    try:
        with path.open("rb") as stream:
            start = stream.read(8)
            if start == _LFS[:8]:
                return "is a git-lfs pointer, not the weights; run git lfs pull in its folder"
            length, size = int.from_bytes(start, "little"), path.stat().st_size
            if len(start) < 8 or length > size - 8:
                return f"is cut off ({size:,} bytes); {again}"
            header = json.loads(stream.read(length))
            ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    except OSError as error:
        return f"cannot be read ({error.strerror}); {again}"
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
        return f"is not a safetensors file; {again}"
    whole = 8 + length + max(ends, default=0)
    return f"is cut off ({size:,} of {whole:,} bytes); {again}" if size < whole else ""


def gpu_fault() -> str:
    """Why torch has no CUDA GPU here and what to do, as the middle of a sentence."""
    built = torch.version.cuda
    if built is None:
        return "this torch is built without CUDA; install it from PyPI, or https://pytorch.org, for a GPU"
    supported = driver_cuda()
    if supported is None:
        return "none was found"
    major = int(built.split(".")[0])
    if supported[0] >= major:
        return f"the driver (CUDA {supported[0]}.{supported[1]}) shows none; look at nvidia-smi and CUDA_VISIBLE_DEVICES"
    advice = f"update it to {_NEEDED_DRIVER.get(major, 'a newer one')}"
    if supported[0] in _OTHER_BUILDS:
        index = f"https://download.pytorch.org/whl/{_OTHER_BUILDS[supported[0]]}"
        advice += (
            f", or install a torch build for it: pip install --force-reinstall torch --index-url {index}"
        )
    return (
        f"the NVIDIA driver supports CUDA {supported[0]}.{supported[1]}, this torch needs {built}; {advice}"
    )


def driver_cuda() -> tuple[int, int] | None:
    """The newest CUDA that the NVIDIA driver of this machine supports; None without a driver."""
    try:
        version = ctypes.c_int()
        ctypes.CDLL("libcuda.so.1").cuDriverGetVersion(ctypes.byref(version))
    except (OSError, AttributeError):
        return None
    return version.value // 1000, version.value % 1000 // 10
