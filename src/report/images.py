"""The images of the page: small JPEGs, with their text lines and drawn lines; within a size in all."""

import base64
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from src.data.processed import ModelImages
from src.data.text_store import TextStore, entry_at, layout_of
from src.entities import AXES
from src.images.decode import ImageError, cv2, read_image
from src.images.enhance import resize
from src.reading.layout import Layout, directions
from src.reading.lines import Box
from src.report.entries import rounded
from src.report.rows import Row

_SIDES = (600, 520, 440, 360, 300, 240, 180, 120, 60)
"""Long sides that images may have on the page, px; the largest at which all fit is taken."""
_QUALITY = 72
_LINES = 130_000
"""Text lines on all images together: about 8 MB."""
_LONGEST_LINE = 160
"""Characters of a text line that are shown."""
_MIN_DIRECTION = 0.35
"""Direction score (see `layout.directions`) of a drawn line at an option, below which it is not shown."""
Item = TypeVar("Item")
Result = TypeVar("Result")


def image_entries(
    processed: Path, groups: Sequence[Sequence[Row]], store: TextStore | None
) -> list[dict[str, Any]]:
    """Return what the page's script draws on each image, given the rows about it; ``note``: what is missing,
    and why.

    Boxes and segments (x0, y0, x1, y1) are in shares of width and height.
    """
    most_lines = max(10, min(200, _LINES // max(1, len(groups))))
    paths = ModelImages(processed)

    def entry(rows: Sequence[Row]) -> dict[str, Any]:
        entry: dict[str, Any] = {"name": rows[0].image, "width": 1, "height": 1, "note": ""}
        entry |= {"lines": [], "segments": [], "product": []}
        try:
            entry["height"], entry["width"] = read_image(paths.path(rows[0].image)).shape[:2]
            if store is not None:
                stored = entry_at(store.place(rows[0].question.image))
                entry["lines"] = [_line(line, stored) for line in stored["lines"][:most_lines]]
                entry |= _layout_entry(layout_of(stored), rows)
        except ImageError:
            pass  # the page says "no image"
        except Exception as error:  # whatever a stored text brings up: the other images are shown
            entry["note"] = f"text and lines not shown ({type(error).__name__}: {error})"
        return entry

    return _in_threads(entry, groups)


def _line(line: Sequence[Any], stored: dict[str, Any]) -> list[Any]:
    """Return the text, confidence and box of a stored text line."""
    text, confidence, quad = line
    xs, ys = zip(*quad, strict=True)
    width, height = stored["width"], stored["height"]
    box = [min(xs) / width, min(ys) / height, max(xs) / width, max(ys) / height]
    return [text[:_LONGEST_LINE], round(float(confidence), 2), rounded(box)]


def _layout_entry(layout: Layout | None, rows: Sequence[Row]) -> dict[str, Any]:
    """Return the product's box, and the drawn lines that say something of an option's direction; for lengths
    only."""
    if layout is None or not any(row.question.entity in AXES for row in rows):
        return {}
    boxes = {box for row in rows for option in row.question.options for box in option.boxes}
    segments = [
        segment for segment in layout.segments if _is_near(replace(layout, segments=segment[None]), boxes)
    ]
    return {"product": rounded(layout.product), "segments": [rounded(segment) for segment in segments]}


def _is_near(layout: Layout, boxes: Iterable[Box]) -> bool:
    return any(sum(directions(layout, box)) >= _MIN_DIRECTION for box in boxes)


def data_uris(processed: Path, names: Sequence[str], budget: int) -> list[str]:
    """Return the images as data URIs, together at most ``budget`` characters; empty for one that cannot be
    read."""
    paths = ModelImages(processed)
    uris: list[str] = []
    for side in _SIDES:
        if side * side * 0.04 * len(names) > budget and side != _SIDES[-1]:
            continue  # not even the emptiest images would fit
        uris = _in_threads(partial(_uri, side=side), [paths.path(name) for name in names])
        if sum(map(len, uris)) <= budget:
            return uris
    return [""] * len(uris)


def _uri(path: Path, side: int) -> str:
    try:
        image = resize(read_image(path), side)
    except ImageError:
        return ""
    jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1]
    return "data:image/jpeg;base64," + base64.b64encode(jpeg.tobytes()).decode()


def _in_threads(work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Return the result of each item; OpenCV, which takes the time, works beside Python."""
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(work, items))
