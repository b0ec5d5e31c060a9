"""Pure functions on pictures: decode, resize, CLAHE, unsharp mask, letterbox. 8-bit BGR arrays of shape (h, w, 3)."""

import io
import os
import struct
from collections.abc import Callable
from pathlib import Path

from src.reading import jpeg
from src.reading.kinds import is_heif, not_a_picture
from src.reading.members import is_member, read_member
from src.settings import MAX_PIXELS, EnhanceSettings

# `decode` looks at the header first; OpenCV's limit, read when it is imported, is the second line (a larger one comes
# by the environment).
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MAX_PIXELS))

import cv2
import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

Image.MAX_IMAGE_PIXELS = None  # `decode` checks, with an error instead of a warning

_JPEG_FLAGS = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}
_TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {  # how a picture of an EXIF orientation comes to be shown
    2: lambda image: cv2.flip(image, 1),
    3: lambda image: cv2.rotate(image, cv2.ROTATE_180),
    4: lambda image: cv2.flip(image, 0),
    5: cv2.transpose,
    6: lambda image: cv2.rotate(image, cv2.ROTATE_90_CLOCKWISE),
    7: lambda image: cv2.flip(cv2.transpose(image), -1),
    8: lambda image: cv2.rotate(image, cv2.ROTATE_90_COUNTERCLOCKWISE),
}
_UNKNOWN = "not a picture, or of an unknown kind"
_ENOUGH_OF_A_CUT_JPEG = 0.95
_ONE_COLOUR = 4
"""Levels of 255 by which lossy compression may spread a single colour."""

PATCH = 14
"""Side of a vision patch of IDEFICS2 in pixels; what does not fill a patch at the right and bottom is not seen."""


class ImageError(Exception):
    """The bytes are not a picture that can be used; the message says why in a few words."""


def decode(data: bytes, max_pixels: int = MAX_PIXELS, enough: int | None = None) -> np.ndarray:
    """Decode the bytes of an image file: EXIF orientation applied, transparency composited on white, first frame.

    With ``enough`` (pixels), a plain JPEG whose long side is at least twice that comes at a half, quarter or eighth of
    its size, still at least ``enough``: the decoder leaves out the finest frequencies instead of computing them.

    Raises `ImageError` for what is empty, damaged, larger than ``max_pixels`` or not an image. Of a JPEG that is cut
    off (`jpeg.is_cut`) at least 95 % must be there. Plain JPEGs go through `cv2.imdecode` (`imread` would accept a
    truncated one and fill it with grey), all else through Pillow.
    """
    if not data:
        raise ImageError("empty file")
    if reason := not_a_picture(data):
        raise ImageError(reason)
    try:
        size = _size(data, max_pixels)
        if jpeg.is_cut(data):
            share = jpeg.decoded_share(data, lambda more: _pixels(more, size, None, turned=False))
            if share < _ENOUGH_OF_A_CUT_JPEG:
                raise ImageError(f"cut off ({int(100 * share)} % of the picture is there)")
            data = jpeg.mended(data)
        return _pixels(data, size, enough)
    except UnidentifiedImageError:
        raise ImageError(_UNKNOWN) from None
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, MemoryError, RuntimeError, cv2.error) as error:
        reason = " ".join(str(error).split())[:80] or type(error).__name__
        raise ImageError(f"damaged or cut off ({reason})") from None


def not_identified(data: bytes) -> str:
    """Why bytes are no picture, by their header; empty when they are one, whole or not."""
    if reason := not_a_picture(data):
        return reason
    try:
        _open(data).close()
    except UnidentifiedImageError:
        return _UNKNOWN
    except Exception:  # whatever a parser of damaged data raises: `decode` will say more
        return ""
    return ""


def _open(data: bytes) -> Image.Image:
    """The picture with its header read, not its pixels."""
    if is_heif(data):
        from pillow_heif import register_heif_opener  # its 45 ms are for those who bring such pictures

        register_heif_opener()
    return Image.open(io.BytesIO(data))


def _size(data: bytes, max_pixels: int) -> tuple[int, int]:
    with _open(data) as opened:
        width, height = opened.size
    if width * height > max_pixels:
        raise ImageError(f"too many pixels ({width} x {height})")
    return width, height


def _pixels(data: bytes, size: tuple[int, int], enough: int | None, turned: bool = True) -> np.ndarray:
    """``turned``: as shown, not as stored."""
    with _open(data) as opened:
        if not data.startswith(b"\xff\xd8") or opened.mode not in ("L", "RGB"):
            return np.ascontiguousarray(_on_white(ImageOps.exif_transpose(opened) if turned else opened)[:, :, ::-1])
        turn = _TURNS.get(_orientation(opened)) if turned else None
    fraction = 1 if enough is None else min(_halvings(max(size), enough), 8)
    image = cv2.imdecode(np.frombuffer(data, np.uint8), _JPEG_FLAGS[fraction] | cv2.IMREAD_IGNORE_ORIENTATION)
    if image is None:
        raise ImageError("damaged or cut off")
    return turn(image) if turn else image


def _orientation(opened: Image.Image) -> int:
    """How the picture is to be turned to show it, as EXIF says it; 1 (as it is) where that cannot be read."""
    try:
        orientation = opened.getexif().get(ExifTags.Base.Orientation, 1)
        return orientation if orientation in range(1, 9) else 1
    except Exception:  # whatever a parser of damaged tags raises: the pixels may be whole
        return 1


def shown_size(data: bytes) -> tuple[int, int]:
    """Width and height in pixels of a picture that `decode` could decode, as shown (after the EXIF orientation)."""
    with _open(data) as opened:
        width, height = opened.size
        turned = opened.format != "TIFF" and _orientation(opened) >= 5  # Pillow gives a TIFF's size as shown
        return (height, width) if turned else (width, height)


def is_blank(image: np.ndarray) -> bool:
    """Whether a picture is of one colour only: a placeholder of a download that failed."""
    # By OpenCV: NumPy takes as long for it as all the rest of the work on a picture.
    ranges = (cv2.minMaxLoc(cv2.extractChannel(image, channel)) for channel in range(image.shape[2]))
    return all(high - low <= _ONE_COLOUR for low, high, *_ in ranges)


def _halvings(side: int, enough: int) -> int:
    """The largest power of two by which ``side`` can be divided and still be at least ``enough``."""
    return 2 ** max(0, (side // enough).bit_length() - 1)


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
    """The bytes of a file, or of a picture in a tar file (see `members`); `ImageError` when they cannot be read."""
    try:
        return read_member(path) if is_member(path) else path.read_bytes()
    except OSError as error:
        raise ImageError("missing file" if isinstance(error, FileNotFoundError) else str(error.strerror)) from None


def resize(image: np.ndarray, max_size: int, full_size: tuple[int, int] | None = None) -> np.ndarray:
    """Shrink so that the long side is at most ``max_size``, aspect ratio kept; never enlarge.

    The ratio is that of ``full_size`` (width, height), for a picture that was decoded at less than that.

    First by means of 2x2, 4x4, ... pixels to less than twice the target, then bilinear: below a factor of two every
    pixel still counts, at an eighth of the cost of INTER_AREA (text stays as legible, see benchmarks/README.md).
    """
    width, height = full_size or image.shape[1::-1]
    scale = max_size / max(height, width)
    if scale >= 1:
        return image
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    height, width = image.shape[:2]
    fraction = _halvings(max(height, width), max_size)
    if fraction > 1 and min(height, width) >= fraction:
        image = cv2.resize(image, (width // fraction, height // fraction), interpolation=cv2.INTER_AREA)
    return cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)


def _lightness_tables() -> tuple[np.ndarray, np.ndarray]:
    """L* of CIELAB for the 256 grey levels of sRGB, scaled to 0..255, and back (IEC 61966-2-1, CIE 15)."""
    level = np.arange(256) / 255
    linear = np.where(level <= 0.04045, level / 12.92, ((level + 0.055) / 1.055) ** 2.4)
    lightness = np.where(linear > (6 / 29) ** 3, 1.16 * np.cbrt(linear) - 0.16, linear * (29 / 3) ** 3 / 100)
    to = np.rint(255 * lightness)
    back = np.rint(255 * np.interp(np.arange(256) / 255, lightness, level))
    return to.astype(np.uint8), back.astype(np.uint8)


_TO_LIGHTNESS, _FROM_LIGHTNESS = _lightness_tables()


def clahe(luma: np.ndarray, clip_limit: float) -> np.ndarray:
    """Contrast-limited adaptive histogram equalisation of lightness, 8x8 tiles (Zuiderveld, Graphics Gems IV, 1994).

    ``luma`` is Y of YCrCb, uint8 (h, w). It is equalised on the scale of L*, so greys come out as from CLAHE on L of
    LAB; only saturated colours differ a little, and the two conversions to and from LAB (5 ms) are saved.
    """
    equalised = cv2.createCLAHE(clip_limit, (8, 8)).apply(cv2.LUT(luma, _TO_LIGHTNESS))
    return cv2.LUT(equalised, _FROM_LIGHTNESS)


def unsharp(image: np.ndarray, sigma: float, strength: float) -> np.ndarray:
    """Unsharp mask: ``image + strength * (image - gaussian(image, sigma))``, clipped to 0..255."""
    blurred = cv2.GaussianBlur(image, (0, 0), sigma)
    return cv2.addWeighted(image, 1 + strength, blurred, -strength, 0)


def enhance(image: np.ndarray, settings: EnhanceSettings, full_size: tuple[int, int] | None = None) -> np.ndarray:
    """`resize`, then CLAHE and unsharp mask of the luma (colours are kept): what the model will see."""
    picture = cv2.cvtColor(resize(image, settings.max_size, full_size), cv2.COLOR_BGR2YCrCb)
    luma = clahe(cv2.extractChannel(picture, 0), settings.clip_limit)
    cv2.insertChannel(unsharp(luma, settings.sigma, settings.strength), picture, 0)
    return cv2.cvtColor(picture, cv2.COLOR_YCrCb2BGR)


def letterboxed(height: int, width: int, shortest: int = 378) -> tuple[int, int]:
    """Height and width of a picture after `letterbox`."""
    floor = min(shortest, max(height, width))
    return -(-max(height, floor) // PATCH) * PATCH, -(-max(width, floor) // PATCH) * PATCH


def letterbox(image: np.ndarray) -> np.ndarray:
    """Pad with white at the right and bottom so that nothing is stretched or cut on the way into IDEFICS2.

    Its image processor stretches a short side below 378 up to it, and its patches drop what does not fill 14 pixels:
    the short side becomes at least ``min(378, long side)``, both sides multiples of 14.
    """
    height, width = image.shape[:2]
    bottom, right = (after - before for after, before in zip(letterboxed(height, width), (height, width), strict=True))
    return cv2.copyMakeBorder(image, 0, bottom, 0, right, cv2.BORDER_CONSTANT, value=(255, 255, 255))
