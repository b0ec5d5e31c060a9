"""Dying workers, Ctrl-C, a full disk: one image is lost at most, and the run says so."""

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from src.data.files import Journal
from src.images.decode import MAX_PIXELS
from src.prepare.bounded_map import in_flight
from src.prepare.preprocessing import preprocess
from src.prepare.processes import WORKER_DIED, Job, failed, process, run
from src.settings import EnhanceSettings, PreprocessSettings
from tests.conftest import ROOT, SAMPLE, assert_one_sentence, hear_ctrl_c, make_folder
from tests.prepare.test_preprocessing import hashes, manifest_of


class Deadly:
    """Kills the process that unpickles it: an image that takes its worker down whenever it is tried."""

    def __reduce__(self):
        return os._exit, (9,)


def job(name: str, folder: Path, **changes) -> Job:
    source = SAMPLE / "images" / "train-0000.jpg"
    known = {"image": name, "source": source, "target": folder / name, "enhance": EnhanceSettings()}
    return Job(**known | {"max_pixels": MAX_PIXELS, "ocr": ""} | changes)


def test_an_image_that_kills_its_worker_costs_only_itself(tmp_path, capsys):
    jobs = [job(f"{i}.jpg", tmp_path) for i in range(12)]
    jobs.insert(3, job("deadly.jpg", tmp_path, source=Deadly()))
    results = run(process, jobs, workers=2, died=lambda _: failed(WORKER_DIED))
    outcomes = {job.image: outcome for job, outcome in results}
    assert len(outcomes) == 13
    assert outcomes.pop("deadly.jpg") == {"status": "failed", "error": WORKER_DIED}
    assert {outcome["status"] for outcome in outcomes.values()} == {"ok"}
    assert len(list(tmp_path.glob("[0-9]*.jpg"))) == 12
    assert "a worker died" in capsys.readouterr().err


@pytest.fixture
def many(tmp_path):
    """A data folder with enough images to be disturbed in."""
    data = make_folder(tmp_path / "data", 4, 2)
    for i in range(200):
        os.link(data / "images" / "train-0000.jpg", data / "images" / f"more-{i:03d}.jpg")
    return data


def start(data: Path, out: Path) -> subprocess.Popen:
    """preprocess.py, well on its way."""
    command = [sys.executable, "preprocess.py", "--data", str(data), "--out", str(out), "--workers", "2"]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, cwd=ROOT, stderr=pipe, stdout=pipe, text=True, preexec_fn=hear_ctrl_c)
    while len(Journal(out / "journal.jsonl").read()) < 10:
        assert process.poll() is None
        time.sleep(0.01)
    return process


def worker_of(process: subprocess.Popen) -> int:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return next(int(pid) for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes())


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finding the workers needs /proc")
def test_a_killed_worker_costs_nothing(many, tmp_path):
    whole, disturbed = tmp_path / "whole", tmp_path / "disturbed"
    preprocess(PreprocessSettings(many, whole, workers=2))
    process = start(many, disturbed)
    os.kill(worker_of(process), signal.SIGKILL)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert "a worker died" in errors
    assert set(manifest_of(disturbed)["status"]) == {"ok"}
    assert hashes(disturbed) == hashes(whole)


def test_ctrl_c_stops_at_once_and_the_next_run_goes_on(many, tmp_path):
    out = tmp_path / "out"
    process = start(many, out)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    done = len(Journal(out / "journal.jsonl").read())
    assert 10 <= done < 150  # it stopped, rather than finish
    preprocess(PreprocessSettings(many, out, workers=2))
    assert set(manifest_of(out)["status"]) == {"ok"}


def test_a_full_disk_is_one_sentence_and_corrupts_nothing(tmp_path):
    data, out = make_folder(tmp_path / "data", 6, 3), tmp_path / "out"
    command = [sys.executable, "preprocess.py", "--data", str(data), "--out", str(out)]

    def no_room():  # no file may grow beyond 20 kB: writing fails as it does on a full disk
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    result = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, preexec_fn=no_room, check=False
    )
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert result.stderr.count("error: ") == 1
    assert "cannot be written" in result.stderr
    assert not (out / "manifest.csv").exists()
    preprocess(PreprocessSettings(data, out, workers=2))
    assert set(manifest_of(out)["status"]) == {"ok"}
    assert not list(out.glob(".*"))


def test_a_full_shared_memory_is_named_and_not_the_disk(tmp_path):
    data, out = make_folder(tmp_path / "data", 2, 1), tmp_path / "out"
    small = "mount -t tmpfs -o size=64k tmpfs /dev/shm && head -c 64k /dev/zero > /dev/shm/full && "
    if subprocess.run(
        ["unshare", "-rm", "sh", "-c", f"{small} true"], capture_output=True, check=False
    ).returncode:
        pytest.skip("a mount of its own needs rights that this user does not have")
    call = f'{small} exec "{sys.executable}" preprocess.py --data "{data}" --out "{out}"'
    result = subprocess.run(
        ["unshare", "-rm", "sh", "-c", call], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert_one_sentence(result, "/dev/shm: too small", "make it larger")
    assert str(out) not in result.stderr.partition("error: ")[2]


def test_few_items_are_in_flight_whatever_their_number():
    lock, now, most = threading.Lock(), 0, 0

    def items():
        nonlocal now, most
        for i in range(5000):
            with lock:
                now += 1
                most = max(most, now)
            yield i

    def work(i):
        nonlocal now
        with lock:
            now -= 1
        return i

    with ThreadPoolExecutor(4) as pool:
        assert sorted(in_flight(pool, work, items(), 16)) == [(i, i) for i in range(5000)]
    assert most <= 32


def test_a_journal_survives_a_torn_line(tmp_path):
    journal = Journal(tmp_path / "j.jsonl")
    assert journal.read() == []
    with journal:
        journal.add({"a": "ü"})
    with journal.path.open("a") as stream:
        stream.write('{"a": 2')
    with journal:
        journal.add({"a": 3})
        journal.add({"a": "one\u2028line\x85only"})
    assert journal.read() == [{"a": "ü"}, {"a": 3}, {"a": "one\u2028line\x85only"}]
