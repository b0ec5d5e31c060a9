"""Names of pictures: from a link to its file in images/, from there to the processed picture."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from src.data.folders import DataFolder
from src.data.tables import read_table

LONGEST_NAME = 200  # bytes; file systems allow 255, and a name gets a few more on the way


def image_name(link: str) -> str:
    """The image's file name: the last path part of its link; empty for a blank link only.

    A link without such a part is named by the end of its query or path and a piece of its hash. Safe as a
    file name: no control characters or backslashes, no dot at the front (such files are hidden), and a name
    of more than `LONGEST_NAME` bytes is cut, with a piece of its hash instead.
    """
    link = link.strip()
    # By hand: urlsplit raises for some broken links, and one of them must not stop a run.
    path, _, rest = re.sub(r"^(?:[a-zA-Z][\w+.-]*:)?//[^/?#]*", "", link).partition("#")[0].partition("?")
    name = _safe(path.rsplit("/", 1)[-1])
    if link and not name:
        name = with_hash("-".join(re.findall(r"[\w=-]+", f"{path} {rest}"))[-32:].lstrip("-"), link)
    if len(name.encode()) > LONGEST_NAME:
        name = with_hash(name[: LONGEST_NAME // 8] + Path(name).suffix[:8], name)
    return name


def _safe(name: str) -> str:
    return re.sub(r"[\x00-\x1f\x7f\\]", "_", name).lstrip(".")


def with_hash(name: str, text: str) -> str:
    """``name`` with the first ten hex digits of the SHA-256 of ``text`` before its suffix."""
    path = Path(name or "picture")
    return f"{path.stem}-{hashlib.sha256(text.encode()).hexdigest()[:10]}{path.suffix}"


def asked_entities(tables: Iterable[pd.DataFrame], files: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """What tables ask of each image they name, sorted; ``files`` as `read_files` gives them."""
    asked: dict[str, set[str]] = {}
    for table in tables:
        for image, entity in zip(
            picture_names(table["image_link"], files), table["entity_name"], strict=True
        ):
            asked.setdefault(image, set()).add(entity)
    asked.pop("", None)  # of blank links
    same: dict[tuple[str, ...], tuple[str, ...]] = {}  # few combinations: one object each
    return {
        image: same.setdefault(key, key) for image, found in asked.items() if (key := tuple(sorted(found)))
    }


def read_files(data: Path) -> dict[str, str]:
    """Link -> file in ``images/``, of what was downloaded (see `download`); other links are named by
    `image_name`."""
    path = DataFolder(data).downloads
    if not path.is_file():
        return {}
    table = read_table(path, ["link", "file"])
    return dict(zip(table["link"], table["file"], strict=True))


def picture_names(links: Iterable[str], files: Mapping[str, str]) -> list[str]:
    """The image of each link: its file of `read_files`, else `image_name`."""
    return [files.get(link) or image_name(link) for link in links]


def processed_name(image: str) -> str:
    """File name of the processed picture of ``image``: the same for ``.jpg``, else with ``.jpg`` appended."""
    return image if image.endswith(".jpg") else f"{image}.jpg"
