"""Where a text stands on a product picture: beside or above the product, along an upright or a level line."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from src.images.decode import cv2
from src.reading.lines import WHOLE, Box, ParsedLine

_LONG_SIDE = 600
_SHORTEST = 0.04
"""Of a drawn line, as a share of the picture's diagonal."""
_FAR = 1e4
"""Shares of a picture, and its width to its height, are less."""
_REACH = 0.25
"""Of a drawn line, as a share of the picture's height: what is farther from a text says nothing of it."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What is drawn on a picture, in shares of its width and height.

    ``product`` is the box of what differs from the background and is no text; ``segments`` are straight lines
    as float32 (n, 4): x0, y0, x1, y1. ``aspect`` is width / height.
    """

    product: Box
    segments: np.ndarray
    aspect: float

    def entry(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "product": [round(float(side), 3) for side in self.product],
            "segments": self.segments.astype(float).round(3).tolist(),
            "aspect": round(self.aspect, 4),
        }

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> "Layout":
        """Of what `entry` gave. Raises ValueError for numbers that are none of a picture."""
        segments = np.array(entry["segments"], np.float32).reshape(-1, 4)
        product, aspect = Box(*map(float, entry["product"])), float(entry["aspect"])
        if not (
            np.abs(segments).max(initial=0) < _FAR
            and np.abs(product).max() < _FAR
            and 1 / _FAR < aspect < _FAR
        ):
            raise ValueError("what is drawn is out of the picture")
        return cls(product, segments, aspect)


def around_lengths(image: np.ndarray, found: Sequence[ParsedLine]) -> Layout | None:
    """`layout` of a picture with these readings, of its lines those near a length; None where no length was
    read."""
    lengths = [reading.box for reading in found if any(mention.is_length for mention in reading.mentions)]
    if not lengths:
        return None
    drawn = layout(image, [reading.box for reading in found])
    near = np.min([_gaps(drawn, box) for box in lengths], axis=0) < _REACH
    return Layout(drawn.product, drawn.segments[near], drawn.aspect)


def layout(image: np.ndarray, texts: Sequence[Box]) -> Layout:
    """Find product and lines on a BGR uint8 picture; ``texts`` are the boxes of its text lines."""
    height, width = image.shape[:2]
    scale = min(1.0, _LONG_SIDE / max(height, width))
    if scale < 1:
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    height, width = grey.shape
    size = np.array([width, height, width, height], np.float32)
    found = cv2.createLineSegmentDetector().detect(grey)[0]
    segments = (np.zeros((0, 4), np.float32) if found is None else found.reshape(-1, 4)) / size
    return Layout(_product(image, texts), _outside_text(segments, texts, width / height), width / height)


def _product(image: np.ndarray, texts: Sequence[Box]) -> Box:
    """The box of most of what differs from the border's colour, texts and thin lines left out."""
    height, width = image.shape[:2]
    edge = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    different = (np.abs(image.astype(np.int16) - np.median(edge, axis=0)).max(axis=2) > 24).astype(np.uint8)
    for left, top, right, bottom in texts:
        different[
            int(top * height) : int(bottom * height) + 1, int(left * width) : int(right * width) + 1
        ] = 0
    solid = cv2.morphologyEx(different, cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    across, down = (
        np.nonzero(solid.sum(axis=0) > 0.01 * height)[0],
        np.nonzero(solid.sum(axis=1) > 0.01 * width)[0],
    )
    if not len(across) or not len(down):
        return WHOLE
    return Box(across[0] / width, down[0] / height, (across[-1] + 1) / width, (down[-1] + 1) / height)


def _outside_text(segments: np.ndarray, texts: Sequence[Box], aspect: float) -> np.ndarray:
    """Segments that are long enough and no strokes of letters."""
    span = np.hypot((segments[:, 2] - segments[:, 0]) * aspect, segments[:, 3] - segments[:, 1])
    keep = span > _SHORTEST * np.hypot(aspect, 1)
    middle_x, middle_y = (segments[:, 0] + segments[:, 2]) / 2, (segments[:, 1] + segments[:, 3]) / 2
    for left, top, right, bottom in texts:
        inside = (middle_x > left) & (middle_x < right) & (middle_y > top) & (middle_y < bottom)
        keep &= ~(inside & (span < max((right - left) * aspect, bottom - top)))
    return segments[keep]


def directions(drawn: Layout, box: Box) -> tuple[float, float, float]:
    """How strongly lines near a text run upright, level and slanting; each 0 to 1.

    A line counts by its length and by how near it passes to the middle of the text, ends included.
    """
    if not len(drawn.segments):
        return 0.0, 0.0, 0.0
    run = (drawn.segments[:, 2:] - drawn.segments[:, :2]) * np.array([drawn.aspect, 1.0])
    weight = np.minimum(np.hypot(*run.T), 0.5) * np.exp(-_gaps(drawn, box) / 0.04)
    angle = np.degrees(np.arctan2(np.abs(run[:, 1]), np.abs(run[:, 0])))
    upright, level = angle > 75, angle < 15
    strength = (weight[upright].sum(), weight[level].sum(), weight[~upright & ~level].sum())
    total = sum(strength) + 0.05
    return float(strength[0] / total), float(strength[1] / total), float(strength[2] / total)


def _gaps(drawn: Layout, box: Box) -> np.ndarray:
    """How far each drawn line passes from a text: from its middle to the text's box, float (n,), in
    heights."""
    unit = np.array([drawn.aspect, 1.0])
    first, last = drawn.segments[:, :2] * unit, drawn.segments[:, 2:] * unit
    middle = np.array([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2]) * unit
    half = np.array([(box[2] - box[0]) / 2, (box[3] - box[1]) / 2]) * unit
    run = last - first
    along = np.clip(((middle - first) * run).sum(axis=1) / np.maximum((run**2).sum(axis=1), 1e-9), 0, 1)
    gap = np.maximum(np.abs(first + along[:, None] * run - middle) - half, 0)
    return np.hypot(*gap.T)


def position(drawn: Layout, box: Box) -> tuple[float, float]:
    """The text's middle relative to the product's: -1 and 1 are the product's left and right (top and bottom)
    edge."""
    left, top, right, bottom = drawn.product
    x = ((box[0] + box[2]) - (left + right)) / max(right - left, 0.05)
    y = ((box[1] + box[3]) - (top + bottom)) / max(bottom - top, 0.05)
    return max(-2.0, min(2.0, x)), max(-2.0, min(2.0, y))
