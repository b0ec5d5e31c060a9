"""Read image files, also those in tar files, and decode them to 8-bit BGR arrays of shape (h, w, 3)."""

import contextlib
import functools
import io
import json
import os
import struct
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from src.images.formats import decoded_share, is_cut, is_heif, mended, not_an_image
from src.settings import MAX_PIXELS

# `decode` looks at the header first; OpenCV's limit, read when it is imported, is the second line (a larger
# one comes by the environment).
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MAX_PIXELS))

import cv2
import numpy as np
from PIL import ExifTags, Image, PngImagePlugin, UnidentifiedImageError

Image.MAX_IMAGE_PIXELS = None  # `decode` checks, with an error instead of a warning
# Bytes of a colour profile or text, unpacked: the default of 1 MiB refuses images that are in order.
PngImagePlugin.MAX_TEXT_CHUNK = 64 * 1024**2

_REDUCED = {2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4, 8: cv2.IMREAD_REDUCED_COLOR_8}
"""Flag of `cv2.imdecode` for a JPEG at a half, quarter or eighth of its size."""
_FLIPS = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}
"""Code of `cv2.flip` for an EXIF orientation; from 5 on the image is transposed before."""
_DEPTHS = (255, 1023, 4095, 16383, 65535)
"""Largest values of images of 8 to 16 bits a channel, which are stored as 16."""
_MIN_SHARE_OF_A_CUT_JPEG = 0.95
UNREADABLE = "unreadable drive"
"""Begins the message of a `DriveError`."""
_UNKNOWN = "not an image, or of an unknown kind"
_WAITS = (0.2, 1.0)
"""Waits in seconds before a file is tried again that its drive did not give."""
_DAMAGED = (OSError, SyntaxError, ValueError, EOFError, struct.error, MemoryError, RuntimeError, cv2.error)
"""Errors that decoders raise for damaged data."""


class ImageError(Exception):
    """The bytes are not an image that can be used; the message says why in a few words."""


class DriveError(ImageError):
    """The file is there, but its drive does not give it; a later run may read it."""


def decode(data: bytes, max_pixels: int = MAX_PIXELS, enough: int | None = None) -> np.ndarray:
    """Decode the first frame of an image file as it is shown: turned by EXIF, transparency on white.

    With ``enough`` (pixels), a plain JPEG whose long side is at least twice that comes at a half, quarter or
    eighth of its size, still at least ``enough``: the decoder leaves out the finest frequencies instead of
    computing them.

    Raises `ImageError` for what is empty, damaged, larger than ``max_pixels`` or not an image. Of a JPEG that
    is cut off (`is_cut`) at least 95 % must be there. Plain JPEGs go through `cv2.imdecode` (`imread` would
    accept a truncated one and fill it with grey), all else through Pillow.
    """
    if not data:
        raise ImageError("empty file")
    if reason := not_an_image(data):
        raise ImageError(reason)
    try:
        with _open(data) as opened:
            width, height = opened.size
        if width * height > max_pixels:
            raise ImageError(f"too many pixels ({width} x {height})")
        if is_cut(data):
            share = decoded_share(data, lambda jpeg: _pixels(jpeg)[0])
            if share < _MIN_SHARE_OF_A_CUT_JPEG:
                raise ImageError(f"cut off ({int(100 * share)} % of the image is there)")
            data = mended(data)
        return _turned(*_pixels(data, enough))
    except UnidentifiedImageError:
        raise ImageError(_UNKNOWN) from None
    except _DAMAGED as error:
        reason = " ".join(str(error).split())[:80] or type(error).__name__
        raise ImageError(f"damaged or cut off ({reason})") from None


@contextlib.contextmanager
def decoder_warnings() -> Iterator[list[str]]:
    """Collect what decoders write to stderr within a block: libjpeg tells of damage inside only there.

    The list is filled at the end of the block. For a process of one thread: it moves the file descriptor.
    """
    warnings: list[str] = []
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as written:
        os.dup2(written.fileno(), 2)
        try:
            yield warnings
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            written.seek(0)
            warnings += written.read().decode(errors="replace").splitlines()


def not_identified(data: bytes) -> str:
    """Return why bytes are no image, by their header; empty when they are one, whole or not."""
    if reason := not_an_image(data):
        return reason
    try:
        _open(data).close()
    except UnidentifiedImageError:
        return _UNKNOWN
    except Exception:  # whatever a parser of damaged data raises: `decode` will say more
        return ""
    return ""


def shown_size(data: bytes) -> tuple[int, int]:
    """Return width and height in pixels of an image that can be decoded, as it is shown (turned by EXIF)."""
    with _open(data) as opened:
        width, height = opened.size
        turned = opened.format != "TIFF" and _orientation(opened) >= 5  # Pillow gives a TIFF's size as shown
        return (height, width) if turned else (width, height)


def halvings(side: int, enough: int) -> int:
    """Return the largest power of two by which ``side`` can be divided and still be at least ``enough``."""
    return 2 ** max(0, (side // enough).bit_length() - 1)


def _open(data: bytes) -> Image.Image:
    """Return the image with its header read, not its pixels."""
    if is_heif(data):
        from pillow_heif import register_heif_opener  # takes 45 ms: only for those who bring such images

        register_heif_opener()
    return Image.open(io.BytesIO(data))


def _pixels(data: bytes, enough: int | None = None) -> tuple[np.ndarray, int]:
    """Return the pixels as they are stored, and the EXIF orientation that turns them."""
    with _open(data) as opened:
        if data.startswith(b"\xff\xd8") and opened.mode in ("L", "RGB"):
            fraction = min(halvings(max(opened.size), enough), 8) if enough else 1
            flag = _REDUCED.get(fraction, cv2.IMREAD_COLOR)
            image = cv2.imdecode(np.frombuffer(data, np.uint8), flag | cv2.IMREAD_IGNORE_ORIENTATION)
        else:
            image = np.ascontiguousarray(_on_white(opened)[:, :, ::-1])
        if image is None:
            raise ImageError("damaged or cut off")
        return image, _orientation(opened)  # asked last: a TIFF that is decoded is turned, and says so


def _turned(image: np.ndarray, orientation: int) -> np.ndarray:
    if orientation >= 5:
        image = cv2.transpose(image)
    return cv2.flip(image, _FLIPS[orientation]) if orientation in _FLIPS else image


def _orientation(opened: Image.Image) -> int:
    """Return the EXIF orientation, 1 (as it is) to 8; 1 where it cannot be read."""
    try:
        orientation = opened.getexif().get(ExifTags.Base.Orientation, 1)
        return orientation if orientation in range(1, 9) else 1
    except Exception:  # whatever a parser of damaged tags raises: the pixels may be whole
        return 1


def _on_white(image: Image.Image) -> np.ndarray:
    """Return an 8-bit RGB array of a Pillow image of any mode; transparent pixels become white."""
    if image.mode.startswith("I") or image.mode == "F":  # 16 bits and more: Pillow would clip them at 255
        values = np.asarray(image, np.float64)
        top = next((depth for depth in _DEPTHS if values.max(initial=0) <= depth), _DEPTHS[-1])
        return np.repeat((values.clip(0, top) * (255 / top)).astype(np.uint8)[:, :, None], 3, axis=2)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.asarray(image.convert("RGB"))


def read_image(path: Path) -> np.ndarray:
    """Read and `decode` a file at full size. Raises `ImageError` when it cannot be read."""
    return decode(read_bytes(path))


def read_bytes(path: Path) -> bytes:
    """Return the bytes of a file, or of ``x.tar/NAME``, an image in a tar file with an `index_of` beside it.

    Raises `ImageError` for a missing file, and `DriveError` when it cannot be read, also not a little later.
    """
    waits = iter(_WAITS)
    while True:
        try:
            return _read_member(path.parent, path.name) if path.parent.suffix == ".tar" else path.read_bytes()
        except FileNotFoundError:
            raise ImageError("missing file") from None
        except OSError as error:
            if (wait := next(waits, None)) is None:
                raise DriveError(f"{UNREADABLE} ({error.strerror})") from None
            time.sleep(wait)


def index_of(tar: Path) -> Path:
    """Return the path of a tar file's index, a JSON object: name -> [offset, size] of each member, bytes."""
    return tar.with_suffix(".index.json")


def _read_member(tar: Path, name: str) -> bytes:
    places = _places(index_of(tar), tar.stat().st_size)
    if name not in places:
        raise FileNotFoundError(tar / name)
    offset, size = places[name]
    with tar.open("rb") as stream:
        stream.seek(offset)
        return stream.read(size)


@functools.lru_cache(maxsize=256)
def _places(index: Path, _: int) -> dict[str, tuple[int, int]]:
    """Return the content of an index; the size of its tar file tells when both were written anew."""
    return json.loads(index.read_text(encoding="utf-8"))
