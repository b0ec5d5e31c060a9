"""A map over many items with a bounded number in flight: 350,000 of them need no more memory than 350."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from itertools import islice
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class PoolDied(Exception):
    """A worker died, and its pool with it; ``items`` were in flight."""

    def __init__(self, items: list[Any]) -> None:
        super().__init__(f"{len(items)} items were in flight")
        self.items = items


def in_flight(
    pool: Executor, work: Callable[[Item], Result], items: Iterable[Item], window: int
) -> Iterator[tuple[Item, Result]]:
    """Yield each item with its result, as they finish; at most ``window`` are submitted at a time.

    Raises `PoolDied`.
    """
    waiting = iter(items)
    running: dict[Future[Result], Item] = {}
    submitting: list[Item] = []
    try:
        while True:
            for item in islice(waiting, window - len(running)):
                submitting.append(item)  # until it is known to be in flight
                running[pool.submit(work, item)] = item
                submitting.clear()
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                result = future.result()
                yield running.pop(future), result
    except BrokenExecutor as error:
        raise PoolDied([*submitting, *running.values()]) from error
