"""Pure functions on pictures: decode, resize, CLAHE, unsharp mask, letterbox. 8-bit BGR arrays of shape (h, w, 3)."""

import io
import os
import struct
from dataclasses import dataclass
from pathlib import Path

# 64 megapixels: a 0.9 MB PNG of 30,000 x 30,000 passes OpenCV's own limit and takes 2.5 GiB. `decode` looks at the
# header first; OpenCV's limit, read when it is imported, is the second line (a larger one comes by the environment).
MAX_PIXELS = 64_000_000
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MAX_PIXELS))

import cv2  # noqa: E402
import numpy as np  # noqa: E402
from PIL import Image, ImageOps, UnidentifiedImageError  # noqa: E402

Image.MAX_IMAGE_PIXELS = None  # `decode` checks, with an error instead of a warning

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


def decode(data: bytes, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decode the bytes of an image file: EXIF orientation applied, transparency composited on white, first frame.

    Raises `ImageError` for what is empty, damaged, cut off, larger than ``max_pixels`` or not an image. Plain JPEGs go
    through `cv2.imdecode` (`imread` would accept a truncated one and fill it with grey), all else through Pillow.
    """
    if not data:
        raise ImageError("empty file")
    try:
        with Image.open(io.BytesIO(data)) as opened:  # reads the header only
            width, height = opened.size
            if width * height > max_pixels:
                raise ImageError(f"too many pixels ({width} x {height})")
            if not data.startswith(b"\xff\xd8") or opened.mode not in ("L", "RGB"):
                return np.ascontiguousarray(_on_white(ImageOps.exif_transpose(opened))[:, :, ::-1])
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except UnidentifiedImageError:
        raise ImageError("not an image, or of an unknown kind") from None
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, MemoryError, cv2.error) as error:
        reason = " ".join(str(error).split())[:80] or type(error).__name__
        raise ImageError(f"damaged or cut off ({reason})") from None
    if image is None:
        raise ImageError("damaged or cut off")
    return image


def _on_white(image: Image.Image) -> np.ndarray:
    """8-bit RGB array of a Pillow picture of any mode; what is transparent becomes white."""
    if image.mode.startswith("I") or image.mode == "F":  # 16 bits and more: Pillow would clip them at 255
        values = np.asarray(image, np.float64)
        top = 65535 if values.max(initial=0) > 255 else 255
        return np.repeat((values.clip(0, top) * (255 / top)).astype(np.uint8)[:, :, None], 3, axis=2)
    if "A" in image.mode or "a" in image.mode or "transparency" in image.info:
        image = image.convert("RGBA")
        return np.asarray(Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB"))
    return np.asarray(image.convert("RGB"))


def read_image(path: Path) -> np.ndarray:
    """Read and `decode` a file at full size; `ImageError` when it cannot be read."""
    return decode(read_bytes(path))


def read_bytes(path: Path) -> bytes:
    """The bytes of a file; `ImageError` when it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImageError("missing file" if isinstance(error, FileNotFoundError) else str(error.strerror)) from None


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
