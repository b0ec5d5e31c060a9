"""How bad input is told: one sentence on stderr and a non-zero exit, never a traceback."""

import os
import sys
import traceback
from collections.abc import Callable


class InputError(Exception):
    """Something the user gave cannot be used; the message is one sentence that says what, where, and what to do."""


def unexpected(error: Exception) -> tuple[str, str]:
    """A reason (``error: ValueError: ...``) and the traceback of an error that costs one picture, not the run."""
    words = " ".join(str(error).split())[:200]
    return f"error: {type(error).__name__}: {words}", "".join(traceback.format_exception(error))


def run_main(main: Callable[[], int]) -> None:
    """Call ``main`` and exit with its code: 2 with one sentence on an `InputError`, 130 on Ctrl-C."""
    try:
        sys.exit(main())
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted: finished work is kept, run the same command again to go on", file=sys.stderr)
        sys.stderr.flush()
        sys.stdout.flush()
        os._exit(130)  # at once: a normal exit would wait for threads that wait for servers
