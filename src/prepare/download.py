"""Links of a data folder's tables to files in ``images/``: many at once, politely, and nothing half-written.

State is kept in ``downloads.csv`` beside the tables (`COLUMNS`), one row per link: which file is whose, what failed and
why. A run that was cut off goes on from its journal.
"""

import email.utils
import random
import threading
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import pandas as pd
import requests
import urllib3
from tqdm import tqdm

from src.data.errors import InputError
from src.data.files import Journal, write_whole
from src.data.folders import DataFolder
from src.data.names import image_name, read_links, with_hash
from src.data.tables import read_table
from src.prepare.window import in_flight
from src.settings import DownloadSettings

COLUMNS = ("link", "file", "status", "error", "bytes")
_REDIRECTS = (301, 302, 303, 307, 308)
_TRY_AGAIN = (408, 425, 429)  # and 5xx
_HEADERS = {"User-Agent": "Mozilla/5.0 (compatible; product-image-fetcher)", "Accept-Encoding": "identity"}


@dataclass(slots=True)
class Download:
    """A link, the file it goes to, and what became of it (a row of ``downloads.csv``)."""

    link: str
    file: str
    status: str = ""  # ok, failed
    error: str = ""
    bytes: int = 0


class FetchError(Exception):
    """An attempt failed. ``again``: whether another may succeed; ``wait``: seconds the server asks to wait before."""

    def __init__(self, reason: str, again: bool = False, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.again, self.wait = again, wait


def download(data: Path, settings: DownloadSettings, retry_failed: bool = False) -> pd.DataFrame:
    """Fetch every picture that ``data``'s tables name and ``images/`` lacks; return the table of `COLUMNS`.

    What failed in an earlier run is left alone unless ``retry_failed``. Raises `InputError` when the tables cannot be
    read or the folder not be written.
    """
    folder = DataFolder(data)
    images = folder.images
    journal = Journal(data / ".downloads.journal.jsonl")
    start = time.monotonic()
    try:
        images.mkdir(parents=True, exist_ok=True)
        for left in images.glob(".*.part"):  # of a run that was killed while it wrote
            left.unlink()
        rows = plan(read_links(data), [*_read(folder.downloads), *(Download(**entry) for entry in journal.read())])
        todo, reused = [], 0
        for row in rows:
            if (images / row.file).is_file():
                row.status, row.error, row.bytes = "ok", "", (images / row.file).stat().st_size
                reused += 1
            elif row.status != "failed" or retry_failed:
                todo.append(row)
        fetched = _fetch_all(todo, images, settings, journal)
        table = pd.DataFrame([asdict(row) for row in rows], columns=list(COLUMNS))
        write_whole(folder.downloads, table.to_csv(index=False))
        journal.remove()
    except OSError as error:
        raise InputError(f"{images}: cannot be written ({error.strerror}); fetched pictures are kept") from None
    _report(todo, fetched, reused, len(rows) - len(todo) - reused, time.monotonic() - start)
    return table


def plan(links: Iterable[str], known: Iterable[Download]) -> list[Download]:
    """A row per link, with a file name of its own: that of ``known``, else `image_name`, with a hash if it is taken."""
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


def fetch(session: requests.Session, link: str, settings: DownloadSettings) -> bytes:
    """One attempt at the bytes behind ``link``, redirects followed; raises `FetchError`."""
    deadline = time.monotonic() + settings.seconds
    for _ in range(settings.max_redirects + 1):
        try:
            scheme = urlsplit(link).scheme
            if scheme not in ("http", "https"):
                raise FetchError(f"only http and https are fetched, not {scheme or 'a link without a scheme'}")
            with session.get(link, timeout=settings.timeout, stream=True, allow_redirects=False) as response:
                if response.status_code in _REDIRECTS and "location" in response.headers:
                    link = urljoin(link, response.headers["location"])
                    continue
                return _body(response, settings, deadline)
        except (requests.Timeout, urllib3.exceptions.TimeoutError):
            raise FetchError("timeout", again=True) from None
        except (requests.ConnectionError, urllib3.exceptions.HTTPError, OSError) as error:
            if isinstance(error, (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema)):
                raise FetchError("not a usable link") from None
            raise FetchError("connection failed or cut off", again=True) from None
        except ValueError:
            raise FetchError("not a usable link") from None
    raise FetchError("too many redirects")


def _body(response: requests.Response, settings: DownloadSettings, deadline: float) -> bytes:
    """The body of a good response, within the limits; raises `FetchError`."""
    code, kind = response.status_code, response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if code in _TRY_AGAIN or code >= 500:
        raise FetchError(f"HTTP {code}", again=True, wait=_retry_after(response.headers.get("retry-after", "")))
    if code != 200:
        raise FetchError(f"HTTP {code}")
    if kind and not kind.startswith("image/") and kind not in ("application/octet-stream", "binary/octet-stream"):
        raise FetchError(f"not an image but {kind}")
    size = response.headers.get("content-length", "")
    if size.isdecimal() and int(size) > settings.max_bytes:
        raise FetchError(f"larger than {settings.max_bytes} bytes")
    pieces = bytearray()
    while piece := response.raw.read1(1 << 16):  # what has arrived, so that a dripping body meets the deadline
        pieces += piece
        if len(pieces) > settings.max_bytes:
            raise FetchError(f"larger than {settings.max_bytes} bytes")
        if time.monotonic() > deadline:
            raise FetchError("timeout", again=True)
    if size.isdecimal() and len(pieces) < int(size):
        raise FetchError("connection failed or cut off", again=True)
    if not pieces:
        raise FetchError("empty response", again=True)
    return bytes(pieces)


def _retry_after(header: str) -> float:
    """Seconds of a Retry-After header (a number, or an HTTP date); 0 when there is none that can be read."""
    if header.strip().isdecimal():
        return float(header)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(header).timestamp() - time.time())
    except (TypeError, ValueError):
        return 0.0


def _fetch_all(todo: list[Download], images: Path, settings: DownloadSettings, journal: Journal) -> int:
    """Fetch ``todo`` and fill in what became of each; return the number of bytes."""
    local = threading.local()

    def work(row: Download) -> None:
        if not hasattr(local, "session"):
            local.session = requests.Session()  # keeps its connection alive between pictures
            local.session.headers.update(_HEADERS)
        _fetch_one(local.session, row, images, settings)

    pool, total = ThreadPoolExecutor(settings.connections), 0
    try:
        done = in_flight(pool, work, todo, 4 * settings.connections)
        with journal:
            for row, _ in tqdm(done, total=len(todo), desc="download", unit="img", smoothing=0.05):
                journal.add(asdict(row))
                total += row.bytes
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    return total


def _fetch_one(session: requests.Session, row: Download, images: Path, settings: DownloadSettings) -> None:
    """Fetch one link in as many attempts as it takes, write the file, note the outcome in ``row``."""
    for attempt in range(settings.attempts):
        try:
            data = fetch(session, row.link, settings)
        except FetchError as error:
            row.status, row.error, row.bytes = "failed", str(error), 0
            pause = settings.backoff * 2**attempt * random.uniform(0.5, 1.0)
            pause = max(pause, error.wait)
            if not error.again or pause > settings.longest_wait:
                return
            if attempt + 1 < settings.attempts:
                time.sleep(pause)
        else:
            write_whole(images / row.file, data)
            row.status, row.error, row.bytes = "ok", "", len(data)
            return


def _read(path: Path) -> list[Download]:
    """The rows of ``downloads.csv``; none where there is no such file."""
    if not path.is_file():
        return []
    rows = read_table(path, COLUMNS).to_dict("records")
    return [Download(**{key: row[key] for key in COLUMNS} | {"bytes": int(row["bytes"] or 0)}) for row in rows]


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
        print(f"  {failed_before} failed in an earlier run and were left alone; --retry-failed tries them again")
