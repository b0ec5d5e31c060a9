"""A Python process that has its libraries loaded: forked from a server that has (see
`conftest.run_python`)."""

import os
import runpy
import sys
from collections.abc import Mapping, Sequence

LIBRARIES = [
    "torch",
    "transformers.models.idefics2.modeling_idefics2",
    "peft",
    "pandas",
    "papermill",
    "nbconvert",
]


def run(arguments: Sequence[str], cwd: str, environment: Mapping[str, str], out: str, err: str) -> None:
    """Be ``python ARGUMENTS`` in ``cwd``, its output in the files ``out`` and ``err``; the exit code is its
    own."""
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    for descriptor, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    if arguments[0] == "-m":
        sys.argv = list(arguments[1:])
        sys.path.insert(0, cwd)
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    elif arguments[0] == "-c":
        sys.argv = ["-c", *arguments[2:]]
        sys.path.insert(0, cwd)
        exec(compile(arguments[1], "<string>", "exec"), {"__name__": "__main__"})
    else:
        sys.argv = list(arguments)
        sys.path.insert(0, os.path.dirname(os.path.abspath(arguments[0])))  # noqa: PTH100, PTH120
        runpy.run_path(arguments[0], run_name="__main__")
