"""Reading a folder of processed pictures, whether they are files of their own or in shards."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from src.data.errors import InputError
from src.data.folders import ProcessedFolder
from src.data.names import processed_name
from src.data.tables import read_table


def read_manifest(processed: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Some columns of the manifest, of all shards; ``tar`` is added, the path of the shard's, None for single
    pictures.

    Raises `InputError` when there is none.
    """
    folder = ProcessedFolder(processed)
    tables = []
    for path in folder.manifests:
        table = read_table(path, columns)[list(columns)]
        table["tar"] = pd.Series(
            [folder.tar_of(path) if folder.is_sharded else None] * len(table), dtype=object
        )
        tables.append(table)
    if not tables:
        raise InputError(f"{folder.shards}: has no finished shard; run preprocess.py --shards first")
    return pd.concat(tables, ignore_index=True)


class Pictures:
    """Where the processed pictures of a folder are."""

    def __init__(self, processed: Path) -> None:
        folder = ProcessedFolder(processed)
        self._root, self._sharded, self._tars = folder.root, folder.is_sharded, dict[str, Path]()
        if self._sharded:
            table = read_manifest(processed, ["file"])
            table = table[table["file"].ne("")]
            self._tars = dict(zip(table["file"], table["tar"], strict=True))

    def path(self, file: str) -> Path:
        """The path of a processed picture by its file's name, for `images.read_bytes`; it need not be
        there."""
        return self._tars.get(file, self._root) / file

    def of(self, image: str) -> Path | None:
        """The processed picture of a source image; None where there is none."""
        file = processed_name(image)
        if self._sharded:
            return self.path(file) if file in self._tars else None
        path = self._root / file
        return path if path.is_file() else None
