"""Lines of text on a picture: their box, their reading order, what they say."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from src.reading.boxes import Box
from src.reading.mentions import Mention, parse


@dataclass(frozen=True, slots=True)
class ParsedLine:
    """A line of text with its box and what it says.

    ``score``: the OCR's confidence, 0..1. ``vertical``: whether the text runs up or down. ``size``: the
    height of its letters as a share of the picture's height. ``heading``: kinds of words (`words.KINDS`) that
    belong to no quantity of the line; ``legend``: names of sides without a product.
    """

    text: str
    score: float
    box: Box
    vertical: bool
    size: float
    mentions: tuple[Mention, ...]
    heading: frozenset[str]
    legend: tuple[frozenset[str], ...]


def lines_in_order(lines: Sequence[Sequence], width: int, height: int) -> list[ParsedLine]:
    """Return lines of `retry_passes.Line` in reading order, with the quantities that are whole in each.

    ``width`` and ``height`` of the picture in the pixels of the boxes.
    """
    found = []
    for text, score, corners in lines:
        across, down = math.dist(corners[0], corners[1]), math.dist(corners[0], corners[3])
        (x, y), (far_x, far_y) = corners[0], corners[1 if across >= down else 3]
        vertical = abs(far_y - y) > 1.5 * abs(far_x - x) and len(text) > 1
        xs, ys = zip(*corners, strict=True)
        box = Box(min(xs) / width, min(ys) / height, max(xs) / width, max(ys) / height)
        said = parse(text)
        size = min(across, down) / height
        found.append(ParsedLine(text, score, box, vertical, size, said.mentions, said.heading, said.legend))
    return _reading_order(found)


def _reading_order(found: list[ParsedLine]) -> list[ParsedLine]:
    """Return rows from top to bottom, each from left to right."""
    rows: list[list[ParsedLine]] = []
    for reading in sorted(found, key=lambda r: (r.box[1] + r.box[3]) / 2):
        middle = (reading.box[1] + reading.box[3]) / 2
        if rows and not reading.vertical and middle < rows[-1][0].box[3] - rows[-1][0].size * 0.3:
            rows[-1].append(reading)
        else:
            rows.append([reading])
    return [reading for row in rows for reading in sorted(row, key=lambda r: r.box[0])]
