"""Lines of text that OCR reads in an image, and the merging of lines of several passes."""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from src.images.decode import cv2
from src.reading.lines import TextLine
from src.reading.mentions import find_quantities

_MIN_CONFIDENCE = 0.6
"""Minimum confidence of a line of a retry pass: small print reads badly, and so does what is no print."""


class OcrPass(NamedTuple):
    """The size at which the detector sees an image.

    Its short side is scaled to ``short`` pixels, or its long side to ``long`` if that gives less. Smaller
    images are enlarged, as small print needs it (42 % of the challenge's images are 500 px). ``faint``: lines
    of which the detector is less sure are kept, too.
    """

    short: int = 704
    long: int = 960
    faint: bool = False


FIRST_PASS = OcrPass()


def merged(lines: Sequence[TextLine], retried: Sequence[TextLine]) -> list[TextLine]:
    """Return ``lines`` with the new lines of a retry pass, and with its better readings of known ones.

    A line that stands where others do replaces them when it is a whole of which they are parts, or as long
    and surer; else it is left out. So nothing is there twice, and no line is lost that overlaps nothing.
    """
    kept = list(lines)
    for line in retried:
        if line.confidence < _MIN_CONFIDENCE:
            continue
        rivals = [other for other in kept if _overlap(line, other) > 0.5]
        if line not in kept and all(_is_better(line, other) for other in rivals):
            kept = [other for other in kept if other not in rivals]
            kept.append(line)
    return kept


def with_cut_lines(lines: Sequence[TextLine], cut: Sequence[TextLine]) -> list[TextLine]:
    """Return ``lines`` with those ``cut`` ones that overlap no other: a part may read as another value."""
    kept = list(lines)
    for line in cut:
        if line.confidence >= _MIN_CONFIDENCE and not any(_overlap(line, other) > 0 for other in kept):
            kept.append(line)
    return kept


def _is_better(line: TextLine, other: TextLine) -> bool:
    """Tell whether a line is the better reading of a place than another one."""
    text, other_text = _plain(line.text), _plain(other.text)
    if text == other_text:
        return False
    if other_text in text:
        return _area(line) >= 0.8 * _area(other)
    if text in other_text:
        return False
    gains = bool(find_quantities(line.text)) - bool(find_quantities(other.text))
    is_surer = line.confidence > other.confidence + 0.02
    return _area(line) >= 0.6 * _area(other) and (gains > 0 or (gains == 0 and is_surer))


def _plain(text: str) -> str:
    """Return a text without signs and spaces, but for those in a number: 2.5 is not 25."""
    return re.sub(r"\W(?<![0-9][.,/])|\W(?![0-9])", "", text).lower()


def bounds(line: TextLine) -> tuple[int, int, int, int]:
    """Return the left, top, right and bottom pixel of a line."""
    xs, ys = [point[0] for point in line.quad], [point[1] for point in line.quad]
    return min(xs), min(ys), max(xs), max(ys)


def _area(line: TextLine) -> float:
    return max(1.0, cv2.contourArea(_hull(line)))


def _overlap(first: TextLine, second: TextLine) -> float:
    """Return the shared area as a share of the smaller quad, slanting as it is.

    An upright box around a slanting line would take in its neighbours.
    """
    a, b = bounds(first), bounds(second)
    if min(a[2], b[2]) <= max(a[0], b[0]) or min(a[3], b[3]) <= max(a[1], b[1]):
        return 0.0
    shared, _ = cv2.intersectConvexConvex(_hull(first), _hull(second))
    return shared / min(_area(first), _area(second))


def _hull(line: TextLine) -> np.ndarray:
    """Return the convex hull of a line's quad, float32 (n, 1, 2)."""
    return cv2.convexHull(np.array(line.quad, np.float32))
