"""Checks before anything is loaded: whole weights, a GPU that can be used."""

import ctypes
import json
import re
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from src.data.errors import InputError

_LFS = b"version https://git-lfs"
_NEEDED_DRIVER = {13: "580 or newer", 12: "525 or newer"}
"""Linux drivers for each major version of CUDA (NVIDIA's table of compatibility)."""
_OTHER_BUILDS = {12: "cu126"}
"""Name of PyTorch's build for a driver of that major version of CUDA."""
_KERNELS = r"(sm|compute)_(\d+)(\d)"
"""Names of `torch.cuda.get_arch_list`: kind, major and minor version of the cards that they are for."""


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


def card_fault() -> str:
    """Say that this torch has no kernels for the GPU here, and what to do; empty when it has them.

    `torch.cuda.is_available` is true for such a card, and the first product on it fails.
    """
    card, built = torch.cuda.get_device_capability(), torch.cuda.get_arch_list()
    kernels = [(kind, int(major), int(minor)) for kind, major, minor in re.findall(_KERNELS, " ".join(built))]
    # Binary kernels run on later cards of their generation, those in PTX on every later one.
    if not kernels or any(
        (major, minor) <= card and (kind == "compute" or major == card[0]) for kind, major, minor in kernels
    ):
        return ""
    return (
        f"{torch.cuda.get_device_name()} (sm_{card[0]}{card[1]}) has no kernels in this torch, which is "
        f"for {', '.join(built)}; take another card, or hide this one by CUDA_VISIBLE_DEVICES= to use the CPU"
    )


def gpu_fault() -> str:
    """Say why torch has no CUDA GPU here and what to do, as the middle of a sentence."""
    built, torch_version = torch.version.cuda, torch.__version__.partition("+")[0]
    if built is None:
        install = f"pip uninstall -y torch && pip install torch=={torch_version}"
        return f"this torch is built without CUDA; for a GPU: {install}"
    supported = driver_cuda()
    if supported is None:
        return "none was found"
    major, version = int(built.split(".")[0]), f"CUDA {supported[0]}.{supported[1]}"
    if supported[0] >= major:
        return f"the driver ({version}) shows none; look at nvidia-smi and CUDA_VISIBLE_DEVICES"
    advice = f"update it to {_NEEDED_DRIVER.get(major, 'a newer one')}"
    if build := _OTHER_BUILDS.get(supported[0]):
        # The build's name is in the version, so pip changes torch and its CUDA libraries and nothing else.
        index = f"https://download.pytorch.org/whl/{build}"
        install = f"pip install torch=={torch_version}+{build} --extra-index-url {index}"
        advice += f", or install the build for it: {install}"
    return f"the NVIDIA driver supports {version}, this torch needs {built}; {advice}"


def driver_cuda() -> tuple[int, int] | None:
    """Return the newest version of CUDA that the NVIDIA driver here supports; None without a driver."""
    try:
        version = ctypes.c_int()
        ctypes.CDLL("libcuda.so.1").cuDriverGetVersion(ctypes.byref(version))
    except (OSError, AttributeError):
        return None
    return version.value // 1000, version.value % 1000 // 10
