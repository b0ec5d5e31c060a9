"""Odd and bad files beside good ones: every good one is processed, every bad one named, none stops the run."""

import io
import struct
import zlib

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from src.reading.images import cv2, decode, read_image, shown_size
from tests.conftest import run_python

RNG = np.random.default_rng(0)
PHOTO = Image.fromarray(cv2.GaussianBlur(RNG.integers(0, 256, (90, 120, 3), dtype=np.uint8), (0, 0), 6))
NOISE = Image.fromarray(RNG.integers(0, 256, (200, 200, 3), dtype=np.uint8))


def saved(image: Image.Image, kind: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def alpha(image: Image.Image, mode: str) -> Image.Image:
    clear = image.convert(mode)
    clear.putalpha(Image.new("L", image.size, 0))
    return clear


def turned(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(PHOTO, "JPEG", exif=exif)


def png(width: int, height: int, data: bytes = b"") -> bytes:
    """A PNG of one bit per pixel whose header says ``width`` x ``height``, whatever ``data`` holds."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def gif_animation() -> bytes:
    frames = [Image.new("P", (50, 40), i) for i in range(3)]
    return saved(frames[0], "GIF", save_all=True, append_images=frames[1:])


DEEP = (np.linspace(0, 65535, 90 * 120).reshape(90, 120)).astype(np.uint16)
GOOD = {
    "plain.jpg": saved(PHOTO, "JPEG"),
    "progressive.jpg": saved(PHOTO, "JPEG", progressive=True),
    "grey.jpg": saved(PHOTO.convert("L"), "JPEG"),
    "cmyk.jpg": saved(PHOTO.convert("CMYK"), "JPEG"),
    **{f"turned-{i}.jpg": turned(i) for i in (3, 6, 8)},
    "really a png.jpg": saved(PHOTO, "PNG"),
    "colour.png": saved(PHOTO, "PNG"),
    "alpha.png": saved(alpha(PHOTO, "RGBA"), "PNG"),
    "grey alpha.png": saved(alpha(PHOTO.convert("L"), "LA"), "PNG"),
    "palette.png": saved(PHOTO.convert("P"), "PNG"),
    "clear palette.png": saved(PHOTO.convert("P"), "PNG", transparency=0),
    "bits.png": saved(PHOTO.convert("1"), "PNG"),
    "grey16.png": saved(Image.fromarray(DEEP), "PNG"),
    "colour16.png": cv2.imencode(".png", np.repeat(DEEP[:, :, None], 3, axis=2))[1].tobytes(),
    "lossy.webp": saved(PHOTO, "WEBP"),
    "lossless.webp": saved(alpha(PHOTO, "RGBA"), "WEBP", lossless=True),
    "still.gif": saved(PHOTO.convert("P"), "GIF"),
    "moving.gif": gif_animation(),
    "windows.bmp": saved(PHOTO, "BMP"),
    "scan.tiff": saved(PHOTO, "TIFF"),
    "scan16.tiff": saved(Image.fromarray(DEEP), "TIFF"),
    "raw.ppm": saved(PHOTO, "PPM"),
    "one pixel.png": saved(Image.new("RGB", (1, 1)), "PNG"),
    "a line.png": saved(Image.new("RGB", (3000, 1)), "PNG"),
    "-dash.jpg": saved(PHOTO, "JPEG"),
    "ünï×½.jpg": saved(PHOTO, "JPEG"),
    "two\nlines.jpg": saved(PHOTO, "JPEG"),
    "comma, \"quote\".jpg": saved(PHOTO, "JPEG"),
    "n" * 200 + ".jpg": saved(PHOTO, "JPEG"),
    "no suffix": saved(PHOTO, "JPEG"),
}  # fmt: skip
KINDS = (("jpg", "JPEG"), ("png", "PNG"), ("webp", "WEBP"), ("gif", "GIF"))
WHOLE = {suffix: saved(NOISE, kind) for suffix, kind in KINDS}
BAD = {
    "empty.jpg": b"",
    "space.jpg": b"\n",
    "page.jpg": b"<html><body>404</body></html>",
    "note.txt": b"remember the milk",
    "drawing.svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "leaflet.pdf": b"%PDF-1.7\n",
    "archive.zip": b"PK\x03\x04" + bytes(100),
    "noise.jpg": RNG.bytes(3000),
    "magic.jpg": b"\xff\xd8\xff\xe0",
    "magic noise.jpg": b"\xff\xd8\xff\xe0" + RNG.bytes(3000),
    "magic.png": b"\x89PNG\r\n\x1a\n",
    "magic noise.png": b"\x89PNG\r\n\x1a\n" + RNG.bytes(3000),
    "magic.gif": b"GIF89a",
    **{f"cut.{kind}": data[: len(data) // 2] for kind, data in WHOLE.items()},
    **{f"head.{kind}": data[:30] for kind, data in WHOLE.items()},
    "empty data.png": png(100, 100),
    "no width.png": png(0, 100),
    "bomb.png": png(30_000, 30_000, bytes(1000)),
    "no size.gif": b"GIF89a" + bytes(7) + b";",
}  # fmt: skip


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    """(result of the command, manifest, output folder) for one folder of all these files."""
    assert len(GOOD) + len(BAD) >= 40
    folder = tmp_path_factory.mktemp("odd")
    images = folder / "data" / "images"
    images.mkdir(parents=True)
    for name, data in (GOOD | BAD).items():
        (images / name).write_bytes(data)
    (images / "folder.jpg").mkdir()
    result = run_python("preprocess.py", "--data", folder / "data", "--out", folder / "out")
    manifest = pd.read_csv(folder / "out" / "manifest.csv", keep_default_na=False).set_index("image")
    return result, manifest, folder


def test_every_good_one_is_processed_and_every_bad_one_named(outcome):
    result, manifest, folder = outcome
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    assert set(manifest.index) == set(GOOD) | set(BAD)
    for name in GOOD:
        assert (name, manifest.loc[name, "status"], manifest.loc[name, "error"]) == (name, "ok", "")
        assert read_image(folder / "out" / manifest.loc[name, "file"]).dtype == np.uint8
    for name in BAD:
        assert (name, manifest.loc[name, "status"]) == (name, "failed")
        assert manifest.loc[name, "error"]
    assert len(list((folder / "out").glob("*.jpg"))) == len(GOOD)
    assert "too many pixels (30000 x 30000)" in manifest.loc["bomb.png", "error"]
    assert manifest.loc["empty.jpg", "error"] == "empty file"


def test_strict_tells_by_the_exit_code_and_nothing_is_done_again(outcome):
    folder = outcome[2]
    call = ["preprocess.py", "--data", folder / "data", "--out", folder / "out"]
    again = run_python(*call, "--strict")
    assert again.returncode == 1
    assert f"({len(GOOD) + len(BAD)} reused)" in again.stdout
    # the limit concerns only the picture it stopped
    assert f"({len(GOOD) + len(BAD) - 1} reused)" in run_python(*call, "--max-pixels", 10**9).stdout


def test_what_is_decoded_is_what_is_shown():
    photo = np.asarray(PHOTO)[:, :, ::-1].astype(int)
    for name in ("plain.jpg", "cmyk.jpg", "progressive.jpg", "colour.png", "lossy.webp", "windows.bmp", "raw.ppm"):
        assert np.abs(decode(GOOD[name]) - photo).mean() < 4, name
    for name in ("alpha.png", "grey alpha.png", "lossless.webp"):
        assert (decode(GOOD[name]) == 255).all(), name  # all clear: white
    assert decode(GOOD["turned-6.jpg"]).shape == (120, 90, 3)
    assert np.abs(decode(GOOD["turned-3.jpg"]) - photo[::-1, ::-1]).mean() < 4
    for name in ("grey16.png", "colour16.png", "scan16.tiff"):
        assert np.abs(decode(GOOD[name])[:, :, 0].astype(int) - DEEP // 257).max() <= 1, name
    for name, data in GOOD.items():
        assert shown_size(data) == decode(data).shape[1::-1], name
    assert (decode(GOOD["moving.gif"]) == decode(GOOD["moving.gif"])[0, 0]).all()  # the first frame, one colour
