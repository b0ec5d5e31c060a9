"""The execution of a notebook by this Python, into a copy without what belongs to one run only."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
import papermill
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import DeadKernelError
from nbconvert.preprocessors.coalescestreams import CoalesceStreamsPreprocessor
from papermill.exceptions import PapermillExecutionError

from src.data.errors import InputError
from src.data.files import write_whole
from src.launch import ROOT, python_path


class _ThisPython(AsyncKernelManager):
    """A notebook kernel of this interpreter, with this repository first in its path.

    The kernel that Jupyter finds by the name python3 may be another one: of a folder in JUPYTER_PATH, or of
    another user.
    """

    @property
    def kernel_spec(self) -> KernelSpec:
        """The command and the environment of the kernel."""
        command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=command, env={"PYTHONPATH": python_path()}, language="python")


def execute_notebook(source: Path, target: Path, parameters: Mapping[str, Any]) -> int:
    """Execute ``source`` with those ``parameters`` that differ from its own into ``target``; return 0.

    The target appears whole or not at all; text output is passed on as it comes. Raises `InputError` with the
    sentence of one raised inside. After any other error, ``failed-NAME`` beside the target has the traceback.
    """
    failed = target.with_name(f"failed-{target.name}")
    changed = dict(parameters)
    for name, parameter in papermill.inspect_notebook(source).items():
        if str(changed.get(name)) == parameter["default"].strip("'\""):
            changed.pop(name, None)
    try:
        papermill.execute_notebook(
            source,
            failed,
            changed,
            kernel_name="python3",
            kernel_manager_class=_ThisPython,
            progress_bar=False,
            cwd=ROOT,
            stdout_file=sys.stdout,
            stderr_file=sys.stderr,
            extra_arguments=["--IPKernelApp.log_level=CRITICAL"],  # its notes on sockets do not concern users
        )
    except PapermillExecutionError as error:
        if error.ename == InputError.__name__:
            failed.unlink()
            raise InputError(error.evalue) from None
        fault = f"{error.ename}: {error.evalue} (the whole error is in {failed})"
        raise InputError(f"{source.name}: {fault}") from None
    except DeadKernelError:
        fault = "its process died (killed, or out of memory); run again to go on"
        raise InputError(f"{source.name}: {fault}") from None
    write_whole(target, nbformat.writes(clean(nbformat.read(failed, as_version=4))) + "\n")
    failed.unlink()
    return 0


def clean(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Remove what belongs to one run only: timings, widget states, overwritten progress bars."""
    for key in ("papermill", "widgets"):
        notebook.metadata.pop(key, None)
    for cell in notebook.cells:
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
    return CoalesceStreamsPreprocessor().preprocess(notebook, {})[0]
