"""One link to the bytes of a picture: an attempt, within limits, at what any server may send."""

import email.utils
import re
import time
import zlib
from urllib.parse import urljoin, urlsplit

import requests
import urllib3

from src.images.decode import not_identified
from src.settings import DownloadSettings

_REDIRECTS = (301, 302, 303, 307, 308)
_TRY_AGAIN = (408, 425, 429)  # and 5xx
_HEADERS = {"User-Agent": "Mozilla/5.0 (compatible; product-image-fetcher)", "Accept-Encoding": "identity"}
_HOST_FIRST = re.compile(r"(?:[\w-]+\.)+[a-zA-Z]{2,}(?::[0-9]+)?/")
_CUT = "connection failed or cut off"


class FetchError(Exception):
    """An attempt failed. ``again``: whether another may succeed; ``wait``: seconds the server asks to wait
    before."""

    def __init__(self, reason: str, again: bool = False, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.again, self.wait = again, wait


def new_session() -> requests.Session:
    """A session for `fetch`: keeps its connections alive between pictures."""
    session = requests.Session()
    session.headers.update(_HEADERS)
    return session


def absolute(link: str) -> str:
    """``link`` with a scheme: https for ``//host/x.jpg`` and ``host.com/x.jpg``."""
    link = link.strip()
    if link.startswith("//"):
        return f"https:{link}"
    return f"https://{link}" if _HOST_FIRST.match(link) else link


def host_of(link: str) -> str:
    """Host and port of a link; empty where it has none that can be told."""
    try:
        return urlsplit(absolute(link)).netloc.lower()
    except ValueError:
        return ""


def fetch(session: requests.Session, link: str, settings: DownloadSettings) -> bytes:
    """One attempt at the picture behind ``link``, redirects followed; raises `FetchError`.

    Whether it is a picture its first bytes tell, not what the server calls it.
    """
    deadline = time.monotonic() + settings.seconds
    link = absolute(link)
    for _ in range(settings.max_redirects + 1):
        try:
            scheme = urlsplit(link).scheme
            if scheme not in ("http", "https"):
                raise FetchError(
                    f"only http and https are fetched, not {scheme or 'a link without a scheme'}"
                )
            with session.get(link, timeout=settings.timeout, stream=True, allow_redirects=False) as response:
                if response.status_code in _REDIRECTS and "location" in response.headers:
                    link = urljoin(link, response.headers["location"])
                    continue
                return _picture(response, settings, deadline)
        except (requests.Timeout, urllib3.exceptions.TimeoutError):
            raise FetchError("timeout", again=True) from None
        except (requests.ConnectionError, urllib3.exceptions.HTTPError, OSError) as error:
            if isinstance(error, (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema)):
                raise FetchError("not a usable link") from None
            raise FetchError(_CUT, again=True) from None
        except ValueError:
            raise FetchError("not a usable link") from None
    raise FetchError("too many redirects")


def _picture(response: requests.Response, settings: DownloadSettings, deadline: float) -> bytes:
    """The picture in a response; raises `FetchError`."""
    code = response.status_code
    if code in _TRY_AGAIN or code >= 500:
        raise FetchError(
            f"HTTP {code}", again=True, wait=_retry_after(response.headers.get("retry-after", ""))
        )
    if code != 200:
        raise FetchError(f"HTTP {code}")
    packing = response.headers.get("content-encoding", "")
    data = unpacked(_body(response, settings, deadline), packing, settings.max_bytes)
    if reason := not_identified(data):
        packed = packing.strip().lower() not in ("", "identity")
        raise FetchError(f"{reason} (sent packed as {packing[:40]!r})" if packed else reason)
    return data


def _body(response: requests.Response, settings: DownloadSettings, deadline: float) -> bytes:
    """The body as it was sent, within the limits; raises `FetchError`."""
    size = response.headers.get("content-length", "")
    if size.isdecimal() and int(size) > settings.max_bytes:
        raise FetchError(f"larger than {settings.max_bytes} bytes")
    pieces = bytearray()
    while piece := response.raw.read1(
        1 << 16
    ):  # what has arrived, so that a dripping body meets the deadline
        pieces += piece
        if len(pieces) > settings.max_bytes:
            raise FetchError(f"larger than {settings.max_bytes} bytes")
        if time.monotonic() > deadline:
            raise FetchError("timeout", again=True)
    if size.isdecimal() and len(pieces) < int(size):
        raise FetchError(_CUT, again=True)
    if not pieces:
        raise FetchError("empty response", again=True)
    return bytes(pieces)


def unpacked(data: bytes, packing: str, limit: int) -> bytes:
    """``data`` without the packing that a Content-Encoding header names, or that a gzip has without being
    named.

    Identity is asked for, but not every server listens, and some name a packing that is not there: then the
    data stay as they are. Raises `FetchError` for more than ``limit`` bytes, and for what is cut off.
    """
    for name in reversed(packing.lower().replace(" ", "").split(",")):
        if name in ("gzip", "x-gzip"):
            data = _inflated(data, zlib.MAX_WBITS | 16, limit) or data
        elif name == "deflate":  # with the header of zlib, as it should, or without
            data = _inflated(data, zlib.MAX_WBITS, limit) or _inflated(data, -zlib.MAX_WBITS, limit) or data
        elif name == "br":
            data = _without_brotli(data, limit)
    if data.startswith(b"\x1f\x8b\x08"):
        data = _inflated(data, zlib.MAX_WBITS | 16, limit) or data
    return data


def _inflated(data: bytes, window: int, limit: int) -> bytes:
    """Nothing where the data are no such stream."""
    stream = zlib.decompressobj(window)
    try:
        plain = stream.decompress(data, limit + 1)
    except zlib.error:
        return b""
    if len(plain) > limit:
        raise FetchError(f"larger than {limit} bytes, unpacked")
    if not stream.eof:
        if window < 0:
            return b""  # nearly anything begins like a stream without a header
        raise FetchError(_CUT, again=True)
    return plain


def _without_brotli(data: bytes, limit: int) -> bytes:
    try:
        import brotli
    except ImportError:
        raise FetchError("packed as br, which the package brotli unpacks; install requirements.txt") from None
    stream, plain = brotli.Decompressor(), b""
    try:
        while not stream.is_finished():
            piece = stream.process(b"" if plain else data, output_buffer_limit=limit + 1)
            plain += piece
            if len(plain) > limit:
                raise FetchError(f"larger than {limit} bytes, unpacked")
            if not piece:
                break
    except brotli.error:
        return data
    if not stream.is_finished():
        raise FetchError(_CUT, again=True)
    return plain


def _retry_after(header: str) -> float:
    """Seconds of a Retry-After header (a number, or an HTTP date); 0 when there is none that can be read."""
    if header.strip().isdecimal():
        return float(header)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(header).timestamp() - time.time())
    except (TypeError, ValueError, OverflowError):
        return 0.0
