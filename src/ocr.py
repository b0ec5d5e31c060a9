"""Read the text of a picture at full resolution, with RapidOCR (PP-OCR models in the wheel; nothing is fetched)."""

import functools

import numpy as np
from rapidocr import RapidOCR

Line = tuple[str, float, list[list[int]]]
"""Text, confidence 0..1, and the box's four corners [x, y] in source pixels, clockwise from the text's top left."""


@functools.cache
def _engine() -> RapidOCR:
    """One engine per process, on one thread: the pool's processes share the cores."""
    threads = {f"EngineConfig.onnxruntime.{kind}_op_num_threads": 1 for kind in ("intra", "inter")}
    # The arena keeps memory between pictures: without it a tenth of the time goes into giving pages back and forth.
    memory = {"EngineConfig.onnxruntime.enable_cpu_mem_arena": True}
    return RapidOCR(params={"Global.log_level": "critical", **threads, **memory})


def read_lines(image: np.ndarray) -> list[Line]:
    """Text lines of a BGR uint8 picture, in RapidOCR's order (top to bottom)."""
    found = _engine()(image)
    if found.boxes is None:
        return []
    boxes = np.rint(found.boxes).astype(int).tolist()
    return [(t, round(float(s), 3), b) for t, s, b in zip(found.txts, found.scores, boxes, strict=True)]
