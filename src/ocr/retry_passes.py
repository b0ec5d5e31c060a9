"""Where to look again at a picture, closer, and how to put together what several looks have read."""

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from src.entities import ENTITY_UNITS
from src.images.decode import cv2
from src.reading.candidates import candidates
from src.reading.cross_line import parse_lines
from src.reading.mentions import find_quantities

Line = tuple[str, float, list[list[int]]]
"""Text, confidence 0..1, and the box's four corners [x, y] in source pixels, clockwise from the text's top
left."""

_LARGE = 1600
"""Pixels of the long side from which on a picture has tiles, too: whole, it never is seen at its full
size."""
_TILE, _MOST = 800, 5
"""Pixels of a tile's side, about; and tiles in a row at most."""
_OVERLAP = 0.16
"""Of neighbouring tiles, as a share of the side of one."""
_NEAR = 3
"""Pixels of the source from a cut within which a line may go on beyond it."""
_SURE = 0.6
"""A closer look's line is kept from this confidence on: small print reads badly, and what is no print as
well."""
_PIECE = re.compile(r"\W{0,2}(?:[0-9]{1,3}(?:[.,][0-9])?|0?[cm]m)\W{0,2}", re.IGNORECASE)
"""A number or a unit alone, as it is left of a quantity that is printed upwards and was not read in one
piece."""
_LENGTHS = {"height", "width", "depth"}


def is_missing(lines: Sequence[Line], width: int, height: int, entities: Sequence[str]) -> bool:
    """Whether one of ``entities`` has no candidate in the lines; with none known: whether there is no
    quantity.

    Lengths are missing, too, where a piece of a number stands upright among others with units.
    """
    found = parse_lines(lines, width, height)
    known = [entity for entity in entities if entity in ENTITY_UNITS]
    if not known:
        return not any(reading.mentions for reading in found)
    if any(not candidates(found, entity) for entity in known):
        return True
    return not _LENGTHS.isdisjoint(known) and any(
        _PIECE.fullmatch(line[0]) and _is_upright(line) for line in lines
    )


@dataclass(frozen=True, slots=True)
class Look:
    """A way to look at a picture again: which part of it, how large, in which colours, which way up, how
    readily."""

    left: int  # of the part, in source pixels
    top: int
    right: int
    bottom: int
    sides: tuple[int, int]  # see `engine.SIDES`
    inverted: bool = False
    turned: bool = False  # by a quarter, clockwise
    faint: bool = False  # with print that the detector is less sure of
    inner: tuple[bool, bool, bool, bool] = (False,) * 4  # which of its edges are cuts through the picture

    def seen(self, image: np.ndarray) -> np.ndarray:
        """What it shows of a BGR uint8 picture."""
        part = image[self.top : self.bottom, self.left : self.right]
        if self.inverted:
            part = cv2.bitwise_not(part)
        return cv2.rotate(part, cv2.ROTATE_90_CLOCKWISE) if self.turned else np.ascontiguousarray(part)

    def on_picture(self, line: Line) -> Line:
        """A line read on it, in the picture's pixels."""
        text, score, corners = line
        if self.turned:
            corners = [[y, self.bottom - self.top - 1 - x] for x, y in corners]
        return text, score, [[x + self.left, y + self.top] for x, y in corners]

    def is_cut(self, line: Line) -> bool:
        """Whether a line in the picture's pixels ends at a cut: it may go on beyond."""
        left, top, right, bottom = _bounds(line)
        gaps = (left - self.left, top - self.top, self.right - right, self.bottom - bottom)
        return any(cut and gap < _NEAR for cut, gap in zip(self.inner, gaps, strict=True))


def closer_looks(width: int, height: int, entities: Sequence[str]) -> Iterator[list[Look]]:
    """Looks at a picture of this size in the order of what they find per second (benchmarks/README.md).

    The detector is trained on one size of letters, and on lines from left to right: what it misses at one
    size, in dark letters or lying it sees at another, in light ones or upright. What it sees but does not
    trust (a line close to others, say) the recogniser reads or drops. Those of one list belong together.
    Lengths alone are printed upwards often enough to turn the picture for ``entities``.
    """
    whole = 0, 0, width, height
    yield [Look(*whole, (320, 512))]
    yield [Look(*whole, (960, 1280), inverted=True)]
    if not entities or not _LENGTHS.isdisjoint(entities):
        yield [Look(*whole, (704, 960), turned=True)]
    yield [Look(*whole, (960, 1280), faint=True)]
    if max(width, height) >= _LARGE:
        yield [
            Look(
                left,
                top,
                right,
                bottom,
                (704, 960),
                inner=(left > 0, top > 0, right < width, bottom < height),
            )
            for top, bottom in _spans(height)
            for left, right in _spans(width)
        ]


def _spans(side: int) -> list[tuple[int, int]]:
    count = min(_MOST, -(-side // _TILE))
    more = _OVERLAP / 2 * side / count
    edges = [side * number / count for number in range(count + 1)]
    return [
        (max(0, round(low - more)), min(side, round(high + more))) for low, high in itertools.pairwise(edges)
    ]


def merged(lines: Sequence[Line], closer: Sequence[Line]) -> list[Line]:
    """``lines`` with what a closer look has read: new lines, and better readings of those that are there.

    A line that stands where others do replaces them when it is a whole of which they are parts, or as long
    and surer; else it is left out. So nothing is there twice, and no line is lost that overlaps nothing.
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
    """``lines`` with those ``cut`` ones that stand where nothing else was read: a part may read as another
    value."""
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


def _is_upright(line: Line) -> bool:
    left, top, right, bottom = _bounds(line)
    return bottom - top > 1.2 * (right - left)


def _plain(text: str) -> str:
    """A text without signs and spaces, but for those in a number: 2.5 is not 25."""
    return re.sub(r"\W(?<![0-9][.,/])|\W(?![0-9])", "", text).lower()


def _bounds(line: Line) -> tuple[int, int, int, int]:
    xs, ys = [point[0] for point in line[2]], [point[1] for point in line[2]]
    return min(xs), min(ys), max(xs), max(ys)


def _area(line: Line) -> float:
    return max(1.0, cv2.contourArea(_corners(line)))


def _overlap(first: Line, second: Line) -> float:
    """Shared area as a share of the smaller box, slanting as it is: a box around it would take in its
    neighbours."""
    a, b = _bounds(first), _bounds(second)
    if min(a[2], b[2]) <= max(a[0], b[0]) or min(a[3], b[3]) <= max(a[1], b[1]):
        return 0.0
    shared, _ = cv2.intersectConvexConvex(_corners(first), _corners(second))
    return shared / min(_area(first), _area(second))


def _corners(line: Line) -> np.ndarray:
    """Of its box, convex, float32 (n, 1, 2)."""
    return cv2.convexHull(np.array(line[2], np.float32))
