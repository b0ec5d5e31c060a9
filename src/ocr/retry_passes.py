"""Further OCR passes over an image in which something that is asked for was not found."""

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from src.entities import AXES, ENTITIES
from src.images.decode import cv2
from src.ocr.engine import read, read_again
from src.ocr.text_lines import FIRST_PASS, OcrPass, bounds, merged, with_cut_lines
from src.reading.candidates import candidates
from src.reading.cross_line import parse_lines
from src.reading.lines import ParsedLine, TextLine

_LARGE = 1600
"""Long side in pixels from which on an image is also read in tiles, as it is never seen at its full size."""
_TILE, _MAX_TILES = 800, 5
"""Side of a tile in pixels, about, and the maximum number of tiles in a row."""
_OVERLAP = 0.16
"""Overlap of neighbouring tiles, as a share of a tile's side."""
_NEAR_CUT = 3
"""A line that ends within so many pixels of a cut may go on beyond it."""
_PIECE = re.compile(r"\W{0,2}(?:[0-9]{1,3}(?:[.,][0-9])?|0?[cm]m)\W{0,2}", re.IGNORECASE)
"""Matches a number or a unit alone: a piece of a quantity that is printed upwards and was not read whole."""


def read_with_retries(
    image: np.ndarray, lines: list[TextLine], entities: Sequence[str]
) -> tuple[list[TextLine], list[ParsedLine]]:
    """Return better lines of a BGR uint8 image, and the same lines parsed.

    ``lines`` are those of the first pass. Weak ones are read again; then `retry_passes` run as long as one of
    the ``entities`` that are asked of the image `is_missing`.
    """
    height, width = image.shape[:2]
    lines, cut = read_again(image, lines), list[TextLine]()
    parsed_lines = parse_lines(lines, width, height)
    for passes in retry_passes(width, height, entities):
        if not is_missing(lines, parsed_lines, entities):
            break
        for retry in passes:
            retried = [retry.to_image(line) for line in read(retry.view(image), retry.ocr_pass)]
            retried = read_again(image, retried)
            lines = merged(lines, [line for line in retried if not retry.is_cut(line)])
            cut += [line for line in retried if retry.is_cut(line)]
        parsed_lines = parse_lines(lines, width, height)
    whole_lines, lines = lines, with_cut_lines(lines, cut)
    return lines, parsed_lines if lines == whole_lines else parse_lines(lines, width, height)


def is_missing(
    lines: Sequence[TextLine], parsed_lines: Sequence[ParsedLine], entities: Sequence[str]
) -> bool:
    """Tell whether one of ``entities`` has no candidate in the lines.

    Where none of them is known, tell whether no line has a quantity. Lengths are missing, too, where a piece
    of a number stands upright among others with units.
    """
    known_entities = [entity for entity in entities if entity in ENTITIES]
    if not known_entities:
        return not any(line.mentions for line in parsed_lines)
    if any(not candidates(parsed_lines, entity) for entity in known_entities):
        return True
    return not set(AXES).isdisjoint(known_entities) and any(
        _PIECE.fullmatch(line.text) and _is_upright(line) for line in lines
    )


def _is_upright(line: TextLine) -> bool:
    left, top, right, bottom = bounds(line)
    return bottom - top > 1.2 * (right - left)


@dataclass(frozen=True, slots=True)
class RetryPass:
    """An OCR pass over a part of an image, possibly inverted or turned by a quarter clockwise.

    The part's edges are in pixels of the image; ``cuts`` says which of them (left, top, right, bottom) cut
    through the image.
    """

    left: int
    top: int
    right: int
    bottom: int
    ocr_pass: OcrPass
    inverted: bool = False
    turned: bool = False
    cuts: tuple[bool, bool, bool, bool] = (False,) * 4

    def view(self, image: np.ndarray) -> np.ndarray:
        """Return what the pass sees of a BGR uint8 image."""
        part = image[self.top : self.bottom, self.left : self.right]
        if self.inverted:
            part = cv2.bitwise_not(part)
        return cv2.rotate(part, cv2.ROTATE_90_CLOCKWISE) if self.turned else np.ascontiguousarray(part)

    def to_image(self, line: TextLine) -> TextLine:
        """Return a line of the view in pixels of the image."""
        quad = line.quad
        if self.turned:
            quad = [[y, self.bottom - self.top - 1 - x] for x, y in quad]
        return line._replace(quad=[[x + self.left, y + self.top] for x, y in quad])

    def is_cut(self, line: TextLine) -> bool:
        """Tell whether a line in pixels of the image ends at a cut: it may go on beyond."""
        left, top, right, bottom = bounds(line)
        gaps = (left - self.left, top - self.top, self.right - right, self.bottom - bottom)
        return any(cut and gap < _NEAR_CUT for cut, gap in zip(self.cuts, gaps, strict=True))


def retry_passes(width: int, height: int, entities: Sequence[str]) -> Iterator[list[RetryPass]]:
    """Yield groups of passes over an image of this size, ordered by what they find per second.

    The detector is trained on one size of letters, and on lines from left to right: what it misses at one
    size, in dark letters or lying it sees at another, in light ones or upright. What it sees but does not
    trust (a line close to others, say) the recogniser reads or drops. Lengths alone are printed upwards often
    enough to turn the image for ``entities``. See benchmarks/README.md for the order.
    """
    whole = 0, 0, width, height
    yield [RetryPass(*whole, OcrPass(320, 512))]
    yield [RetryPass(*whole, OcrPass(960, 1280), inverted=True)]
    if not entities or not set(AXES).isdisjoint(entities):
        yield [RetryPass(*whole, FIRST_PASS, turned=True)]
    yield [RetryPass(*whole, OcrPass(960, 1280, faint=True))]
    if max(width, height) >= _LARGE:
        yield [
            RetryPass(
                left, top, right, bottom, FIRST_PASS, cuts=(left > 0, top > 0, right < width, bottom < height)
            )
            for top, bottom in _tiles(height)
            for left, right in _tiles(width)
        ]


def _tiles(side: int) -> list[tuple[int, int]]:
    """Return first and last pixel of the tiles along a side of the image."""
    count = min(_MAX_TILES, -(-side // _TILE))
    overlap = _OVERLAP / 2 * side / count
    edges = [side * number / count for number in range(count + 1)]
    return [
        (max(0, round(low - overlap)), min(side, round(high + overlap)))
        for low, high in itertools.pairwise(edges)
    ]
