"""Checks before anything is loaded: whether weights are whole, and why there is no GPU to use."""

import ctypes
import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from src.data.errors import InputError

_LFS = b"version https://git-lfs"
_NEEDED_DRIVER = {13: "580 or newer", 12: "525 or newer"}
"""Linux drivers for each major version of CUDA (NVIDIA's table of compatibility)."""
_OTHER_BUILDS = {12: "cu126"}
"""Name of PyTorch's build for a driver of that major version of CUDA."""


def check_weights(folder: Path) -> None:
    """Raise `InputError` when a safetensors file in ``folder``, or a part its index names, is not whole."""
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
    """Say what is wrong with a safetensors file and what to do; empty when it is whole."""
    try:
        with path.open("rb") as stream:
            if stream.read(len(_LFS)) == _LFS:
                return "is a git-lfs pointer, not the weights; run git lfs pull in its folder"
        with safe_open(path, framework="pt"):
            return ""
    except OSError as error:
        return f"cannot be read ({error.strerror}); fetch it again"
    except SafetensorError as error:
        size = path.stat().st_size
        return f"is cut off or not a safetensors file ({size:,} bytes: {error}); fetch it again"


def gpu_fault() -> str:
    """Say why torch has no CUDA GPU here and what to do, as the middle of a sentence."""
    built = torch.version.cuda
    if built is None:
        return "this torch is built without CUDA; install it from PyPI, or https://pytorch.org, for a GPU"
    supported = driver_cuda()
    if supported is None:
        return "none was found"
    major, version = int(built.split(".")[0]), f"CUDA {supported[0]}.{supported[1]}"
    if supported[0] >= major:
        return f"the driver ({version}) shows none; look at nvidia-smi and CUDA_VISIBLE_DEVICES"
    advice = f"update it to {_NEEDED_DRIVER.get(major, 'a newer one')}"
    if build := _OTHER_BUILDS.get(supported[0]):
        # The build's name is in the version, so pip changes torch and its CUDA libraries and nothing else.
        torch_version = f"{torch.__version__.partition('+')[0]}+{build}"
        index = f"https://download.pytorch.org/whl/{build}"
        advice += (
            f", or install the build for it: pip install torch=={torch_version} --extra-index-url {index}"
        )
    return f"the NVIDIA driver supports {version}, this torch needs {built}; {advice}"


def driver_cuda() -> tuple[int, int] | None:
    """Return the newest version of CUDA that the NVIDIA driver here supports; None without a driver."""
    try:
        version = ctypes.c_int()
        ctypes.CDLL("libcuda.so.1").cuDriverGetVersion(ctypes.byref(version))
    except (OSError, AttributeError):
        return None
    return version.value // 1000, version.value % 1000 // 10
