"""Errors of a user's input: one sentence on stderr and a non-zero exit code, never a traceback."""

import contextlib
import errno
import os
import shutil
import sys
import traceback
from collections.abc import Callable, Iterator

_ADVICE = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "free some space and run the same command again"),
    **dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), "give a folder that can be written"),
    **dict.fromkeys((errno.ENOTDIR, errno.EEXIST), "give a folder, not a file"),
}
"""Advice on errors of the file system."""


class InputError(Exception):
    """Input that cannot be used; the message is one sentence: what is wrong, where, and what to do."""


def unexpected(error: Exception) -> tuple[str, str]:
    """Return reason (``error: ValueError: ...``) and traceback of an error that costs only one image."""
    words = " ".join(str(error).split())[:200]
    return f"error: {type(error).__name__}: {words}", "".join(traceback.format_exception(error))


@contextlib.contextmanager
def shared_memory_named(advice: str = "give --workers 0, or make it larger") -> Iterator[None]:
    """Raise `InputError` for a shared memory that is too small, whose errors read like those of a full disk.

    Processes hand tensors over through it, and have their locks there. A Docker container has 64 MB.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        if not _is_of_shared_memory(error):
            raise
        fault = "too small for what processes hand over to each other"
        raise InputError(f"/dev/shm: {fault}; {advice} (docker run --shm-size=2g)") from None


def _is_of_shared_memory(error: OSError | RuntimeError) -> bool:
    if isinstance(error, OSError) and error.errno == errno.ENOSPC and not error.filename:
        with contextlib.suppress(OSError):
            return shutil.disk_usage("/dev/shm").free < os.sysconf("SC_PAGE_SIZE")
    return "</torch_" in str(error) or "shared memory" in str(error)


def run_main(main: Callable[[], int]) -> None:
    """Call ``main`` and exit with its code; on bad input or an error of the file system, one sentence and 2.

    Ctrl-C exits with 130, a reader of the output that has seen enough (``command | head``) with 1.
    """
    try:
        sys.exit(main())
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        advice = _ADVICE.get(error.errno or 0, "run the same command again, or with other paths")
        print(f"error: {where}{error.strerror or error}; finished work is kept; {advice}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted: finished work is kept, run the same command again to go on", file=sys.stderr)
        sys.stderr.flush()
        sys.stdout.flush()
        os._exit(130)  # at once: a normal exit would wait for threads that wait for servers
