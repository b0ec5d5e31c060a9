"""Pictures of a data folder to pictures for the model, in worker processes: enhance, read text, keep a manifest.

The state of a run is its journal: a line per finished picture, written as it comes. Killed at any moment, the next run
takes up what the journal and the last manifest do not have. Every file of the output folder appears whole.
"""

import dataclasses
import json
import multiprocessing
import signal
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from src.dataset import TEST_COLUMNS, TRAIN_COLUMNS, image_name, processed_name, read_table
from src.errors import InputError
from src.files import write_whole
from src.images import EnhanceSettings, ImageError, cv2, enhance, read_image

JPEG_QUALITY = 95
MANIFEST_COLUMNS = (
    "image", "file", "status", "error", "source_width", "source_height", "width", "height",
    "source_bytes", "source_mtime_ns", "settings",
)  # fmt: skip
_JOURNAL = "journal.jsonl"


@dataclasses.dataclass(frozen=True, slots=True)
class PreprocessSettings:
    """One run of ``preprocess.py``."""

    data: Path
    out: Path
    enhance: EnhanceSettings = dataclasses.field(default_factory=EnhanceSettings)
    ocr: bool = False
    workers: int = 1


@dataclasses.dataclass(frozen=True, slots=True)
class _Job:
    image: str
    source: Path
    target: Path
    enhance: EnhanceSettings
    ocr: bool


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
    for left in settings.out.glob(".*.part"):  # of a worker that was killed while it wrote
        left.unlink()
    done = _finished(settings.out)
    fingerprint = _fingerprint(settings.enhance)
    entries: dict[str, Entry] = {}
    jobs: list[_Job] = []
    for image in present:
        target = settings.out / processed_name(image)
        entry = done.get(image)
        if entry and _is_current(entry, images / image, target, fingerprint, settings.ocr):
            entries[image] = entry
        else:
            jobs.append(_Job(image, images / image, target, settings.enhance, settings.ocr))
    reused = len(entries)
    with (settings.out / _JOURNAL).open("a", encoding="utf-8") as journal:
        for entry in tqdm(_run(jobs, settings.workers), total=len(jobs), desc="preprocess", unit="img", smoothing=0.05):
            journal.write(json.dumps(entry, ensure_ascii=False) + "\n")
            journal.flush()
            entries[entry["image"]] = entry
    for image in named - set(present):
        entries[image] = _entry(image, status="missing", error="not in images/")
    return _write(settings.out, [entries[image] for image in sorted(entries)]), reused


def _pictures(data: Path) -> tuple[list[str], set[str]]:
    """Names of the files in ``images/``, sorted, and the names that the tables ask for."""
    images = data / "images"
    if not data.is_dir():
        raise InputError(f"{data}: no such folder; a data folder holds train.csv, test.csv and images/")
    present = sorted(p.name for p in images.iterdir() if p.is_file() and p.name[0] != ".") if images.is_dir() else []
    if not present:
        raise InputError(f"{images}: no pictures there; put the image files of {data}'s tables into it")
    named: set[str] = set()
    for table, columns in (("train.csv", TRAIN_COLUMNS), ("test.csv", TEST_COLUMNS)):
        if (data / table).exists():
            named |= set(map(image_name, read_table(data / table, columns)["image_link"]))
    return present, named - {""}


def _fingerprint(settings: EnhanceSettings) -> str:
    """What a processed picture depends on besides its source."""
    return " ".join(f"{key}={value}" for key, value in dataclasses.asdict(settings).items())


def _entry(image: str, **known: object) -> Entry:
    return dict.fromkeys(MANIFEST_COLUMNS, "") | {"image": image} | known


def _is_current(entry: Entry, source: Path, target: Path, fingerprint: str, ocr: bool) -> bool:
    """Whether a finished picture needs no new run: same source, same settings, file there, text read if asked for."""
    if entry["settings"] != fingerprint or _stamp(source) != (entry["source_bytes"], entry["source_mtime_ns"]):
        return False
    return entry["status"] == "failed" or (target.is_file() and (not ocr or "lines" in entry))


def _stamp(source: Path) -> tuple[int, int]:
    stat = source.stat()
    return stat.st_size, stat.st_mtime_ns


def _finished(out: Path) -> dict[str, Entry]:
    """Entries of the last whole run and of a run that was cut off after it."""
    done: dict[str, Entry] = {}
    if (out / "manifest.csv").is_file():
        for row in read_table(out / "manifest.csv", MANIFEST_COLUMNS).to_dict("records"):
            numbers = {k: int(row[k]) for k in ("source_bytes", "source_mtime_ns") if row[k].isdecimal()}
            done[row["image"]] = row | numbers
    for name in ("text.jsonl", _JOURNAL):
        if (out / name).is_file():
            for line in (out / name).read_text(encoding="utf-8").splitlines():
                try:
                    entry = json.loads(line)
                except ValueError:
                    continue  # the line a killed run was writing
                if name == _JOURNAL:
                    done[entry["image"]] = entry
                elif entry["image"] in done:
                    done[entry["image"]]["lines"] = entry["lines"]
    return done


def _run(jobs: list[_Job], workers: int) -> Iterator[Entry]:
    """Entries of ``jobs`` as they finish, with a bounded number in flight, so that 350,000 jobs need no more memory."""
    if not jobs:
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(workers, len(jobs)), mp_context=context, initializer=_start_worker)
    try:
        waiting = iter(jobs)
        running = {pool.submit(_process, job) for job in islice(waiting, 4 * workers)}
        while running:
            finished, running = wait(running, return_when=FIRST_COMPLETED)
            running |= {pool.submit(_process, job) for job in islice(waiting, len(finished))}
            for future in finished:
                yield future.result()
    except BrokenProcessPool:
        raise InputError(
            "a worker process died (killed, or out of memory); finished pictures are kept: "
            "run again, with fewer --workers if memory is short"
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start_worker() -> None:
    cv2.setNumThreads(1)  # the processes share the cores
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle


def _process(job: _Job) -> Entry:
    """Enhance one picture and write it, in a worker; what is wrong with it ends in its entry."""
    size, changed = _stamp(job.source)
    known = {"source_bytes": size, "source_mtime_ns": changed, "settings": _fingerprint(job.enhance)}
    try:
        image = read_image(job.source)
        small = enhance(image, job.enhance)
    except (ImageError, cv2.error) as error:
        job.target.unlink(missing_ok=True)  # of an older, better source
        return _entry(job.image, status="failed", error=str(error), **known)
    encoded, data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not encoded:
        return _entry(job.image, status="failed", error="cannot be encoded as JPEG", **known)
    write_whole(job.target, data.tobytes())
    known |= {"source_width": image.shape[1], "source_height": image.shape[0]}
    known |= {"width": small.shape[1], "height": small.shape[0], "file": job.target.name}
    if job.ocr:
        from src.ocr import read_lines  # its models are loaded only where text is asked for

        known["lines"] = read_lines(image)
    return _entry(job.image, status="ok", **known)


def _write(out: Path, entries: Iterable[Entry]) -> pd.DataFrame:
    """Write ``manifest.csv`` and ``text.jsonl``, and drop the journal."""
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
    (out / _JOURNAL).unlink()
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
