"""Where to look again at a picture, closer, and how to put together what several looks have read."""

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from src.reading.candidates import candidates
from src.reading.constants import ENTITY_UNITS
from src.reading.images import cv2
from src.reading.joining import readings
from src.reading.mentions import find_quantities

Line = tuple[str, float, list[list[int]]]
"""Text, confidence 0..1, and the box's four corners [x, y] in source pixels, clockwise from the text's top left."""

_ENLARGED, _LARGE = 1000, 1600
"""Long sides in pixels: up to the first a picture is enlarged twice for its tiles, from the second on it has nine."""
TILE_SIDES = 576, 768
"""As `ocr.SIDES`, for a tile: as much is found as with those, and 12 % sooner (benchmarks/README.md)."""
_OVERLAP = 0.16
"""Of neighbouring tiles, as a share of the picture's side."""
_NEAR = 3
"""Pixels of the source from a cut within which a line may go on beyond it."""
_SURE = 0.6
"""A closer look's line is kept from this confidence on: small print reads badly, and what is no print as well."""


def is_missing(lines: Sequence[Line], width: int, height: int, entities: Sequence[str]) -> bool:
    """Whether one of ``entities`` has no candidate in the lines; with none known: whether there is no quantity."""
    found = readings(lines, width, height)
    known = [entity for entity in entities if entity in ENTITY_UNITS]
    if not known:
        return not any(reading.mentions for reading in found)
    return any(not candidates(found, entity) for entity in known)


@dataclass(frozen=True, slots=True)
class Tile:
    """A part of a picture, in source pixels, to be read ``scale`` times as large; ``inner``: which edges are cuts."""

    left: int
    top: int
    right: int
    bottom: int
    scale: int
    inner: tuple[bool, bool, bool, bool]

    def cut(self, image: np.ndarray) -> np.ndarray:
        """This part of a BGR picture, enlarged."""
        part = image[self.top : self.bottom, self.left : self.right]
        return cv2.resize(part, None, fx=self.scale, fy=self.scale, interpolation=cv2.INTER_CUBIC)

    def on_picture(self, line: Line) -> Line:
        """A line read on the tile, in the picture's pixels."""
        text, score, corners = line
        points = [[round(x / self.scale) + self.left, round(y / self.scale) + self.top] for x, y in corners]
        return text, score, points

    def is_cut(self, line: Line) -> bool:
        """Whether a line in the picture's pixels ends at a cut: it may go on beyond."""
        left, top, right, bottom = _bounds(line)
        gaps = (left - self.left, top - self.top, self.right - right, self.bottom - bottom)
        return any(cut and gap < _NEAR for cut, gap in zip(self.inner, gaps, strict=True))


def tiles(width: int, height: int) -> Iterator[Tile]:
    """Overlapping parts of a picture of this size: 2 x 2, of a large one 3 x 3."""
    count = 2 if max(width, height) < _LARGE else 3
    scale = 2 if max(width, height) <= _ENLARGED else 1
    for top, bottom in _spans(height, count):
        for left, right in _spans(width, count):
            yield Tile(left, top, right, bottom, scale, (left > 0, top > 0, right < width, bottom < height))


def _spans(side: int, count: int) -> list[tuple[int, int]]:
    half = _OVERLAP / 2
    edges = [number / count for number in range(count + 1)]
    return [
        (max(0, round((low - half) * side)), min(side, round((high + half) * side)))
        for low, high in itertools.pairwise(edges)
    ]


def merged(lines: Sequence[Line], closer: Sequence[Line]) -> list[Line]:
    """``lines`` with what a closer look has read: new lines, and better readings of those that are there.

    A line that stands where others do replaces them when it is a whole of which they are parts, or as long and surer;
    else it is left out. So nothing is there twice, and no line is lost that overlaps nothing.
    """
    kept = list(lines)
    for line in closer:
        if line[1] < _SURE:
            continue
        rivals = [other for other in kept if _overlap(line, other) > 0.5]
        if line not in kept and all(_is_better(line, other) for other in rivals):
            kept = [other for other in kept if other not in rivals]
            kept.append(line)
    return kept


def with_apart(lines: Sequence[Line], cut: Sequence[Line]) -> list[Line]:
    """``lines`` with those ``cut`` ones that stand where nothing else was read: a part may read as another value."""
    kept = list(lines)
    for line in cut:
        if line[1] >= _SURE and not any(_overlap(line, other) > 0 for other in kept):
            kept.append(line)
    return kept


def _is_better(line: Line, other: Line) -> bool:
    """Whether a line is the better reading of a place than another one."""
    mine, theirs = _plain(line[0]), _plain(other[0])
    if mine == theirs:
        return False
    if theirs in mine:
        return _area(line) >= 0.8 * _area(other)
    if mine in theirs:
        return False
    gains = bool(find_quantities(line[0])) - bool(find_quantities(other[0]))
    return _area(line) >= 0.6 * _area(other) and (gains > 0 or (gains == 0 and line[1] > other[1] + 0.02))


def _plain(text: str) -> str:
    """A text without signs and spaces, but for those in a number: 2.5 is not 25."""
    return re.sub(r"\W(?<![0-9][.,/])|\W(?![0-9])", "", text).lower()


def _bounds(line: Line) -> tuple[int, int, int, int]:
    xs, ys = [point[0] for point in line[2]], [point[1] for point in line[2]]
    return min(xs), min(ys), max(xs), max(ys)


def _area(line: Line) -> int:
    left, top, right, bottom = _bounds(line)
    return max(1, right - left) * max(1, bottom - top)


def _overlap(first: Line, second: Line) -> float:
    """Shared area as a share of the smaller box."""
    a, b = _bounds(first), _bounds(second)
    across, down = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return max(0, across) * max(0, down) / min(_area(first), _area(second))
