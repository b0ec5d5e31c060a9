"""Look up what was read on a picture in ``text.jsonl``; the file stays on disk, only places in it are held."""

from collections.abc import Iterator
from pathlib import Path

from src.candidates import Reading, readings
from src.errors import InputError
from src.files import Journal


class Texts:
    """The readings of a folder's pictures by name; raises `InputError` when the folder has no ``text.jsonl``."""

    def __init__(self, processed: Path) -> None:
        self._file = Journal(processed / "text.jsonl")
        if not self._file.path.is_file():
            raise InputError(f"{self._file.path}: not found; run preprocess.py with --ocr")
        self._places = {entry["image"]: place for place, entry in self._file.scan()}

    def __getitem__(self, image: str) -> list[Reading]:
        """`candidates.readings` of a picture; none when it was not read."""
        if image not in self._places:
            return []
        entry = self._file.at(self._places[image])
        return readings(entry["lines"], entry["width"], entry["height"])

    def __iter__(self) -> Iterator[str]:
        """Names of the pictures that were read."""
        return iter(self._places)
