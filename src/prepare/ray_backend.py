"""Work on many items by this machine's processes, or by the nodes of a Ray cluster: the one module that knows
Ray.

Nodes need the libraries of ``requirements.txt`` and ``requirements-ray.txt``, and see the folders that are
worked on at the same paths; this code goes to them by itself.
"""

import contextlib
import logging
import os
import pickle
import socket
import sys
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from src.data.errors import InputError
from src.images.decode import cv2
from src.prepare import processes

Item = TypeVar("Item")
Result = TypeVar("Result")
Run = Callable[..., Iterator[tuple[Any, Any]]]
"""`processes.run`, or what does the same on a cluster."""

PER_TASK = 8
"""Items that go to a node at once: enough that a task's own milliseconds do not count, few enough to lose."""
TRIES = 3
"""How often an item may end its process before it is given up."""
_SOURCE = Path(__file__).parent.parent


def runner(address: str | None, folders: Sequence[Path] = (), per_task: int = PER_TASK) -> Run:
    """What runs work on many items: `processes.run`, or over the nodes of a Ray cluster what has the same
    contract.

    ``address``: the cluster's; ``auto``: of the one that this machine is part of. ``workers`` then are its
    cores, ``per_task`` items go to one at once, and one that does not see all of ``folders`` ends the run
    (`InputError`).
    """
    return processes.run if address is None else partial(_run_on_cluster, address, folders, per_task)


def _run_on_cluster(
    address: str,
    folders: Sequence[Path],
    per_task: int,
    work: Callable[[Item], Result],
    jobs: Iterable[Item],
    _: int,
    died: Callable[[Item], Result],
) -> Iterator[tuple[Item, Result]]:
    """Like `processes.run`. At most two tasks for each core are in flight, whatever the number of jobs.

    A task whose node is lost is given to another one. One whose process died is done again item by item: an
    item that ends its process `TRIES` times gets what ``died`` says. Raises `InputError` where there is no
    Ray or no cluster.
    """
    with connected(address) as ray:
        task = ray.remote(num_cpus=1, max_retries=0)(_done)
        call = ray.put((work, str(Path.cwd()), folders))
        waiting, again = iter(jobs), deque[tuple[list[Item], int]]()
        running: dict[Any, tuple[list[Item], int]] = {}
        while True:
            room = 2 * int(max(1, ray.cluster_resources().get("CPU", 0))) - len(running)
            for _ in range(room):
                items, tries = again.popleft() if again else (list(islice(waiting, per_task)), 0)
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
                    raise (error.cause or error) from None
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


def _done(call: tuple[Callable[[Item], Result], str, Sequence[Path]], items: Sequence[Item]) -> list[Result]:
    """The results of some items, in a process of a node."""
    work, here, folders = call
    _prepare(here)
    for folder in folders:
        if not folder.is_dir():  # else each of its pictures would count as missing
            raise InputError(
                f"{folder}: is not seen by the node {socket.gethostname()}; all nodes need the same folders"
            )
    return [work(item) for item in items]


def run_by_actors(
    address: str,
    make: Callable[[], Callable[[Sequence[Item]], list[Result]]],
    jobs: Iterable[Item],
    per_call: int,
    died: Callable[[Item], Result],
) -> Iterator[tuple[Item, Result]]:
    """Each job with its result, as they finish, from workers that keep what ``make`` makes: a loaded model.

    Ray Data's pool of actors: one for each GPU of the cluster, where it has none for each core; it bounds
    what is in flight. ``make()`` takes ``per_call`` jobs at once and gives a result for each. What a lost
    node or a dead process had is done again, job by job; one that ends its process `TRIES` times gets what
    ``died`` says. Raises `InputError`, and what ``make`` or the work raise.
    """
    left = dict(enumerate(jobs))
    several = len(left) > per_call
    with connected(address) as ray:
        for tries in range(TRIES):
            before = len(left)
            for position, result in _pass(ray, make, left, 1 if tries else per_call):
                yield left.pop(position), result
            if not left:
                return
            if several and not tries and len(left) == before:
                raise InputError(
                    "--ray: every worker died before its first result; has the cluster enough memory?"
                )
            print(
                f"a worker died or a node was lost; {len(left)} items are tried again one by one",
                file=sys.stderr,
            )
    yield from ((job, died(job)) for job in left.values())


def _pass(
    ray: ModuleType, make: Callable[[], Any], left: Mapping[int, Any], per_call: int
) -> Iterator[tuple[int, Any]]:
    """Position and result of each of the jobs whose worker lives on."""
    from ray import data

    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # what is lost is told here, in a sentence
    context = data.DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    context.max_errored_blocks = -1
    waiting = iter(left.items())
    calls = [{"jobs": pickle.dumps(call)} for call in iter(lambda: list(islice(waiting, per_call)), [])]
    there = ray.cluster_resources()
    gpus = int(there.get("GPU", 0))
    actors = min(len(calls), gpus or int(max(1, there.get("CPU", 1))))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what a later version will call otherwise
        results = data.from_items(calls, override_num_blocks=len(calls)).map_batches(
            _Actor,
            fn_constructor_args=(ray.cloudpickle.dumps(make), str(Path.cwd())),
            batch_size=1,
            batch_format="pyarrow",
            compute=data.ActorPoolStrategy(
                min_size=1,
                max_size=actors,
                initial_size=actors,
                max_tasks_in_flight_per_actor=2
                if per_call > 1
                else 1,  # who kills its worker takes no other along
            ),
            num_cpus=1,
            num_gpus=1 if gpus else 0,
            ray_remote_args_fn=lambda: {"max_task_retries": 0},
        )
    try:
        for row in results.iter_rows():
            done = pickle.loads(row["done"])
            if isinstance(done, Exception):
                raise done
            yield from done
    except ray.exceptions.RayError:  # results that were on a lost node
        return


class _Actor:
    """A worker of `run_by_actors`."""

    def __init__(self, make: bytes, folder: str) -> None:
        _prepare(folder)
        self._work: Any = None
        self._error: Exception | None = None
        try:
            self._work = pickle.loads(make)()
        except Exception as error:  # to be raised where it is seen
            self._error = error

    def __call__(self, batch: Any) -> Any:
        """A table with the pickled jobs of a call to one with their results, or the exception that they
        raised."""
        import pyarrow

        positions, jobs = zip(*pickle.loads(batch["jobs"][0].as_py()), strict=True)
        try:
            done: Any = self._error or list(zip(positions, self._work(jobs), strict=True))
        except Exception as error:
            done = error
        return pyarrow.table({"done": [pickle.dumps(done)]})


def _prepare(folder: str) -> None:
    """Make a node's process like the one that has started it."""
    with contextlib.suppress(
        OSError
    ):  # for relative paths; a node that has no such folder is given whole ones
        os.chdir(folder)
    cv2.setNumThreads(1)  # there are as many processes as cores


@contextlib.contextmanager
def connected(address: str) -> Iterator[ModuleType]:
    """The library, connected to a cluster for as long as it lasts. Raises `InputError`."""
    # It tells its makers nothing, and does not warn of a change to come.
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
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
        raise InputError(
            f"--ray {address}: no Ray cluster there ({reason}); start one: ray start --head"
        ) from None
    try:
        yield ray
    finally:
        ray.shutdown()
