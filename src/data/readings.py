"""What was read on pictures, from ``text.jsonl``: the file stays on disk, only offsets in it are held."""

import copy
from collections.abc import Iterator
from pathlib import Path

from src.data.errors import InputError
from src.data.files import Journal
from src.data.folders import ProcessedFolder
from src.reading.joining import readings
from src.reading.lines import Reading


class ReadingStore:
    """The readings of a folder's pictures by name; raises `InputError` when the folder has no ``text.jsonl``."""

    def __init__(self, processed: Path) -> None:
        self._file = Journal(ProcessedFolder(processed).text)
        if not self._file.path.is_file():
            raise InputError(f"{self._file.path}: not found; run preprocess.py with --ocr")
        self._offsets = {entry["image"]: offset for offset, entry in self._file.scan()}

    def __getitem__(self, image: str) -> list[Reading]:
        """`candidates.readings` of a picture; none when it was not read."""
        if image not in self._offsets:
            return []
        entry = self._file.at(self._offsets[image])
        return readings(entry["lines"], entry["width"], entry["height"])

    @property
    def path(self) -> Path:
        """The file with the texts."""
        return self._file.path

    def part(self, image: str) -> "ReadingStore":
        """Of one picture only: small enough to go with it to another process."""
        part = copy.copy(self)
        part._offsets = {image: self._offsets[image]} if image in self._offsets else {}
        return part

    def __iter__(self) -> Iterator[str]:
        """Names of the pictures that were read."""
        return iter(self._offsets)
