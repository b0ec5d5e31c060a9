"""Work on one picture in a process of its own, and a pool of such processes that survives their deaths.

Imported by every worker: nothing heavy at the top (pandas alone would cost each of them half a second).
"""

import multiprocessing
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from src.data.errors import unexpected
from src.data.files import write_whole
from src.images.decode import ImageError, cv2, decode, read_bytes, shown_size
from src.images.enhance import enhance, is_blank
from src.images.formats import is_cut
from src.prepare.bounded_map import PoolDied, in_flight
from src.reading.cross_line import parse_lines
from src.reading.layout import around_lengths
from src.settings import EnhanceSettings

Item = TypeVar("Item")
Result = TypeVar("Result")

JPEG_QUALITY = 95
CUT_OFF = "cut off"
"""Of a picture that is processed nevertheless: its last bytes are missing, 95 % of it and more are there."""
ONE_COLOUR = "one colour only: a placeholder, not a picture"
UNREAD = "text not read"
"""Begins what is said of a picture whose text could not be read for an unexpected error."""
WORKER_DIED = "its worker process died (killed, or out of memory)"


@dataclass(frozen=True, slots=True)
class Job:
    """One picture to process."""

    image: str
    source: Path
    target: Path
    enhance: EnhanceSettings
    max_pixels: int
    ocr: bool
    entities: tuple[str, ...] = ()  # asked of it, for a closer look at its text


Outcome = dict[str, Any]
"""``status`` (ok, blank, failed) and ``error``; for ok and blank ``source_width, source_height`` (pixels),
for ok also ``file, width, height`` and with OCR ``lines`` (see `retry_passes.Line`) and ``drawn``
(`Layout.entry`, None without lengths)."""


def process(job: Job) -> Outcome:
    """Make one picture and write it whole to its target. Raises OSError when that cannot be written."""
    outcome, data = made(job)
    if data:
        write_whole(job.target, data)
    else:
        job.target.unlink(missing_ok=True)  # of an older, better source
    return outcome


def made(job: Job) -> tuple[Outcome, bytes]:
    """The outcome of one picture and the processed picture as JPEG, empty where there is none.

    What is wrong with it ends in the outcome; so does what nobody expected, with its traceback as ``trace``.
    """
    try:
        return _made(job)
    except Exception as error:  # whatever a picture brings up: it is not worth the run
        reason, trace = unexpected(error)
        return failed(reason) | {"trace": trace}, b""


def _made(job: Job) -> tuple[Outcome, bytes]:
    try:
        source = read_bytes(job.source)
        reduced = decode(source, job.max_pixels, enough=job.enhance.max_size)
        size = shown_size(source)
        if is_blank(reduced) and is_blank(
            decode(source, job.max_pixels)
        ):  # fine print may be lost in the reduced one
            return {
                "status": "blank",
                "error": ONE_COLOUR,
                "source_width": size[0],
                "source_height": size[1],
            }, b""
        small = enhance(reduced, job.enhance, size)
        full = (
            decode(source, job.max_pixels) if job.ocr else None
        )  # twice, so that the picture is the same without OCR
    except (ImageError, cv2.error, MemoryError) as error:
        reason = (
            str(error) if isinstance(error, ImageError) else f"cannot be processed ({type(error).__name__})"
        )
        return failed(reason), b""
    _, data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    outcome: Outcome = {
        "status": "ok",
        "file": job.target.name,
        "source_width": size[0],
        "source_height": size[1],
    }
    outcome |= {"width": small.shape[1], "height": small.shape[0], "error": CUT_OFF if is_cut(source) else ""}
    if full is not None:
        from src.ocr.engine import (
            look_closer,
            read_lines,
        )  # its models are loaded only where text is asked for

        outcome |= {"lines": [], "drawn": None}
        what = UNREAD
        try:
            outcome["lines"] = read_lines(full)
            what = f"{UNREAD} closer"
            outcome["lines"] = look_closer(full, outcome["lines"], job.entities)
            what = "lines around it not found"
            drawn = around_lengths(small, parse_lines(outcome["lines"], *size))
            outcome["drawn"] = None if drawn is None else drawn.entry()
        except Exception as error:  # whatever its libraries raise: one picture's text is not worth the run
            outcome["trace"] = unexpected(error)[1]
            outcome["error"] += f"{'; ' * bool(outcome['error'])}{what} ({type(error).__name__})"
    return outcome, data.tobytes()


def failed(error: str) -> Outcome:
    """The outcome of a picture that could not be processed."""
    return {"status": "failed", "error": error}


def run(
    work: Callable[[Item], Result], jobs: Iterable[Item], workers: int, died: Callable[[Item], Result]
) -> Iterator[tuple[Item, Result]]:
    """Each job with the result of ``work``, as they finish, by processes; few jobs are in flight at a time.

    When a worker dies (killed, out of memory) its pool is lost with all that was in flight. Those jobs are
    then run one at a time, so that one which kills its worker again is found, its result is what ``died``
    says, and a new pool goes on with the rest.
    """
    waiting = iter(jobs)
    while True:
        try:
            with _Pool(workers) as pool:
                yield from in_flight(pool, work, waiting, window=4 * workers)
            return
        except PoolDied as death:
            suspects: list[Item] = death.items
        print(
            f"a worker died; the {len(suspects)} pictures in flight are tried again one by one",
            file=sys.stderr,
        )
        yield from ((job, _alone(work, job, died)) for job in suspects)


def _alone(work: Callable[[Item], Result], job: Item, died: Callable[[Item], Result]) -> Result:
    """The result of a job with a worker of its own; what ``died`` says when that dies, too."""
    try:
        with _Pool(1) as pool:
            return pool.submit(work, job).result()
    except BrokenProcessPool:
        return died(job)


class _Pool(ProcessPoolExecutor):
    """Spawned workers on one thread each; leaving it in an error (Ctrl-C, a full disk) does not wait for
    them."""

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
