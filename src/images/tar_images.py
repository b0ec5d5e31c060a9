"""A picture in a tar file, by the path ``x.tar/NAME``: found by the index beside the tar,
``x.index.json``."""

import functools
import json
from pathlib import Path


def is_member(path: Path) -> bool:
    """Whether a path is that of a picture in a tar file."""
    return path.parent.suffix == ".tar"


def index_of(tar: Path) -> Path:
    """The index of a tar file: name -> [offset, size] of each member, bytes."""
    return tar.with_suffix(".index.json")


def read_member(path: Path) -> bytes:
    """The bytes of ``x.tar/NAME``; raises OSError when it cannot be read."""
    tar = path.parent
    places = _places(index_of(tar), tar.stat().st_size)
    if path.name not in places:
        raise FileNotFoundError(path)
    offset, size = places[path.name]
    with tar.open("rb") as stream:
        stream.seek(offset)
        return stream.read(size)


@functools.lru_cache(maxsize=256)
def _places(index: Path, _: int) -> dict[str, tuple[int, int]]:
    return json.loads(index.read_text(encoding="utf-8"))
