"""Pictures of a data folder to pictures for the model: what is to do, what is done (see `manifest`), the
report.

Every file of the output folder appears whole.
"""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from src.data.errors import InputError
from src.data.files import Journal, write_whole
from src.data.folders import DataFolder, ProcessedFolder
from src.data.names import asked_entities, picture_names, processed_name, read_files
from src.data.sampling import read_sampled
from src.prepare.manifest import (
    ManifestRow,
    TextOffset,
    TextOffsets,
    entry_of,
    finished,
    is_current,
    manifest_row,
    manifest_table,
    missing_rows,
    stamp,
    write_manifest,
)
from src.prepare.processes import WORKER_DIED, Job, failed, process
from src.prepare.ray_backend import runner
from src.prepare.sharding import in_shards
from src.settings import MAX_PIXELS, PreprocessSettings, cpu_count


def preprocess(settings: PreprocessSettings) -> pd.DataFrame:
    """Process every picture of ``settings.data`` that is not done yet; return the manifest
    (`manifest.ManifestRow`).

    With shards, what is returned are the rows of pictures that are not just fine: the manifest may be too
    large. Raises `InputError` when there is nothing to process, the tables cannot be read or ``settings.out``
    cannot be written.
    """
    present, files = _pictures(settings.data), read_files(settings.data)
    drawn = read_sampled(settings.data, settings.sampled_rows, settings.seed)
    asked = asked_entities(drawn.tables, files)
    others = (
        set()
        if drawn.left_out is None
        else set(picture_names(drawn.left_out["image_link"], files)) - asked.keys()
    )
    folder = ProcessedFolder(settings.out)
    if not folder.is_local and not settings.shards:
        raise InputError(f"{folder.root}: single pictures go into a folder only; add --shards")
    if folder.manifest.is_file() if settings.shards else folder.is_sharded:
        kind = "single pictures" if settings.shards else "pictures in shards"
        raise InputError(
            f"{settings.out}: holds {kind}; run with the same --shards as before, or into another folder"
        )
    # For the workers' OpenCV, which reads it at import; `images.decode` has its own check before.
    os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"] = str(max(MAX_PIXELS, settings.max_pixels))
    try:
        if settings.shards:
            folder.shards.mkdir(parents=True, exist_ok=True)
            faulty, fine, reused = in_shards(settings, folder, present, asked, others)
            manifest = manifest_table(faulty)
            _report(manifest, fine, reused, 0)
            return manifest
        rows, texts, reused = _process_all(settings, folder, present, asked, others)
        manifest = write_manifest(folder, rows | missing_rows(asked, present), texts)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(
            f"{settings.out}: cannot be written ({reason}); finished pictures are kept"
        ) from None
    _report(manifest, 0, reused, len(others.intersection(present) - rows.keys()))
    return manifest


def _pictures(data: Path) -> list[str]:
    """Names of the files in ``images/``, sorted."""
    images = DataFolder(data).images
    if not DataFolder(data).root.is_dir():
        raise InputError(f"{data}: no such folder; a data folder holds train.csv, test.csv and images/")
    present = (
        sorted(p.name for p in images.iterdir() if p.is_file() and p.name[0] != ".")
        if images.is_dir()
        else []
    )
    if not present:
        raise InputError(f"{images}: no pictures there; put the image files of {data}'s tables into it")
    return present


def _process_all(
    settings: PreprocessSettings,
    folder: ProcessedFolder,
    present: list[str],
    asked: dict[str, tuple[str, ...]],
    others: set[str],
) -> tuple[dict[str, ManifestRow], TextOffsets, int]:
    """Rows of ``present`` pictures by name, their texts, and how many of them were done before.

    ``others``: pictures that no row needs; only what was done of them before is kept.
    """
    folder.root.mkdir(parents=True, exist_ok=True)
    for left in folder.root.glob(".*.part"):  # of a worker that was killed while it wrote
        left.unlink()
    images = DataFolder(settings.data).images
    done, texts = finished(folder.manifest, [folder.text, folder.journal])
    rows: dict[str, ManifestRow] = {}
    waiting: list[str] = []
    for image in present:
        row = done.pop(image, None)
        known = texts.get(image), asked.get(image, ())
        if row and is_current(settings, row, images / image, (folder.root / row.file).is_file(), *known):
            rows[image] = row
        elif image not in others:
            waiting.append(image)
    reused = len(rows)
    stamps: dict[str, tuple[int, int]] = {}  # of the sources in flight, from before they are read

    def jobs() -> Iterator[Job]:
        for image in waiting:
            source, target = images / image, folder.root / processed_name(image)
            stamps[image] = stamp(source)
            yield Job(
                image, source, target, settings, settings.max_pixels, settings.ocr, asked.get(image, ())
            )

    folder.errors.unlink(missing_ok=True)
    unexpected_errors = 0
    with Journal(folder.journal) as journal:
        run = runner(settings.ray, (images, folder.root))
        outcomes = run(process, jobs(), settings.workers or cpu_count(), lambda _: failed(WORKER_DIED))
        for job, outcome in tqdm(outcomes, total=len(waiting), desc="preprocess", unit="img", smoothing=0.05):
            if trace := outcome.pop("trace", ""):
                unexpected_errors += 1
                if unexpected_errors == 1:
                    write_whole(folder.errors, f"{job.image}\n{trace}")
            entry = entry_of(job.image, stamps.pop(job.image), outcome, settings)
            offset = journal.add(entry | {"asked": asked.get(job.image, ())})
            rows[job.image] = manifest_row(entry)
            texts.pop(job.image, None)
            if "lines" in outcome:
                texts[job.image] = TextOffset(journal, offset, asked.get(job.image, ()))
    if unexpected_errors:
        print(
            f"preprocess: unexpected errors on {unexpected_errors} pictures, the first is in {folder.errors}"
        )
    return rows, texts, reused


def _report(manifest: pd.DataFrame, fine: int, reused: int, others: int) -> None:
    """``fine``: pictures that are not in the table, as nothing is to be said of them."""
    counts = Counter(manifest["status"])
    bad = manifest[manifest["status"] != "ok"]
    for row in bad.head(10).itertuples():
        print(f"  {row.status}: {row.image} ({row.error})")
    if len(bad) > 10:
        print(f"  ... and {len(bad) - 10} more, see manifest.csv")
    print(
        f"preprocess: {fine + len(manifest)} pictures, {fine + counts['ok']} ok ({reused} reused), "
        f"{counts['failed']} failed, {counts['blank']} blank, {counts['missing']} missing"
        f"{f'; {others} others, of rows that are not drawn (--all for them)' * bool(others)}"
    )
