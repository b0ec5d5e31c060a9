"""Read the text of a picture at full resolution, with RapidOCR (PP-OCR models in the wheel; nothing is fetched)."""

import functools
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rapidocr import RapidOCR

from src.errors import InputError

Line = tuple[str, float, list[list[int]]]
"""Text, confidence 0..1, and the box's four corners [x, y] in source pixels, clockwise from the text's top left."""


@functools.cache
def _engine() -> RapidOCR:
    """One engine per process, on one thread: the pool's processes share the cores."""
    threads = {f"EngineConfig.onnxruntime.{kind}_op_num_threads": 1 for kind in ("intra", "inter")}
    return RapidOCR(params={"Global.log_level": "critical", **threads})


def read_lines(image: np.ndarray) -> list[Line]:
    """Text lines of a BGR uint8 picture, in RapidOCR's order (top to bottom)."""
    found = _engine()(image)
    if found.boxes is None:
        return []
    boxes = np.rint(found.boxes).astype(int).tolist()
    return [(t, round(float(s), 3), b) for t, s, b in zip(found.txts, found.scores, boxes, strict=True)]


def load_text(path: Path, images: Sequence[str]) -> dict[str, list[Line]]:
    """Lines per image of ``text.jsonl``, for the ``images`` asked for; empty where there is no such file.

    Raises `InputError` for a file that ``preprocess.py`` did not write.
    """
    if not path.is_file():
        return {}
    wanted, found = set(images), {}
    with path.open(encoding="utf-8") as stream:
        for number, line in enumerate(stream, start=1):
            try:
                entry = json.loads(line)
                if entry["image"] in wanted:
                    found[entry["image"]] = [tuple(read) for read in entry["lines"]]
            except (ValueError, KeyError, TypeError):
                raise InputError(
                    f"{path}, line {number}: not a text entry; delete the file and run preprocess.py"
                ) from None
    return found
