"""The layout of a product image: the product's box and the drawn lines, and where a text stands in it.

    layout(image, text_boxes)    Layout: product box, segments of straight lines
    directions(layout, box)      (0.9, 0.1, 0.0): an upright line passes the text, so it is rather a height
    position(layout, box)        (-1.2, 0.0): left of the product, at half its height

Coordinates are shares of the image's width and height, from its upper left corner.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from src.images.decode import cv2
from src.reading.lines import WHOLE, Box, ParsedLine

_LONG_SIDE = 600
"""Long side in pixels of the image in which lines and product are searched."""
_SHORTEST = 0.04
"""Length of the shortest line that counts, as a share of the image's diagonal."""
_FAR = 1e4
"""Number that all coordinates and the aspect are below."""
_REACH = 0.25
"""Distance of a line from a text, in image heights, from which on it says nothing about the text."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The product box and the drawn lines of an image.

    ``product``: the box of what differs from the background and is no text. ``segments``: straight lines,
    float32 (n, 4): x0, y0, x1, y1. ``aspect``: the image's width / height.
    """

    product: Box
    segments: np.ndarray
    aspect: float

    def entry(self) -> dict[str, Any]:
        """Return the layout as JSON values."""
        return {
            "product": [round(float(side), 3) for side in self.product],
            "segments": self.segments.astype(float).round(3).tolist(),
            "aspect": round(self.aspect, 4),
        }

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> "Layout":
        """Return the layout of an `entry`. Raises ValueError for numbers that are none of an image."""
        segments = np.array(entry["segments"], np.float32).reshape(-1, 4)
        product, aspect = Box(*map(float, entry["product"])), float(entry["aspect"])
        is_near = np.abs(segments).max(initial=0) < _FAR and np.abs(product).max() < _FAR  # False for NaN
        if not (is_near and 1 / _FAR < aspect < _FAR):
            raise ValueError("the layout is out of the image")
        return cls(product, segments, aspect)


def around_lengths(image: np.ndarray, lines: Sequence[ParsedLine]) -> Layout | None:
    """Return the `layout` of an image with the lines near a length only; None where no length was read.

    ``image``: BGR, uint8 (height, width, 3). ``lines``: its text lines.
    """
    lengths = [line.box for line in lines if any(mention.is_length for mention in line.mentions)]
    if not lengths:
        return None
    whole = layout(image, [line.box for line in lines])
    is_near = np.min([_gaps(whole, box) for box in lengths], axis=0) < _REACH
    return Layout(whole.product, whole.segments[is_near], whole.aspect)


def layout(image: np.ndarray, texts: Sequence[Box]) -> Layout:
    """Return the product and the drawn lines of a BGR uint8 image; ``texts``: the boxes of its text lines."""
    height, width = image.shape[:2]
    scale = min(1.0, _LONG_SIDE / max(height, width))
    if scale < 1:
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    height, width = grey.shape
    detected = cv2.createLineSegmentDetector().detect(grey)[0]
    pixels = np.zeros((0, 4), np.float32) if detected is None else detected.reshape(-1, 4)
    segments = pixels / np.array([width, height, width, height], np.float32)
    return Layout(_product(image, texts), _outside_text(segments, texts, width / height), width / height)


def _product(image: np.ndarray, texts: Sequence[Box]) -> Box:
    """Return the box of most of what differs from the border's colour, without texts and thin lines."""
    height, width = image.shape[:2]
    border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    differs = (np.abs(image.astype(np.int16) - np.median(border, axis=0)).max(axis=2) > 24).astype(np.uint8)
    for left, top, right, bottom in texts:
        rows = slice(int(top * height), int(bottom * height) + 1)
        differs[rows, int(left * width) : int(right * width) + 1] = 0
    solid = cv2.morphologyEx(differs, cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    across = np.nonzero(solid.sum(axis=0) > 0.01 * height)[0]
    down = np.nonzero(solid.sum(axis=1) > 0.01 * width)[0]
    if not len(across) or not len(down):
        return WHOLE
    return Box(across[0] / width, down[0] / height, (across[-1] + 1) / width, (down[-1] + 1) / height)


def _outside_text(segments: np.ndarray, texts: Sequence[Box], aspect: float) -> np.ndarray:
    """Return the segments that are long enough and no strokes of letters."""
    span = np.hypot((segments[:, 2] - segments[:, 0]) * aspect, segments[:, 3] - segments[:, 1])
    keep = span > _SHORTEST * np.hypot(aspect, 1)
    middle_x, middle_y = (segments[:, 0] + segments[:, 2]) / 2, (segments[:, 1] + segments[:, 3]) / 2
    for left, top, right, bottom in texts:
        is_inside = (middle_x > left) & (middle_x < right) & (middle_y > top) & (middle_y < bottom)
        keep &= ~(is_inside & (span < max((right - left) * aspect, bottom - top)))
    return segments[keep]


def directions(layout: Layout, box: Box) -> tuple[float, float, float]:
    """Return how strongly lines near a text run upright, level and slanting; each 0 to 1.

    A line counts by its length and by how near it passes to the middle of the text, ends included.
    """
    if not len(layout.segments):
        return 0.0, 0.0, 0.0
    run = (layout.segments[:, 2:] - layout.segments[:, :2]) * np.array([layout.aspect, 1.0])
    weight = np.minimum(np.hypot(*run.T), 0.5) * np.exp(-_gaps(layout, box) / 0.04)
    angle = np.degrees(np.arctan2(np.abs(run[:, 1]), np.abs(run[:, 0])))
    upright, level = angle > 75, angle < 15
    strengths = (weight[upright].sum(), weight[level].sum(), weight[~upright & ~level].sum())
    total = sum(strengths) + 0.05
    return float(strengths[0] / total), float(strengths[1] / total), float(strengths[2] / total)


def _gaps(layout: Layout, box: Box) -> np.ndarray:
    """Return how far each line passes from a text's box, on the way to its middle: float (n,), in heights."""
    unit = np.array([layout.aspect, 1.0])
    first, last = layout.segments[:, :2] * unit, layout.segments[:, 2:] * unit
    middle = np.array(box.middle) * unit
    half = np.array([(box.right - box.left) / 2, (box.bottom - box.top) / 2]) * unit
    run = last - first
    along = np.clip(((middle - first) * run).sum(axis=1) / np.maximum((run**2).sum(axis=1), 1e-9), 0, 1)
    gap = np.maximum(np.abs(first + along[:, None] * run - middle) - half, 0)
    return np.hypot(*gap.T)


def position(layout: Layout, box: Box) -> tuple[float, float]:
    """Return the place (x, y) of a text's middle relative to the product, within -2 and 2.

    -1 and 1 are the product's left and right, or top and bottom edge.
    """
    left, top, right, bottom = layout.product
    x = ((box.left + box.right) - (left + right)) / max(right - left, 0.05)
    y = ((box.top + box.bottom) - (top + bottom)) / max(bottom - top, 0.05)
    return max(-2.0, min(2.0, x)), max(-2.0, min(2.0, y))
