"""The model images of a folder, whether they are files of their own or in shards."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from src.data.errors import InputError
from src.data.folders import ProcessedFolder
from src.data.names import processed_name
from src.data.tables import read_table


def read_manifest(processed: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Return some columns of the manifest, or of those of all shards.

    A column ``tar`` is added: the path of the shard's, None without shards. Raises `InputError` when there is
    no manifest.
    """
    folder = ProcessedFolder(processed)
    tables = []
    for path in folder.manifests:
        table = read_table(path, columns)[list(columns)]
        tars = [folder.tar_of(path) if folder.is_sharded else None] * len(table)
        tables.append(table.assign(tar=pd.Series(tars, dtype=object)))
    if not tables:
        raise InputError(f"{folder.shards}: has no finished shard; run preprocess.py --shards first")
    return pd.concat(tables, ignore_index=True)


class ModelImages:
    """The places of a folder's model images."""

    def __init__(self, processed: Path) -> None:
        folder = ProcessedFolder(processed)
        self._root, self._tars = folder.root, None
        if folder.is_sharded:
            table = read_manifest(processed, ["file"])
            table = table[table["file"].ne("")]
            self._tars = dict(zip(table["file"], table["tar"], strict=True))

    def path(self, file: str) -> Path:
        """Return the path of a model image by its file name, for `decode.read_bytes`; it need not exist."""
        return (self._tars or {}).get(file, self._root) / file

    def size_of(self, image: str) -> int:
        """Return the bytes of a source image's model image, 0 in a shard; -1 where there is none."""
        path = self.path(processed_name(image))
        if self._tars is not None:
            return 0 if path.name in self._tars else -1
        try:
            return path.stat().st_size
        except OSError:
            return -1

    def of(self, image: str) -> Path | None:
        """Return the path of a source image's model image; None where there is none."""
        path = self.path(processed_name(image))
        exists = path.is_file() if self._tars is None else path.name in self._tars
        return path if exists else None
