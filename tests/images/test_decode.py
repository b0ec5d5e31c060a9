import errno
import io
import tempfile
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from hypothesis import example, given, reject, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from src.images import decode as decoding
from src.images.decode import DriveError, ImageError, cv2, decode, not_identified, read_bytes, shown_size
from src.images.enhance import resize
from src.images.formats import is_cut, is_heif, not_an_image
from tests.family import FAMILY


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(("side", "want"), [(2400, 600), (1201, 601), (1199, 1199), (500, 500)])
def test_decode_of_a_large_jpeg_leaves_out_what_is_not_needed(side, want):
    smooth = cv2.resize(noise(8, 8), (side, side // 2), interpolation=cv2.INTER_CUBIC)
    data = encoded(Image.fromarray(smooth[:, :, ::-1]), "JPEG", quality=95)
    image = decode(data, enough=600)
    assert image.shape[1] == want
    whole = resize(decode(data), 600)
    assert np.abs(resize(image, 600, (side, side // 2)).astype(int) - whole).mean() < 2
    assert decode(data).shape == (side // 2, side, 3)


def test_decode_composites_transparency_on_white():
    picture = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    picture.paste((0, 0, 255, 255), (0, 0, 4, 8))
    image = decode(encoded(picture, "PNG"))
    assert image[0, 0].tolist() == [255, 0, 0]  # BGR
    assert image[0, 7].tolist() == [255, 255, 255]


def test_grey_becomes_colour():
    assert decode(encoded(Image.new("L", (40, 20)), "PNG")).shape == (20, 40, 3)


TURNED_KINDS = ("JPEG", "TIFF", "PNG", "WEBP", "AVIF", "HEIF")


def turned(kind: str, orientation: int) -> bytes:
    """40 x 24 pixels as stored, black with a white corner where it belongs when shown: at the left and
    top."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = Image.new("RGB", (40, 24))
    left, top = orientation in (1, 4, 5, 6), orientation in (1, 2, 5, 8)
    picture.paste("white", (0 if left else 24, 0 if top else 12, 16 if left else 40, 12 if top else 24))
    if kind == "HEIF":
        pillow_heif.register_heif_opener()
    return encoded(picture, kind, exif=exif.tobytes())


@pytest.mark.parametrize("kind", TURNED_KINDS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_decoded_as_they_are_shown(kind, orientation):
    data = turned(kind, orientation)
    image, size = decode(data), (24, 40) if orientation >= 5 else (40, 24)
    assert image.shape[1::-1] == shown_size(data) == size
    assert decode(data, enough=20).shape[1] in (size[0], size[0] // 2)
    left_top, others = image[3, 3], (image[3, -4], image[-4, 3], image[-4, -4])
    assert left_top.min() > 200
    assert max(corner.max() for corner in others) < 50


def test_damaged_exif_leaves_the_image_as_it_is():
    data = encoded(Image.new("RGB", (40, 24)), "JPEG", exif=b"Exif\0\0II*\0" + b"\xff" * 40)
    assert decode(data).shape == (24, 40, 3)
    assert shown_size(data) == (40, 24)


def test_heic_is_read_whatever_its_name_and_depth():
    pillow_heif.register_heif_opener()
    grey = Image.fromarray(np.full((30, 50), 30_000, np.uint16))
    for image in (Image.new("RGB", (50, 30), (10, 20, 200)), Image.new("RGBA", (50, 30), (0, 0, 0, 0)), grey):
        data = encoded(image, "HEIF")
        assert is_heif(data)
        assert decode(data).shape == (30, 50, 3)
    with pytest.raises(ImageError, match="damaged"):
        decode(data[: len(data) - 20])
    with pytest.raises(ImageError, match="too many pixels"):
        decode(data, max_pixels=100)


SMOOTH = cv2.GaussianBlur(noise(320, 240, seed=1), (0, 0), 3)
CUT_KINDS = {
    "plain": (Image.fromarray(SMOOTH), {}),
    "fine": (Image.fromarray(SMOOTH), {"quality": 95, "subsampling": 0}),
    "restarts": (Image.fromarray(SMOOTH), {"restart_marker_rows": 1}),
    "grey": (Image.fromarray(SMOOTH[:, :, 0]), {}),
    "progressive": (Image.fromarray(SMOOTH), {"progressive": True}),
    "progressive grey": (Image.fromarray(SMOOTH[:, :, 0]), {"progressive": True, "quality": 90}),
    "cmyk": (Image.fromarray(SMOOTH).convert("CMYK"), {}),
}


@pytest.mark.parametrize("kind", CUT_KINDS)
def test_a_jpeg_that_lacks_its_last_bytes_is_read_where_most_of_it_is_there(kind):
    picture, options = CUT_KINDS[kind]
    data = encoded(picture, "JPEG", **options)
    whole = decode(data).astype(int)
    assert not is_cut(data)
    assert not is_cut(data + b"\0" * 9)
    for lost in (1, 2, 40, len(data) // 30):
        cut = data[:-lost]
        assert is_cut(cut)
        image = decode(cut)
        assert shown_size(cut) == image.shape[1::-1] == (240, 320)
        assert np.abs(image[: int(0.94 * 320)] - whole[: int(0.94 * 320)]).mean() < 1.5
        assert decode(cut, enough=100).shape[1] == 120 if kind != "cmyk" else 240
    for left in (len(data) // 2, len(data) // 4, 300, 30):
        with pytest.raises(ImageError, match="cut off"):
            decode(data[:left])


def test_a_turned_cut_jpeg_is_judged_as_it_is_stored():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(Image.fromarray(SMOOTH), "JPEG", exif=exif)
    assert decode(data[: -len(data) // 40]).shape == (240, 320, 3)
    with pytest.raises(ImageError, match="cut off"):
        decode(data[: -len(data) // 8])


def test_an_end_inside_of_exif_does_not_hide_that_a_jpeg_is_cut():
    thumbnail = encoded(Image.fromarray(SMOOTH[:40, :40]), "JPEG")
    data = encoded(Image.fromarray(SMOOTH), "JPEG", exif=b"Exif\0\0" + thumbnail)
    assert is_cut(data[:-40])
    assert is_cut(data[: data.find(b"\xff\xd9") + 2])


@settings(max_examples=150)
@given(
    kind=st.sampled_from(["JPEG", "PNG", "TIFF", "WEBP", "GIF", "HEIF"]),
    progressive=st.booleans(),
    data=st.data(),
)
def test_any_damage_gives_a_image_or_a_reason(kind, progressive, data):
    options = {"progressive": progressive} if kind == "JPEG" else {}
    pillow_heif.register_heif_opener()
    damaged = bytearray(encoded(Image.fromarray(SMOOTH[:64, :48]), kind, **options))
    for _ in range(data.draw(st.integers(0, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    damaged = bytes(damaged[: data.draw(st.integers(0, len(damaged)))])
    try:
        image = decode(damaged, max_pixels=100_000)
    except ImageError as error:
        assert str(error)
        return
    assert image.dtype == np.uint8
    assert shown_size(damaged) == image.shape[1::-1]
    not_identified(damaged)


@given(st.binary(max_size=200))
def test_any_bytes_give_a_image_or_a_reason(data):
    assert isinstance(not_an_image(data), str)
    assert isinstance(is_cut(b"\xff\xd8" + data), bool)
    try:
        decode(data)
    except ImageError as error:
        assert str(error)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"<html>not an image</html>", r"not an image but a web page \(HTML\)"),
        (b"remember the milk", "not an image, or of an unknown kind"),
        (b"\xff\x0a\xfa\x1f", "a JPEG XL: save it as JPEG or PNG"),
        (b"\x00\x00\x00\x0cJXL \r\n\x87\n", "a JPEG XL: save it as JPEG or PNG"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG drawing: save it as JPEG or PNG"),
        (b"<?xml version='1.0'?>\n<!-- drawn -->\n<svg/>", "an SVG drawing: save it as JPEG or PNG"),
        (b"%PDF-1.7\n", "a PDF: save it as JPEG or PNG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "a PostScript drawing: save it as JPEG or PNG"),
        (b"\x00\x00\x00\x18ftypmp42", "a video: save it as JPEG or PNG"),
        (encoded(Image.fromarray(noise(200, 200)), "JPEG")[:5000], "cut off"),
        (encoded(Image.fromarray(noise(200, 200)), "PNG")[:5000], "damaged"),
        (encoded(Image.new("1", (9000, 9000)), "PNG"), "too many pixels"),
    ],
)
def test_decode_says_what_is_wrong(data, reason):
    with pytest.raises(ImageError, match=reason):
        decode(data)


@pytest.mark.parametrize(
    ("size", "want"),
    [((600, 600), (602, 602)), ((200, 600), (378, 602)), ((100, 50), (112, 112)), ((588, 588), (588, 588))],
)
def test_letterbox_pads_with_white_and_keeps_the_pixels(size, want):
    image = noise(*size)
    padded = FAMILY.padded(image)
    assert padded.shape[:2] == want
    assert np.array_equal(padded[: size[0], : size[1]], image)
    assert (padded[size[0] :] == 255).all()
    assert (padded[:, size[1] :] == 255).all()


def test_large_texts_and_colour_profiles_of_a_png_refuse_nothing():
    pixels = noise(40, 60)
    text = PngImagePlugin.PngInfo()
    text.add_text("XML:com.adobe.xmp", "x" * 3_000_000, zip=True)
    for more in ({"pnginfo": text}, {"icc_profile": bytes(3_000_000)}):
        assert np.array_equal(decode(encoded(Image.fromarray(pixels), "PNG", **more)), pixels[:, :, ::-1])


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=80), st.sampled_from(["PNG", "WEBP", "AVIF"]))
@example(bytes.fromhex("0200 1201 0300 01000000 06000000 0001 0200 04000000 1b0d6aed 00000000"), "PNG")
@example(bytes.fromhex("0200 1201 0300 01000000 06000000 0001 0200 04000000 1b0d6aed 00000000"), "WEBP")
def test_no_exif_data_refuses_a_whole_image(exif, kind):
    try:
        data = encoded(Image.new("RGB", (60, 40), "green"), kind, exif=b"Exif\0\0II*\0\x08\0\0\0" + exif)
    except Exception:  # the writer of AVIF reads the tags, too
        reject()
    shape = decode(data).shape
    assert shape in ((40, 60, 3), (60, 40, 3))
    assert shown_size(data) == shape[1::-1]


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_deep_images_keep_their_brightness(bits):
    ramp = np.linspace(0, 2**bits - 1, 30 * 50).reshape(30, 50).astype(np.uint16)
    for kind in ("PNG", "TIFF"):
        shown = decode(encoded(Image.fromarray(ramp), kind))
        assert (shown.min(), shown.max()) == (0, 255)
        assert np.abs(shown[:, :, 0] - ramp * (255 / (2**bits - 1))).max() <= 1


@pytest.mark.parametrize(
    ("number", "failures", "want"),
    [
        (errno.EIO, 2, (b"the bytes", 3)),
        (errno.ETIMEDOUT, 1, (b"the bytes", 2)),
        (errno.EIO, 99, (DriveError("unreadable drive (Input/output error)"), 3)),
        (errno.ENOENT, 1, (ImageError("missing file"), 1)),
    ],
)
@pytest.mark.parametrize("name", ["a.jpg", "00000.tar/a.jpg"])
def test_what_a_drive_does_not_give_is_tried_again(name, number, failures, want):
    tried = []

    def flaky(path, *rest, **named):
        tried.append(path)
        if len(tried) <= failures:
            raise OSError(number, "Input/output error")
        return opened(path, *rest, **named)

    opened = Path.open
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        for file in ("a.jpg", "00000.tar"):
            Path(folder, file).write_bytes(b"the bytes")
        patch.setattr(Path, "open", flaky)
        patch.setattr(Path, "read_bytes", lambda path: path.open("rb").read())
        patch.setattr(decoding, "_places", lambda *_: {"a.jpg": [0, 9]})
        patch.setattr(decoding, "_WAITS", (0, 0))
        try:
            got = read_bytes(Path(folder, name))
        except ImageError as error:
            got = error
    assert (repr(got), len(tried)) == (repr(want[0]), want[1])
