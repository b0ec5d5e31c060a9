"""The contents that answers about images depend on, as hashes: parts of cache keys."""

import json
import re
from collections.abc import Collection, Iterator
from pathlib import Path

from src.data.errors import InputError
from src.data.files import content_hash
from src.data.folders import ProcessedFolder
from src.data.processed import ModelImages, read_manifest

_ENTRY = re.compile(rb'\s*\{\s*"image"\s*:\s*("(?:[^"\\]|\\.)*")(.*?)"asked"\s*:\s*\[.*?\](.*)', re.DOTALL)
"""A stored entry: the image's name, and what is around the entities that were asked of it: they do not count.

Parsing each as JSON would take ten times as long.
"""
Contents = tuple[int, str, str]
"""Size of a model image, -1 for none; its hash, and that of its stored text, empty for none."""


def image_contents(processed: Path, images: Collection[str], ocr: bool) -> dict[str, Contents]:
    """Return what the later stages see of these source images, by name: model image, and text with ``ocr``.

    The hash of a model image is the manifest's, of when it was made; the size is that of the file now, so
    that one changed by hand is noticed, but for shards, whose sizes would be slow to ask for. No time of a
    file counts. Raises `InputError` for what `preprocess.py` has not made.
    """
    folder = ProcessedFolder(processed)
    if not folder.is_made:
        raise InputError(f"{folder.manifest}: not found; run preprocess.py first")
    if ocr and not folder.texts:
        raise InputError(f"{folder.text}: not found; run preprocess.py with --ocr")
    manifest = read_manifest(processed, ["image", "file_hash"])
    hashes = dict(zip(manifest["image"], manifest["file_hash"], strict=True))
    texts = dict(_texts(folder, set(images))) if ocr else {}
    places = ModelImages(processed)
    return {image: (places.size_of(image), hashes.get(image, ""), texts.get(image, "")) for image in images}


def _texts(folder: ProcessedFolder, images: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yield those of ``images`` that were read, each with the hash of its entry."""
    for path in folder.texts:
        with path.open("rb") as stream:
            for line in stream:
                entry = _ENTRY.match(line)
                if entry and (image := json.loads(entry[1])) in images:
                    yield image, content_hash(entry[2], entry[3])
