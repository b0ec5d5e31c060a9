"""Processed pictures in shards: a tar of so many, with an index, a manifest and the text of its own.

A shard is a unit of work, made whole by one worker and kept or made anew as a whole: who starts the work
holds no more of a picture than its name. Names in a tar are as `webdataset` wants them: a number, ``.jpg``
and ``.json``.
"""

import io
import json
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from tqdm import tqdm

from src.data.errors import InputError
from src.data.files import write_whole
from src.data.folders import DataFolder, ProcessedFolder
from src.data.names import processed_name
from src.data.tables import table_text
from src.images.decode import index_of
from src.prepare.manifest import (
    ManifestRow,
    entry_of,
    finished,
    is_current,
    manifest_row,
    manifest_table,
    missing_rows,
    stamp,
    text_line,
)
from src.prepare.processes import WORKER_DIED, Job, Outcome, failed, made, run
from src.prepare.ray_backend import runner
from src.settings import PreprocessSettings, cpu_count

MISSING = "missing"
"""Name of the manifest of what tables name and ``images/`` lacks."""


@dataclass(frozen=True, slots=True)
class Shard:
    """The pictures of a shard to be made, and its tar, beside which all else goes."""

    tar: Path
    jobs: tuple[Job, ...]
    settings: PreprocessSettings


@dataclass(frozen=True, slots=True)
class Made:
    """What became of a shard: rows of pictures that are not just fine, how many are, the first unexpected
    error."""

    faulty: dict[str, ManifestRow]
    ok: int
    trace: str = ""


def in_shards(
    settings: PreprocessSettings, folder: ProcessedFolder, present: list[str],
    asked: Mapping[str, tuple[str, ...]], others: set[str],
) -> tuple[dict[str, ManifestRow], int, int]:  # fmt: skip
    """Make the shards of ``present`` pictures that are not there: rows of faulty pictures, how many are fine,
    reused.

    Raises `InputError` when a shard's worker died again and again; the others are finished then.
    """
    faulty: dict[str, ManifestRow] = {}
    held, numbers, total = set[str](), set[str](), 0
    for manifest in folder.manifests if folder.is_sharded else []:
        if found := _kept(settings, folder, manifest, asked):
            rows = _faulty(found)
            faulty, total = faulty | rows, total + len(found) - len(rows)
            held.update(found)
            numbers.add(manifest.name.partition(".")[0])
    reused = total
    for path in folder.shards.glob("*"):
        if path.name.partition(".")[0] not in numbers:  # of shards that are made anew, or were not finished
            path.unlink()
    waiting = [image for image in present if image not in held and image not in others]
    missing = missing_rows(asked, present)
    if missing:
        write_whole(folder.shards / f"{MISSING}.manifest.csv", table_text(manifest_table(missing)))
    images = DataFolder(settings.data).images
    names = (name for name in map("{:05d}".format, count()) if name not in numbers)

    def shards() -> Iterator[Shard]:
        for start in range(0, len(waiting), settings.per_shard):
            some = waiting[start : start + settings.per_shard]
            tar = folder.shards / f"{next(names)}.tar"
            jobs = (_job(settings, image, images, tar, asked.get(image, ())) for image in some)
            yield Shard(tar, tuple(jobs), settings)

    lost: list[str] = []
    folder.errors.unlink(missing_ok=True)
    with tqdm(total=len(waiting), desc="preprocess", unit="img", smoothing=0.05) as bar:
        spread = runner(settings.ray, (images, folder.shards), per_task=1)
        for shard, outcome in spread(make, shards(), settings.workers or cpu_count(), lambda _: None):
            bar.update(len(shard.jobs))
            if outcome is None:
                lost.append(shard.tar.name)
                continue
            faulty, total = faulty | outcome.faulty, total + outcome.ok
            if outcome.trace and not folder.errors.is_file():
                write_whole(folder.errors, outcome.trace)
    if lost:
        raise InputError(f"{', '.join(lost)}: {WORKER_DIED}; run the same command again for these shards")
    return faulty | missing, total, reused


def _job(settings: PreprocessSettings, image: str, images: Path, tar: Path, asked: tuple[str, ...]) -> Job:
    target = tar / processed_name(image)
    return Job(image, images / image, target, settings, settings.max_pixels, settings.ocr, asked)


def _kept(
    settings: PreprocessSettings,
    folder: ProcessedFolder,
    manifest: Path,
    asked: Mapping[str, tuple[str, ...]],
) -> dict[str, ManifestRow]:
    """The rows of a shard whose pictures are all as they were, and made as they would be now; else none."""
    tar, images = folder.tar_of(manifest), DataFolder(settings.data).images
    rows, texts = finished(manifest, [tar.with_suffix(".text.jsonl")])
    if not tar.is_file():
        return {}
    for image, row in rows.items():
        source, text = images / image, texts.get(image)
        if not source.is_file() or not is_current(settings, row, source, True, text, asked.get(image, ())):
            return {}
    return rows


def _faulty(rows: Mapping[str, ManifestRow]) -> dict[str, ManifestRow]:
    return {image: row for image, row in rows.items() if row.status != "ok" or row.error}


def make(shard: Shard) -> Made:
    """Make a shard and write its files, the manifest last. Raises OSError when they cannot be written.

    Its pictures are worked on in a process of their own, so that one which ends it costs only itself.
    """
    rows: dict[str, ManifestRow] = {}
    pictures: dict[str, bytes] = {}
    found: dict[str, Outcome] = {}  # of pictures whose text was read
    stamps = {job.image: stamp(job.source) for job in shard.jobs}
    trace = ""
    for job, (outcome, data) in run(made, shard.jobs, 1, lambda _: (failed(WORKER_DIED), b"")):
        if own := outcome.pop("trace", ""):
            trace = trace or f"{job.image}\n{own}"
        rows[job.image] = manifest_row(entry_of(job.image, stamps[job.image], outcome, shard.settings))
        if data:
            pictures[job.image] = data
        if "lines" in outcome:
            found[job.image] = outcome
    asked = {job.image: job.entities for job in shard.jobs}
    texts = {image: text_line(rows[image], asked[image], found[image]) for image in sorted(found)}
    lines = {image: [text for text, _, _ in outcome["lines"]] for image, outcome in found.items()}
    data, places = _tar(shard.tar.stem, rows, pictures, lines)
    write_whole(shard.tar, data)
    write_whole(index_of(shard.tar), json.dumps(places, ensure_ascii=False))
    if texts:
        write_whole(shard.tar.with_suffix(".text.jsonl"), texts.values())
    write_whole(shard.tar.with_suffix(".manifest.csv"), table_text(manifest_table(rows)))
    faulty = _faulty(rows)
    return Made(faulty, len(rows) - len(faulty), trace)


def _tar(
    name: str, rows: Mapping[str, ManifestRow], pictures: Mapping[str, bytes], lines: Mapping[str, list[str]]
) -> tuple[bytes, dict[str, tuple[int, int]]]:
    """The bytes of a tar of pictures, each with its row and text as JSON; offset and size of each by file
    name.

    Of the text only the lines as such, so that all cells have one type.
    """
    stream, places = io.BytesIO(), {}
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for number, image in enumerate(sorted(pictures)):
            entry = rows[image]._asdict() | {"text": "\n".join(lines.get(image, ()))}
            for suffix, data in (
                ("jpg", pictures[image]),
                ("json", json.dumps(entry, ensure_ascii=False).encode()),
            ):
                member = tarfile.TarInfo(f"{name}-{number:06d}.{suffix}")
                member.size = len(data)
                if suffix == "jpg":
                    places[rows[image].file] = stream.tell() + tarfile.BLOCKSIZE, len(data)
                tar.addfile(member, io.BytesIO(data))
    return stream.getvalue(), places
