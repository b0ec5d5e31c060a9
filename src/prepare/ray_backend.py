"""A function over many items, by this machine's processes or by a Ray cluster: the one module that knows Ray.

Nodes need the libraries of ``requirements.txt`` and ``requirements-ray.txt``, and see the folders that are
worked on at the same paths; this code goes to them by itself.
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
from typing import Any, NamedTuple, TypeVar

from src.data.errors import InputError
from src.images.decode import cv2
from src.prepare import processes

Item = TypeVar("Item")
Result = TypeVar("Result")
Run = Callable[..., Iterator[tuple[Any, Any]]]
"""`processes.run`, or what does the same on a cluster."""

PER_CALL = 8
"""Items that a worker gets at once: a call's own milliseconds do not count, and few items are lost."""
TRIES = 3
"""Times that an item may end its process before it is given up."""
_DEATHS = 30
"""Maximum number of workers that die without a result in between; one each on a larger cluster."""
_SOURCE = Path(__file__).parent.parent


def runner(address: str | None, folders: Sequence[Path] = (), per_call: int = PER_CALL) -> Run:
    """Return `processes.run`, or with the ``address`` of a Ray cluster what does the same on its cores.

    There ``workers`` has no meaning, ``per_call`` items go to a worker at once, and a node that does not see
    all of ``folders`` ends the run (`InputError`).
    """
    if address is None:
        return processes.run

    def run_on_cluster(
        function: Callable[[Item], Result], items: Iterable[Item], _: int, died: Callable[[Item], Result]
    ) -> Iterator[tuple[Item, Result]]:
        make = partial(partial, _each, function)
        return run_by_actors(address, make, items, per_call, died, folders=folders, on_gpus=False)

    return run_on_cluster


def _each(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    return [function(item) for item in items]


def run_by_actors(
    address: str,
    make: Callable[[], Callable[[Sequence[Item]], list[Result]]],
    jobs: Iterable[Item],
    per_call: int,
    died: Callable[[Item], Result],
    *,
    folders: Sequence[Path] = (),
    on_gpus: bool = True,
) -> Iterator[tuple[Item, Result]]:
    """Yield each job with its result, as they finish, from workers that keep a function: a loaded model.

    There is a worker for each core of the cluster; with ``on_gpus`` for each GPU, if it has any. ``make()``
    returns its function, which takes ``per_call`` jobs at once and returns a result for each. The jobs of a
    dead worker or a lost node are done again one by one; the result of one that ends its process `TRIES`
    times is what ``died`` returns. ``address`` is the cluster's, or ``auto`` for the one that this machine is
    part of. Raises `InputError` where there is no Ray or no cluster, and what ``make`` or the function raise.
    """
    with connected(address) as ray:
        cluster = _Cluster(ray, (make, str(Path.cwd()), folders), on_gpus)
        yield from cluster.results(iter(jobs), per_call, died)


class _Worker:
    """A process of a node; its first call makes the function."""

    _function: Callable[[Sequence[Any]], list[Any]] | None = None

    def results(self, task: tuple[Callable[[], Any], str, Sequence[Path]], items: Sequence[Any]) -> list[Any]:
        """Return the results of some items."""
        make, cwd, folders = task
        if self._function is None:
            with contextlib.suppress(OSError):  # for relative paths; a node without it is given whole ones
                os.chdir(cwd)
            cv2.setNumThreads(1)  # there are as many processes as cores
            for folder in folders:
                if not folder.is_dir():  # else each of its images would count as missing
                    seen = f"is not seen by the node {socket.gethostname()}"
                    raise InputError(f"{folder}: {seen}; all nodes need the same folders")
            self._function = make()
        return self._function(items) if items else []


class _Call(NamedTuple):
    """Items for a worker, how often they have ended one, and the worker that has them now, if any."""

    items: list[Any]
    deaths: int = 0
    worker: Any = None


class _Cluster:
    """The workers of a cluster and their calls: at most two for each in flight, about one waiting.

    An empty call makes a worker's function; then it gets items, so that none wait for a node that is gone.
    """

    def __init__(self, ray: ModuleType, task: tuple[Any, ...], on_gpus: bool) -> None:
        self._resource = "GPU" if on_gpus and ray.cluster_resources().get("GPU", 0) >= 1 else "CPU"
        self._ray, self._task = ray, ray.put(task)
        self._new_worker = ray.remote(num_cpus=1, num_gpus=int(self._resource == "GPU"))(_Worker).remote
        self._workers = 0
        self._free: deque[Any] = deque()  # workers, once for each call that they can take
        self._calls: dict[Any, _Call] = {}  # in flight, by their references; a worker's in their order
        self._waiting: deque[_Call] = deque()
        self._deaths = 0  # of workers since the last result

    def results(
        self, items: Iterator[Item], per_call: int, died: Callable[[Item], Result]
    ) -> Iterator[tuple[Item, Result]]:
        """Yield each item with its result."""
        errors = self._ray.exceptions
        lost: tuple[Any, ...] = (errors.RayActorError, errors.WorkerCrashedError, errors.NodeDiedError)
        lost += (errors.OutOfMemoryError, errors.ObjectLostError)
        while self._fill(items, per_call):
            (ref,), _ = self._ray.wait(list(self._calls), num_returns=1)
            try:
                results = self._ray.get(ref)
            except errors.RayTaskError as error:
                raise (error.cause or error) from None
            except lost:
                yield from ((item, died(item)) for item in self._given_up(self._calls[ref].worker))
            else:
                call = self._calls.pop(ref)
                if call.items:
                    self._deaths = 0
                    self._free.append(call.worker)
                else:  # two small calls, so that the worker need not wait for this process
                    self._free.extend([call.worker] * min(per_call, 2))
                yield from zip(call.items, results, strict=True)

    def _size(self) -> int:
        return max(1, int(self._ray.cluster_resources().get(self._resource, 0)))

    def _fill(self, items: Iterator[Any], per_call: int) -> bool:
        """Give calls to free workers, start workers for more; tell whether there is a call with items."""
        size = self._size()
        while len(self._waiting) < size and (call_items := list(islice(items, per_call))):
            self._waiting.append(_Call(call_items))
        while self._free and self._waiting:
            self._send(self._free.popleft(), self._waiting.popleft())
        calls = len(self._waiting) + sum(bool(call.items) for call in self._calls.values())
        while self._workers < min(size, calls):
            self._workers += 1
            self._send(self._new_worker(), _Call([]))
        return calls > 0

    def _send(self, worker: Any, call: _Call) -> None:
        self._calls[worker.results.remote(self._task, call.items)] = call._replace(worker=worker)

    def _given_up(self, worker: Any) -> list[Any]:
        """Take the calls of a dead worker back; return its item if that has ended `TRIES` workers."""
        refs = [ref for ref, call in self._calls.items() if call.worker is worker]
        suspect, *innocent = [self._calls.pop(ref) for ref in refs]
        self._free = deque(other for other in self._free if other is not worker)
        self._workers, self._deaths = self._workers - 1, self._deaths + 1
        if self._deaths > max(_DEATHS, self._size()):
            raise InputError(
                "--ray: every worker dies before its first result; has the cluster enough memory?"
            )
        again = f"{len(suspect.items)} items are tried again one by one"
        print(f"a worker died or a node was lost; {again}", file=sys.stderr)
        deaths = suspect.deaths + 1 if len(suspect.items) == 1 else 0
        self._waiting.extend(innocent)
        if deaths == TRIES:
            return suspect.items
        self._waiting.extend(_Call([item], deaths) for item in suspect.items)
        return []


@contextlib.contextmanager
def connected(address: str) -> Iterator[ModuleType]:
    """Yield the library, connected to a cluster for as long as the context lasts. Raises `InputError`."""
    # Ray tells its makers nothing, and does not warn of a change to come.
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
