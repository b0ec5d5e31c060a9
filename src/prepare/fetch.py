"""Fetch the image behind one link: a single attempt, within limits, whatever the server sends."""

import contextlib
import re
import threading
import time
import zlib
from urllib.parse import urljoin, urlsplit

import brotli
import requests
import urllib3

from src.images.decode import not_identified
from src.settings import DownloadSettings

_TRY_AGAIN = (408, 425, 429)
"""Status codes below 500 after which another attempt may succeed."""
_HEADERS = {"User-Agent": "Mozilla/5.0 (compatible; product-image-fetcher)", "Accept-Encoding": "identity"}
_HOST_FIRST = re.compile(r"(?:[\w-]+\.)+[a-zA-Z]{2,}(?::[0-9]+)?/")
_CUT = "connection failed or cut off"
_BY_HEADER, _RAW, _BROTLI = zlib.MAX_WBITS | 32, -zlib.MAX_WBITS, 0
_STREAMS = {"gzip": [_BY_HEADER], "x-gzip": [_BY_HEADER], "deflate": [_BY_HEADER, _RAW], "br": [_BROTLI]}
"""Kinds of stream that a content encoding may stand for, as window bits for zlib, or brotli."""


class FetchError(Exception):
    """A failed attempt.

    ``again`` tells whether another may succeed, ``wait`` how many seconds the server asks to wait before it.
    """

    def __init__(self, reason: str, again: bool = False, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.again, self.wait = again, wait


class _Session(threading.local, requests.Session):
    """A session that is another one in each thread, and keeps connections alive between images.

    It leaves redirects alone: requests would read the body of each to its end, however long that takes.
    """

    def __init__(self) -> None:
        super().__init__()
        self.headers.update(_HEADERS)

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Return nothing: `fetch` follows redirects itself."""


_session = _Session()


def absolute(link: str) -> str:
    """Return ``link`` with a scheme: https for ``//host/x.jpg`` and ``host.com/x.jpg``."""
    link = link.strip()
    if link.startswith("//"):
        return f"https:{link}"
    return f"https://{link}" if _HOST_FIRST.match(link) else link


def host_of(link: str) -> str:
    """Return host and port of a link; empty where they cannot be told."""
    try:
        return urlsplit(absolute(link)).netloc.lower()
    except ValueError:
        return ""


def fetch(link: str, settings: DownloadSettings) -> bytes:
    """Return the bytes of the image behind ``link``, redirects followed. Raises `FetchError`.

    Its first bytes decide whether it is an image, not what the server calls it.
    """
    deadline = time.monotonic() + settings.seconds
    link = absolute(link)
    try:
        for _ in range(settings.max_redirects + 1):
            scheme = urlsplit(link).scheme or "a link without a scheme"
            if scheme not in ("http", "https"):
                raise FetchError(f"only http and https are fetched, not {scheme}")
            with _session.get(link, timeout=settings.timeout, stream=True) as response:
                if not response.is_redirect:
                    return _image(response, settings, deadline)
                link = urljoin(link, response.headers["location"])
    except (requests.Timeout, urllib3.exceptions.TimeoutError):
        raise FetchError("timeout", again=True) from None
    except ValueError:  # before OSError: a link that requests refuses is both
        raise FetchError("not a usable link") from None
    except (OSError, urllib3.exceptions.HTTPError):
        raise FetchError(_CUT, again=True) from None
    raise FetchError("too many redirects")


def _image(response: requests.Response, settings: DownloadSettings, deadline: float) -> bytes:
    code = response.status_code
    if code != 200:
        raise FetchError(f"HTTP {code}", code in _TRY_AGAIN or code >= 500, _retry_after(response))
    packing = response.headers.get("content-encoding", "")
    data = unpacked(_body(response, settings, deadline), packing, settings.max_bytes)
    if reason := not_identified(data):
        packed = packing.strip().lower() not in ("", "identity")
        raise FetchError(f"{reason} (sent packed as {packing[:40]!r})" if packed else reason)
    return data


def _retry_after(response: requests.Response) -> float:
    """Return the seconds that a Retry-After header (a number, or a date) asks for; 0 if none can be read."""
    with contextlib.suppress(urllib3.exceptions.InvalidHeader, ValueError, OverflowError):
        return urllib3.Retry().get_retry_after(response.raw) or 0.0
    return 0.0


def _body(response: requests.Response, settings: DownloadSettings, deadline: float) -> bytes:
    """Return the body as it was sent, within the limits; urllib3 raises when it is shorter than announced."""
    announced, body = response.headers.get("content-length", ""), bytearray()
    too_large = announced.isdecimal() and int(announced) > settings.max_bytes
    while not too_large and (piece := response.raw.read1(1 << 16)):  # does not wait for 64 KiB to arrive
        body += piece
        too_large = len(body) > settings.max_bytes
        if time.monotonic() > deadline:
            raise FetchError("timeout", again=True)
    if too_large:
        raise FetchError(f"larger than {settings.max_bytes} bytes")
    if not body:
        raise FetchError("empty response", again=True)
    return bytes(body)


def unpacked(data: bytes, packing: str, limit: int) -> bytes:
    """Return ``data`` without the packing that a Content-Encoding header names; a gzip needs no name.

    Identity is asked for, but not every server listens, and some name a packing that is not there: then the
    data stay as they are. Raises `FetchError` for more than ``limit`` bytes, and for what is cut off.
    """
    for name in [*reversed(packing.lower().replace(" ", "").split(",")), "gzip"]:
        for kind in _STREAMS.get(name, ()):
            try:
                plain, whole = _unpack(data, kind, limit + 1)
            except (zlib.error, brotli.error):
                continue
            if len(plain) > limit:
                raise FetchError(f"larger than {limit} bytes, unpacked")
            if whole:
                data = plain or data
                break
            if kind != _RAW:  # nearly anything begins like a stream without a header
                raise FetchError(_CUT, again=True)
    return data


def _unpack(data: bytes, kind: int, size: int) -> tuple[bytes, bool]:
    """Return at least ``size`` unpacked bytes, or all there are; tell whether that is the whole stream."""
    if kind == _BROTLI:
        stream = brotli.Decompressor()
        return stream.process(data, output_buffer_limit=size), stream.is_finished()
    inflater = zlib.decompressobj(kind)
    return inflater.decompress(data, size), inflater.eof
