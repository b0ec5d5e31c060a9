"""Work on many items by this machine's processes, or by the nodes of a Ray cluster: the one module that knows Ray.

Nodes need the libraries of ``requirements.txt`` and ``requirements-ray.txt``, and see the folders that are worked on at
the same paths; this code goes to them by itself.
"""

import contextlib
import logging
import os
import socket
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from src.data.errors import InputError
from src.prepare import processes
from src.reading.images import cv2

Item = TypeVar("Item")
Result = TypeVar("Result")
Run = Callable[..., Iterator[tuple[Any, Any]]]
"""`processes.run`, or what does the same on a cluster."""

PER_TASK = 8
"""Items that go to a node at once: enough that a task's own milliseconds do not count, few enough to lose."""
TRIES = 3
"""How often an item may end its process before it is given up."""
_SOURCE = Path(__file__).parent.parent


def runner(address: str | None) -> Run:
    """What runs work on many items: `processes.run`, or over the nodes of a Ray cluster what has the same contract.

    ``address``: the cluster's; ``auto``: of the one that this machine is part of. ``workers`` then are its cores.
    """
    return processes.run if address is None else partial(_run_on_cluster, address)


def _run_on_cluster(
    address: str, work: Callable[[Item], Result], jobs: Iterable[Item], _: int, died: Callable[[Item], Result]
) -> Iterator[tuple[Item, Result]]:
    """Like `processes.run`. At most two tasks for each core are in flight, whatever the number of jobs.

    A task whose node is lost is given to another one. One whose process died is done again item by item: an item that
    ends its process `TRIES` times gets what ``died`` says. Raises `InputError` where there is no Ray or no cluster.
    """
    with connected(address) as ray:
        task = ray.remote(num_cpus=1, max_retries=0)(_done)
        call = ray.put((work, str(Path.cwd())))
        waiting, again = iter(jobs), deque[tuple[list[Item], int]]()
        running: dict[Any, tuple[list[Item], int]] = {}
        while True:
            room = 2 * int(max(1, ray.cluster_resources().get("CPU", 0))) - len(running)
            for _ in range(room):
                items, tries = again.popleft() if again else (list(islice(waiting, PER_TASK)), 0)
                if items:
                    running[task.remote(call, items)] = items, tries
            if not running:
                return
            ray.wait(list(running), num_returns=1)
            for ref in ray.wait(list(running), num_returns=len(running), timeout=0)[0]:
                items, tries = running.pop(ref)
                try:
                    results = ray.get(ref)
                except ray.exceptions.RayTaskError as error:
                    raise error.cause from None
                except (ray.exceptions.NodeDiedError, ray.exceptions.ObjectLostError):
                    print(f"a node was lost; {len(items)} items are done on another one", file=sys.stderr)
                    again.append((items, tries))
                except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError):
                    print(f"a worker died; {len(items)} items are tried again one by one", file=sys.stderr)
                    if len(items) == 1 and tries + 1 >= TRIES:
                        yield items[0], died(items[0])
                    else:
                        again.extend(([item], tries + 1 if len(items) == 1 else 0) for item in items)
                else:
                    yield from zip(items, results, strict=True)


def _done(call: tuple[Callable[[Item], Result], str], items: Sequence[Item]) -> list[Result]:
    """The results of some items, in a process of a node."""
    work, folder = call
    with contextlib.suppress(OSError):  # for relative paths; a node that has no such folder is given whole ones
        os.chdir(folder)
    cv2.setNumThreads(1)  # as many tasks as cores
    return [work(item) for item in items]


@contextlib.contextmanager
def connected(address: str) -> Iterator[ModuleType]:
    """The library, connected to a cluster for as long as it lasts. Raises `InputError`."""
    # It tells its makers nothing, and does not warn of a change to come.
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
    try:
        import ray
    except ImportError:
        raise InputError("--ray: Ray is not installed; pip install -r requirements-ray.txt") from None
    host, colon, port = address.rpartition(":")
    limits = {name: value for name, value in os.environ.items() if name.startswith("OPENCV_IO_")}
    try:
        if colon and port.isdecimal():  # Ray itself tries for minutes, and then ends this process
            socket.create_connection((host, int(port)), timeout=10).close()
        ray.init(
            address=address,
            runtime_env={"env_vars": limits, "py_modules": [str(_SOURCE)]},
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except (OSError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:100]
        raise InputError(f"--ray {address}: no Ray cluster there ({reason}); start one: ray start --head") from None
    try:
        yield ray
    finally:
        ray.shutdown()
