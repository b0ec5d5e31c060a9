"""Pictures of a data folder to pictures for the model: what is to do, what is done, the manifest of it all.

The state of a run is its journal: a line per finished picture, written as it comes. Killed at any moment, the next run
takes up what the journal and the last manifest do not have. Every file of the output folder appears whole.
"""

import dataclasses
import json
import os
import sys
from collections import Counter, namedtuple
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from src import workers
from src.dataset import picture_names, processed_name, read_files, read_links, read_table
from src.errors import InputError
from src.files import Journal, write_whole
from src.images import MAX_PIXELS, EnhanceSettings

MANIFEST_COLUMNS = (
    "image", "file", "status", "error", "source_width", "source_height", "width", "height",
    "source_bytes", "source_mtime_ns", "settings",
)  # fmt: skip


@dataclasses.dataclass(frozen=True, slots=True)
class PreprocessSettings:
    """One run of ``preprocess.py``."""

    data: Path
    out: Path
    enhance: EnhanceSettings = dataclasses.field(default_factory=EnhanceSettings)
    ocr: bool = False
    workers: int = 1
    max_pixels: int = MAX_PIXELS


Row = namedtuple("Row", MANIFEST_COLUMNS)
"""Of the manifest. One is kept for every picture, so it is small; texts stay in their files."""

Texts = dict[str, tuple[Journal, int]]
"""Where the text of a picture is: the journal or ``text.jsonl``, and the place in it."""


def preprocess(settings: PreprocessSettings) -> pd.DataFrame:
    """Process every picture of ``settings.data`` that is not done yet; return the manifest (`MANIFEST_COLUMNS`).

    ``status`` is ``ok``, ``failed`` (``error`` says why, no file is written) or ``missing`` (named in a table, but not
    in ``images/``). Raises `InputError` when there is nothing to process, the tables cannot be read or ``settings.out``
    cannot be written.
    """
    present, named = _pictures(settings.data)
    try:
        rows, texts, reused = _process_all(settings, present)
        for image in named - set(present):
            rows[image] = _row({"image": image, "status": "missing", "error": "not in images/"})
        manifest = _write(settings.out, rows, texts)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"{settings.out}: cannot be written ({reason}); finished pictures are kept") from None
    _report(manifest, reused)
    return manifest


def _pictures(data: Path) -> tuple[list[str], set[str]]:
    """Names of the files in ``images/``, sorted, and the names that the tables ask for."""
    images = data / "images"
    if not data.is_dir():
        raise InputError(f"{data}: no such folder; a data folder holds train.csv, test.csv and images/")
    present = sorted(p.name for p in images.iterdir() if p.is_file() and p.name[0] != ".") if images.is_dir() else []
    if not present:
        raise InputError(f"{images}: no pictures there; put the image files of {data}'s tables into it")
    return present, set(picture_names(read_links(data), read_files(data)))


def _process_all(settings: PreprocessSettings, present: list[str]) -> tuple[dict[str, Row], Texts, int]:
    """Rows of all ``present`` pictures by name, their texts, and how many of them were done before."""
    settings.out.mkdir(parents=True, exist_ok=True)
    for left in settings.out.glob(".*.part"):  # of a worker that was killed while it wrote
        left.unlink()
    # For the workers' OpenCV, which reads it at import; `images.decode` has its own check before.
    os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"] = str(max(MAX_PIXELS, settings.max_pixels))
    done, texts = _finished(settings.out)
    rows: dict[str, Row] = {}
    waiting: list[str] = []
    for image in present:
        row, source = done.pop(image, None), settings.data / "images" / image
        if (
            row
            and (row.source_bytes, row.source_mtime_ns) == _stamp(source)
            and _is_current(settings, row, image in texts)
        ):
            rows[image] = row
        else:
            waiting.append(image)
    reused = len(rows)
    stamps: dict[str, tuple[int, int]] = {}  # of the sources in flight, from before they are read

    def jobs() -> Iterator[workers.Job]:
        for image in waiting:
            source, target = settings.data / "images" / image, settings.out / processed_name(image)
            stamps[image] = _stamp(source)
            yield workers.Job(image, source, target, settings.enhance, settings.max_pixels, settings.ocr)

    with Journal(settings.out / "journal.jsonl") as journal:
        outcomes = workers.run(jobs(), settings.workers)
        for job, outcome in tqdm(outcomes, total=len(waiting), desc="preprocess", unit="img", smoothing=0.05):
            known = dict(zip(("source_bytes", "source_mtime_ns"), stamps.pop(job.image), strict=True))
            known |= {"image": job.image, "settings": _dependence(outcome.get("error", ""), settings)}
            place = journal.add(known | outcome)
            rows[job.image] = _row(known | outcome)
            texts.pop(job.image, None)
            if "lines" in outcome:
                texts[job.image] = journal, place
    return rows, texts, reused


def _stamp(source: Path) -> tuple[int, int]:
    """Size and time of change of a file."""
    stat = source.stat()
    return stat.st_size, stat.st_mtime_ns


def _row(entry: Mapping[str, Any]) -> Row:
    return Row(*(entry.get(column, "") for column in MANIFEST_COLUMNS))


def _is_current(settings: PreprocessSettings, row: Row, has_text: bool) -> bool:
    """Whether the row of an unchanged source needs no new run: same settings, file there, text read if asked for."""
    if row.settings != _dependence(row.error, settings):
        return False
    if row.status == "failed":
        return row.error != workers.WORKER_DIED  # that may have been an accident
    return (settings.out / row.file).is_file() and (has_text or not settings.ocr)


def _dependence(error: str, settings: PreprocessSettings) -> str:
    """The settings that an outcome depends on; the limit on pixels concerns only those it stopped."""
    values = dataclasses.asdict(settings.enhance)
    if error.startswith("too many pixels"):
        values["max_pixels"] = settings.max_pixels
    return sys.intern(" ".join(f"{key}={value}" for key, value in values.items()))


def _finished(out: Path) -> tuple[dict[str, Row], Texts]:
    """What the last whole run left, and what a killed one after it has in its journal."""
    rows: dict[str, Row] = {}
    texts: Texts = {}
    if (out / "manifest.csv").is_file():
        for values in read_table(out / "manifest.csv", MANIFEST_COLUMNS)[list(MANIFEST_COLUMNS)].itertuples(
            index=False
        ):
            row = Row(*values)
            if row.source_bytes.isdecimal() and row.source_mtime_ns.isdecimal():
                stamp = {"source_bytes": int(row.source_bytes), "source_mtime_ns": int(row.source_mtime_ns)}
                rows[row.image] = row._replace(**stamp, settings=sys.intern(row.settings))
    for journal in (Journal(out / "text.jsonl"), Journal(out / "journal.jsonl")):
        for place, entry in journal.scan():
            if "status" in entry:
                rows[entry["image"]] = _row(entry)
                texts.pop(entry["image"], None)
            if "lines" in entry and entry["image"] in rows:
                texts[entry["image"]] = journal, place
    return rows, texts


def _write(out: Path, rows: Mapping[str, Row], texts: Texts) -> pd.DataFrame:
    """Write ``manifest.csv`` and ``text.jsonl``, drop the journal; return the manifest."""
    manifest = pd.DataFrame([rows[image] for image in sorted(rows)], columns=list(MANIFEST_COLUMNS), dtype=object)
    write_whole(out / "manifest.csv", manifest.to_csv(index=False))
    read = sorted(image for image in texts if image in rows)
    if read:
        write_whole(out / "text.jsonl", (_text(*texts[image], rows[image]) for image in read))
    Journal(out / "journal.jsonl").remove()
    return manifest


def _text(journal: Journal, place: int, row: Row) -> str:
    lines = journal.at(place)["lines"]
    entry = {"image": row.image, "width": int(row.source_width), "height": int(row.source_height), "lines": lines}
    return json.dumps(entry, ensure_ascii=False) + "\n"


def _report(manifest: pd.DataFrame, reused: int) -> None:
    counts = Counter(manifest["status"])
    bad = manifest[manifest["status"] != "ok"]
    for row in bad.head(10).itertuples():
        print(f"  {row.status}: {row.image} ({row.error})")
    if len(bad) > 10:
        print(f"  ... and {len(bad) - 10} more, see manifest.csv")
    print(
        f"preprocess: {len(manifest)} pictures, {counts['ok']} ok ({reused} reused), "
        f"{counts['failed']} failed, {counts['missing']} missing"
    )
