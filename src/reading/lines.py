"""Lines of text on a picture: their box, their reading order, what they say."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from src.reading.boxes import Box
from src.reading.mentions import Mention, parse


@dataclass(frozen=True, slots=True)
class Reading:
    """A line of text with its box and what it says.

    ``score``: the OCR's confidence, 0..1. ``vertical``: whether the text runs up or down. ``size``: the height of its
    letters as a share of the picture's height. ``heading``: kinds of words (`words.KINDS`) that belong to no quantity
    of the line; ``legend``: names of sides without a product.
    """

    text: str
    score: float
    box: Box
    vertical: bool
    size: float
    mentions: tuple[Mention, ...]
    heading: frozenset[str]
    legend: tuple[frozenset[str], ...]


def lines_in_order(lines: Sequence[Sequence], width: int, height: int) -> list[Reading]:
    """Lines of `ocr.Line` in reading order, with the quantities that are whole in each.

    ``width`` and ``height`` of the picture in the pixels of the boxes.
    """
    found = []
    for text, score, corners in lines:
        points = np.asarray(corners, float)
        across, down = np.linalg.norm(points[1] - points[0]), np.linalg.norm(points[3] - points[0])
        run = points[1] - points[0] if across >= down else points[3] - points[0]
        vertical = abs(run[1]) > 1.5 * abs(run[0]) and len(text) > 1
        (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
        box = Box(left / width, top / height, right / width, bottom / height)
        size = float(min(across, down) / height)
        said = parse(text)
        found.append(Reading(text, score, box, bool(vertical), size, said.mentions, said.heading, said.legend))
    return _reading_order(found)


def _reading_order(found: list[Reading]) -> list[Reading]:
    """Rows from top to bottom, each from left to right."""
    rows: list[list[Reading]] = []
    for reading in sorted(found, key=lambda r: (r.box[1] + r.box[3]) / 2):
        middle = (reading.box[1] + reading.box[3]) / 2
        if rows and not reading.vertical and middle < rows[-1][0].box[3] - rows[-1][0].size * 0.3:
            rows[-1].append(reading)
        else:
            rows.append([reading])
    return [reading for row in rows for reading in sorted(row, key=lambda r: r.box[0])]
