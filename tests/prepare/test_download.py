"""Fetching, against a local HTTP server that does what servers do."""

import errno
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pandas as pd
import pytest

from src.data.names import image_name
from src.data.questions import test_questions as make_test_questions
from src.data.tables import read_test
from src.prepare.download import download, plan
from src.prepare.fetch import fetch
from src.settings import DownloadSettings
from tests.conftest import ROOT, SAMPLE, hear_ctrl_c, run_python

PICTURE = (SAMPLE / "images" / "test-0000.jpg").read_bytes()
QUICK = DownloadSettings(
    connections=8, timeout=0.6, seconds=1.5, backoff=0.05, longest_wait=2, max_bytes=200_000
)


ANSWERS = {
    "missing": (404, b"no", {}),
    "patience": (429, b"", {"Retry-After": "3600"}),
    "broken": (503, b"", {}),
    "page": (200, b"<html>sorry</html>", {"Content-Type": "text/html; charset=utf-8"}),
    "local": (302, b"", {"Location": "file:///etc/hostname"}),
    "moved": (301, b"", {"Location": "/one/good.jpg"}),
    "circle": (302, b"", {"Location": "circle.jpg"}),
}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hits: ClassVar[Counter] = Counter()
    lock = threading.Lock()

    def do_GET(self):
        name = self.path.rsplit("/", 1)[-1].split(".")[0]
        with self.lock:
            self.hits[self.path] += 1
            hit = self.hits[self.path]
        if name in ANSWERS:
            self.answer(*ANSWERS[name])
        elif name == "busy" and hit == 1:
            self.answer(429, b"", {"Retry-After": "1"})
        elif name == "shaky" and hit <= 2:
            self.answer(500, b"")
        else:
            getattr(self, name, self.good)()

    def good(self):
        self.answer(200, PICTURE + self.path.encode())

    def slow(self):
        time.sleep(0.2)
        self.answer(200, PICTURE)

    def stalled(self):
        self.start(200, {"Content-Length": "5000"})
        time.sleep(4)
        self.close_connection = True

    def dripping(self):
        self.start(200, {"Content-Length": "5000"})
        self.drip()

    def crawling(self):
        """A redirect whose body does not end."""
        self.start(302, {"Location": "/one/good.jpg", "Content-Length": "5000"})
        self.drip()

    def drip(self):
        for _ in range(40):
            time.sleep(0.1)
            self.wfile.write(b"x")

    def cut(self):
        self.start(200, {"Content-Length": str(len(PICTURE))})
        self.wfile.write(PICTURE[:1000])
        self.close_connection = True

    def huge(self):
        self.start(200, {"Content-Length": "1000000000"})

    def endless(self):
        self.start(200, {"Connection": "close"})
        for _ in range(100):
            self.wfile.write(b"x" * 10_000)
        self.close_connection = True

    def start(self, code, headers):
        self.send_response(code)
        for key, value in ({"Content-Type": "image/jpeg"} | headers).items():
            self.send_header(key, value)
        self.end_headers()

    def answer(self, code, body, headers=None):
        self.start(code, {"Content-Length": str(len(body))} | (headers or {}))
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    Handler.hits = Counter()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # clients go away; that is the test
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def folder(path: Path, links: list[str]) -> Path:
    path.mkdir(exist_ok=True)
    rows = [(i, link, 1, "height") for i, link in enumerate(links)]
    pd.DataFrame(rows, columns=["index", "image_link", "group_id", "entity_name"]).to_csv(
        path / "test.csv", index=False
    )
    return path


def test_every_kind_of_server_gets_its_status_in_bounded_time(server, tmp_path, capsys):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound, not listening: connections are refused
        dead = f"http://127.0.0.1:{unused.getsockname()[1]}/dead.jpg"
        want = {
            f"{server}/one/good.jpg": "",
            f"{server}/busy.jpg": "",
            f"{server}/shaky.jpg": "",
            f"{server}/moved.jpg": "",
            f"{server}/missing.jpg": "HTTP 404",
            f"{server}/patience.jpg": "HTTP 429",
            f"{server}/broken.jpg": "HTTP 503",
            f"{server}/stalled.jpg": "timeout",
            f"{server}/dripping.jpg": "timeout",
            f"{server}/cut.jpg": "connection failed or cut off",
            f"{server}/page.jpg": "not an image but a web page (HTML)",
            f"{server}/local.jpg": "only http and https are fetched, not file",
            "file:///etc/hosts.jpg": "only http and https are fetched, not file",
            f"{server}/circle.jpg": "too many redirects",
            f"{server}/huge.jpg": "larger than 200000 bytes",
            f"{server}/endless.jpg": "larger than 200000 bytes",
            dead: "connection failed or cut off",
            "http://[broken/link.jpg": "not a usable link",
        }
        data = folder(tmp_path / "data", [*want, ""])
        start = time.monotonic()
        table = download(data, QUICK).set_index("link")
        seconds = time.monotonic() - start
    assert table["error"].to_dict() == want
    assert seconds < QUICK.attempts * (QUICK.seconds + QUICK.longest_wait)
    for link, row in table.iterrows():
        there = (data / "images" / row["file"]).is_file()
        assert there == (row["status"] == "ok"), link
    assert sorted(p.name for p in (data / "images").iterdir()) == [
        "busy.jpg",
        "good.jpg",
        "moved.jpg",
        "shaky.jpg",
    ]
    hits = {path.rsplit("/", 1)[-1]: count for path, count in Handler.hits.items()}
    assert (hits["missing.jpg"], hits["patience.jpg"], hits["page.jpg"], hits["huge.jpg"]) == (1, 1, 1, 1)
    assert (hits["busy.jpg"], hits["shaky.jpg"], hits["broken.jpg"]) == (2, 3, QUICK.attempts)
    printed = capsys.readouterr().out
    assert "4 fetched" in printed
    assert f"{len(want) - 4} failed" in printed
    assert "1 x HTTP 404" in printed


def test_the_body_of_a_redirect_is_not_waited_for(server):
    start = time.monotonic()
    assert fetch(f"{server}/crawling.jpg", QUICK).startswith(PICTURE)
    assert time.monotonic() - start < QUICK.seconds


def test_a_second_run_takes_up_what_is_missing(server, tmp_path, capsys):
    links = [f"{server}/{i}.jpg" for i in range(6)]
    data = folder(tmp_path / "data", [*links, f"{server}/shaky.jpg"])
    once = DownloadSettings(attempts=1, backoff=0.01)
    assert download(data, once)["status"].tolist() == ["ok"] * 6 + ["failed"]
    (data / "images" / "3.jpg").unlink()
    Handler.hits.clear()
    Handler.hits["/shaky.jpg"] = 2
    assert download(data, once)["status"].tolist() == ["ok"] * 6 + ["failed"]
    assert dict(Handler.hits) == {"/3.jpg": 1, "/shaky.jpg": 2}  # what failed was left alone
    printed = capsys.readouterr().out
    assert "--retry-failed" in printed
    assert "1 fetched" in printed
    assert "5 reused" in printed
    assert download(data, once, retry_failed=True)["status"].tolist() == ["ok"] * 7
    assert "1 fetched" in capsys.readouterr().out


def test_two_links_with_one_name_get_two_files(server, tmp_path):
    links = [f"{server}/one/same.jpg", f"{server}/two/same.jpg", f"{server}/two/SAME.jpg"]
    data = folder(tmp_path / "data", links)
    table = download(data, QUICK)
    assert table["status"].tolist() == ["ok"] * 3
    assert table["file"].nunique() == 3
    assert table["file"][0] == "same.jpg"
    for link, file in zip(table["link"], table["file"], strict=True):
        assert (data / "images" / file).read_bytes().endswith(link.removeprefix(server).encode())
    out = tmp_path / "out"
    assert run_python("preprocess.py", "--data", data, "--out", out).returncode == 0
    files = dict(zip(table["link"], table["file"], strict=True))
    questions = make_test_questions(read_test(data), out, files)
    assert [question.model_image.name for question in questions] == table["file"].tolist()
    assert {question.reason for question in questions} == {""}


@pytest.mark.parametrize(
    "link",
    [
        "http://h/../../etc/passwd",
        "http://h/a\\..\\b.jpg",
        "http://h/" + "x" * 5000 + ".jpg",
        "http://h/a%00b\x01.jpg",
        "http://h/" + "ü" * 300 + ".jpg",
    ],
)
def test_names_are_safe(link, tmp_path):
    name = image_name(link)
    assert len(name.encode()) <= 230
    assert "/" not in name
    assert "\\" not in name
    (tmp_path / name).write_text("fits")
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_a_plan_keeps_known_names():
    first = plan(["http://a/x.jpg", "http://b/x.jpg"], [])
    assert first == plan(["http://b/x.jpg", "http://a/x.jpg"], first)[::-1]
    assert plan(["http://c/x.jpg"], first)[0].file not in {row.file for row in first}


def test_killed_and_started_again(server, tmp_path):
    links = [f"{server}/{i}/slow.{i}.jpg" for i in range(120)]
    data = folder(tmp_path / "data", links)
    code = (
        "from pathlib import Path; from src.prepare.download import download;"
        "from src.settings import DownloadSettings;"
        f"download(Path({str(data)!r}), DownloadSettings(connections=4))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.DEVNULL)
    while len(list((data / "images").glob("slow*"))) < 20:
        assert process.poll() is None
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    done = {p.name for p in (data / "images").glob("slow*.jpg")}
    assert all((data / "images" / name).read_bytes() == PICTURE for name in done)
    time.sleep(0.5)  # answers still on their way when it was killed
    Handler.hits.clear()
    table = download(data, DownloadSettings(connections=32))
    assert table["status"].eq("ok").all()
    assert sum(Handler.hits.values()) == len(links) - len(done)
    assert not [p for p in (data / "images").iterdir() if p.name.startswith(".")]
    assert sorted(p.name for p in data.iterdir()) == ["downloads.csv", "images", "test.csv"]


def test_ctrl_c_stops_at_once(server, tmp_path):
    data = folder(tmp_path / "data", [f"{server}/{i}/stalled.{i}.jpg" for i in range(50)])
    command = [
        sys.executable,
        "preprocess.py",
        "--data",
        str(data),
        "--out",
        str(tmp_path / "out"),
        "--download",
    ]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, preexec_fn=hear_ctrl_c)
    while not Handler.hits:
        assert process.poll() is None
        time.sleep(0.05)
    start = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert time.monotonic() - start < 4  # 2 on a quiet machine; the servers alone would hold it for 16
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert "run the same command again" in errors


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_a_folder_that_lacks_nothing_need_not_be_writable(tmp_path, monkeypatch, number):
    data = folder(tmp_path / "data", ["https://example.com/there.jpg"])
    (data / "images").mkdir(exist_ok=True)
    (data / "images" / "there.jpg").write_bytes(PICTURE)

    def refused(path, data):
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr("src.prepare.download.write_whole", refused)
    assert download(data, QUICK)["status"].tolist() == ["ok"]
    assert not (data / "downloads.csv").exists()
