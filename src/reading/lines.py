"""The text lines of an image: what OCR gives, and what the parser makes of it.

`TextLine` is one line that OCR found, as text.jsonl stores it. `lines_in_order` brings the text lines of an
image into reading order and parses each by itself; `cross_line.parse_lines` then relates them.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from src.reading.mentions import Mention, parse


class TextLine(NamedTuple):
    """One line that OCR found; ``text.jsonl`` stores it as ``[text, confidence, quad]``.

    ``confidence``: 0 to 1. ``quad``: the box's four corners [x, y] in pixels of the image, clockwise from the
    text's top left.
    """

    text: str
    confidence: float
    quad: list[list[int]]


class Box(NamedTuple):
    """Left, top, right and bottom of a rectangle, in shares of the image's width and height."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def middle(self) -> tuple[float, float]:
        """Return the point (x, y) in the middle."""
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2

    def gaps(self, other: "Box") -> tuple[float, float]:
        """Return how far two boxes are apart across and down; negative where they overlap."""
        across = max(self.left, other.left) - min(self.right, other.right)
        return across, max(self.top, other.top) - min(self.bottom, other.bottom)


WHOLE = Box(0.0, 0.0, 1.0, 1.0)
"""The box of a whole image."""


@dataclass(frozen=True, slots=True)
class ParsedLine:
    """A text line, its place and its mentions.

    ``vertical``: whether the text runs up or down. ``size``: height of its letters as a share of the image's
    height. For ``mentions``, ``heading`` and ``legend`` see `mentions.Parsed`.
    """

    text: str
    confidence: float
    box: Box
    vertical: bool
    size: float
    mentions: tuple[Mention, ...]
    heading: frozenset[str]
    legend: tuple[frozenset[str], ...]


def lines_in_order(lines: Iterable[Sequence[Any]], width: int, height: int) -> list[ParsedLine]:
    """Return the text lines of an image in reading order, each parsed by itself.

    ``lines``: `TextLine`, or lists of the same. ``width``, ``height``: of the image, in pixels of the quads.
    """
    parsed_lines = []
    for text, confidence, quad in lines:
        across, down = math.dist(quad[0], quad[1]), math.dist(quad[0], quad[3])
        (x, y), (far_x, far_y) = quad[0], quad[1 if across >= down else 3]
        vertical = abs(far_y - y) > 1.5 * abs(far_x - x) and len(text) > 1
        xs, ys = zip(*quad, strict=True)
        box = Box(min(xs) / width, min(ys) / height, max(xs) / width, max(ys) / height)
        parsed_lines.append(
            ParsedLine(text, confidence, box, vertical, min(across, down) / height, *parse(text))
        )
    rows: list[list[ParsedLine]] = []
    for line in sorted(parsed_lines, key=lambda line: line.box.middle[1]):
        above = rows[-1][0] if rows else None
        if above and not line.vertical and line.box.middle[1] < above.box.bottom - above.size * 0.3:
            rows[-1].append(line)
        else:
            rows.append([line])
    return [line for row in rows for line in sorted(row, key=lambda line: line.box.left)]
