"""Fetch the images that a data folder's tables name into ``images/``: many at once, none half-written.

The outcome of each link is a row of ``downloads.csv`` beside the tables (`COLUMNS`). A run that was cut off
goes on from its journal.
"""

import contextlib
import random
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from src.data.errors import InputError
from src.data.files import Journal, write_whole
from src.data.folders import DataFolder
from src.data.names import image_name, with_hash
from src.data.sampling import read_sampled
from src.data.tables import read_table, table_text
from src.images.formats import HEAD, not_an_image
from src.prepare.bounded_map import in_flight
from src.prepare.fetch import FetchError, fetch, host_of
from src.settings import DownloadSettings

COLUMNS = ("link", "file", "status", "error", "bytes")


@dataclass(slots=True)
class Download:
    """A link, the file it goes to, and its outcome (a row of ``downloads.csv``)."""

    link: str
    file: str
    status: str = ""  # ok, failed; empty before it was tried
    error: str = ""
    bytes: int = 0


def download(
    data: Path, settings: DownloadSettings, retry_failed: bool = False, rows: int | None = None, seed: int = 0
) -> pd.DataFrame:
    """Fetch every image that ``data``'s tables name and ``images/`` lacks; return the table of `COLUMNS`.

    ``rows`` and ``seed`` limit train.csv to its sampled rows, see `read_sampled`. Links that failed in
    an earlier run are left alone unless ``retry_failed``. Raises `InputError` when the tables cannot be read
    or the folder not be written.
    """
    folder, start = DataFolder(data), time.monotonic()
    images, journal = folder.images, Journal(data / ".downloads.journal.jsonl")
    try:
        images.mkdir(parents=True, exist_ok=True)
        for unfinished in images.glob(".*.part"):  # a run was killed while it wrote them
            unfinished.unlink()
        journaled = (Download(**entry) for entry in journal.read())
        earlier = {row.link: row for row in [*_read(folder.downloads), *journaled]}
        wanted = plan(read_sampled(data, rows, seed).links, earlier.values())
        for row in wanted:
            _compare(row, images / row.file)
        todo = [row for row in wanted if not row.status or (retry_failed and row.status == "failed")]
        skipped = Counter(row.status for row in wanted) - Counter(row.status for row in todo)
        if todo:
            _fetch_all(todo, images, settings, journal)
        every_row = {row.link: row for row in wanted} | earlier  # also of links that are not sampled now
        table = pd.DataFrame(map(asdict, every_row.values()), columns=list(COLUMNS))
        # A folder that lacks nothing may be read-only: its table is only for later runs.
        with contextlib.suppress(*([] if todo else [OSError])):
            write_whole(folder.downloads, table_text(table))
            journal.remove()
    except OSError as error:
        raise InputError(f"{images}: cannot be written ({error.strerror}); fetched images are kept") from None
    _report(todo, skipped, time.monotonic() - start)
    return table.head(len(wanted))


def plan(links: Iterable[str], earlier: Iterable[Download]) -> list[Download]:
    """Return a row per link, each with a file of its own.

    That is the file of its ``earlier`` row, else `image_name`, with a hash if that name is taken.
    """
    rows = {row.link: row for row in earlier}
    taken = {row.file.casefold() for row in rows.values()}  # some file systems do not tell a.jpg from A.jpg
    planned = []
    for link in links:
        if link not in rows:
            name = image_name(link)
            if name.casefold() in taken:
                name = with_hash(name, link)
            taken.add(name.casefold())
            rows[link] = Download(link, name)
        planned.append(rows[link])
    return planned


def _read(path: Path) -> list[Download]:
    """Return the rows of ``downloads.csv``; none where there is no such file."""
    if not path.is_file():
        return []
    rows = read_table(path, COLUMNS)[list(COLUMNS)].itertuples(index=False)
    return [Download(link, file, status, error, int(size or 0)) for link, file, status, error, size in rows]


def _compare(row: Download, path: Path) -> None:
    """Let ``row`` say what is at ``path``: older versions wrote any file that a server called an image."""
    if path.is_file():
        with path.open("rb") as stream:
            row.error = not_an_image(stream.read(HEAD))
        row.status, row.bytes = "failed" if row.error else "ok", path.stat().st_size
    elif row.status == "ok":
        row.status = ""


def _fetch_all(todo: list[Download], images: Path, settings: DownloadSettings, journal: Journal) -> None:
    """Fetch ``todo`` and note the outcome of each in it.

    A host that is down costs the time of a few links: its others wait for the end, when it gets one more
    chance.
    """
    pool = ThreadPoolExecutor(settings.connections)
    try:
        with journal, tqdm(total=len(todo), desc="download", unit="img", smoothing=0.05) as bar:
            for is_last in (False, True):
                failures, postponed = Counter[str](), []
                work = partial(
                    _fetch_one, images=images, settings=settings, failures=failures, is_last=is_last
                )
                for row, is_done in in_flight(pool, work, todo, 4 * settings.connections):
                    if is_done:
                        journal.add(asdict(row))
                        bar.update()
                    else:
                        postponed.append(row)
                todo = postponed
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _fetch_one(
    row: Download, *, images: Path, settings: DownloadSettings, failures: Counter[str], is_last: bool
) -> bool:
    """Fetch one link in as many attempts as it takes, write the file, note the outcome in ``row``.

    ``failures`` counts, per host, the links that failed in a row because of the host. Threads share it; an
    update that two of them make at once costs one more link. A link whose host is down is postponed (return
    False), or fails where ``is_last``, which also allows for only one attempt.
    """
    host, pause, is_answered = host_of(row.link), 0.0, False
    for attempt in range(1 if is_last else settings.attempts):
        time.sleep(pause)
        if host and failures[host] >= settings.host_failures:
            row.status, row.error = "failed", f"its host {host} does not answer"
            return is_last
        try:
            data = fetch(row.link, settings)
        except FetchError as error:
            row.status, row.error, row.bytes = "failed", str(error), 0
            pause = max(error.wait, settings.backoff * 2**attempt * random.uniform(0.5, 1.0))
            is_answered = not error.again
        else:
            write_whole(images / row.file, data)
            row.status, row.error, row.bytes = "ok", "", len(data)
            is_answered = True
        if is_answered or pause > settings.longest_wait:
            break
    failures[host] = 0 if is_answered else failures[host] + 1
    return True


def _report(tried: list[Download], skipped: Counter[str], seconds: float) -> None:
    """Print how many links were fetched, reused and failed, and why; ``skipped`` counts those not tried."""
    sizes = [row.bytes for row in tried if row.status == "ok"]
    reasons = Counter(row.error for row in tried if row.status == "failed")
    print(
        f"download: {len(sizes)} fetched ({sum(sizes) / 1e6:.1f} MB), {skipped['ok']} reused,"
        f" {reasons.total()} failed in {seconds:.0f} s ({len(sizes) / max(seconds, 1e-9):.1f} img/s)"
    )
    for reason, count in reasons.most_common():
        print(f"  failed: {count} x {reason}")
    if skipped["failed"]:
        print(
            f"  {skipped['failed']} failed in an earlier run and were left alone;"
            " --retry-failed tries them again"
        )
