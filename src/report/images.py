"""The pictures of the page: small JPEGs, the text lines and drawn lines on them; within a size in all."""

import base64
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from src.data.processed import Pictures
from src.data.text_store import TextStore
from src.images.decode import ImageError, cv2, read_image
from src.images.enhance import resize
from src.reading.layout import Box, Layout, directions
from src.reading.lines import ParsedLine
from src.reading.options import AXES
from src.report.rows import candidate_boxes, rounded

_SIDES = (600, 520, 440, 360, 300, 240, 180, 120, 60)
"""Long sides that pictures may have on the page, px; the largest at which all fit is taken."""
_QUALITY = 72
_LINES = 130_000
"""Text lines in all pictures together: about 8 MB."""
_LONGEST_LINE = 160
_LEAST_PULL = 0.35
"""Of a drawn line at a candidate, 0 to 1 (see `layout.directions`): what is below changes nothing."""


@dataclass(frozen=True, slots=True)
class Look:
    """What is on a picture. Boxes and segments (x0, y0, x1, y1) in shares of width and height."""

    width: int = 1
    height: int = 1
    lines: Sequence[Sequence[Any]] = ()  # text, confidence, box
    segments: Sequence[Sequence[float]] = ()
    product: Sequence[float] = ()
    found: Sequence[ParsedLine] = ()
    drawn: Layout | None = None
    error: str = ""  # what could not be shown, and why

    def entry(self, name: str) -> dict[str, Any]:
        """What the page's script gets."""
        shown = ("width", "height", "lines", "segments", "product")
        return {"name": name} | {key: getattr(self, key) for key in shown}


def looks(
    processed: Path, asked: Mapping[str, Sequence[str]], images: Mapping[str, str], texts: TextStore | None
) -> dict[str, Look]:
    """What is on the pictures ``asked`` about (file name in ``processed`` -> entities), by file name.

    ``images``: file name -> source image, as ``texts`` knows it.
    """
    most = max(10, min(200, _LINES // max(1, len(asked))))
    paths = Pictures(processed)

    def look(name: str) -> Look:
        try:
            read = texts is not None and name in images
            found, drawn = texts.with_layout(images[name]) if texts is not None and read else ([], None)
            return _look(paths.path(name), found, drawn, asked[name], most)
        except Exception as error:  # whatever reading raises: the other pictures are shown
            return Look(error=f"text and lines not shown ({type(error).__name__}: {error})")

    return _in_threads(look, asked)


def uris(processed: Path, names: Sequence[str], budget: int) -> list[str]:
    """The pictures as data URIs, together at most ``budget`` characters; empty where a picture cannot be
    read."""
    uris: list[str] = []
    paths = Pictures(processed)
    for side in _SIDES:
        if side * side * 0.04 * len(names) > budget and side != _SIDES[-1]:
            continue  # not even the emptiest pictures would fit
        uris = list(_in_threads(lambda name, side=side: _uri(paths.path(name), side), names).values())
        if sum(map(len, uris)) <= budget:
            return uris
    return [""] * len(uris)


def _in_threads(work: Any, names: Iterable[str]) -> dict[str, Any]:
    """``work`` done on each name; OpenCV, which takes the time, works beside Python."""
    names = list(names)
    with ThreadPoolExecutor(4) as pool:
        return dict(zip(names, pool.map(work, names), strict=True))


def _look(path: Path, found: list[ParsedLine], drawn: Layout | None, asked: Sequence[str], most: int) -> Look:
    try:
        height, width = read_image(path).shape[:2]
    except ImageError:
        return Look(found=found)
    drawn = drawn if any(entity in AXES for entity in asked) else None
    lines = [[r.text[:_LONGEST_LINE], round(float(r.confidence), 2), rounded(r.box)] for r in found[:most]]
    segments = [] if drawn is None else _pulling(drawn, candidate_boxes(found, asked))
    return Look(width, height, lines, segments, [] if drawn is None else rounded(drawn.product), found, drawn)


def _pulling(drawn: Layout, boxes: Sequence[Box]) -> list[list[float]]:
    """The drawn lines that say something of a candidate's direction."""
    kept = []
    for segment in drawn.segments:
        alone = replace(drawn, segments=segment[None])
        if any(sum(directions(alone, box)) >= _LEAST_PULL for box in boxes):
            kept.append(rounded(segment))
    return kept


def _uri(path: Path, side: int) -> str:
    try:
        image = resize(read_image(path), side)
    except ImageError:
        return ""
    jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1]
    return "data:image/jpeg;base64," + base64.b64encode(jpeg.tobytes()).decode()
