"""Names of images: from a link to its source image in images/, from there to the model image."""

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from src.data.folders import DataFolder
from src.data.tables import read_table

LONGEST_NAME = 200
"""Maximum length of an image's name, bytes; file systems allow 255, and suffixes are appended to it."""


def image_name(link: str) -> str:
    """Return the file name of a link's source image: the link's last path part; empty for a blank link only.

    A link without such a part is named by the end of its query or path and a piece of its hash. The name is
    safe for a file: no control characters or backslashes, no dot at the front (such files are hidden), and
    more than `LONGEST_NAME` bytes are cut and replaced by a piece of the hash.
    """
    link = link.strip()
    # By hand: urlsplit raises for some broken links, and one of them must not stop a run.
    path, _, query = re.sub(r"^(?:[a-zA-Z][\w+.-]*:)?//[^/?#]*", "", link).partition("#")[0].partition("?")
    name = re.sub(r"[\x00-\x1f\x7f\\]", "_", path.rsplit("/", 1)[-1]).lstrip(".")
    if link and not name:
        name = with_hash("-".join(re.findall(r"[\w=-]+", f"{path} {query}"))[-32:].lstrip("-"), link)
    if len(name.encode()) > LONGEST_NAME:
        name = with_hash(name[: LONGEST_NAME // 8] + Path(name).suffix[:8], name)
    return name


def with_hash(name: str, text: str) -> str:
    """Return ``name`` with the first ten hex digits of the SHA-256 of ``text`` before its suffix."""
    path = Path(name or "image")
    return f"{path.stem}-{hashlib.sha256(text.encode()).hexdigest()[:10]}{path.suffix}"


def asked_entities(tables: Iterable[pd.DataFrame], files: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Return the sorted entities that the tables ask of each image; ``files`` as `read_files` gives them."""
    entities: dict[str, set[str]] = defaultdict(set)
    for table in tables:
        names = image_names(table["image_link"], files)
        for image, entity in zip(names, table["entity_name"], strict=True):
            if image:
                entities[image].add(entity)
    return {image: tuple(sorted(image_entities)) for image, image_entities in entities.items()}


def read_files(data: Path) -> dict[str, str]:
    """Return link -> file in ``images/`` of what `download` fetched; other links follow `image_name`."""
    path = DataFolder(data).downloads
    if not path.is_file():
        return {}
    table = read_table(path, ["link", "file"])
    return dict(zip(table["link"], table["file"], strict=True))


def image_names(links: Iterable[str], files: Mapping[str, str]) -> list[str]:
    """Return the source image of each link: its file of `read_files`, or else its `image_name`."""
    return [files.get(link) or image_name(link) for link in links]


def processed_name(image: str) -> str:
    """Return the file name of a model image: the source image's, with ``.jpg`` added if it has none."""
    return image if image.endswith(".jpg") else f"{image}.jpg"
