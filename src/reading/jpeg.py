"""JPEGs whose last bytes are missing: how much of the picture is there, and bytes that a decoder accepts.

Markers and scans as in ITU-T T.81: a scan holds a band of coefficients (`first` to `last` in zigzag order) of some
components, down to bit `low`.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

_START, _END = b"\xff\xd8", b"\xff\xd9"
_MARKER = re.compile(rb"\xff+([^\x00\xd0-\xd7\xff])")  # within a scan FF is data before 00, and D0 to D7 are restarts
_FILLER = b"\x2d\xd2\x4b\xb4\x55\xaa" * 50
"""Decodes to something else than missing data does, whatever the tables."""


class _Scan(NamedTuple):
    components: bytes
    first: int
    last: int
    low: int


def is_cut(data: bytes) -> bool:
    """Whether this is a JPEG without an end: its last bytes are missing."""
    return data.startswith(_START) and not data.rstrip(b"\x00").endswith(_END) and not _walk(data)[2]


def mended(data: bytes) -> bytes:
    """A cut JPEG with an end: decoders fill up what is missing."""
    return data.rstrip(b"\xff") + _END


def decoded_share(data: bytes, pixels: Callable[[bytes], np.ndarray]) -> float:
    """Share of a cut JPEG's rows, from the top, that come from its data; ``pixels`` decodes it, rows as stored.

    Found by decoding it twice, with nothing and with noise behind the data: the first row that differs was not there.
    Of progressive files every coefficient counts as there down to its last bit but one.
    """
    components, scans, _ = _walk(data)
    if not scans:
        return 0.0
    missing = [_missing(components, upto) for upto in (scans[:-1], scans)]
    if missing[1]:
        return 0.0  # all of a scan is missing
    if not missing[0]:
        return 1.0  # the scan that was cut is a refinement
    body = data.rstrip(b"\xff")
    differs = (pixels(body + _END) != pixels(body + _FILLER + _END)).any(axis=(1, 2))
    return float(differs.argmax() / len(differs)) if differs.any() else 1.0


def _missing(components: bytes, scans: list[_Scan]) -> bool:
    """Whether a coefficient of a component is in none of ``scans`` down to its last bit but one."""
    there = {(c, k) for s in scans if s.low <= 1 for c in s.components for k in range(s.first, s.last + 1)}
    return any((c, k) not in there for c in components for k in range(64))


def _walk(data: bytes) -> tuple[bytes, list[_Scan], bool]:
    """Ids of the components, the scans that begin, and whether the end is there."""
    components, scans, position = b"", [], 2
    while marker := _MARKER.search(data, position):
        code, position = marker[1][0], marker.end()
        if code == _END[1]:
            return components, scans, True
        size = int.from_bytes(data[position : position + 2])
        segment = data[position + 2 : position + size]
        if len(segment) < max(1, size - 2):
            break
        if code in (0xC0, 0xC1, 0xC2):  # baseline, extended, progressive
            components = segment[6::3]
        elif code == 0xDA and len(segment) >= 4:
            first, last, bits = segment[-3:]
            scans.append(_Scan(segment[1:-3:2], first, last, bits & 15))
        position += size
    return components, scans, False
