"""Pictures of a data folder to pictures for the model, in worker processes: enhance, read text, keep a manifest.

The state of a run is its journal: a line per finished picture, written as it comes. Killed at any moment, the next run
takes up what the journal and the last manifest do not have. Every file of the output folder appears whole.
"""

import dataclasses
import json
import multiprocessing
import os
import signal
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from src.dataset import picture_names, processed_name, read_files, read_links, read_table
from src.errors import InputError
from src.files import Journal, write_whole
from src.images import MAX_PIXELS, EnhanceSettings, ImageError, cv2, decode, enhance, read_bytes

JPEG_QUALITY = 95
MANIFEST_COLUMNS = (
    "image", "file", "status", "error", "source_width", "source_height", "width", "height",
    "source_bytes", "source_mtime_ns", "settings",
)  # fmt: skip
_WORKER_DIED = "its worker process died (killed, or out of memory)"


@dataclasses.dataclass(frozen=True, slots=True)
class PreprocessSettings:
    """One run of ``preprocess.py``."""

    data: Path
    out: Path
    enhance: EnhanceSettings = dataclasses.field(default_factory=EnhanceSettings)
    ocr: bool = False
    workers: int = 1
    max_pixels: int = MAX_PIXELS


@dataclasses.dataclass(frozen=True, slots=True)
class _Job:
    image: str
    source: Path
    target: Path
    settings: PreprocessSettings
    known: dict[str, Any]  # what its entry says, whatever comes of it


Entry = dict[str, Any]
"""A manifest row (`MANIFEST_COLUMNS`), and with OCR ``lines`` (see `ocr.Line`)."""


def preprocess(settings: PreprocessSettings) -> pd.DataFrame:
    """Process every picture of ``settings.data`` that is not done yet; return the manifest (`MANIFEST_COLUMNS`).

    ``status`` is ``ok``, ``failed`` (``error`` says why, no file is written) or ``missing`` (named in a table, but not
    in ``images/``). Raises `InputError` when there is nothing to process or the tables cannot be read.
    """
    present, named = _pictures(settings.data)
    try:
        manifest, reused = _process_all(settings, present, named)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"{settings.out}: cannot be written ({reason}); finished pictures are kept") from None
    _report(manifest, reused)
    return manifest


def _process_all(settings: PreprocessSettings, present: list[str], named: set[str]) -> tuple[pd.DataFrame, int]:
    """The manifest of ``present`` and ``named`` pictures, and how many of them were done before."""
    images = settings.data / "images"
    settings.out.mkdir(parents=True, exist_ok=True)
    # For the workers' OpenCV, which reads it at import; `decode` has its own check before.
    os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"] = str(max(MAX_PIXELS, settings.max_pixels))
    for left in settings.out.glob(".*.part"):  # of a worker that was killed while it wrote
        left.unlink()
    journal = Journal(settings.out / "journal.jsonl")
    done = _finished(settings.out) | {entry["image"]: entry for entry in journal.read()}
    fingerprint = _fingerprint(settings.enhance)
    entries: dict[str, Entry] = {}
    jobs: list[_Job] = []
    for image in present:
        target, entry = settings.out / processed_name(image), done.get(image)
        stat = (images / image).stat()
        stamp = (stat.st_size, stat.st_mtime_ns)
        if (
            entry
            and stamp == (entry["source_bytes"], entry["source_mtime_ns"])
            and _is_current(entry, target, settings)
        ):
            entries[image] = entry
        else:
            known = {"source_bytes": stamp[0], "source_mtime_ns": stamp[1], "settings": fingerprint}
            jobs.append(_Job(image, images / image, target, settings, known))
    reused = len(entries)
    with journal:
        for entry in tqdm(_run(jobs, settings.workers), total=len(jobs), desc="preprocess", unit="img", smoothing=0.05):
            journal.add(entry)
            entries[entry["image"]] = entry
    for image in named - set(present):
        entries[image] = _entry(image, status="missing", error="not in images/")
    manifest = _write(settings.out, [entries[image] for image in sorted(entries)])
    journal.remove()
    return manifest, reused


def _pictures(data: Path) -> tuple[list[str], set[str]]:
    """Names of the files in ``images/``, sorted, and the names that the tables ask for."""
    images = data / "images"
    if not data.is_dir():
        raise InputError(f"{data}: no such folder; a data folder holds train.csv, test.csv and images/")
    present = sorted(p.name for p in images.iterdir() if p.is_file() and p.name[0] != ".") if images.is_dir() else []
    if not present:
        raise InputError(f"{images}: no pictures there; put the image files of {data}'s tables into it")
    return present, set(picture_names(read_links(data), read_files(data)))


def _fingerprint(settings: EnhanceSettings) -> str:
    """What a processed picture depends on besides its source."""
    return " ".join(f"{key}={value}" for key, value in dataclasses.asdict(settings).items())


def _entry(image: str, **known: object) -> Entry:
    return dict.fromkeys(MANIFEST_COLUMNS, "") | {"image": image} | known


def _is_current(entry: Entry, target: Path, settings: PreprocessSettings) -> bool:
    """Whether the entry of an unchanged source needs no new run: same settings, file there, text read if asked for."""
    if entry["status"] == "failed":
        # The limit on pixels concerns only those it stopped; a worker's death may have been an accident.
        return entry["settings"] == _failed_settings(entry["error"], settings) and entry["error"] != _WORKER_DIED
    return (
        entry["settings"] == _fingerprint(settings.enhance)
        and target.is_file()
        and (not settings.ocr or "lines" in entry)
    )


def _failed_settings(error: str, settings: PreprocessSettings) -> str:
    """What the failure of a picture depends on."""
    limit = f" max_pixels={settings.max_pixels}" if error.startswith("too many pixels") else ""
    return _fingerprint(settings.enhance) + limit


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


def _run(jobs: Iterable[_Job], workers: int) -> Iterator[Entry]:
    """Entries of ``jobs`` as they finish.

    When a worker dies (killed, out of memory) its pool is lost with all that was in flight. Those jobs are then run one
    at a time, so that one which kills its worker again is found and set aside, and a new pool goes on with the rest.
    """
    waiting = iter(jobs)
    while True:
        suspects: list[_Job] = []
        with _Pool(workers) as pool:
            running: dict[Future[Entry], _Job] = {}
            try:
                while True:
                    for job in islice(waiting, 4 * workers - len(running)):
                        suspects.append(job)  # until it is known to be in flight
                        running[pool.submit(_process, job)] = job
                        suspects.clear()
                    if not running:
                        return
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        entry = future.result()
                        del running[future]
                        yield entry
            except BrokenProcessPool:
                suspects += running.values()
        tqdm.write(f"a worker died; its {len(suspects)} pictures in flight are tried again one by one", file=sys.stderr)
        yield from (_alone(job) for job in suspects)


def _alone(job: _Job) -> Entry:
    """The entry of a job with a worker of its own; ``failed`` when that dies, too."""
    try:
        with _Pool(1) as pool:
            return pool.submit(_process, job).result()
    except BrokenProcessPool:
        return _entry(job.image, status="failed", error=_WORKER_DIED, **job.known)


class _Pool(ProcessPoolExecutor):
    """Spawned workers on one thread each; leaving it in an error (Ctrl-C, a full disk) does not wait for them."""

    def __init__(self, workers: int) -> None:
        super().__init__(workers, mp_context=multiprocessing.get_context("spawn"), initializer=_start_worker)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            for worker in multiprocessing.active_children():
                worker.kill()
        self.shutdown(wait=True, cancel_futures=True)


def _start_worker() -> None:
    cv2.setNumThreads(1)  # the processes share the cores
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle


def _process(job: _Job) -> Entry:
    """Enhance one picture and write it, in a worker; what is wrong with it ends in its entry."""
    settings, known = job.settings, dict(job.known)
    try:
        image = decode(read_bytes(job.source), max_pixels=settings.max_pixels)
        small = enhance(image, settings.enhance)
    except (ImageError, cv2.error, MemoryError) as error:
        job.target.unlink(missing_ok=True)  # of an older, better source
        reason = str(error) if isinstance(error, ImageError) else f"cannot be processed ({type(error).__name__})"
        known["settings"] = _failed_settings(reason, settings)
        return _entry(job.image, status="failed", error=reason, **known)
    encoded, data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not encoded:
        return _entry(job.image, status="failed", error="cannot be encoded as JPEG", **known)
    write_whole(job.target, data.tobytes())
    known |= {"source_width": image.shape[1], "source_height": image.shape[0]}
    known |= {"width": small.shape[1], "height": small.shape[0], "file": job.target.name}
    if settings.ocr:
        from src.ocr import read_lines  # its models are loaded only where text is asked for

        known["lines"] = read_lines(image)
    return _entry(job.image, status="ok", **known)


def _write(out: Path, entries: Iterable[Entry]) -> pd.DataFrame:
    """Write ``manifest.csv`` and ``text.jsonl``."""
    entries = list(entries)
    manifest = pd.DataFrame(entries, columns=list(MANIFEST_COLUMNS))
    write_whole(out / "manifest.csv", manifest.to_csv(index=False))
    texts = [
        {"image": e["image"], "width": int(e["source_width"]), "height": int(e["source_height"]), "lines": e["lines"]}
        for e in entries
        if "lines" in e
    ]
    if texts:
        write_whole(out / "text.jsonl", "".join(json.dumps(text, ensure_ascii=False) + "\n" for text in texts))
    return manifest


def _report(manifest: pd.DataFrame, reused: int) -> None:
    counts = Counter(manifest["status"])
    bad = manifest[manifest["status"] != "ok"]
    for row in bad.head(10).itertuples():
        print(f"  {row.status}: {row.image} ({row.error})")
    if len(bad) > 10:
        print(f"  ... and {len(bad) - 10} more, see manifest.csv")
    print(f"preprocess: {len(manifest)} pictures, {counts['ok']} ok ({reused} reused), "
          f"{counts['failed']} failed, {counts['missing']} missing")  # fmt: skip
