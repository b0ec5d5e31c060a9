"""Starts a stage's command in a process per GPU, because a notebook is one process, which uses one GPU.

accelerate's ``notebook_launcher`` forks the notebook's process, and refuses to where bitsandbytes is loaded
or a GPU in use. Processes of their own, as ``accelerate launch`` starts them, have no such conditions.
"""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from src.data.errors import InputError

ROOT = Path(__file__).resolve().parent.parent
"""The repository."""


def python_path() -> str:
    """Return the ``PYTHONPATH`` of another process: the repository first, then that of this one."""
    return os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))


def on_every_gpu(module: str, settings: Any, processes: int) -> None:
    """Run ``python -m MODULE`` with a stage's ``settings`` in so many processes, and pass their output on.

    Raises `InputError` when it fails; the sentence with the reason is in the output.
    """
    values = {name: value for name, value in dataclasses.asdict(settings).items() if value is not None}
    flags = [f"--{name}={value}" for name, value in values.items()]
    launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node", str(processes), "-m", module]
    changes = {"PYTHONPATH": python_path(), "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}
    command, environment = [sys.executable, "-m", *launcher, *flags], {**os.environ, **changes}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as run:
        assert run.stdout
        while piece := os.read(run.stdout.fileno(), 65536):
            print(piece.decode(errors="replace"), end="", flush=True)
    if run.returncode:
        code = run.returncode
        raise InputError(f"{module} in {processes} processes failed (exit code {code}); see above")
