"""The OCR engine: RapidOCR's pipeline and models (PP-OCR), run by OpenVINO or, on a GPU, by onnxruntime.

Another engine is another file with these public names. The models are inside RapidOCR's wheel; nothing is
fetched. OpenVINO is twice as fast as onnxruntime on a CPU, but only with fixed input shapes, so inputs are
brought to a few sizes: the detector's by scaling, the recogniser's by padding. A GPU gets the same.
"""

import copy
import functools
import re
from pathlib import Path
from typing import Any

import numpy as np

from src.images.decode import cv2
from src.ocr.sessions import CudaSession, OpenVinoSession
from src.ocr.text_lines import FIRST_PASS, OcrPass, merged
from src.reading.lines import TextLine

NAME = "PP-OCRv6-small/1"
"""Name and version of the engine in the cache key of stored text: a new version reads every image again."""
IN_BFLOAT16, ON_CUDA = "+bf16", "+cuda"
"""Suffixes of `NAME` in the cache key: of text that was recognised in bfloat16, or read on a GPU."""
_backend = ""
"""Suffix of what this process computes by, empty for float32 on the CPU; see `use`."""
_THRESHOLDS, _FAINT_THRESHOLDS = (0.3, 0.5), (0.1, 0.2)
"""Minimum scores of a pixel and of a line that count as print; the second pair finds faint print, too."""
_DETECTOR_STEP, _RECOGNISER_STEP = 64, 160
"""Input sizes in pixels are rounded to these steps: few shapes to compile (a third of a second each)."""
_WEAK = 0.9
"""A line of less confidence is read again."""
_MARGIN = 0.05
"""Margin around a line that is read again, as a share of its letters' height."""


def use(precision: str, device: str = "cpu") -> str:
    """Set this process's precision (``auto`` or ``f32``) and device (``cpu`` or ``cuda``).

    Return what follows `NAME` in the cache key. The recogniser in bfloat16 takes 0.58 instead of 0.77
    CPU-seconds an image on a CPU with AMX, and finds as much. The detector stays in float32: in bfloat16 it
    finds a little less. On a GPU all is in float32.
    """
    global _backend
    wanted = IN_BFLOAT16 if precision == "auto" and _has_amx() else ""
    if device == "cuda":
        wanted = ON_CUDA
    if wanted != _backend:
        _backend = wanted
        _engine.cache_clear()
        _engine_for.cache_clear()
    return wanted


def check_device(device: str) -> None:
    """Load the models on a device. Raises `InputError` where it cannot be used."""
    use("f32", device)
    _engine()


def _has_amx() -> bool:
    """Tell whether this CPU multiplies matrices in bfloat16, by what Linux says of it."""
    cpus = Path("/proc/cpuinfo")
    return cpus.is_file() and "amx_bf16" in cpus.read_text()


def read(image: np.ndarray, ocr_pass: OcrPass = FIRST_PASS) -> list[TextLine]:
    """Return the text lines of a BGR uint8 image, in RapidOCR's order (top to bottom)."""
    output = _engine_for(ocr_pass)(image)
    if output.boxes is None:
        return []
    quads = np.rint(output.boxes).astype(int).tolist()
    return [
        TextLine(text, round(float(score), 3), quad)
        for text, score, quad in zip(output.txts, output.scores, quads, strict=True)
    ]


def read_again(image: np.ndarray, lines: list[TextLine]) -> list[TextLine]:
    """Return ``lines`` with better readings of weak ones with digits.

    They are cut out of the image a little larger. The classifier does not know top from bottom in a few
    digits: what runs up or down is read both ways.
    """
    for line in lines:
        if line.confidence >= _WEAK or not re.search("[0-9]", line.text):
            continue
        corners = np.array(line.quad, np.float32)
        across, down = corners[1] - corners[0], corners[3] - corners[0]
        longer, shorter = sorted(map(float, map(np.linalg.norm, (across, down))), reverse=True)
        if shorter < 4 or longer > 100 * shorter:
            continue
        along, downwards = (side / np.linalg.norm(side) * _MARGIN * shorter for side in (across, down))
        corners += np.array([-along - downwards, along - downwards, along + downwards, downwards - along])
        crops = _engine().crop_text_regions(image, [corners])
        if np.linalg.norm(down) > np.linalg.norm(across):
            crops.append(cv2.rotate(crops[0], cv2.ROTATE_180))
        output = _engine().recognize_txt(crops)
        score, text = max(zip(output.scores, output.txts, strict=True))
        lines = merged(lines, [TextLine(text, round(float(score), 3), line.quad)])
    return lines


@functools.cache
def _engine_for(ocr_pass: OcrPass) -> Any:
    """Return the engine with a detector for this pass; all passes share the compiled models."""
    engine = copy.copy(_engine())
    engine.text_det = detector = copy.copy(engine.text_det)
    detector.get_preprocess = lambda: functools.partial(_detector_input, ocr_pass)
    detector.postprocess_op = boxes = copy.copy(detector.postprocess_op)
    boxes.thresh, boxes.box_thresh = _FAINT_THRESHOLDS if ocr_pass.faint else _THRESHOLDS
    return engine


@functools.cache
def _engine() -> Any:
    """Return RapidOCR with compiled models, on one thread: the pool's processes share the cores."""
    import rapidocr  # two seconds, and only workers read

    threads = {f"EngineConfig.onnxruntime.{kind}_op_num_threads": 1 for kind in ("intra", "inter")}
    engine: Any = rapidocr.RapidOCR(
        params={"Global.log_level": "critical", **threads, "Rec.rec_batch_num": 1, "Cls.cls_batch_num": 1}
    )
    models = Path(rapidocr.__file__).parent / "models"
    session: type[CudaSession | OpenVinoSession] = CudaSession if _backend == ON_CUDA else OpenVinoSession
    engine._load_det_model().session = session(models / "PP-OCRv6_det_small.onnx")
    engine._load_cls_model().session = session(models / "ch_ppocr_mobile_v2.0_cls_mobile.onnx")
    recogniser = models / "PP-OCRv6_rec_small.onnx"
    engine._load_rec_model().session = (
        OpenVinoSession(recogniser, _RECOGNISER_STEP, "bf16")
        if _backend == IN_BFLOAT16
        else session(recogniser, _RECOGNISER_STEP)
    )
    return engine


def _detector_input(ocr_pass: OcrPass, image: np.ndarray) -> np.ndarray:
    """Return a BGR image scaled for the detector, values from -1 to 1: float32 (1, 3, h, w)."""
    height, width = image.shape[:2]
    scale = min(ocr_pass.short / min(height, width), ocr_pass.long / max(height, width))
    # Scaled to the step, not padded: a frame around the image makes the detector run lines together.
    size = [
        ocr_pass.short
        if round(side * scale) == ocr_pass.short
        else max(1, round(side * scale / _DETECTOR_STEP)) * _DETECTOR_STEP
        for side in (width, height)
    ]
    return cv2.dnn.blobFromImage(cv2.resize(image, size), 1 / 127.5, mean=(127.5, 127.5, 127.5))
