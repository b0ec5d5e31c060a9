"""Pure functions on pictures: decode, resize, CLAHE, unsharp mask, letterbox. 8-bit BGR arrays of shape (h, w, 3)."""

import os
from dataclasses import dataclass
from pathlib import Path

# 64 megapixels; OpenCV reads the limit when it is imported, and its own default lets a 0.9 MB file take 2.5 GiB.
MAX_PIXELS = 64_000_000
os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"] = str(MAX_PIXELS)

import cv2  # noqa: E402
import numpy as np  # noqa: E402

PATCH = 14
"""Side of a vision patch of IDEFICS2 in pixels; what does not fill a patch at the right and bottom is not seen."""


class ImageError(Exception):
    """The bytes are not a picture that can be used; the message says why in a few words."""


@dataclass(frozen=True, slots=True)
class EnhanceSettings:
    """How a picture is made ready for the model (defaults: the reference solution's)."""

    max_size: int = 600  # long side in pixels; smaller pictures are not enlarged
    clip_limit: float = 1.0  # CLAHE, on 8x8 tiles
    sigma: float = 1.0  # Gaussian of the unsharp mask
    strength: float = 1.5  # out = picture + strength * (picture - blurred)


def decode(data: bytes) -> np.ndarray:
    """Decode the bytes of an image file; EXIF orientation applied, transparency composited on white.

    Raises `ImageError` for what is empty, damaged, truncated, larger than `MAX_PIXELS` or not an image. `imdecode`
    is used because `imread` accepts a truncated JPEG and returns it with a grey tail.
    """
    if not data:
        raise ImageError("empty file")
    buffer = np.frombuffer(data, np.uint8)
    try:
        image = cv2.imdecode(buffer, cv2.IMREAD_COLOR)
        if image is not None and not data.startswith(b"\xff\xd8"):
            image = _on_white(image, cv2.imdecode(buffer, cv2.IMREAD_UNCHANGED))
    except cv2.error as error:
        reason = "too many pixels" if "PIXELS" in str(error).upper() else "cannot be decoded"
        raise ImageError(reason) from None
    if image is None:
        raise ImageError("not an image, or damaged")
    return image


def read_image(path: Path) -> np.ndarray:
    """Read and `decode` a file; `ImageError` when it cannot be read."""
    try:
        return decode(path.read_bytes())
    except OSError as error:
        raise ImageError("missing file" if isinstance(error, FileNotFoundError) else str(error.strerror)) from None


def _on_white(image: np.ndarray, raw: np.ndarray | None) -> np.ndarray:
    """Composite on white where ``raw`` (the same picture, undecorated) has an alpha channel; IMREAD_COLOR drops it."""
    if raw is None or raw.ndim != 3 or raw.shape[2] != 4 or raw.shape[:2] != image.shape[:2]:
        return image
    alpha = raw[:, :, 3:].astype(np.float32) / np.iinfo(raw.dtype).max
    return np.rint(image * alpha + 255 * (1 - alpha)).astype(np.uint8)


def resize(image: np.ndarray, max_size: int) -> np.ndarray:
    """Shrink so that the long side is at most ``max_size`` (INTER_AREA, aspect ratio kept); never enlarge."""
    height, width = image.shape[:2]
    scale = max_size / max(height, width)
    if scale >= 1:
        return image
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def clahe(image: np.ndarray, clip_limit: float) -> np.ndarray:
    """Contrast-limited adaptive histogram equalisation of L in LAB, 8x8 tiles (Zuiderveld, Graphics Gems IV, 1994)."""
    lab = cv2.cvtColor(image, cv2.COLOR_BGR2LAB)
    lab[:, :, 0] = cv2.createCLAHE(clip_limit, (8, 8)).apply(lab[:, :, 0])
    return cv2.cvtColor(lab, cv2.COLOR_LAB2BGR)


def unsharp(image: np.ndarray, sigma: float, strength: float) -> np.ndarray:
    """Unsharp mask: ``image + strength * (image - gaussian(image, sigma))``, clipped to 0..255."""
    blurred = cv2.GaussianBlur(image, (0, 0), sigma)
    return cv2.addWeighted(image, 1 + strength, blurred, -strength, 0)


def enhance(image: np.ndarray, settings: EnhanceSettings) -> np.ndarray:
    """Resize, CLAHE, unsharp mask: what the model will see."""
    small = resize(image, settings.max_size)
    return unsharp(clahe(small, settings.clip_limit), settings.sigma, settings.strength)


def letterbox(image: np.ndarray, shortest: int = 378) -> np.ndarray:
    """Pad with white at the right and bottom so that nothing is stretched or cut on the way into IDEFICS2.

    Its image processor stretches a side below ``shortest`` up to it, and its patches drop what does not fill 14 pixels:
    the short side becomes at least ``min(shortest, long side)``, both sides multiples of 14.
    """
    height, width = image.shape[:2]
    floor = min(shortest, max(height, width))
    bottom, right = (-(-max(side, floor) // PATCH) * PATCH - side for side in (height, width))
    return cv2.copyMakeBorder(image, 0, bottom, 0, right, cv2.BORDER_CONSTANT, value=(255, 255, 255))
