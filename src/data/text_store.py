"""What was read on pictures, and what is drawn there, from ``text.jsonl`` or those of the shards.

They stay on disk, only offsets are held.
"""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from src.data.errors import InputError
from src.data.files import Journal
from src.data.folders import ProcessedFolder
from src.reading.cross_line import parse_lines
from src.reading.layout import Layout
from src.reading.lines import ParsedLine


class TextStore:
    """The readings of a folder's pictures by name; raises `InputError` when the folder has no text."""

    def __init__(self, processed: Path) -> None:
        self.folder = ProcessedFolder(processed)
        if not self.folder.texts:
            raise InputError(f"{self.folder.text}: not found; run preprocess.py with --ocr")
        files = map(Journal, self.folder.texts)
        self._places: dict[str, tuple[Journal, int]] = {}
        for file in files:
            for offset, entry in file.scan():
                if "drawn" not in entry:
                    raise InputError(
                        f"{file.path}: of an earlier version of this code; run preprocess.py --ocr again"
                    )
                self._places[entry["image"]] = file, offset

    def __getitem__(self, image: str) -> list[ParsedLine]:
        """`joining.readings` of a picture; none when it was not read."""
        return _readings(self._entry(image))

    def with_layout(self, image: str) -> tuple[list[ParsedLine], Layout | None]:
        """The readings of a picture, and what is drawn around them; None where no length was read."""
        entry = self._entry(image)
        drawn = entry.get("drawn")
        return _readings(entry), None if drawn is None else Layout.of(drawn)

    def _entry(self, image: str) -> dict[str, Any]:
        if image not in self._places:
            return {}
        file, offset = self._places[image]
        return file.at(offset)

    def part(self, image: str) -> "TextStore":
        """Of one picture only: small enough to go with it to another process."""
        part = copy.copy(self)
        part._places = {image: self._places[image]} if image in self._places else {}
        return part

    def __iter__(self) -> Iterator[str]:
        """Names of the pictures that were read."""
        return iter(self._places)


def _readings(entry: dict[str, Any]) -> list[ParsedLine]:
    return parse_lines(entry["lines"], entry["width"], entry["height"]) if entry else []
