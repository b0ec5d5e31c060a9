"""Kinds of files by their first and last bytes: files that are no image, HEIF, JPEGs that are cut off.

JPEG markers and scans are those of ITU-T T.81: a scan holds the coefficients ``first`` to ``last`` (in zigzag
order) of some components, down to some bit.
"""

import re
from collections.abc import Callable, Iterator

import numpy as np

HEAD = 1024
"""Number of bytes at the start of a file that `not_an_image` looks at."""

_SAVE = "save it as JPEG or PNG"
_NO_IMAGES = {
    f"a JPEG XL: {_SAVE}": rb"\xff\x0a|\x00\x00\x00\x0cJXL \r\n\x87\n",
    f"a PDF: {_SAVE}": rb"%PDF-",
    f"a PostScript drawing: {_SAVE}": rb"%!PS|\xc5\xd0\xd3\xc6",
    "a ZIP archive: unpack it": rb"PK\x03\x04",
    "packed (gzip): unpack it": rb"\x1f\x8b\x08",
    f"a video: {_SAVE}": rb"....ftyp(?:qt  |mp4|isom|iso[2-6]|M4V |avc1)|\x1aE\xdf\xa3",
    f"an SVG drawing: {_SAVE}": rb"(?i)<svg[\s/>]|<(?:\?xml|!--|!doctype svg).*<svg[\s/>]",
    "a web page (HTML)": rb"(?i)<!doctype html|<(?:html|head|body|title|script|meta|div|p|h1)[\s>]|<!--",
    "XML": rb"(?i)<\?xml|<!doctype|</?[a-z]",
    "JSON": rb"\{\s*[\"}]|\[\s*[\[\]{\"0-9]",
}
_PATTERNS = {kind: re.compile(start, re.DOTALL) for kind, start in _NO_IMAGES.items()}
_HEIF = re.compile(rb"....ftyp(?:hei[cxms]|hev[cxms]|mif1|msf1)", re.DOTALL)

_START, _END = b"\xff\xd8", b"\xff\xd9"
_FRAMES, _SCAN = (0xC0, 0xC1, 0xC2), 0xDA  # baseline, extended, progressive
_MARKER = re.compile(rb"\xff+([^\x00\xd0-\xd7\xff])")  # in a scan FF00 is data, FFD0 to FFD7 are restarts
_NOISE = b"\x2d\xd2\x4b\xb4\x55\xaa" * 50
"""Bytes that decode to something else than missing data does, whatever the tables."""


def not_an_image(data: bytes) -> str:
    """Return why bytes are no readable image; empty if they may be one. The first `HEAD` bytes suffice."""
    head = data[:HEAD].removeprefix(b"\xef\xbb\xbf").lstrip()
    kinds = (kind for kind, pattern in _PATTERNS.items() if pattern.match(head))
    return next((f"not an image but {kind}" for kind in kinds), "")


def is_heif(data: bytes) -> bool:
    """Tell whether these are the bytes of a HEIF file (HEIC, which phones make), whatever its name."""
    return _HEIF.match(data) is not None


def is_cut(data: bytes) -> bool:
    """Tell whether this is a JPEG without an end: its last bytes are missing."""
    if not data.startswith(_START):
        return False
    scans = (position for code, position, _ in _segments(data) if code == _SCAN)
    return data.find(_END, next(scans, len(data))) < 0


def mended(data: bytes) -> bytes:
    """Return a cut JPEG with an end: decoders fill up what is missing."""
    return data.rstrip(b"\xff") + _END


def decoded_share(data: bytes, pixels: Callable[[bytes], np.ndarray]) -> float:
    """Return the share (0 to 1) of a cut JPEG's pixels that comes from its data.

    ``pixels`` decodes it, rows as stored, at full size. It is decoded twice, with nothing and with noise
    behind the data: the first block that differs was missing. A progressive JPEG that lacks only the last bit
    of its coefficients counts as 90 % complete.
    """
    block, components = 8, b""
    low: dict[tuple[int, int], int] = {}
    before = after = 0.0
    for code, _, segment in _segments(data):
        if code in _FRAMES:
            components, block = segment[6::3], 8 * max((factors & 15 for factors in segment[7::3]), default=1)
        elif code == _SCAN and len(segment) >= 4:
            first, last, bits = segment[-3:]
            low |= {(c, k): bits & 15 for c in segment[1:-3:2] for k in range(first, last + 1)}
            before, after = after, _completeness(components, low)
    if after < 1 or before == 1:  # scans are missing, or the last one adds nothing
        return before
    differs = (pixels(mended(data)) != pixels(mended(data.rstrip(b"\xff") + _NOISE))).any(axis=2)
    share, (height, width) = 1.0, differs.shape
    if differs.any():
        row = int(differs.any(axis=1).argmax())
        column = int(differs[row : row + block].any(axis=0).argmax())
        share = (row * width + min(block, height - row) * column) / differs.size
    return before + (1 - before) * share


def _completeness(components: bytes, low: dict[tuple[int, int], int]) -> float:
    """Return 1 when ``low`` holds bit 0 of all coefficients of all components, 0.9 when bit 1, else 0."""
    lowest = max((low.get((c, k), 99) for c in components for k in range(64)), default=99)
    return {0: 1.0, 1: 0.9}.get(lowest, 0.0)


def _segments(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield code, start and content of each whole segment, until the end or where it is cut off."""
    position = len(_START)
    while (marker := _MARKER.search(data, position)) and marker[1] != _END[1:]:
        start = marker.end()
        size = int.from_bytes(data[start : start + 2])
        position = start + size
        if size < 3 or position > len(data):
            return
        yield marker[1][0], start, data[start + 2 : position]
