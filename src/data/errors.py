"""Errors of a user's input: one sentence on stderr and a non-zero exit code, never a traceback."""

import errno
import os
import sys
import traceback
from collections.abc import Callable

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
