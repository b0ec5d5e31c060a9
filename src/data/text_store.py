"""Stored text lines and layouts of images: ``text.jsonl``, or those of the shards."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from src.data.errors import InputError
from src.data.files import Journal
from src.data.folders import ProcessedFolder
from src.reading.cross_line import parse_lines
from src.reading.layout import Layout
from src.reading.lines import ParsedLine

NO_TEXT: dict[str, Any] = {"width": 1, "height": 1, "lines": [], "drawn": None}
"""The entry of an image that was not read."""
Place = tuple[Path, int]
"""A file and the offset of an entry in it."""


class TextStore:
    """The entries of a folder's images by name; they stay on disk, only their places are held.

    Raises `InputError` when the folder has no text.
    """

    def __init__(self, processed: Path) -> None:
        self.folder = ProcessedFolder(processed)
        if not self.folder.texts:
            raise InputError(f"{self.folder.text}: not found; run preprocess.py with --ocr")
        self._places: dict[str, Place] = {}
        for path in self.folder.texts:
            for offset, entry in Journal(path).scan():
                if "drawn" not in entry:
                    raise InputError(
                        f"{path}: of an earlier version of this code; run preprocess.py --ocr again"
                    )
                self._places[entry["image"]] = path, offset

    def place(self, image: str) -> Place | None:
        """Return where an image's entry is, for `entry_at`; None when it was not read."""
        return self._places.get(image)

    def parsed(self, image: str) -> tuple[list[ParsedLine], Layout | None]:
        """Return the parsed lines of an image, and its layout where a length was read."""
        entry = entry_at(self.place(image))
        return parse_lines(entry["lines"], entry["width"], entry["height"]), layout_of(entry)

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names of the images that were read."""
        return iter(self._places)


def entry_at(place: Place | None) -> dict[str, Any]:
    """Return an image's entry: ``image, width, height, lines, drawn``."""
    return NO_TEXT if place is None else Journal(place[0]).at(place[1])


def layout_of(entry: dict[str, Any]) -> Layout | None:
    """Return the layout in an entry. Raises ValueError for numbers that are none of an image."""
    return None if entry.get("drawn") is None else Layout.of(entry["drawn"])
