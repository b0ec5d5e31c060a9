"""Drawing on a generated picture: texts, arrows, a product."""

import numpy as np

from src.images.decode import cv2  # imported there with its size limit set


def write_text(
    image: np.ndarray, text: str, position: tuple[float, float], size: int, rng: np.random.Generator,
    colour: tuple[int, ...] = (30, 30, 30), angle: int = 0, anchor: float = 0.5,
) -> None:  # fmt: skip
    """Write ``text`` at ``position`` (x, y), on light ground, ``angle`` 0 or 90 degrees counter-clockwise.

    ``anchor``: the share of the text's width that lies left of ``position``; its height is centred there.
    """
    face = cv2.FontFace(str(rng.choice(["sans", "sans", "uni", "italic"])))
    weight = int(rng.choice([400, 400, 600, 700]))
    x, y, width, height = cv2.getTextSize((1, 1), text, (0, 0), face, size, weight)
    pad = 4
    patch: np.ndarray = np.full((height + 2 * pad, width + 2 * pad, 3), 255, np.uint8)
    cv2.putText(patch, text, (pad - x, pad - y), colour, face, size, weight)
    if angle == 90:
        patch = cv2.rotate(patch, cv2.ROTATE_90_COUNTERCLOCKWISE)
    top = int(np.clip(position[1] - patch.shape[0] / 2, 0, max(0, image.shape[0] - patch.shape[0])))
    left = int(np.clip(position[0] - patch.shape[1] * anchor, 0, max(0, image.shape[1] - patch.shape[1])))
    target = image[top : top + patch.shape[0], left : left + patch.shape[1]]
    np.minimum(target, patch[: target.shape[0], : target.shape[1]], out=target)


def draw_arrow(
    image: np.ndarray, start: tuple[float, float], end: tuple[float, float], width: int = 2
) -> None:
    """A line with a tip at either end."""
    ends = [tuple(int(v) for v in point) for point in (start, end)]
    for a, b in (ends, ends[::-1]):
        cv2.arrowedLine(image, a, b, (60, 60, 60), width, cv2.LINE_AA, tipLength=0.04)


def draw_product(
    image: np.ndarray, box: tuple[int, int, int, int], slant: int, rng: np.random.Generator
) -> None:
    """A block, bottle or disc in ``box`` (left, top, right, bottom); ``slant`` px of depth for a block."""
    left, top, right, bottom = box
    base = rng.integers(90, 215, 3)
    face, side, lid = (tuple(int(v) for v in np.clip(base + d, 0, 255)) for d in (0, -35, 25))
    if slant:
        flank = [(right, top), (right + slant, top - slant), (right + slant, bottom - slant), (right, bottom)]
        roof = [(left, top), (left + slant, top - slant), (right + slant, top - slant), (right, top)]
        cv2.fillPoly(image, [np.array(flank)], side, cv2.LINE_AA)
        cv2.fillPoly(image, [np.array(roof)], lid, cv2.LINE_AA)
        cv2.rectangle(image, (left, top), (right, bottom), face, -1)
    elif rng.random() < 0.5:
        centre, axes = ((left + right) // 2, (top + bottom) // 2), ((right - left) // 2, (bottom - top) // 2)
        cv2.ellipse(image, centre, axes, 0, 0, 360, face, -1, cv2.LINE_AA)
    else:
        neck = (right - left) // 4
        cv2.rectangle(image, (left + neck, top), (right - neck, bottom), lid, -1)
        cv2.rectangle(image, (left, top + (bottom - top) // 4), (right, bottom), face, -1)
