"""Over a Ray cluster: the same results as on this machine, whatever dies."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch

from src.data.errors import InputError
from src.data.files import Journal
from src.data.folders import ProcessedFolder
from src.model.modeling import add_lora, load_base, lora_config
from src.predict import predict
from src.prepare.preprocessing import preprocess
from src.prepare.processes import WORKER_DIED, failed, process
from src.prepare.ray_backend import run_by_actors, runner
from src.settings import LoraSettings, PredictSettings, PreprocessSettings
from tests.cluster import Cluster
from tests.conftest import ROOT, TINY, make_folder, run_python
from tests.prepare.test_preprocessing import hashes
from tests.prepare.test_processes import Deadly, job

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


def started(*command: object, finished: Callable[[], bool]) -> subprocess.Popen[str]:
    """A command that is so far that ``finished`` holds."""
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        [sys.executable, *map(str, command)], cwd=ROOT, stdout=pipe, stderr=pipe, text=True
    )
    while not finished():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    return process


def entries(journal: Path, count: int) -> Callable[[], bool]:
    """Whether a journal has so many."""
    return lambda: len(Journal(journal).read()) >= count


def test_an_image_that_kills_its_worker_costs_only_itself(cluster, tmp_path):
    jobs = [job(f"{i}.jpg", tmp_path) for i in range(20)]
    jobs.insert(3, job("deadly.jpg", tmp_path, source=Deadly()))
    results = runner(cluster.address)(process, jobs, 1, lambda _: failed(WORKER_DIED))
    outcomes = {job.image: outcome for job, outcome in results}
    assert outcomes.pop("deadly.jpg") == {"status": "failed", "error": WORKER_DIED}
    assert {outcome["status"] for outcome in outcomes.values()} == {"ok"}
    assert len(outcomes) == len(list(tmp_path.glob("[0-9]*.jpg"))) == 20


def test_a_lost_node_and_a_killed_driver_change_nothing_of_what_is_read(two_nodes, tmp_path):
    data, local, spread = make_folder(tmp_path / "data", 20, 6), tmp_path / "local", tmp_path / "spread"
    (data / "images" / "broken.jpg").write_bytes(b"\xff\xd8 not really")
    preprocess(PreprocessSettings(data, local, ocr=True, workers=2))
    command = ["preprocess.py", "--data", data, "--out", spread, "--ocr", "--ray", two_nodes.address]
    driver = started(*command, finished=entries(spread / "journal.jsonl", 8))
    driver.kill()
    driver.communicate()
    done = len(Journal(spread / "journal.jsonl").read())
    driver = started(*command, finished=entries(spread / "journal.jsonl", done + 8))
    two_nodes.tell("kill")
    out, errors = driver.communicate(timeout=200)
    assert driver.returncode == 0, errors
    assert "(0 reused)" not in out
    assert hashes(spread) == hashes(local)


def test_a_job_that_kills_its_actor_costs_only_itself_and_an_error_is_raised(cluster):
    def squares(numbers):
        if 7 in numbers:
            os._exit(9)
        return [12 // (12 - number) for number in numbers]

    results = dict(run_by_actors(cluster.address, lambda: squares, range(10), 3, str))
    assert results == {number: "7" if number == 7 else 12 // (12 - number) for number in range(10)}
    with pytest.raises(ZeroDivisionError):
        dict(run_by_actors(cluster.address, lambda: squares, range(12, 15), 3, str))


def test_a_lost_node_and_a_killed_driver_change_no_answer(two_nodes, tmp_path):
    data, out, spread = make_folder(tmp_path / "data", 1, 30), tmp_path / "out", tmp_path / "spread"
    preprocess(PreprocessSettings(data, out / "processed", max_size=378, ocr=True, workers=2))
    torch.manual_seed(0)
    add_lora(load_base(str(TINY)), lora_config(LoraSettings())).save_pretrained(out / "adapter")
    shutil.copytree(out, spread)
    local = predict(PredictSettings(data, out, str(TINY), 4))
    command = [
        "-m",
        "src.predict",
        "--data",
        data,
        "--out",
        spread,
        "--model",
        TINY,
        "--predict-batch-size",
        4,
    ]
    command += ["--ray", two_nodes.address]
    journal = spread / "test_out.journal-0.jsonl"
    driver = started(*command, finished=entries(journal, 8))
    driver.kill()
    driver.communicate()
    done = len(Journal(journal).read())
    driver = started(*command, finished=entries(journal, done + 4))
    two_nodes.tell("kill")
    _, errors = driver.communicate(timeout=200)
    assert driver.returncode == 0, errors
    assert (spread / "test_out.csv").read_bytes() == (out / "test_out.csv").read_bytes()
    answered = [entry["row"] for entry in Journal(journal).read()[1:]]
    assert sorted(answered) == sorted(local["index"])  # nothing lost, nothing doubled
    details = pd.read_csv(spread / "test_out.details.csv", keep_default_na=False)
    for column in ("model_answer", "rules", "source", "candidates", "reason"):
        assert details[column].tolist() == local[column].tolist()


def test_a_node_that_does_not_see_a_folder_ends_the_run(cluster, tmp_path):
    with pytest.raises(InputError, match="gone: is not seen by the node"):
        next(runner(cluster.address, [tmp_path, tmp_path / "gone"])(len, ["a"], 1, len))


def test_what_is_missing_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    for address in ("127.0.0.1:1", "no address"):
        with pytest.raises(InputError, match=r"no Ray cluster there .* ray start --head"):
            next(runner(address)(len, ["a"], 1, len))
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"pip install -r requirements-ray\.txt"):
        next(runner("auto")(len, ["a"], 1, len))


def test_shards_over_nodes_are_those_of_one_machine(two_nodes, tmp_path):
    data, local, spread = make_folder(tmp_path / "data", 24, 8), tmp_path / "local", tmp_path / "spread"
    for i in range(30):
        os.link(data / "images" / "train-0000.jpg", data / "images" / f"more-{i:03d}.jpg")
    preprocess(PreprocessSettings(data, local, shards=True, per_shard=10, workers=2))
    command = ["preprocess.py", "--data", data, "--out", spread, "--shards", "--per-shard", 10]
    driver = started(
        *command, "--ray", two_nodes.address, finished=lambda: len(ProcessedFolder(spread).manifests) >= 2
    )
    two_nodes.tell("kill")
    _, errors = driver.communicate(timeout=200)
    assert driver.returncode == 0, errors
    assert hashes(spread / "shards") == hashes(local / "shards")


def test_the_benchmark_runs_at_a_small_size(tmp_path):
    data = make_folder(tmp_path / "data", 3, 1)
    call = ["-m", "benchmarks.spread", "--data", data, "--rounds", 1, "--many", 0]
    done = run_python(*call)
    assert done.returncode == 0, done.stderr
    assert re.search(r"overhead of Ray: -?\d+\.\d %", done.stdout)
