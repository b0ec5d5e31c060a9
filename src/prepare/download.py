"""Links of a data folder's tables to files in ``images/``: many at once, politely, and nothing half-written.

State is kept in ``downloads.csv`` beside the tables (`COLUMNS`), one row per link: which file is whose, what
failed and why. A run that was cut off goes on from its journal.
"""

import random
import threading
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pandas as pd
import requests
from tqdm import tqdm

from src.data.errors import InputError
from src.data.files import Journal, write_whole
from src.data.folders import DataFolder
from src.data.names import image_name, with_hash
from src.data.sampling import read_sampled
from src.data.tables import read_table, table_text
from src.images.kinds import HEAD, not_a_picture
from src.prepare.bounded_map import in_flight
from src.prepare.fetch import FetchError, fetch, host_of, new_session
from src.settings import DownloadSettings

COLUMNS = ("link", "file", "status", "error", "bytes")


@dataclass(slots=True)
class Download:
    """A link, the file it goes to, and what became of it (a row of ``downloads.csv``)."""

    link: str
    file: str
    status: str = ""  # ok, failed
    error: str = ""
    bytes: int = 0


def download(
    data: Path, settings: DownloadSettings, retry_failed: bool = False, rows: int | None = None, seed: int = 0
) -> pd.DataFrame:
    """Fetch every picture that ``data``'s tables name and ``images/`` lacks; return the table of `COLUMNS`.

    ``rows`` and ``seed``: of train.csv, only those of drawn rows, see `sampling.read_sampled`.

    What failed in an earlier run is left alone unless ``retry_failed``. Raises `InputError` when the tables
    cannot be read or the folder not be written.
    """
    folder = DataFolder(data)
    images = folder.images
    journal = Journal(data / ".downloads.journal.jsonl")
    start = time.monotonic()
    try:
        images.mkdir(parents=True, exist_ok=True)
        for left in images.glob(".*.part"):  # of a run that was killed while it wrote
            left.unlink()
        earlier = [*_read(folder.downloads), *(Download(**entry) for entry in journal.read())]
        wanted = plan(read_sampled(data, rows, seed).links, earlier)
        todo, reused = [], 0
        for row in wanted:
            if (images / row.file).is_file():
                row.status, row.error, row.bytes = _there(images / row.file)
            if row.status == "ok" and (images / row.file).is_file():
                reused += 1
            elif row.status != "failed" or retry_failed:
                todo.append(row)
        fetched = _fetch_all(todo, images, settings, journal)
        table = pd.DataFrame(map(asdict, wanted), columns=list(COLUMNS))
        named = set(table["link"])
        others = {row.link: row for row in earlier if row.link not in named}  # of rows that were drawn before
        kept = pd.concat([table, pd.DataFrame(map(asdict, others.values()), columns=list(COLUMNS))])
        write_whole(folder.downloads, table_text(kept))
        journal.remove()
    except OSError as error:
        raise InputError(
            f"{images}: cannot be written ({error.strerror}); fetched pictures are kept"
        ) from None
    _report(todo, fetched, reused, len(wanted) - len(todo) - reused, time.monotonic() - start)
    return table


def plan(links: Iterable[str], known: Iterable[Download]) -> list[Download]:
    """A row per link, with a file name of its own: that of ``known``, else `image_name`, with a hash if it is
    taken."""
    rows = {row.link: row for row in known}
    taken = {row.file.casefold() for row in rows.values()}  # some file systems do not tell a.jpg from A.jpg
    plans = []
    for link in links:
        if link not in rows:
            name = image_name(link)
            if name.casefold() in taken:
                name = with_hash(name, link)
            taken.add(name.casefold())
            rows[link] = Download(link, name)
        plans.append(rows[link])
    return plans


class Breaker:
    """Hosts that are down: ``limit`` links of them failed in a row. Threads share it."""

    def __init__(self, limit: int) -> None:
        self._limit, self._lock = limit, threading.Lock()
        self._failures: Counter[str] = Counter()

    def is_open(self, host: str) -> bool:
        """Whether the host is not to be asked now."""
        return bool(host) and self._failures[host] >= self._limit

    def note(self, host: str, answered: bool) -> None:
        """A link of the host was answered, with whatever, or failed for the host's sake."""
        with self._lock:
            self._failures[host] = 0 if answered else self._failures[host] + 1


def _fetch_all(todo: list[Download], images: Path, settings: DownloadSettings, journal: Journal) -> int:
    """Fetch ``todo`` and fill in what became of each; return the number of bytes.

    A host that is down costs the time of a few links: its others wait for the end, when it gets one more
    chance.
    """
    with journal, tqdm(total=len(todo), desc="download", unit="img", smoothing=0.05) as bar:
        total, waiting = _fetch_round(todo, images, settings, journal, bar)
        if waiting:
            more, left = _fetch_round(waiting, images, replace(settings, attempts=1), journal, bar)
            total += more
            for row in left:
                row.status, row.error = "failed", f"its host {host_of(row.link)} does not answer"
                journal.add(asdict(row))
                bar.update()
    return total


def _fetch_round(
    rows: list[Download], images: Path, settings: DownloadSettings, journal: Journal, bar: tqdm
) -> tuple[int, list[Download]]:
    """The number of bytes, and the rows that were not asked for, or not to the end, because their host is
    down."""
    local, breaker = threading.local(), Breaker(settings.host_failures)

    def work(row: Download) -> bool:
        if not hasattr(local, "session"):
            local.session = new_session()
        return _fetch_one(local.session, row, images, settings, breaker)

    pool, total, waiting = ThreadPoolExecutor(settings.connections), 0, []
    try:
        for row, done in in_flight(pool, work, rows, 4 * settings.connections):
            if done:
                journal.add(asdict(row))
                total += row.bytes
                bar.update()
            else:
                waiting.append(row)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    return total, waiting


def _fetch_one(
    session: requests.Session, row: Download, images: Path, settings: DownloadSettings, breaker: Breaker
) -> bool:
    """Fetch one link in as many attempts as it takes, write the file, note the outcome in ``row``.

    False, with nothing noted, where its host is down.
    """
    host = host_of(row.link)
    for attempt in range(settings.attempts):
        if breaker.is_open(host):
            row.status = row.error = ""
            return False
        try:
            data = fetch(session, row.link, settings)
        except FetchError as error:
            row.status, row.error, row.bytes = "failed", str(error), 0
            pause = settings.backoff * 2**attempt * random.uniform(0.5, 1.0)
            pause = max(pause, error.wait)
            last = attempt + 1 == settings.attempts or pause > settings.longest_wait
            if not error.again or last:
                breaker.note(host, answered=not error.again)
                return True
            time.sleep(pause)
        else:
            breaker.note(host, answered=True)
            write_whole(images / row.file, data)
            row.status, row.error, row.bytes = "ok", "", len(data)
            return True
    raise AssertionError("there is at least one attempt")


def _there(path: Path) -> tuple[str, str, int]:
    """Status, error and size of a file that is there: an older version took for a picture what a server
    called one."""
    with path.open("rb") as stream:
        reason = not_a_picture(stream.read(HEAD))
    return "failed" if reason else "ok", reason, path.stat().st_size


def _read(path: Path) -> list[Download]:
    """The rows of ``downloads.csv``; none where there is no such file."""
    if not path.is_file():
        return []
    rows = read_table(path, COLUMNS).to_dict("records")
    return [
        Download(**{key: row[key] for key in COLUMNS} | {"bytes": int(row["bytes"] or 0)}) for row in rows
    ]


def _report(todo: list[Download], size: int, reused: int, failed_before: int, seconds: float) -> None:
    fetched = sum(row.status == "ok" for row in todo)
    failed = Counter(row.error for row in todo if row.status == "failed")
    rate = fetched / max(seconds, 1e-9)
    print(
        f"download: {fetched} fetched ({size / 1e6:.1f} MB), {reused} reused, {failed.total()} failed"
        f" in {seconds:.0f} s ({rate:.1f} img/s)"
    )
    for reason, count in failed.most_common():
        print(f"  failed: {count} x {reason}")
    if failed_before:
        print(
            f"  {failed_before} failed in an earlier run and were left alone; --retry-failed tries them again"
        )
