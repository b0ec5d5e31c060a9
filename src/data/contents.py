"""Hashes of model images and of stored texts: parts of cache keys."""

import json
import re
from collections.abc import Collection, Iterator
from pathlib import Path

from src.data.errors import InputError
from src.data.files import content_hash
from src.data.folders import ProcessedFolder
from src.data.processed import ModelImages, read_manifest

_ENTRY = re.compile(rb'\s*\{\s*"image"\s*:\s*("(?:[^"\\]|\\.)*")(.*?)"asked"\s*:\s*\[.*?\](.*)', re.DOTALL)
"""Matches a line of text.jsonl: the image's name, and the parts before and after the list ``asked``.

That list (entities for which OCR was retried) is left out of the hash, because the lines read tell the same.
Parsing each line as JSON would take ten times as long.
"""
Contents = tuple[int, str, str]
"""Size of a model image in bytes (-1: none, 0: in a shard), its hash, and that of its text (empty: none)."""


def image_contents(processed: Path, images: Collection[str], ocr: bool) -> dict[str, Contents]:
    """Return size and hashes of these source images' model images and, with ``ocr``, texts, by name.

    The hash of a model image is that in the manifest; the size is that of the file now, so that a file
    replaced by hand is noticed. Inside a shard such a change is not noticed. Modification times are not used.
    Raises `InputError` for what `preprocess.py` has not made.
    """
    folder = ProcessedFolder(processed)
    if not folder.is_made:
        raise InputError(f"{folder.manifest}: not found; run preprocess.py first")
    if ocr and not folder.texts:
        raise InputError(f"{folder.text}: not found; run preprocess.py with --ocr")
    manifest = read_manifest(processed, ["image", "file_hash"])
    hashes = dict(zip(manifest["image"], manifest["file_hash"], strict=True))
    texts = dict(_texts(folder, set(images))) if ocr else {}
    model_images = ModelImages(processed)
    return {
        image: (model_images.size_of(image), hashes.get(image, ""), texts.get(image, "")) for image in images
    }


def _texts(folder: ProcessedFolder, images: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yield the name and the text's hash of each of ``images`` that has a stored text."""
    for path in folder.texts:
        with path.open("rb") as stream:
            for line in stream:
                entry = _ENTRY.match(line)
                if entry and (image := json.loads(entry[1])) in images:
                    yield image, content_hash(entry[2], entry[3])
