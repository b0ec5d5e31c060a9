"""Files that appear whole or not at all, their cache keys, and journals of work that survive a kill."""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self, cast

from src.data.errors import InputError

_URL = re.compile(r"([a-z][a-z0-9+.-]+):/+(.*)")


def located(path: Path) -> Path:
    """Return ``path``, or for a URL that fsspec knows (``s3://bucket/folder``) what behaves like its path.

    A file ``NAME.url`` beside the path holds the URL to use instead. Raises `InputError`.
    """
    link = path.with_name(f"{path.name}.url") if path.name else path
    text = link.read_text(encoding="utf-8").strip() if link.suffix == ".url" and link.is_file() else str(path)
    url = _URL.fullmatch(text)  # one slash will do: a Path turns two into one
    if not url or "://" in str(path):
        return path
    if url[1] == "file":
        return Path("/", url[2])
    from upath import UPath  # here, since few runs need it

    try:
        return cast(Path, UPath(f"{url[1]}://{url[2]}"))
    except (ImportError, ValueError) as error:
        raise InputError(
            f"{text}: cannot be reached ({error}); install what fsspec needs for {url[1]}://"
        ) from None


def write_whole(path: Path, data: str | bytes | Iterable[str]) -> None:
    """Write ``data`` (text as UTF-8, whole or in pieces) to ``path`` and make its folder.

    A reader sees the old file or the new one.
    """
    pieces = (data,) if isinstance(data, str | bytes) else data
    encoded = (piece.encode() if isinstance(piece, str) else piece for piece in pieces)
    if not isinstance(path, Path):  # in a store, where an object appears when it is whole
        path.write_bytes(b"".join(encoded))
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    # Random, since processes of several nodes may share the folder and have the same id.
    beside = path.with_name(f".{path.name}.{os.urandom(4).hex()}.part")
    try:
        with beside.open("wb") as stream:
            stream.writelines(encoded)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a folder for this run; raise `InputError` while another run holds it.

    The system releases what a dead process held. Stores behind a URL and some mounted drives have no locks.
    """
    if not isinstance(folder, Path):
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / ".lock"
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            other = file.read()
            raise InputError(f"{folder}: another run is at work here ({other}); wait for its end") from None
        except OSError:
            pass  # some mounted drives have no locks
        file.truncate(0)
        file.write(f"process {os.getpid()}, since {time.strftime('%H:%M')}")
        file.flush()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def replace_folder(new: Path, final: Path) -> None:
    """Put the folder ``new`` in the place of ``final``, which may exist."""
    old = final.with_name(f"{final.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if final.exists():
        final.replace(old)
    new.replace(final)
    shutil.rmtree(old, ignore_errors=True)


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file; empty when there is none that can be read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def content_hash(*pieces: bytes) -> str:
    """Return the hash by which contents are compared: 128 bits of the SHA-256, as 32 hex digits."""
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()[:32]


def cache_key(values: object, files: Mapping[Path, str] = {}) -> str:
    """Return the SHA-256 of ``values``, which are made of what JSON has, and of the contents of ``files``.

    ``files`` has for each path what to do when it is missing, for the `InputError` that is raised then.
    """
    digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode())
    for path, what_to_do in files.items():
        if not path.is_file():
            raise InputError(f"{path}: not found; {what_to_do}")
        digest.update(path.read_bytes())
    return digest.hexdigest()


class Journal:
    """Finished work as lines of JSON, appended as it comes; a line that a killed run left torn is skipped.

    `add` needs the journal as a context manager, `read`, `scan`, `at` and `remove` do not.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[dict[str, Any]]:
        """Return all whole entries, oldest first; none if there is no file."""
        return [entry for _, entry in self.scan()]

    def scan(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield the same entries, each as (offset in the file for `at`, entry)."""
        if not self.path.is_file():
            return
        with self.path.open("rb") as stream:
            offset = 0
            for line in stream:  # bytes: lines of text would also end at characters that JSON does not escape
                with contextlib.suppress(ValueError):
                    yield offset, json.loads(line)
                offset += len(line)

    def at(self, offset: int) -> dict[str, Any]:
        """Return the entry at ``offset``."""
        with self.path.open("rb") as stream:
            stream.seek(offset)
            return json.loads(stream.readline())

    def drop_unless(self, key: Mapping[str, object]) -> None:
        """Delete the file unless its first entry is the cache key ``key``."""
        if next((entry for _, entry in self.scan()), None) != key:
            self.remove()

    @contextlib.contextmanager
    def opened_for(self, key: Mapping[str, object]) -> Iterator[Self]:
        """Open the journal to `add`, emptied first if it is of another cache key than ``key``."""
        self.drop_unless(key)
        is_new = not self.path.is_file()
        with self:
            if is_new:
                self.add(key)
            yield self

    def __enter__(self) -> Self:
        self._stream = self.path.open("a+b")
        if self._stream.tell():
            self._stream.seek(-1, os.SEEK_END)
            if self._stream.read(1) != b"\n":
                self._stream.write(b"\n")  # ends the torn line
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def add(self, entry: Mapping[str, object]) -> int:
        """Append an entry and return its offset; a kill of this process cannot lose it any more."""
        offset = self._stream.seek(0, os.SEEK_END)
        self._stream.write((json.dumps(entry, ensure_ascii=False) + "\n").encode())
        self._stream.flush()
        return offset

    def remove(self) -> None:
        """Delete the file."""
        self.path.unlink(missing_ok=True)
