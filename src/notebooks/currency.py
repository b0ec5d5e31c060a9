"""The check whether an executed notebook is current: its inputs are as they were, its outputs are there."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from src.data.contents import image_contents
from src.data.files import cache_key, content_hash
from src.data.folders import DataFolder, ProcessedFolder, RunFolder
from src.data.processed import read_manifest
from src.model.contents import model_contents

_CODE = Path(__file__).parent.parent


def depends_on(notebook: Path, parameters: Mapping[str, Any], data: DataFolder, out: RunFolder) -> str:
    """Return the cache key of all that ``notebook`` depends on but an earlier notebook.

    These are its cells, its parameters, this code, the tables, model images and texts, and the model.
    """
    processed = ProcessedFolder(out.processed)
    manifest = read_manifest(processed.root, ["image", "status", "error"])
    images = image_contents(processed.root, manifest["image"].tolist(), ocr=bool(processed.texts))
    tables = [data.train, data.test, data.truth, data.downloads]
    values = [
        {name: str(value) for name, value in parameters.items()},
        model_contents(str(parameters["MODEL"])),
        manifest.drop(columns="tar").to_dict("split"),
        images,
        [table.is_file() for table in tables],
    ]
    files = [notebook, *sorted(_CODE.rglob("*.py")), *filter(Path.is_file, tables)]
    return cache_key(values, dict.fromkeys(files, "run again"))


def left(paths: Iterable[Path]) -> dict[str, str]:
    """Return the content hash of each of these files, empty for one that is not there."""
    return {path.name: content_hash(path.read_bytes()) if path.is_file() else "" for path in paths}
