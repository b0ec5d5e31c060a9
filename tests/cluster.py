"""A Ray cluster of two nodes with a core each on this machine, in a process of its own (``python -m
tests.cluster``).

It prints its address; ``kill`` on its input kills the second node, ``add`` adds one; the end of its input
ends it.
"""

import subprocess
import sys
from pathlib import Path
from typing import Self

ROOT = Path(__file__).resolve().parent.parent
STORE = 100_000_000


class Cluster:
    """A handle on such a process."""

    def __enter__(self) -> Self:
        command, pipe = [sys.executable, "-m", "tests.cluster"], subprocess.PIPE
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True
        )
        self.address = self._read()
        return self

    def tell(self, word: str) -> None:
        """``kill`` or ``add``; returns when it is done."""
        assert self._process.stdin
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()
        assert self._read() == word

    def _read(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline().strip()

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=60)


def main() -> None:
    """Be the cluster."""
    from ray import cluster_utils

    head = {"num_cpus": 1, "object_store_memory": STORE, "include_dashboard": False}
    cluster = cluster_utils.Cluster(initialize_head=True, head_node_args=head)
    second = cluster.add_node(num_cpus=1, object_store_memory=STORE)
    print(cluster.address, flush=True)
    for word in map(str.strip, sys.stdin):
        if word == "kill":
            cluster.remove_node(second, allow_graceful=False)
        else:
            second = cluster.add_node(num_cpus=1, object_store_memory=STORE)
        print(word, flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    main()
