"""The manifest of a folder of processed pictures: a row per picture, and during a run where the text of each
is.

The state of a run is its journal: a line per finished picture, written as it comes. Killed at any moment, the
next run takes up what the journal and the last manifest do not have.
"""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from src.data.files import Journal, write_whole
from src.data.folders import ProcessedFolder
from src.data.tables import read_table, table_text
from src.prepare.processes import WORKER_DIED
from src.settings import EnhanceSettings, PreprocessSettings


class ManifestRow(NamedTuple):
    """A picture's row; empty where something does not apply. One is held for every picture, so it is small.

    ``status`` is ``ok`` (``error`` may note a flaw: cut off, text not read), ``failed`` (``error`` says why),
    ``blank`` (one colour only) or ``missing`` (named in a table, but not in ``images/``); only ``ok`` has a
    file. Sizes in pixels, ``source_*`` of the picture as it came. ``settings``: what the outcome depends on.
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
    settings: str = ""


MANIFEST_COLUMNS = ManifestRow._fields
TEXT = ("lines", "drawn")
"""What is kept of a picture that was read, see `processes.Outcome`."""


class TextOffset(NamedTuple):
    """Where the text of a picture stands (the journal or ``text.jsonl``), and for which entities it was
    looked for."""

    journal: Journal
    offset: int
    asked: tuple[str, ...]


TextOffsets = dict[str, TextOffset]


def manifest_row(entry: Mapping[str, Any]) -> ManifestRow:
    """The row of a journal's entry, whose other keys are left out."""
    return ManifestRow(**{column: entry[column] for column in MANIFEST_COLUMNS if column in entry})


def finished(manifest: Path, texts_and_journal: Iterable[Path]) -> tuple[dict[str, ManifestRow], TextOffsets]:
    """What the last whole run left, and what a killed one after it has in its journal."""
    rows: dict[str, ManifestRow] = {}
    texts: TextOffsets = {}
    if manifest.is_file():
        table = read_table(manifest, MANIFEST_COLUMNS)
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
            if "status" in entry:
                rows[entry["image"]] = manifest_row(entry)
                texts.pop(entry["image"], None)
            if entry.keys() >= set(TEXT) and entry["image"] in rows:  # one of an earlier version is made anew
                texts[entry["image"]] = TextOffset(journal, offset, tuple(entry.get("asked", ())))
    return rows, texts


def write_manifest(
    folder: ProcessedFolder, rows: Mapping[str, ManifestRow], texts: TextOffsets
) -> pd.DataFrame:
    """Write ``manifest.csv`` and ``text.jsonl``, drop the journal; return the manifest."""
    manifest = manifest_table(rows)
    write_whole(folder.manifest, table_text(manifest))
    read = sorted(
        image for image in texts if image in rows and rows[image].status == "ok"
    )  # not of one that is gone
    if read:
        write_whole(folder.text, (_text_line(texts[image], rows[image]) for image in read))
    Journal(folder.journal).remove()
    return manifest


def _text_line(text: TextOffset, row: ManifestRow) -> str:
    return text_line(row, text.asked, text.journal.at(text.offset))


def manifest_table(rows: Mapping[str, ManifestRow]) -> pd.DataFrame:
    """The rows by name of their pictures, in the order of these."""
    return pd.DataFrame([rows[image] for image in sorted(rows)], columns=list(MANIFEST_COLUMNS), dtype=object)


def text_line(row: ManifestRow, asked: Sequence[str], found: Mapping[str, Any]) -> str:
    """A picture's line of ``text.jsonl``; ``found`` has what is kept of its `TEXT`, among others."""
    entry = {"image": row.image, "width": int(row.source_width), "height": int(row.source_height)}
    return (
        json.dumps(entry | {"asked": list(asked)} | {key: found[key] for key in TEXT}, ensure_ascii=False)
        + "\n"
    )


def stamp(source: Path) -> tuple[int, int]:
    """Size and time of change of a file."""
    stat = source.stat()
    return stat.st_size, stat.st_mtime_ns


def missing_rows(asked: Iterable[str], present: Iterable[str]) -> dict[str, ManifestRow]:
    """Rows of the pictures that tables name and ``images/`` lacks."""
    return {
        image: ManifestRow(image, status="missing", error="not in images/") for image in {*asked} - {*present}
    }


def entry_of(
    image: str, stamped: tuple[int, int], outcome: Mapping[str, Any], settings: PreprocessSettings
) -> dict[str, Any]:
    """What is kept of a picture's outcome; ``stamped``: the `stamp` of its source, from before it was
    read."""
    size, changed = stamped
    known = {"image": image, "source_bytes": size, "source_mtime_ns": changed}
    return {**known, "settings": dependence(outcome.get("error", ""), settings), **outcome}


def is_current(
    settings: PreprocessSettings, row: ManifestRow, source: Path, is_there: bool, text: TextOffset | None,
    asked: Sequence[str],
) -> bool:  # fmt: skip
    """Whether a picture needs no new run: same source and settings, file there, text read for what is
    asked."""
    if (row.source_bytes, row.source_mtime_ns) != stamp(source) or row.settings != dependence(
        row.error, settings
    ):
        return False
    if row.status in ("failed", "blank"):
        return row.error != WORKER_DIED and not row.error.startswith(
            "error: "
        )  # an accident, or mended since
    has_text = text is not None and set(asked) <= set(text.asked)
    return is_there and (has_text or not settings.ocr)


def dependence(error: str, settings: PreprocessSettings) -> str:
    """The settings that an outcome depends on; the limit on pixels concerns only those it stopped."""
    values = {field.name: getattr(settings, field.name) for field in fields(EnhanceSettings)}
    if error.startswith("too many pixels"):
        values["max_pixels"] = settings.max_pixels
    return sys.intern(" ".join(f"{key}={value}" for key, value in values.items()))
