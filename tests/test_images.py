import io

import numpy as np
import pytest
from PIL import Image

from src.reading.images import ImageError, clahe, cv2, decode, enhance, letterbox, resize, shown_size, unsharp
from src.settings import EnhanceSettings


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("size", "want"),
    [
        ((2000, 1000), (600, 300)),
        ((333, 1000), (200, 600)),
        ((600, 599), (600, 599)),
        ((76, 50), (76, 50)),
        ((1, 5000), (1, 600)),
    ],
)
def test_resize_keeps_the_ratio_and_never_enlarges(size, want):
    assert resize(noise(*size), 600).shape[:2] == want


def test_resize_of_a_reduced_picture_keeps_the_ratio_of_the_full_one():
    assert resize(noise(201, 750), 600).shape[:2] == (161, 600)
    assert resize(noise(201, 750), 600, (1500, 401)).shape[:2] == (160, 600)


def test_every_pixel_counts_when_a_picture_shrinks():
    image = np.full((1500, 1500, 3), 100, np.uint8)
    for row, column in ((0, 0), (701, 333), (1499, 1499)):
        image[row, column] = 255
    assert (resize(image, 600) != 100).any(axis=2).sum() >= 3


def test_clahe_evens_out_lightness_as_on_l_of_lab():
    grey = np.linspace(60, 140, 256, dtype=np.uint8)[None].repeat(256, axis=0)
    assert np.ptp(clahe(np.full((64, 64), 90, np.uint8), 1.0)) == 0
    assert np.ptp(clahe(grey, 4.0)) > np.ptp(grey)
    lab = cv2.cvtColor(cv2.merge([grey] * 3), cv2.COLOR_BGR2LAB)
    lab[:, :, 0] = cv2.createCLAHE(4.0, (8, 8)).apply(np.ascontiguousarray(lab[:, :, 0]))
    want = cv2.cvtColor(lab, cv2.COLOR_LAB2BGR)[:, :, 0].astype(int)
    assert np.abs(clahe(grey, 4.0) - want).mean() < 1


def test_unsharp_is_the_picture_and_its_difference_to_the_blurred_one():
    step = np.full((40, 40), 100, np.uint8)
    step[:, 20:] = 150
    sharp = unsharp(step, 1.0, 1.5)
    assert sharp.min() < 100
    assert sharp.max() > 150
    blurred = cv2.GaussianBlur(step, (0, 0), 1.0).astype(float)
    assert np.abs(sharp - np.clip(step + 1.5 * (step - blurred), 0, 255)).max() <= 1


def test_enhance_changes_lightness_and_keeps_colours():
    image = np.full((900, 700, 3), (40, 60, 180), np.uint8)
    image[300:600] = (60, 80, 200)
    made = enhance(image, EnhanceSettings())
    assert made.shape == (600, 467, 3)
    before, after = (cv2.cvtColor(picture, cv2.COLOR_BGR2YCrCb).astype(int) for picture in (resize(image, 600), made))
    assert np.abs(before[:, :, 1:] - after[:, :, 1:]).max() <= 2
    assert np.ptp(after[:, :, 0]) > np.ptp(before[:, :, 0])


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


def test_decode_applies_exif_orientation_and_grey_becomes_colour():
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees to show
    turned = encoded(Image.new("RGB", (40, 20)), "JPEG", exif=exif)
    assert decode(turned).shape == (40, 20, 3)
    assert decode(turned, enough=20).shape == (20, 10, 3)
    assert shown_size(turned) == (20, 40)
    assert decode(encoded(Image.new("L", (40, 20)), "PNG")).shape == (20, 40, 3)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"<html>not a picture</html>", "not an image"),
        (encoded(Image.fromarray(noise(200, 200)), "JPEG")[:5000], "damaged"),
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
    padded = letterbox(image)
    assert padded.shape[:2] == want
    assert np.array_equal(padded[: size[0], : size[1]], image)
    assert (padded[size[0] :] == 255).all()
    assert (padded[:, size[1] :] == 255).all()
