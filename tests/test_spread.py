"""Over a Ray cluster: the same results as on this machine, whatever dies."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from src.data.errors import InputError
from src.data.files import Journal
from src.prepare.preprocessing import preprocess
from src.prepare.processes import WORKER_DIED, failed, process
from src.prepare.spread import runner
from src.settings import PreprocessSettings
from tests.cluster import Cluster
from tests.conftest import ROOT, make_folder
from tests.test_preprocess import hashes
from tests.test_workers import Deadly, job

pytest.importorskip("ray", reason="Ray is not installed (make test-ray)")


@pytest.fixture(scope="module")
def cluster():
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    with Cluster() as started:
        yield started


@pytest.fixture
def two_nodes(cluster):
    """The cluster for a test that kills its second node."""
    yield cluster
    cluster.tell("add")


def started(*command: object, journal: Path, entries: int) -> subprocess.Popen[str]:
    """A command that has so many entries in its journal."""
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, *map(str, command)], cwd=ROOT, stdout=pipe, stderr=pipe, text=True)
    while len(Journal(journal).read()) < entries:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    return process


def test_a_picture_that_kills_its_worker_costs_only_itself(cluster, tmp_path):
    jobs = [job(f"{i}.jpg", tmp_path) for i in range(20)]
    jobs.insert(3, job("deadly.jpg", tmp_path, source=Deadly()))
    results = runner(cluster.address)(process, jobs, 1, lambda _: failed(WORKER_DIED))
    outcomes = {job.image: outcome for job, outcome in results}
    assert outcomes.pop("deadly.jpg") == {"status": "failed", "error": WORKER_DIED}
    assert {outcome["status"] for outcome in outcomes.values()} == {"ok"}
    assert len(outcomes) == len(list(tmp_path.glob("[0-9]*.jpg"))) == 20


def test_a_lost_node_and_a_killed_driver_change_nothing_of_what_is_read(two_nodes, tmp_path):
    data, local, spread = make_folder(tmp_path / "data", 36, 12), tmp_path / "local", tmp_path / "spread"
    (data / "images" / "broken.jpg").write_bytes(b"\xff\xd8 not really")
    preprocess(PreprocessSettings(data, local, ocr=True, workers=2))
    command = ["preprocess.py", "--data", data, "--out", spread, "--ocr", "--ray", two_nodes.address]
    driver = started(*command, journal=spread / "journal.jsonl", entries=8)
    driver.kill()
    driver.communicate()
    done = len(Journal(spread / "journal.jsonl").read())
    driver = started(*command, journal=spread / "journal.jsonl", entries=done + 8)
    two_nodes.tell("kill")
    out, errors = driver.communicate(timeout=200)
    assert driver.returncode == 0, errors
    assert "(0 reused)" not in out
    assert hashes(spread) == hashes(local)


def test_what_is_missing_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    for address in ("127.0.0.1:1", "no address"):
        with pytest.raises(InputError, match=r"no Ray cluster there .* ray start --head"):
            next(runner(address)(len, ["a"], 1, len))
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"pip install -r requirements-ray\.txt"):
        next(runner("auto")(len, ["a"], 1, len))
