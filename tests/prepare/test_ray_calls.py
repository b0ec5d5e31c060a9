"""Which worker of a cluster gets which items, with a stand-in for Ray; `test_ray_backend` needs Ray."""

import contextlib
from collections import Counter
from types import SimpleNamespace

import pytest

from src.data.errors import InputError
from src.prepare import ray_backend
from src.prepare.ray_backend import run_by_actors, runner


class Death(BaseException):
    """Ends the worker that raises it."""


class Ref:
    def __init__(self, worker, items):
        self.worker, self.items = worker, items


class Worker:
    """Does a call when somebody waits for it."""

    def __init__(self, instance):
        self.instance, self.is_dead = instance, False
        self.results = SimpleNamespace(remote=self.call)

    def call(self, task, items):
        self.task = task
        return Ref(self, items)


class FakeRay:
    """What `ray_backend` needs of Ray; a cluster of some cores."""

    def __init__(self, cores):
        self.cores, self.workers = cores, []
        names = (
            "RayTaskError",
            "RayActorError",
            "WorkerCrashedError",
            "NodeDiedError",
            "OutOfMemoryError",
            "ObjectLostError",
        )
        self.exceptions = SimpleNamespace(**{name: type(name, (Exception,), {}) for name in names})

    def cluster_resources(self):
        return {"CPU": float(self.cores)}

    def put(self, task):
        return task

    def remote(self, **_):
        return lambda kind: SimpleNamespace(remote=lambda: self.started(Worker(kind())))

    def started(self, worker):
        self.workers.append(worker)
        return worker

    def wait(self, refs, num_returns):
        assert num_returns == 1
        assert max(Counter(ref.worker for ref in refs).values()) <= 2
        slow = refs[0].worker  # the others are done before it
        ref = next((ref for ref in refs if ref.worker is not slow), refs[0])
        return [ref], [other for other in refs if other is not ref]

    def get(self, ref):
        if not ref.worker.is_dead:
            try:
                return ref.worker.instance.results(ref.worker.task, ref.items)
            except Death:
                ref.worker.is_dead = True
            except Exception as error:
                task_error = self.exceptions.RayTaskError()
                task_error.cause = error
                raise task_error from None
        raise self.exceptions.RayActorError


@pytest.fixture(params=[1, 2, 5])
def ray(request, monkeypatch):
    fake = FakeRay(request.param)
    monkeypatch.setattr(ray_backend, "connected", lambda _: contextlib.nullcontext(fake))
    return fake


def doubled(number):
    if number % 10 == 7:
        raise Death
    return 2 * number


def test_items_that_kill_their_workers_cost_only_themselves(ray):
    results = list(runner("auto")(doubled, iter(range(60)), 1, str))
    assert sorted(number for number, _ in results) == list(range(60))
    assert all(result == (str(n) if n % 10 == 7 else 2 * n) for n, result in results)


def test_items_are_taken_as_they_are_needed_and_few_of_them_start_few_workers(ray):
    taken = Counter()

    def items():
        for number in range(1000):
            taken["items"] += 1
            yield 10 * number

    for done, _ in enumerate(runner("auto", per_call=4)(doubled, items(), 1, str)):
        assert taken["items"] - done <= 4 * 4 * ray.cores
    assert len(ray.workers) == ray.cores
    ray.workers.clear()
    assert dict(runner("auto")(doubled, [1, 2], 1, str)) == {1: 2, 2: 4}
    assert len(ray.workers) == 1


def test_a_function_is_made_once_by_each_worker_and_its_errors_are_raised(ray):
    made = Counter()

    def make():
        made["functions"] += 1
        return lambda numbers: [12 // (12 - number) for number in numbers]

    assert dict(run_by_actors("auto", make, range(10), 3, str)) == {n: 12 // (12 - n) for n in range(10)}
    assert 1 <= made["functions"] <= len(ray.workers)  # one may be slower than all work
    with pytest.raises(ZeroDivisionError):
        dict(run_by_actors("auto", make, range(12, 15), 3, str))


def test_where_no_worker_can_make_its_function_the_run_ends(ray):
    def make():
        raise Death

    with pytest.raises(InputError, match="every worker dies before its first result"):
        dict(run_by_actors("auto", make, range(10), 3, str))
