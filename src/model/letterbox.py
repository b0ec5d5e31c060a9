"""Padding of images, so that IDEFICS2's image processor neither stretches nor cuts them."""

from pathlib import Path

from src.data.processed import read_manifest
from src.images.decode import cv2, np

PATCH = 14
"""Side of a vision patch of IDEFICS2 in pixels; what fills no patch at the right and bottom is not seen."""


def letterboxed(height: int, width: int, shortest: int = 378) -> tuple[int, int]:
    """Return height and width of an image after `letterbox`."""
    floor = min(shortest, max(height, width))
    return -(-max(height, floor) // PATCH) * PATCH, -(-max(width, floor) // PATCH) * PATCH


def letterbox(image: np.ndarray) -> np.ndarray:
    """Pad with white at the right and bottom so that nothing is stretched or cut on the way into IDEFICS2.

    Its image processor stretches a short side below 378 up to it, and its patches drop what does not fill 14
    pixels: the short side becomes at least ``min(378, long side)``, both sides multiples of 14.
    """
    height, width = image.shape[:2]
    bottom, right = np.subtract(letterboxed(height, width), (height, width)).tolist()
    return cv2.copyMakeBorder(image, 0, bottom, 0, right, cv2.BORDER_CONSTANT, value=(255, 255, 255))


def letterboxed_sizes(processed: Path | None) -> dict[str, tuple[int, int]]:
    """Return height and width of each model image after `letterbox`, by its file's name; none without a
    folder."""
    if processed is None:
        return {}
    table = read_manifest(processed, ["file", "status", "width", "height"])
    table = table[table["status"].eq("ok")]
    sides = zip(table["height"], table["width"], strict=True)
    return {file: letterboxed(int(h), int(w)) for file, (h, w) in zip(table["file"], sides, strict=True)}
