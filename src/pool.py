"""Work on many items with a bounded number in flight, so that 350,000 of them need no more memory than 350."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_flight(pool: Executor, work: Callable[[Item], Result], items: Iterable[Item], window: int) -> Iterator[Result]:
    """Results of ``work`` on ``items`` as they finish; at most ``window`` submitted at a time."""
    waiting = iter(items)
    running: set[Future[Result]] = {pool.submit(work, item) for item in islice(waiting, window)}
    while running:
        finished, running = wait(running, return_when=FIRST_COMPLETED)
        running |= {pool.submit(work, item) for item in islice(waiting, len(finished))}
        yield from (future.result() for future in finished)
