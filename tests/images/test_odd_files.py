"""Odd and bad files beside good ones: every good one is processed, every bad one named, none stops the
run."""

import io
import os
import struct
import tempfile
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pillow_heif
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image

from src.data.questions import test_questions as make_test_questions
from src.data.questions import train_questions
from src.images.decode import cv2, decode, read_image, shown_size
from src.prepare.processes import CUT_OFF, ONE_COLOUR, Job, process
from src.settings import EnhanceSettings
from tests.conftest import run_python

RNG = np.random.default_rng(0)
PHOTO = Image.fromarray(cv2.GaussianBlur(RNG.integers(0, 256, (90, 120, 3), dtype=np.uint8), (0, 0), 6))
NOISE = Image.fromarray(RNG.integers(0, 256, (200, 200, 3), dtype=np.uint8))


def saved(image: Image.Image, kind: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def alpha(image: Image.Image, mode: str) -> Image.Image:
    """Clear but for a stripe."""
    clear, opaque = image.convert(mode), Image.new("L", image.size, 0)
    opaque.paste(255, (0, 0, 20, 90))
    clear.putalpha(opaque)
    return clear


def heif(image: Image.Image) -> bytes:
    pillow_heif.register_heif_opener()
    return saved(image, "HEIF")


def turned(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(PHOTO, "JPEG", exif=exif)


def png(width: int, height: int, data: bytes = b"") -> bytes:
    """A PNG of one bit per pixel whose header says ``width`` x ``height``, whatever ``data`` holds."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(data))
        + chunk(b"IEND", b"")
    )


def gif_animation() -> bytes:
    frames = [PHOTO.convert("P"), Image.new("P", PHOTO.size, 1)]
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
    "a line.png": saved(Image.linear_gradient("L").resize((1, 3000)), "PNG"),
    "phone.heic": heif(PHOTO),
    "phone.jpg": heif(PHOTO),
    "phone.avif": saved(PHOTO, "AVIF"),
    "-dash.jpg": saved(PHOTO, "JPEG"),
    "ünï×½.jpg": saved(PHOTO, "JPEG"),
    "two\nlines.jpg": saved(PHOTO, "JPEG"),
    "two\rlines.jpg": saved(PHOTO, "JPEG"),
    'comma, "quote".jpg': saved(PHOTO, "JPEG"),
    "n" * 200 + ".jpg": saved(PHOTO, "JPEG"),
    "no suffix": saved(PHOTO, "JPEG"),
}
CUT = {
    "cut a little.jpg": saved(PHOTO, "JPEG")[:-9],
    "cut a little, progressive.jpg": saved(PHOTO, "JPEG", progressive=True)[:-9],
}
BLANK = {
    "black.jpg": saved(Image.new("RGB", (100, 100)), "JPEG"),
    "white.png": saved(Image.new("RGB", (70, 90), "white"), "PNG"),
    "clear.webp": saved(Image.new("RGBA", (70, 90)), "WEBP"),
    "grey.gif": saved(Image.new("P", (70, 90), 3), "GIF"),
    "one pixel.png": saved(Image.new("RGB", (1, 1)), "PNG"),
}
KINDS = (("jpg", "JPEG"), ("png", "PNG"), ("webp", "WEBP"), ("gif", "GIF"))
WHOLE = {suffix: saved(NOISE, kind) for suffix, kind in KINDS}
BAD = {
    "empty.jpg": b"",
    "space.jpg": b"\n",
    "page.jpg": b"<html><body>404</body></html>",
    "note.txt": b"remember the milk",
    "drawing.svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "leaflet.pdf": b"%PDF-1.7\n",
    "new.jxl": b"\xff\x0a\xfa\x1f" + RNG.bytes(3000),
    "cut.heic": heif(NOISE)[:2000],
    "cut progressive.jpg": saved(NOISE, "JPEG", progressive=True)[:9000],
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
}


ALL = GOOD | CUT | BLANK | BAD


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    """(result of the command, manifest, output folder) for one folder of all these files."""
    assert len(GOOD) + len(BAD) >= 40
    folder = tmp_path_factory.mktemp("odd")
    images = folder / "data" / "images"
    images.mkdir(parents=True)
    for name, data in ALL.items():
        (images / name).write_bytes(data)
    (images / "folder.jpg").mkdir()
    result = run_python("preprocess.py", "--data", folder / "data", "--out", folder / "out")
    manifest = pd.read_csv(folder / "out" / "manifest.csv", keep_default_na=False).set_index("image")
    return result, manifest, folder


def test_every_good_one_is_processed_and_every_bad_one_named(outcome):
    result, manifest, folder = outcome
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    assert set(manifest.index) == set(ALL)
    for name in GOOD:
        assert (name, manifest.loc[name, "status"], manifest.loc[name, "error"]) == (name, "ok", "")
        assert read_image(folder / "out" / manifest.loc[name, "file"]).dtype == np.uint8
    for name in CUT:
        assert (name, manifest.loc[name, "status"], manifest.loc[name, "error"]) == (name, "ok", CUT_OFF)
    for name in BLANK:
        assert (name, manifest.loc[name, "status"], manifest.loc[name, "error"]) == (
            name,
            "blank",
            ONE_COLOUR,
        )
    for name in BAD:
        assert (name, manifest.loc[name, "status"]) == (name, "failed")
        assert manifest.loc[name, "error"]
    assert len(list((folder / "out").glob("*.jpg"))) == len(GOOD | CUT)
    assert f"{len(BLANK)} blank" in result.stdout
    for name, advice in (
        ("new.jxl", "JPEG XL: save it as JPEG"),
        ("drawing.svg", "SVG"),
        ("leaflet.pdf", "PDF"),
    ):
        assert advice in manifest.loc[name, "error"]
    assert "too many pixels (30000 x 30000)" in manifest.loc["bomb.png", "error"]
    assert manifest.loc["empty.jpg", "error"] == "empty file"


def test_strict_tells_by_the_exit_code_and_nothing_is_done_again(outcome):
    folder = outcome[2]
    call = ["preprocess.py", "--data", folder / "data", "--out", folder / "out"]
    again = run_python(*call, "--strict")
    assert again.returncode == 1
    assert f"({len(ALL)} reused)" in again.stdout
    # the limit concerns only the image it stopped
    assert f"({len(ALL) - 1} reused)" in run_python(*call, "--max-pixels", 10**9).stdout


def test_what_is_decoded_is_what_is_shown():
    photo = np.asarray(PHOTO)[:, :, ::-1].astype(int)
    for name in (
        "plain.jpg",
        "cmyk.jpg",
        "progressive.jpg",
        "colour.png",
        "lossy.webp",
        "windows.bmp",
        "raw.ppm",
    ):
        assert np.abs(decode(GOOD[name]) - photo).mean() < 4, name
    for name in ("alpha.png", "grey alpha.png", "lossless.webp"):
        assert (decode(GOOD[name])[:, 20:] == 255).all(), name  # clear: white
    assert decode(GOOD["turned-6.jpg"]).shape == (120, 90, 3)
    assert np.abs(decode(GOOD["turned-3.jpg"]) - photo[::-1, ::-1]).mean() < 4
    for name in ("grey16.png", "colour16.png", "scan16.tiff"):
        assert np.abs(decode(GOOD[name])[:, :, 0].astype(int) - DEEP // 257).max() <= 1, name
    for name, data in GOOD.items():
        assert shown_size(data) == decode(data).shape[1::-1], name
    assert (
        decode(GOOD["moving.gif"]) != decode(GOOD["moving.gif"])[0, 0]
    ).any()  # the first frame, not the second
    for name in ("phone.heic", "phone.jpg", "phone.avif"):
        assert np.abs(decode(GOOD[name]) - photo).mean() < 8, name


def test_blank_images_are_not_trained_on_and_not_asked_about(outcome):
    out = outcome[2] / "out"
    names = [*BLANK, "plain.jpg", *CUT]
    table = pd.DataFrame({"index": range(len(names)), "image_link": names, "entity_name": "height"})
    questions = make_test_questions(table.assign(group_id="1"), out, {})
    assert [question.reason for question in questions[: len(BLANK)]] == ["blank image"] * len(BLANK)
    assert [question.image for question in questions if not question.reason] == names[len(BLANK) :]
    questions, reasons = train_questions(table.assign(entity_value="2 inch", group_id="1"), out, {})
    assert [question.image for question in questions] == names[len(BLANK) :]
    assert reasons["blank image"] == len(BLANK)


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_a_sideways_scan_keeps_its_sides(orientation, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = orientation
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "scan.tiff").write_bytes(saved(PHOTO.resize((1200, 800)), "TIFF", exif=exif))
    outcome = process(
        Job(
            "scan.tiff",
            tmp_path / "images" / "scan.tiff",
            tmp_path / "scan.tiff.jpg",
            EnhanceSettings(),
            10**7,
            "",
        )
    )
    assert [outcome[side] for side in ("source_width", "source_height", "width", "height")] == [
        800,
        1200,
        400,
        600,
    ]
    assert read_image(tmp_path / "scan.tiff.jpg").shape == (600, 400, 3)


@given(st.floats(0.3, 0.8), st.binary(min_size=20, max_size=60), st.booleans())
@hypothesis_settings(max_examples=30, deadline=None)
def test_a_jpeg_with_corrupt_data_in_the_middle_is_used_and_noted(place, garbage, progressive):
    """Where the decoder itself notices: garbage that happens to be valid code leaves no trace."""
    data = bytearray(saved(NOISE, "JPEG", quality=90, progressive=progressive))
    start = int(place * len(data))
    data[start : start + 2 + len(garbage)] = b"\xff\xd5" + garbage.replace(b"\xff", b"\x00")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "source.jpg").write_bytes(data)
        source, target = Path(folder) / "source.jpg", Path(folder) / "model.jpg"
        outcome = process(Job("source.jpg", source, target, EnhanceSettings(), 10**6, ocr="", entities=()))
    assert outcome["status"] == "ok"
    assert outcome["error"].startswith("damaged inside (Corrupt JPEG data: ")


def test_a_whole_jpeg_has_no_note_and_standard_error_is_as_before(tmp_path, capfd):
    (tmp_path / "source.jpg").write_bytes(saved(PHOTO, "JPEG"))
    source, target = tmp_path / "source.jpg", tmp_path / "model.jpg"
    outcome = process(Job("source.jpg", source, target, EnhanceSettings(), 10**6, ocr="", entities=()))
    assert outcome["error"] == ""
    os.write(2, b"still there\n")
    assert capfd.readouterr().err == "still there\n"
