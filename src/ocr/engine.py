"""Read the text of a picture at full resolution: RapidOCR's pipeline and models (PP-OCR), run by OpenVINO.

The models are inside RapidOCR's wheel; nothing is fetched. OpenVINO is twice as fast as onnxruntime on them,
but only with fixed input shapes, so inputs are brought to a few sizes: the detector's by scaling, the
recogniser's by padding.
"""

import functools
import re
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import openvino
import rapidocr
from rapidocr import RapidOCR
from rapidocr.ch_ppocr_rec import TextRecInput
from rapidocr.utils.process_img import get_rotate_crop_image

from src.ocr.retry_passes import Line, closer_looks, is_missing, merged, with_apart

SIDES = 704, 960
"""The detector sees a picture with its short side scaled to so many pixels, or its long side if that gives
less.

Smaller pictures are enlarged, as small print needs it (42 % of the challenge's pictures are 500 px)."""
_SEEN, _FAINT = (0.3, 0.5), (0.1, 0.2)
"""How sure the detector must be of a pixel to be print, and of a line; and where faint print is looked for,
too."""
_DETECTOR_STEP, _RECOGNISER_STEP = 64, 160
"""Sizes are rounded to these steps: few shapes to compile (a third of a second each)."""
_WEAK, _MARGIN = 0.9, 0.05
"""A line of less confidence is read again, with so much around it, as a share of its letters' height."""
_KEPT_SHAPES = 8
"""Of each model; a compiled shape of the detector holds 100 to 200 MB."""


def read_lines(image: np.ndarray, sides: tuple[int, int] = SIDES, faint: bool = False) -> list[Line]:
    """Text lines of a BGR uint8 picture, in RapidOCR's order (top to bottom); ``sides``: see `SIDES`.

    ``faint``: those, too, of which the detector is less sure.
    """
    engine = _engine()
    boxes = engine.text_det.postprocess_op
    boxes.thresh, boxes.box_thresh = _FAINT if faint else _SEEN
    engine.text_det.get_preprocess = functools.partial(_DetectorInput, *sides)
    found = engine(image)
    if found.boxes is None:
        return []
    boxes = np.rint(found.boxes).astype(int).tolist()
    return [(t, round(float(s), 3), b) for t, s, b in zip(found.txts, found.scores, boxes, strict=True)]


def look_closer(image: np.ndarray, lines: list[Line], entities: Sequence[str]) -> list[Line]:
    """Return ``lines`` of `read_lines` with better readings of weak ones, and what `closer_looks` read.

    These go on as long as `is_missing` says so; ``entities``: what is asked of the picture.
    """
    height, width = image.shape[:2]
    lines, cut = _read_again(image, lines), list[Line]()
    for group in closer_looks(width, height, entities):
        if not is_missing(lines, width, height, entities):
            break
        for look in group:
            seen = [look.on_picture(line) for line in read_lines(look.seen(image), look.sides, look.faint)]
            seen = _read_again(image, seen)
            lines = merged(lines, [line for line in seen if not look.is_cut(line)])
            cut += [line for line in seen if look.is_cut(line)]
    return with_apart(lines, cut)


def _read_again(image: np.ndarray, lines: list[Line]) -> list[Line]:
    """``lines`` with better readings of weak ones with digits: their boxes cut out a little larger.

    The classifier does not know top from bottom in a few digits: what runs up or down is read both ways.
    """
    for line in lines:
        if line[1] >= _WEAK or not re.search("[0-9]", line[0]):
            continue
        corners = np.array(line[2], np.float32)
        across, down = corners[1] - corners[0], corners[3] - corners[0]
        longer, shorter = sorted(map(float, map(np.linalg.norm, (across, down))), reverse=True)
        if shorter < 4 or longer > 100 * shorter:
            continue
        along, downwards = (side / np.linalg.norm(side) * _MARGIN * shorter for side in (across, down))
        corners += np.array([-along - downwards, along - downwards, along + downwards, downwards - along])
        crops = [get_rotate_crop_image(image, corners)]
        if np.linalg.norm(down) > np.linalg.norm(across):
            crops.append(cv2.rotate(crops[0], cv2.ROTATE_180))
        found = _engine().text_rec(TextRecInput(img=crops))
        score, text = max(zip(found.scores, found.txts, strict=True))
        lines = merged(lines, [(text, round(float(score), 3), line[2])])
    return lines


@functools.cache
def _engine() -> Any:
    """One engine per process, on one thread: the pool's processes share the cores."""
    threads = {f"EngineConfig.onnxruntime.{kind}_op_num_threads": 1 for kind in ("intra", "inter")}
    engine: Any = RapidOCR(
        params={"Global.log_level": "critical", **threads, "Rec.rec_batch_num": 1, "Cls.cls_batch_num": 1}
    )
    detector, classifier, recogniser = (
        engine._load_det_model(),
        engine._load_cls_model(),
        engine._load_rec_model(),
    )
    models = Path(rapidocr.__file__).parent / "models"
    detector.session = _FixedShapes(models / "PP-OCRv6_det_small.onnx")
    classifier.session = _FixedShapes(models / "ch_ppocr_mobile_v2.0_cls_mobile.onnx")
    recogniser.session = _FixedShapes(models / "PP-OCRv6_rec_small.onnx", _RECOGNISER_STEP)
    return engine


class _DetectorInput:
    """Scales a BGR picture and its values (to -1..1) for the detector: float32 (1, 3, h, w)."""

    def __init__(self, short: int, long: int) -> None:
        self.short, self.long = short, long

    def __call__(self, image: np.ndarray) -> np.ndarray:
        height, width = image.shape[:2]
        scale = min(self.short / min(height, width), self.long / max(height, width))
        sides = [side * scale for side in (width, height)]
        # To the bucket, not padded: a frame around the picture makes the detector run lines together.
        size = [
            self.short if round(side) == self.short else max(1, round(side / _DETECTOR_STEP)) * _DETECTOR_STEP
            for side in sides
        ]
        return cv2.dnn.blobFromImage(cv2.resize(image, size), 1 / 127.5, mean=(127.5, 127.5, 127.5))


class _FixedShapes:
    """A model compiled by OpenVINO for each input shape it meets; the width is padded with zeros to a
    ``step``."""

    def __init__(self, path: Path, step: int = 1) -> None:
        self._core = openvino.Core()
        self._model = self._core.read_model(path)
        self._step = step
        self._compiled: OrderedDict[tuple[int, ...], Callable] = OrderedDict()  # the least lately used first

    def __call__(self, values: np.ndarray) -> np.ndarray:
        missing = -values.shape[3] % self._step
        if missing:
            values = np.pad(values, ((0, 0), (0, 0), (0, 0), (0, missing)))
        if values.shape in self._compiled:
            self._compiled.move_to_end(values.shape)
        else:
            if len(self._compiled) == _KEPT_SHAPES:
                self._compiled.popitem(last=False)
            self._model.reshape(values.shape)
            # Without pinning: it would put the threads of all processes on the same core.
            # bf16, the default where a CPU has it, is nearly twice as fast but reads a little less, and other
            # things.
            options = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "ENABLE_CPU_PINNING": False,
                       "INFERENCE_PRECISION_HINT": "f32"}  # fmt: skip
            self._compiled[values.shape] = self._core.compile_model(self._model, "CPU", options)
        return self._compiled[values.shape](values)[0]
