"""How bad input is told: one sentence on stderr and a non-zero exit, never a traceback."""

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
"""What to do about an error of the file system."""


class InputError(Exception):
    """Something the user gave cannot be used; the message is one sentence that says what, where, and what to
    do."""


def unexpected(error: Exception) -> tuple[str, str]:
    """A reason (``error: ValueError: ...``) and the traceback of an error that costs one picture, not the
    run."""
    words = " ".join(str(error).split())[:200]
    return f"error: {type(error).__name__}: {words}", "".join(traceback.format_exception(error))


def run_main(main: Callable[[], int]) -> None:
    """Call ``main`` and exit with its code: 2 with one sentence on bad input or a file system's no, 130 on
    Ctrl-C."""
    try:
        sys.exit(main())
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:  # of a reader that has seen enough: command | head
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
