"""The stores of model images: a folder with a file for each, or shards, which are tars with an index.

Both stores tell which images they have (`kept`), make units of work of jobs (`units`, done by `work`), take
the results (`add`) and end with a manifest (`finish`). `preprocessing` decides what is current and what is
done, for both alike.
"""

import contextlib
import io
import json
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import count, islice
from pathlib import Path
from typing import NamedTuple, TypeVar

import pandas as pd
from tqdm import tqdm

from src.data.errors import InputError
from src.data.files import Journal, write_whole
from src.data.folders import ProcessedFolder
from src.data.tables import table_text
from src.images.decode import index_of
from src.prepare.manifest import ManifestRow, TextOffset, entry_of, manifest_table, read_finished, text_line
from src.prepare.processes import WORKER_DIED, Job, Outcome, died, made, process, run

Item = TypeVar("Item")
Current = Callable[[ManifestRow, TextOffset | None], ManifestRow | None]
"""Returns the row of an image that stays as it is, as it is to be kept; None for one to be made anew."""


class FolderStore:
    """A JPEG per image, ``manifest.csv`` and ``text.jsonl``; a unit of work is an image.

    The state of a run is its journal: a line per finished image, written as it comes. Killed at any moment,
    the next run takes up what the journal and the last manifest do not have.
    """

    work, died = staticmethod(process), staticmethod(died)
    per_call = 8  # images for a Ray worker at once
    fine = 0  # images without a row in the final manifest

    def __init__(self, folder: ProcessedFolder) -> None:
        if not folder.is_local:
            raise InputError(f"{folder.root}: single images go into a folder only; add --shards")
        if folder.is_sharded:
            raise _other_kind(folder, "images in shards")
        self.folder, self.path, self.journal = folder, folder.root, Journal(folder.journal)
        self._rows: dict[str, ManifestRow] = {}
        self._texts: dict[str, TextOffset] = {}

    def kept(self, current: Current) -> set[str]:
        """Return the images that stay as they are."""
        self.path.mkdir(parents=True, exist_ok=True)
        self._drop_parts()
        rows, self._texts = read_finished(self.folder.manifest, [self.folder.text, self.journal.path])
        self._rows = {
            image: kept
            for image, row in _shown(rows.items(), len(rows))
            if (not row.file or (self.path / row.file).is_file())
            and (kept := current(row, self._texts.get(image)))
        }
        return set(self._rows)

    def units(self, jobs: Iterable[Job]) -> Iterable[Job]:
        """Return the jobs as they are."""
        return jobs

    def add(self, job: Job, outcome: Outcome) -> tuple[int, list[str]]:
        """Take an outcome; return the number of images, and tracebacks of unexpected errors."""
        trace = outcome.pop("trace", "")
        entry = entry_of(job, outcome)
        offset = self.journal.add(entry)
        self._rows[job.image] = ManifestRow.of(entry)
        self._texts.pop(job.image, None)
        if "lines" in outcome:
            self._texts[job.image] = TextOffset(self.journal, offset, job.entities)
        return 1, [f"{job.image}\n{trace}"] if trace else []

    def finish(self, missing: dict[str, ManifestRow]) -> pd.DataFrame:
        """Write manifest and text, drop the journal; return the manifest."""
        rows = self._rows | missing
        manifest = manifest_table(rows)
        write_whole(self.folder.manifest, table_text(manifest))
        read_images = sorted(image for image in self._texts if image in rows and rows[image].status == "ok")
        if read_images:
            write_whole(self.folder.text, (self._text_line(rows[image]) for image in read_images))
        self.journal.remove()
        self._drop_parts()
        return manifest

    def _drop_parts(self) -> None:
        for part in self.path.glob(".*.part"):  # of workers that were killed while they wrote
            part.unlink()

    def _text_line(self, row: ManifestRow) -> str:
        text = self._texts[row.image]
        return text_line(row, text.entities, text.journal.at(text.offset))


def _other_kind(folder: ProcessedFolder, kind: str) -> InputError:
    return InputError(
        f"{folder.root}: holds {kind}; run with the same --shards as before, or into another folder"
    )


def _shown(items: Iterable[Item], count: int) -> Iterable[Item]:
    """Return what is compared with its source under a bar, which shows only if that takes long."""
    return tqdm(items, total=count, desc="compare", delay=5, leave=False)


class Shard(NamedTuple):
    """The images of a shard to be made, and its tar, beside which all else goes."""

    tar: Path
    jobs: tuple[Job, ...]


def make(shard: Shard) -> tuple[dict[str, ManifestRow], list[str]]:
    """Make a shard and write its files; return its rows, and tracebacks of unexpected errors.

    Its images are worked on in a process of their own, so that one which ends it costs only itself. The
    manifest is written last. Raises OSError when the files cannot be written.
    """
    rows: dict[str, ManifestRow] = {}
    images: dict[str, bytes] = {}
    texts: dict[str, Outcome] = {}
    traces: list[str] = []
    for job, (outcome, data) in run(made, shard.jobs, 1, lambda job: (died(job), b"")):
        if trace := outcome.pop("trace", ""):
            traces.append(f"{job.image}\n{trace}")
        entry = entry_of(job, outcome)
        rows[job.image] = ManifestRow.of(entry)
        if data:
            images[job.image] = data
        if "lines" in outcome:
            texts[job.image] = entry
    data, places = _tar(shard.tar.stem, rows, images, texts)
    write_whole(shard.tar, data)
    write_whole(index_of(shard.tar), json.dumps(places, ensure_ascii=False))
    if texts:
        lines = [text_line(rows[image], texts[image]["asked"], texts[image]) for image in sorted(texts)]
        write_whole(shard.tar.with_suffix(".text.jsonl"), lines)
    write_whole(shard.tar.with_suffix(".manifest.csv"), table_text(manifest_table(rows)))
    return rows, traces


def _tar(
    name: str, rows: Mapping[str, ManifestRow], images: Mapping[str, bytes], texts: Mapping[str, Outcome]
) -> tuple[bytes, dict[str, tuple[int, int]]]:
    """Return a tar of images, each with its row and text as JSON, and offset and size of each by file name.

    Names are as `webdataset` wants them: a number, ``.jpg`` and ``.json``.
    """
    stream, places = io.BytesIO(), {}
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for number, image in enumerate(sorted(images)):
            lines = texts[image]["lines"] if image in texts else []
            entry = rows[image]._asdict() | {"text": "\n".join(line.text for line in lines)}
            text = json.dumps(entry, ensure_ascii=False).encode()
            places[rows[image].file] = stream.tell() + tarfile.BLOCKSIZE, len(images[image])
            for suffix, data in (("jpg", images[image]), ("json", text)):
                member = tarfile.TarInfo(f"{name}-{number:06d}.{suffix}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return stream.getvalue(), places


class ShardStore:
    """Tars of so many images, each with an index, a manifest and the text of its own.

    A shard is a unit of work: one worker makes it, and it is kept or made anew as a whole. Of its images only
    faulty ones have a row in the final manifest, which may be too large otherwise.
    """

    work, died = staticmethod(make), staticmethod(lambda _: None)
    per_call = 1
    journal = contextlib.nullcontext()

    def __init__(self, folder: ProcessedFolder, per_shard: int) -> None:
        if folder.manifest.is_file():
            raise _other_kind(folder, "single images")
        self.folder, self.path, self.fine = folder, folder.shards, 0
        self._per_shard = per_shard
        self._faulty: dict[str, ManifestRow] = {}
        self._names, self._lost = set[str](), list[str]()

    def kept(self, current: Current) -> set[str]:
        """Return the images of shards that stay as they are; remove the other shards."""
        self.path.mkdir(parents=True, exist_ok=True)
        images = set[str]()
        manifests = sorted(self.path.glob("*.manifest.csv"))
        for manifest in _shown(manifests, len(manifests)):
            tar = self.folder.tar_of(manifest)
            rows, texts = read_finished(manifest, [tar.with_suffix(".text.jsonl")])
            if rows and tar.is_file() and (kept := _all_current(rows, texts, current)):
                if kept != rows:
                    write_whole(manifest, table_text(manifest_table(kept)))
                self._count(rows)
                images.update(rows)
                self._names.add(tar.stem)
        for path in self.path.glob("*"):
            if path.name.partition(".")[0] not in self._names:
                path.unlink()
        return images

    def units(self, jobs: Iterable[Job]) -> Iterator[Shard]:
        """Yield the jobs in shards, under names that are free."""
        names = (name for name in map("{:05d}".format, count()) if name not in self._names)
        waiting = iter(jobs)
        while shard_jobs := tuple(islice(waiting, self._per_shard)):
            yield Shard(self.path / f"{next(names)}.tar", shard_jobs)

    def add(
        self, shard: Shard, result: tuple[dict[str, ManifestRow], list[str]] | None
    ) -> tuple[int, list[str]]:
        """Take the result of a shard; return the number of images, and tracebacks of unexpected errors."""
        if result is None:
            self._lost.append(shard.tar.name)
            return len(shard.jobs), []
        rows, traces = result
        self._count(rows)
        return len(shard.jobs), traces

    def finish(self, missing: dict[str, ManifestRow]) -> pd.DataFrame:
        """Write a manifest of the missing images; return it with the rows of faulty ones.

        Raises `InputError` when a shard's worker died again and again; the others are finished then.
        """
        if missing:
            write_whole(self.path / "missing.manifest.csv", table_text(manifest_table(missing)))
        if self._lost:
            names = ", ".join(self._lost)
            raise InputError(f"{names}: {WORKER_DIED}; run the same command again for these shards")
        return manifest_table(self._faulty | missing)

    def _count(self, rows: Mapping[str, ManifestRow]) -> None:
        faulty = {image: row for image, row in rows.items() if row.status != "ok" or row.error}
        self._faulty |= faulty
        self.fine += len(rows) - len(faulty)


def _all_current(
    rows: Mapping[str, ManifestRow], texts: Mapping[str, TextOffset], current: Current
) -> dict[str, ManifestRow]:
    """Return the rows of a shard as they are to be kept; none where one of its images is to be made anew."""
    kept = {}
    for image, row in rows.items():
        now = current(row, texts.get(image))
        if now is None:
            return {}
        kept[image] = now
    return kept


Store = FolderStore | ShardStore
