"""Pictures of a data folder to pictures for the model: what is to do, what is done, the manifest of it all.

The state of a run is its journal: a line per finished picture, written as it comes. Killed at any moment, the next run
takes up what the journal and the last manifest do not have. Every file of the output folder appears whole.
"""

import dataclasses
import json
import os
from collections import Counter
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


Entry = dict[str, Any]
"""A manifest row (`MANIFEST_COLUMNS`), and with OCR ``lines`` (see `ocr.Line`)."""


def preprocess(settings: PreprocessSettings) -> pd.DataFrame:
    """Process every picture of ``settings.data`` that is not done yet; return the manifest (`MANIFEST_COLUMNS`).

    ``status`` is ``ok``, ``failed`` (``error`` says why, no file is written) or ``missing`` (named in a table, but not
    in ``images/``). Raises `InputError` when there is nothing to process, the tables cannot be read or ``settings.out``
    cannot be written.
    """
    present, named = _pictures(settings.data)
    try:
        entries, reused = _process_all(settings, present)
        for image in named - set(present):
            entries[image] = {"image": image, "status": "missing", "error": "not in images/"}
        manifest = _write(settings.out, [entries[image] for image in sorted(entries)])
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


def _process_all(settings: PreprocessSettings, present: list[str]) -> tuple[dict[str, Entry], int]:
    """Entries of all ``present`` pictures by name, and how many of them were done before."""
    settings.out.mkdir(parents=True, exist_ok=True)
    for left in settings.out.glob(".*.part"):  # of a worker that was killed while it wrote
        left.unlink()
    # For the workers' OpenCV, which reads it at import; `images.decode` has its own check before.
    os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"] = str(max(MAX_PIXELS, settings.max_pixels))
    journal = Journal(settings.out / "journal.jsonl")
    done = _finished(settings.out) | {entry["image"]: entry for entry in journal.read()}
    entries: dict[str, Entry] = {}
    jobs: list[workers.Job] = []
    known: dict[str, Entry] = {}
    for image in present:
        source, target = settings.data / "images" / image, settings.out / processed_name(image)
        stat = source.stat()
        stamp = {"source_bytes": stat.st_size, "source_mtime_ns": stat.st_mtime_ns}
        entry = done.get(image)
        if entry and all(entry[key] == stamp[key] for key in stamp) and _is_current(entry, target, settings):
            entries[image] = entry
        else:
            jobs.append(workers.Job(image, source, target, settings.enhance, settings.max_pixels, settings.ocr))
            known[image] = {"image": image, **stamp}
    reused = len(entries)
    outcomes = workers.run(jobs, settings.workers)
    with journal:
        for job, outcome in tqdm(outcomes, total=len(jobs), desc="preprocess", unit="img", smoothing=0.05):
            entry = known[job.image] | outcome | {"settings": _dependence(outcome.get("error", ""), settings)}
            journal.add(entry)
            entries[job.image] = entry
    return entries, reused


def _is_current(entry: Entry, target: Path, settings: PreprocessSettings) -> bool:
    """Whether the entry of an unchanged source needs no new run: same settings, file there, text read if asked for."""
    if entry["settings"] != _dependence(entry.get("error", ""), settings):
        return False
    if entry["status"] == "failed":
        return entry["error"] != workers.WORKER_DIED  # that may have been an accident
    return target.is_file() and (not settings.ocr or "lines" in entry)


def _dependence(error: str, settings: PreprocessSettings) -> str:
    """The settings that an outcome depends on; the limit on pixels concerns only those it stopped."""
    values = dataclasses.asdict(settings.enhance)
    if error.startswith("too many pixels"):
        values["max_pixels"] = settings.max_pixels
    return " ".join(f"{key}={value}" for key, value in values.items())


def _finished(out: Path) -> dict[str, Entry]:
    """Entries of the last whole run."""
    done: dict[str, Entry] = {}
    if (out / "manifest.csv").is_file():
        for row in read_table(out / "manifest.csv", MANIFEST_COLUMNS).to_dict("records"):
            numbers = {k: int(row[k]) for k in ("source_bytes", "source_mtime_ns") if row[k].isdecimal()}
            done[row["image"]] = row | numbers
    for text in Journal(out / "text.jsonl").read():
        if text["image"] in done:
            done[text["image"]]["lines"] = text["lines"]
    return done


def _write(out: Path, entries: list[Entry]) -> pd.DataFrame:
    """Write ``manifest.csv`` and ``text.jsonl``, drop the journal; return the manifest."""
    manifest = pd.DataFrame(entries, columns=list(MANIFEST_COLUMNS), dtype=object).fillna("")
    write_whole(out / "manifest.csv", manifest.to_csv(index=False))
    texts = [
        {"image": e["image"], "width": int(e["source_width"]), "height": int(e["source_height"]), "lines": e["lines"]}
        for e in entries
        if "lines" in e
    ]
    if texts:
        write_whole(out / "text.jsonl", "".join(json.dumps(text, ensure_ascii=False) + "\n" for text in texts))
    Journal(out / "journal.jsonl").remove()
    return manifest


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
