"""JPEGs whose last bytes are missing: how much of the picture is there, and bytes that a decoder accepts.

Markers and scans as in ITU-T T.81: a scan holds a band of coefficients (`first` to `last` in zigzag order) of
some components, down to bit `low`.
"""

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

_START, _END = b"\xff\xd8", b"\xff\xd9"
_FRAMES, _SCAN = (0xC0, 0xC1, 0xC2), 0xDA  # baseline, extended, progressive
_MARKER = re.compile(
    rb"\xff+([^\x00\xd0-\xd7\xff])"
)  # within a scan FF is data before 00, and D0 to D7 are restarts
_FILLER = b"\x2d\xd2\x4b\xb4\x55\xaa" * 50
"""Decodes to something else than missing data does, whatever the tables."""


class _Scan(NamedTuple):
    components: bytes
    first: int
    last: int
    low: int


def is_cut(data: bytes) -> bool:
    """Whether this is a JPEG without an end: its last bytes are missing."""
    if not data.startswith(_START):
        return False
    scans = (position for code, position, _ in _segments(data) if code == _SCAN)
    return data.find(_END, next(scans, len(data))) < 0


def mended(data: bytes) -> bytes:
    """A cut JPEG with an end: decoders fill up what is missing."""
    return data.rstrip(b"\xff") + _END


def decoded_share(data: bytes, pixels: Callable[[bytes], np.ndarray]) -> float:
    """Share of a cut JPEG that comes from its data; ``pixels`` decodes it, rows as stored, at full size.

    Found by decoding it twice, with nothing and with noise behind the data: the first block that differs was
    not there. What a progressive file lacks no more than the last bit of its coefficients of counts nine
    tenths.
    """
    components, block, scans = _walk(data)
    before = _known(components, scans[:-1])
    if _known(components, scans) < 1 or before == 1:  # a scan that has not begun, or one that changes nothing
        return before
    body = data.rstrip(b"\xff")
    differs = (pixels(body + _END) != pixels(body + _FILLER + _END)).any(axis=2)
    there, (height, width) = 1.0, differs.shape
    if differs.any():
        row = int(differs.any(axis=1).argmax())
        column = int(differs[row : row + block].any(axis=0).argmax())
        there = (row * width + min(block, height - row) * column) / differs.size
    return before + (1 - before) * there


def _known(components: bytes, scans: list[_Scan]) -> float:
    """1 when ``scans`` hold all coefficients of all components, 0.9 when a last bit is missing, else 0."""
    for low, share in ((0, 1.0), (1, 0.9)):
        there = {
            (c, k) for s in scans if s.low <= low for c in s.components for k in range(s.first, s.last + 1)
        }
        if components and all((c, k) in there for c in components for k in range(64)):
            return share
    return 0.0


def _walk(data: bytes) -> tuple[bytes, int, list[_Scan]]:
    """Ids of the components, height in pixels of a block of all of them, and the scans that begin."""
    components, block, scans = b"", 8, []
    for code, _, segment in _segments(data):
        if code in _FRAMES:
            components, block = segment[6::3], 8 * max((factors & 15 for factors in segment[7::3]), default=1)
        elif code == _SCAN and len(segment) >= 4:
            first, last, bits = segment[-3:]
            scans.append(_Scan(segment[1:-3:2], first, last, bits & 15))
    return components, block, scans


def _segments(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Code, start and content of each whole segment, until the end or what is cut off."""
    position = len(_START)
    while (marker := _MARKER.search(data, position)) and marker[1] != _END[1:]:
        start = marker.end()
        size = int.from_bytes(data[start : start + 2])
        position = start + size
        if size < 3 or position > len(data):
            return
        yield marker[1][0], start, data[start + 2 : position]
