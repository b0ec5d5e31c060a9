"""Decode image files to 8-bit BGR arrays of shape (h, w, 3)."""

import io
import os
import struct
from collections.abc import Callable
from pathlib import Path

from src.images import jpeg
from src.images.kinds import is_heif, not_a_picture
from src.images.tar_images import is_member, read_member
from src.settings import MAX_PIXELS

# `decode` looks at the header first; OpenCV's limit, read when it is imported, is the second line (a larger
# one comes by the environment).
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MAX_PIXELS))

import cv2
import numpy as np
from PIL import ExifTags, Image, PngImagePlugin, UnidentifiedImageError

Image.MAX_IMAGE_PIXELS = None  # `decode` checks, with an error instead of a warning
PngImagePlugin.MAX_TEXT_CHUNK = (
    64 * 1024**2
)  # bytes of a colour profile or text, unpacked: 1 MiB refuses real pictures

_JPEG_FLAGS = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}
_TURNS: dict[
    int, Callable[[np.ndarray], np.ndarray]
] = {  # how a picture of an EXIF orientation comes to be shown
    2: lambda image: cv2.flip(image, 1),
    3: lambda image: cv2.rotate(image, cv2.ROTATE_180),
    4: lambda image: cv2.flip(image, 0),
    5: cv2.transpose,
    6: lambda image: cv2.rotate(image, cv2.ROTATE_90_CLOCKWISE),
    7: lambda image: cv2.flip(cv2.transpose(image), -1),
    8: lambda image: cv2.rotate(image, cv2.ROTATE_90_COUNTERCLOCKWISE),
}
_DEPTHS = (255, 1023, 4095, 16383, 65535)
"""Largest values of pictures of 8 to 16 bits a channel, which are stored as 16."""
_UNKNOWN = "not a picture, or of an unknown kind"
_ENOUGH_OF_A_CUT_JPEG = 0.95


class ImageError(Exception):
    """The bytes are not a picture that can be used; the message says why in a few words."""


def decode(data: bytes, max_pixels: int = MAX_PIXELS, enough: int | None = None) -> np.ndarray:
    """Decode the bytes of an image file: EXIF orientation applied, transparency composited on white, first
    frame.

    With ``enough`` (pixels), a plain JPEG whose long side is at least twice that comes at a half, quarter or
    eighth of its size, still at least ``enough``: the decoder leaves out the finest frequencies instead of
    computing them.

    Raises `ImageError` for what is empty, damaged, larger than ``max_pixels`` or not an image. Of a JPEG that
    is cut off (`jpeg.is_cut`) at least 95 % must be there. Plain JPEGs go through `cv2.imdecode` (`imread`
    would accept a truncated one and fill it with grey), all else through Pillow.
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
    except (
        OSError,
        SyntaxError,
        ValueError,
        EOFError,
        struct.error,
        MemoryError,
        RuntimeError,
        cv2.error,
    ) as error:
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
        if data.startswith(b"\xff\xd8") and opened.mode in ("L", "RGB"):
            fraction = 1 if enough is None else min(halvings(max(size), enough), 8)
            image = cv2.imdecode(
                np.frombuffer(data, np.uint8), _JPEG_FLAGS[fraction] | cv2.IMREAD_IGNORE_ORIENTATION
            )
        else:
            image = np.ascontiguousarray(_on_white(opened)[:, :, ::-1])
        if image is None:
            raise ImageError("damaged or cut off")
        # Asked last: a TIFF that is decoded is turned already, and says so.
        turn = _TURNS.get(_orientation(opened)) if turned else None
    return turn(image) if turn else image


def _orientation(opened: Image.Image) -> int:
    """How the picture is to be turned to show it, as EXIF says it; 1 (as it is) where that cannot be read."""
    try:
        orientation = opened.getexif().get(ExifTags.Base.Orientation, 1)
        return orientation if orientation in range(1, 9) else 1
    except Exception:  # whatever a parser of damaged tags raises: the pixels may be whole
        return 1


def shown_size(data: bytes) -> tuple[int, int]:
    """Width and height in pixels of a picture that `decode` could decode, as shown (after the EXIF
    orientation)."""
    with _open(data) as opened:
        width, height = opened.size
        turned = opened.format != "TIFF" and _orientation(opened) >= 5  # Pillow gives a TIFF's size as shown
        return (height, width) if turned else (width, height)


def halvings(side: int, enough: int) -> int:
    """Return the largest power of two by which ``side`` can be divided and still be at least ``enough``."""
    return 2 ** max(0, (side // enough).bit_length() - 1)


def _on_white(image: Image.Image) -> np.ndarray:
    """8-bit RGB array of a Pillow picture of any mode; what is transparent becomes white."""
    if image.mode.startswith("I") or image.mode == "F":  # 16 bits and more: Pillow would clip them at 255
        values = np.asarray(image, np.float64)
        top = next((depth for depth in _DEPTHS if values.max(initial=0) <= depth), _DEPTHS[-1])
        return np.repeat((values.clip(0, top) * (255 / top)).astype(np.uint8)[:, :, None], 3, axis=2)
    if "A" in image.mode or "a" in image.mode or "transparency" in image.info:
        image = image.convert("RGBA")
        return np.asarray(Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB"))
    return np.asarray(image.convert("RGB"))


def read_image(path: Path) -> np.ndarray:
    """Read and `decode` a file at full size; `ImageError` when it cannot be read."""
    return decode(read_bytes(path))


def read_bytes(path: Path) -> bytes:
    """The bytes of a file, or of a picture in a tar file (see `members`); `ImageError` when they cannot be
    read."""
    try:
        return read_member(path) if is_member(path) else path.read_bytes()
    except OSError as error:
        raise ImageError(
            "missing file" if isinstance(error, FileNotFoundError) else str(error.strerror)
        ) from None
