"""What servers send and how links are written: packed answers, wrong types, hosts that are down."""

import gzip
import http.server
import io
import shlex
import shutil
import ssl
import subprocess
import threading
import zlib
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from src.data.names import image_name, processed_name, read_files
from src.data.questions import test_questions as make_test_questions
from src.data.tables import read_test
from src.prepare.download import download
from src.prepare.fetch import FetchError, absolute, fetch, host_of, unpacked
from src.settings import DownloadSettings
from tests.conftest import SAMPLE
from tests.prepare.test_download import folder

PICTURE = (SAMPLE / "images" / "test-0000.jpg").read_bytes()
QUICK = DownloadSettings(connections=4, timeout=2, seconds=5, attempts=2, backoff=0.01, max_bytes=200_000)
JPEG = {"Content-Type": "image/jpeg"}


class Web:
    """A server on this machine; ``pages``: path -> (status, headers, body), or a function of the hit that
    gives it."""

    def __init__(self) -> None:
        self.pages, self.hits = {}, Counter()
        web = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                web.hits[self.path] += 1
                page = web.pages.get(self.path, web.pages.get("*", (404, {}, b"")))
                code, headers, body = page(sum(web.hits.values())) if callable(page) else page
                self.send_response(code)
                for key, value in ({"Content-Length": str(len(body))} | headers).items():
                    self.send_header(key, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None
        self.host = f"127.0.0.1:{self.server.server_port}"
        threading.Thread(
            target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        ).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def web(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")
    web = Web()
    yield web
    web.close()


@pytest.fixture
def second(web):
    other = Web()
    yield other
    other.close()


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


def brotli(data: bytes) -> bytes:
    return pytest.importorskip("brotli").compress(data)


PACKERS = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "Deflate": raw_deflate,
    "br": brotli,
    "deflate, gzip": lambda data: gzip.compress(zlib.compress(data)),
    "": gzip.compress,  # packed, and it does not say so
    " gzip ": bytes,  # not packed, and it says so
    "br ": bytes,
    "utf-8": bytes,
}


@pytest.mark.parametrize("packing", PACKERS)
def test_packed_answers_are_unpacked(web, packing):
    if packing == "br ":
        pytest.importorskip("brotli")
    web.pages["/x.jpg"] = 200, JPEG | {"Content-Encoding": packing}, PACKERS[packing](PICTURE)
    assert fetch(f"http://{web.host}/x.jpg", QUICK) == PICTURE


@pytest.mark.parametrize("packing", ["gzip", "deflate", "br", ""])
def test_a_packed_bomb_is_refused(web, packing):
    web.pages["/x.jpg"] = (
        200,
        JPEG | {"Content-Encoding": packing},
        PACKERS[packing](PICTURE + bytes(50_000_000)),
    )
    with pytest.raises(FetchError, match="larger than 200000 bytes, unpacked"):
        fetch(f"http://{web.host}/x.jpg", QUICK)


def test_packed_answers_that_are_cut_off_or_of_an_unknown_packing_are_refused(web):
    web.pages["/cut.jpg"] = 200, JPEG | {"Content-Encoding": "gzip"}, gzip.compress(PICTURE)[:-9]
    web.pages["/odd.jpg"] = 200, JPEG | {"Content-Encoding": "zstd"}, b"\x28\xb5\x2f\xfd" + bytes(99)
    with pytest.raises(FetchError, match="cut off") as error:
        fetch(f"http://{web.host}/cut.jpg", QUICK)
    assert error.value.again
    with pytest.raises(FetchError, match=r"not an image.*packed as 'zstd'"):
        fetch(f"http://{web.host}/odd.jpg", QUICK)


@given(
    data=st.binary(max_size=300),
    packing=st.text(max_size=12) | st.sampled_from(["gzip", "deflate", "deflate,gzip"]),
)
def test_whatever_is_sent_unpacking_ends_within_the_limit(data, packing):
    try:
        assert len(unpacked(data, packing, 1000)) <= 1000
    except FetchError as error:
        assert str(error)


def encoded(kind: str) -> bytes:
    stream = io.BytesIO()
    Image.linear_gradient("L").save(stream, kind)
    return stream.getvalue()


@pytest.mark.parametrize(
    "kind",
    [
        "text/plain",
        "application/x-download",
        "force-download",
        "image",
        "*/*",
        "text/html; charset=utf-8",
        "",
        "ü",
    ],
)
def test_the_first_bytes_decide_not_the_content_type(web, kind):
    for name, body in (("jpg", PICTURE), ("webp", encoded("WEBP")), ("tiff", encoded("TIFF"))):
        web.pages[f"/x.{name}"] = 200, {"Content-Type": kind}, body
        assert fetch(f"http://{web.host}/x.{name}", QUICK) == body


NO_PICTURES = {
    "a web page": b"\xef\xbb\xbf\n<!DOCTYPE html><html>gone</html>",
    "a web page ": b"<html><body>sorry</body></html>",
    "JSON": b'{"error": "not found"}',
    "JSON ": b"[]",
    "XML": b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>',
    "an SVG drawing": b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>',
    "a PDF": b"%PDF-1.7\n",
    "a JPEG XL": b"\xff\x0a" + bytes(50),
    "or of an unknown kind": b"Not Found",
}


@pytest.mark.parametrize("kind", NO_PICTURES)
def test_what_is_no_image_is_refused_whatever_it_is_called(web, kind):
    web.pages["/x.jpg"] = 200, JPEG, NO_PICTURES[kind]
    with pytest.raises(FetchError, match=f"not an image.*{kind.strip()}"):
        fetch(f"http://{web.host}/x.jpg", QUICK)


@pytest.mark.parametrize("body", [b"<html>gone</html>", b'{"error": 404}'])
def test_a_soft_404_is_failed_and_can_be_tried_again(web, tmp_path, body):
    link = f"http://{web.host}/x.jpg"
    data, file = folder(tmp_path / "data", [link]), tmp_path / "data" / "images" / "x.jpg"
    web.pages["/x.jpg"] = 200, JPEG, body
    assert download(data, QUICK)["status"].tolist() == ["failed"]
    assert not file.exists()
    file.write_bytes(body)  # as an older version left it
    pd.DataFrame([(link, "x.jpg", "ok", "", 9)], columns=["link", "file", "status", "error", "bytes"]).to_csv(
        data / "downloads.csv", index=False
    )
    web.pages["/x.jpg"] = 200, JPEG, PICTURE
    table = download(data, QUICK)
    assert table["status"].tolist() == ["failed"]
    assert table["error"][0].startswith("not an image but")
    assert download(data, QUICK, retry_failed=True)["status"].tolist() == ["ok"]
    assert file.read_bytes() == PICTURE


@pytest.mark.skipif(
    not shutil.which("openssl"), reason="a certificate for a local https server needs openssl"
)
def test_links_without_a_scheme_are_fetched_by_https(web, tmp_path, monkeypatch):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
        f" -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1 -keyout '{key}' -out '{certificate}'"
    )
    subprocess.run(shlex.split(command), check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    web.server.socket = context.wrap_socket(web.server.socket, server_side=True)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    web.pages["*"] = 200, JPEG, PICTURE
    data = folder(tmp_path / "data", [f"//{web.host}/x.jpg", f"  //{web.host}/y.jpg "])
    table = download(data, QUICK)
    assert table["error"].tolist() == ["", ""]
    assert table["file"].tolist() == ["x.jpg", "y.jpg"]


@pytest.mark.parametrize(
    ("link", "want"),
    [
        ("//host/x.jpg", "https://host/x.jpg"),
        (" m.media-amazon.com/images/x.jpg", "https://m.media-amazon.com/images/x.jpg"),
        ("example.com:8080/x", "https://example.com:8080/x"),
        ("http://host/x.jpg", "http://host/x.jpg"),
        ("x.jpg", "x.jpg"),
        ("images/x.jpg", "images/x.jpg"),
    ],
)
def test_a_link_gets_its_scheme(link, want):
    assert absolute(link) == want


def test_links_without_a_last_part_are_listed_fetched_and_asked_about(web, tmp_path):
    paths = ["/image/?id=7", "/image/?id=8", "/", "/#/images/7", "/a/..", "/.jpg"]
    web.pages["*"] = 200, JPEG, PICTURE
    data, out = folder(tmp_path / "data", [f"http://{web.host}{path}" for path in paths]), tmp_path / "out"
    table = download(data, QUICK)
    assert table["status"].tolist() == ["ok"] * len(paths)
    assert table["file"].nunique() == len(paths)
    assert "id=7" in table["file"][0]
    out.mkdir()
    for file in table["file"]:
        (out / processed_name(file)).touch()
    questions = make_test_questions(read_test(data), out, read_files(data))
    assert [question.image for question in questions] == table["file"].tolist()
    assert {question.reason for question in questions} == {""}


@given(
    st.text(max_size=400)
    | st.from_regex(r"(https?:)?//[a-z]{1,5}(/[^/]{0,9}){0,4}([?#].{0,9})?", fullmatch=True)
)
def test_every_link_that_is_not_blank_has_a_safe_name(link):
    name = image_name(link)
    assert bool(name) == bool(link.strip())
    assert len(name.encode()) <= 230
    assert not set(name) & set("/\\\0\n")
    assert not name.startswith(".")
    assert isinstance(host_of(link), str)


def test_a_host_that_is_down_costs_a_few_attempts(web, second, tmp_path):
    web.pages["*"] = 503, {}, b""
    second.pages["*"] = 200, JPEG, PICTURE
    down = [f"http://{web.host}/{i}.jpg" for i in range(200)]
    links = [*down[:100], *(f"http://{second.host}/up/{i}.jpg" for i in range(20)), *down[100:]]
    table = download(folder(tmp_path / "data", links), QUICK).set_index("link")
    assert table["status"].value_counts().to_dict() == {"failed": 200, "ok": 20}
    assert set(table.loc[down, "error"]) == {"HTTP 503", f"its host {web.host} does not answer"}
    most = QUICK.host_failures + QUICK.connections
    assert sum(web.hits.values()) <= (QUICK.attempts + 1) * most  # and one attempt each at the end


def test_a_host_that_comes_back_gets_all_of_its_links(web, second, tmp_path):
    web.pages["*"] = lambda hit: (500, {}, b"") if hit <= 2 * QUICK.host_failures else (200, JPEG, PICTURE)
    second.pages["*"] = 404, {}, b""  # answers: it is not down
    links = [f"http://{web.host}/{i}.jpg" for i in range(100)] + [
        f"http://{second.host}/{i}.jpg" for i in range(40)
    ]
    table = download(folder(tmp_path / "data", links), QUICK)
    assert table["status"].tolist()[QUICK.host_failures + QUICK.connections : 100] == ["ok"] * (
        100 - QUICK.host_failures - QUICK.connections
    )
    assert sum(second.hits.values()) == 40


def test_a_file_that_is_no_image_is_not_reused(tmp_path: Path):
    data = folder(tmp_path / "data", ["//127.0.0.1/page.jpg"])
    (data / "images").mkdir()
    (data / "images" / "page.jpg").write_bytes(b"<html>")
    assert download(data, QUICK)["status"].tolist() == ["failed"]
