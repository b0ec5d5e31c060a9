"""Sessions that compute an OCR model (an ONNX file): OpenVINO's on the CPU, onnxruntime's on a GPU."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from src.data.errors import InputError

CUDA: tuple[str, dict[str, Any]] = (
    "CUDAExecutionProvider",
    {"cudnn_conv_algo_search": "HEURISTIC", "arena_extend_strategy": "kSameAsRequested"},
)
"""Name and options of onnxruntime's provider.

By default it tries all algorithms for each input shape, and doubles its memory when it lacks some: the pool's
processes share one GPU.
"""
_KEPT_SHAPES = 8
"""Maximum number of compiled shapes per model; one of the detector holds 100 to 200 MB."""


def _padded(values: np.ndarray, step: int) -> np.ndarray:
    """Return float32 (n, 3, h, w) with zeros on the right: its width becomes a multiple of ``step``."""
    padding = -values.shape[3] % step
    return np.pad(values, ((0, 0), (0, 0), (0, 0), (0, padding))) if padding else values


class OpenVinoSession:
    """A model that OpenVINO compiles for each input shape; widths are padded to a ``step``."""

    def __init__(self, path: Path, step: int = 1, precision: str = "f32") -> None:
        import openvino

        self._core = openvino.Core()
        self._model = self._core.read_model(path)
        self._step, self._precision = step, precision
        self._compiled = functools.lru_cache(_KEPT_SHAPES)(self._compile)

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Return the model's first output for float32 (n, 3, h, w)."""
        values = _padded(values, self._step)
        return self._compiled(values.shape)(values)[0]

    def _compile(self, shape: tuple[int, ...]) -> Callable:
        self._model.reshape(shape)
        options = {
            "INFERENCE_NUM_THREADS": 1,
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,  # it would put the threads of all processes on one core
            "INFERENCE_PRECISION_HINT": self._precision,
        }
        return self._core.compile_model(self._model, "CPU", options)


class CudaSession:
    """A model that onnxruntime runs on a GPU; widths are padded to a ``step``.

    Raises `InputError` where it would fall back to the CPU.
    """

    def __init__(self, path: Path, step: int = 1) -> None:
        import onnxruntime

        name = CUDA[0]
        if name not in onnxruntime.get_available_providers():
            raise InputError(f"--ocr-device cuda: this onnxruntime is built without {name}; {_ADVICE}")
        onnxruntime.preload_dlls()  # CUDA and cuDNN as torch has brought them
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4  # what fails is told below
        try:  # without a fallback, which would silently go on on the CPU
            session = onnxruntime.InferenceSession(path, options, providers=[CUDA], enable_fallback=0)
            is_reached = session.get_providers()[0] == name
        except Exception:  # onnxruntime's own are of many kinds
            is_reached = False
        if not is_reached:
            raise InputError(f"--ocr-device cuda: onnxruntime does not reach a GPU with {name}; {_ADVICE}")
        self._session, self._step = session, step
        self._input = session.get_inputs()[0].name

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Return the model's first output for float32 (n, 3, h, w)."""
        return self._session.run(None, {self._input: _padded(values, self._step)})[0]


_ADVICE = (
    "on a machine with an NVIDIA GPU: pip uninstall onnxruntime, pip install onnxruntime-gpu==1.31.1; "
    "else leave the flag out"
)
