"""The manifest of a folder of model images: a row per source image, and whether that row is current."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from src.data.files import Journal, content_hash
from src.data.tables import read_table
from src.images.decode import UNREADABLE, ImageError, read_bytes
from src.ocr import engine
from src.prepare.processes import UNREAD, WORKER_DIED, Job, Outcome, source_stamp
from src.settings import EnhanceSettings, PreprocessSettings

FIRST_ENGINE = "PP-OCRv6-small/1"
"""The OCR engine of rows whose cache key names none."""
TEXT = ("lines", "drawn")
"""Keys of an `Outcome` that ``text.jsonl`` keeps."""


class ManifestRow(NamedTuple):
    """The row of a source image; empty where something does not apply. One is held per image, so it is small.

    ``status`` is ``ok`` (``error`` may note a flaw: cut off, text not read), ``failed`` (``error`` says why),
    ``blank`` (one colour only) or ``missing`` (named in a table, but not in ``images/``); only ``ok`` has a
    file. Sizes are in pixels, ``source_*`` those of the source image. ``settings`` is the cache key; hashes
    are `content_hash`. The time of change is that of the source image when it was last compared: while it is
    the same, the bytes need not be read. Nothing else depends on it.
    """

    image: str
    file: str = ""
    status: str = ""
    error: str = ""
    source_width: int | str = ""
    source_height: int | str = ""
    width: int | str = ""
    height: int | str = ""
    source_bytes: int | str = ""
    source_mtime_ns: int | str = ""
    source_hash: str = ""
    file_hash: str = ""
    settings: str = ""

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> "ManifestRow":
        """Return the row of a journal entry, whose other keys are left out."""
        return cls(**{column: entry[column] for column in MANIFEST_COLUMNS if column in entry})


MANIFEST_COLUMNS = ManifestRow._fields


class TextOffset(NamedTuple):
    """The place of an image's text, and the entities that were asked of it then."""

    journal: Journal
    offset: int
    entities: tuple[str, ...]


def entry_of(job: Job, outcome: Outcome) -> dict[str, Any]:
    """Return what the journal keeps of a processed image."""
    key = _cache_key(outcome.get("error", ""), job.enhance, job.max_pixels)
    engine_name = engine.NAME + outcome.get("backend", "")
    if "lines" in outcome and engine_name != FIRST_ENGINE:
        key += f" ocr={engine_name}"
    return {"image": job.image, "settings": sys.intern(key), "asked": job.entities, **outcome}


def with_same_source(row: ManifestRow, source: Path) -> ManifestRow | None:
    """Return the row, with its source image's time of now, if that has the same bytes; else None.

    They are read and compared only where the size is the same and the time is not.
    """
    stamp = source_stamp(source)
    if stamp.get("source_bytes") != row.source_bytes:
        return None
    if stamp["source_mtime_ns"] == row.source_mtime_ns:
        return row
    try:
        is_same = content_hash(read_bytes(source)) == row.source_hash
    except ImageError:
        return None
    return row._replace(source_mtime_ns=stamp["source_mtime_ns"]) if is_same else None


def is_current(
    row: ManifestRow, text: TextOffset | None, settings: PreprocessSettings, entities: Iterable[str]
) -> bool:
    """Tell whether an image of the same source needs no new run: cache key and text are as they would be now.

    Without OCR old text may stay. With it, text of any device may, and text of any precision where none is
    asked for. Failures by a dead worker, a drive or an unexpected error are tried again, and so is text that
    a GPU did not read.
    """
    key, _, engine_name = row.settings.partition(" ocr=")
    if key != _cache_key(row.error, settings, settings.max_pixels):
        return False
    if row.status in ("failed", "blank"):
        return row.error != WORKER_DIED and not row.error.startswith(("error: ", UNREADABLE))
    if not settings.ocr:
        return True
    engine_name = engine_name or FIRST_ENGINE
    if engine_name.endswith(engine.ON_CUDA) and UNREAD in row.error:  # the GPU's memory, mostly
        return False
    engine_name = engine_name.removesuffix(engine.ON_CUDA)
    if settings.ocr_precision == "auto":  # by the CPU: another machine may go on
        engine_name = engine_name.removesuffix(engine.IN_BFLOAT16)
    return engine_name == engine.NAME and text is not None and set(entities) <= set(text.entities)


def _cache_key(error: str, enhance: EnhanceSettings, max_pixels: int) -> str:
    """Return the settings that an outcome depends on; the limit on pixels concerns only those it stopped."""
    values = {field.name: getattr(enhance, field.name) for field in fields(EnhanceSettings)}
    if error.startswith("too many pixels"):
        values["max_pixels"] = max_pixels
    return " ".join(f"{key}={value}" for key, value in values.items())


def read_finished(
    manifest: Path, texts_and_journal: Iterable[Path]
) -> tuple[dict[str, ManifestRow], dict[str, TextOffset]]:
    """Return the rows and texts of the last whole run, and of a killed one after it that left its journal."""
    rows: dict[str, ManifestRow] = {}
    texts: dict[str, TextOffset] = {}
    if manifest.is_file():
        table = read_table(manifest, ["image"]).reindex(columns=MANIFEST_COLUMNS, fill_value="")
        for values in zip(*(table[column] for column in MANIFEST_COLUMNS), strict=True):
            row = ManifestRow(*values)
            if str(row.source_bytes).isdecimal() and str(row.source_mtime_ns).isdecimal():
                rows[row.image] = row._replace(
                    source_bytes=int(row.source_bytes),
                    source_mtime_ns=int(row.source_mtime_ns),
                    settings=sys.intern(row.settings),
                )
    for journal in map(Journal, texts_and_journal):
        for offset, entry in journal.scan():
            image = entry["image"]
            if "status" in entry:
                rows[image] = ManifestRow.of(entry)
                texts.pop(image, None)
            if entry.keys() >= set(TEXT) and image in rows:  # text of an earlier version is read anew
                texts[image] = TextOffset(journal, offset, tuple(entry.get("asked", ())))
    return rows, texts


def manifest_table(rows: Mapping[str, ManifestRow]) -> pd.DataFrame:
    """Return the rows as a table, in the order of the images' names."""
    return pd.DataFrame([rows[image] for image in sorted(rows)], columns=list(MANIFEST_COLUMNS), dtype=object)


def text_line(row: ManifestRow, entities: Sequence[str], outcome: Mapping[str, Any]) -> str:
    """Return an image's line of ``text.jsonl``."""
    entry = {"image": row.image, "width": int(row.source_width), "height": int(row.source_height)}
    entry |= {"asked": list(entities)} | {key: outcome[key] for key in TEXT}
    return json.dumps(entry, ensure_ascii=False) + "\n"
