"""The work on one source image, and a pool of local processes that survives their deaths.

Imported by every worker: nothing heavy at the top (pandas alone would cost each of them half a second).
"""

import multiprocessing
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from src.data.errors import unexpected
from src.data.files import content_hash, write_whole
from src.images.decode import ImageError, cv2, decode, decoder_warnings, read_bytes, shown_size
from src.images.enhance import enhance, is_blank
from src.images.formats import is_cut
from src.prepare.bounded_map import PoolDied, in_flight
from src.reading.layout import around_lengths
from src.settings import EnhanceSettings

Item = TypeVar("Item")
Result = TypeVar("Result")

JPEG_QUALITY = 95
CUT_OFF = "cut off"
"""Error of an image that is processed nevertheless: at least 95 % of it is there."""
ONE_COLOUR = "one colour only: a placeholder, not an image"
UNREAD = "text not read"
"""Begins the error of an image whose text could not be read for an unexpected error."""
WORKER_DIED = "its worker process died (killed, or out of memory)"


@dataclass(frozen=True, slots=True)
class Job:
    """One source image to process, and the entities that are asked of it."""

    image: str
    source: Path
    target: Path
    enhance: EnhanceSettings
    max_pixels: int
    ocr: str  # its precision, see `engine.use`; empty: no text is read
    entities: tuple[str, ...] = ()
    ocr_device: str = "cpu"


Outcome = dict[str, Any]
"""The result of an image: ``status`` (ok, blank, failed), ``error``, ``source_bytes, source_mtime_ns``.

``source_hash`` is the `content_hash` of a source image that could be read. For ok and blank also
``source_width, source_height`` (pixels), for ok ``file, file_hash, width, height``, and with OCR ``lines``
(`TextLine`), ``drawn`` (`Layout.entry`, None without lengths) and ``backend`` (see `engine.use`)."""


def process(job: Job) -> Outcome:
    """Make one image and write it whole to its target. Raises OSError when that cannot be written."""
    outcome, data = made(job)
    if data:
        write_whole(job.target, data)
    else:
        job.target.unlink(missing_ok=True)  # of an older, better source
    return outcome


def made(job: Job) -> tuple[Outcome, bytes]:
    """Return the outcome of one image and the model image as JPEG, empty where there is none.

    What is wrong with it ends in the outcome; so does an unexpected error, with its traceback as ``trace``.
    """
    facts: Outcome = {**source_stamp(job.source)}  # before it is read
    try:
        source = read_bytes(job.source)
        facts["source_hash"] = content_hash(source)
        outcome, data = _made(job, source)
    except ImageError as error:
        outcome, data = failed(str(error)), b""
    except Exception as error:  # whatever an image brings up: it is not worth the run
        reason, trace = unexpected(error)
        outcome, data = failed(reason) | {"trace": trace}, b""
    if data:
        facts["file_hash"] = content_hash(data)
    return facts | outcome, data


def _made(job: Job, source: bytes) -> tuple[Outcome, bytes]:
    """Do the work of `made` on the bytes of the source image. Raises `ImageError`."""
    try:
        with decoder_warnings() as warnings:
            reduced = decode(source, job.max_pixels, enough=job.enhance.max_size)
        width, height = shown_size(source)
        size = {"source_width": width, "source_height": height}
        # Fine print may be lost in the reduced one.
        if is_blank(reduced) and is_blank(decode(source, job.max_pixels)):
            return {"status": "blank", "error": ONE_COLOUR, **size}, b""
        small = enhance(reduced, job.enhance, (width, height))
        # Decoded twice, so that the model image is the same without OCR.
        full = decode(source, job.max_pixels) if job.ocr else None
    except (cv2.error, MemoryError) as error:
        return failed(f"cannot be processed ({type(error).__name__})"), b""
    _, data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    outcome: Outcome = {
        "status": "ok",
        "file": job.target.name,
        "error": _note(source, warnings),
        "width": small.shape[1],
        "height": small.shape[0],
        **size,
    }
    if full is not None:
        _read_text(full, small, job, outcome)
    return outcome, data.tobytes()


def _note(source: bytes, warnings: Sequence[str]) -> str:
    """Return what is wrong with an image that is used all the same; empty if nothing is."""
    if is_cut(source):
        return CUT_OFF
    corrupt = next((line for line in warnings if line.startswith("Corrupt JPEG data")), "")
    return f"damaged inside ({corrupt})" if corrupt else ""


def _read_text(full: np.ndarray, small: np.ndarray, job: Job, outcome: Outcome) -> None:
    """Add the text of an image at full resolution, and the layout around it; what fails is noted as error."""
    from src.ocr.engine import read, use  # its models are loaded only where text is asked for
    from src.ocr.retry_passes import read_with_retries

    outcome |= {"lines": [], "drawn": None, "backend": use(job.ocr, job.ocr_device)}
    failure = UNREAD
    try:
        outcome["lines"] = read(full)
        failure = f"{UNREAD} closer"
        outcome["lines"], parsed_lines = read_with_retries(full, outcome["lines"], job.entities)
        failure = "lines around it not found"
        if layout := around_lengths(small, parsed_lines):
            outcome["drawn"] = layout.entry()
    except Exception as error:  # whatever its libraries raise: one image's text is not worth the run
        outcome["trace"] = unexpected(error)[1]
        notes = (outcome["error"], f"{failure} ({type(error).__name__})")
        outcome["error"] = "; ".join(filter(None, notes))


def failed(error: str) -> Outcome:
    """Return the outcome of an image that could not be processed."""
    return {"status": "failed", "error": error}


def died(job: Job) -> Outcome:
    """Return the outcome of an image whose worker process died."""
    return source_stamp(job.source) | failed(WORKER_DIED)


def source_stamp(source: Path) -> dict[str, int]:
    """Return size and time of change of a file as columns of the manifest; nothing where it is gone."""
    try:
        stat = source.stat()
    except OSError:
        return {}
    return {"source_bytes": stat.st_size, "source_mtime_ns": stat.st_mtime_ns}


def run(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int, died: Callable[[Item], Result]
) -> Iterator[tuple[Item, Result]]:
    """Yield each item with the result of ``function``, as they finish, from local processes.

    Few items are in flight at a time. When a worker dies (killed, out of memory) its pool is lost with all
    that was in flight. Those items are then run one at a time, so that one which kills its worker again is
    found; its result is what ``died`` returns, and a new pool goes on with the rest.
    """
    waiting = iter(items)
    while True:
        try:
            with _Pool(workers) as pool:
                yield from in_flight(pool, function, waiting, window=4 * workers)
            return
        except PoolDied as death:
            suspects: list[Item] = death.items
        print(
            f"a worker died; the {len(suspects)} images in flight are tried again one by one",
            file=sys.stderr,
        )
        yield from ((item, _alone(function, item, died)) for item in suspects)


def _alone(function: Callable[[Item], Result], item: Item, died: Callable[[Item], Result]) -> Result:
    """Return the result of an item in a worker of its own, and what ``died`` returns if that dies, too."""
    try:
        with _Pool(1) as pool:
            return pool.submit(function, item).result()
    except BrokenProcessPool:
        return died(item)


class _Pool(ProcessPoolExecutor):
    """Spawned workers on one thread each; an error (Ctrl-C, a full disk) does not wait for them."""

    def __init__(self, workers: int) -> None:
        super().__init__(workers, mp_context=multiprocessing.get_context("spawn"), initializer=_start)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            for worker in multiprocessing.active_children():
                worker.kill()
        self.shutdown(wait=True, cancel_futures=True)


def _start() -> None:
    cv2.setNumThreads(1)  # the processes share the cores
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
