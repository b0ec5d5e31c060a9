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
from src.reading.geometry import Layout
from src.reading.joining import readings
from src.reading.lines import Reading


class ReadingStore:
    """The readings of a folder's pictures by name; raises `InputError` when the folder has no text."""

    def __init__(self, processed: Path) -> None:
        self.folder = ProcessedFolder(processed)
        if not self.folder.texts:
            raise InputError(f"{self.folder.text}: not found; run preprocess.py with --ocr")
        files = map(Journal, self.folder.texts)
        self._places = {entry["image"]: (file, offset) for file in files for offset, entry in file.scan()}

    def __getitem__(self, image: str) -> list[Reading]:
        """`joining.readings` of a picture; none when it was not read."""
        return self.with_layout(image)[0]

    def with_layout(self, image: str) -> tuple[list[Reading], Layout | None]:
        """The readings of a picture, and what is drawn around them; None where no length was read."""
        if image not in self._places:
            return [], None
        file, offset = self._places[image]
        entry: dict[str, Any] = file.at(offset)
        drawn = entry.get("drawn")
        return readings(entry["lines"], entry["width"], entry["height"]), drawn and Layout.of(drawn)

    def part(self, image: str) -> "ReadingStore":
        """Of one picture only: small enough to go with it to another process."""
        part = copy.copy(self)
        part._places = {image: self._places[image]} if image in self._places else {}
        return part

    def __iter__(self) -> Iterator[str]:
        """Names of the pictures that were read."""
        return iter(self._places)
