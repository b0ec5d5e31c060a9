import io

import numpy as np
import pytest
from PIL import Image

from src.images import EnhanceSettings, ImageError, clahe, cv2, decode, enhance, letterbox, resize, unsharp


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


def test_clahe_changes_lightness_only_and_unsharp_sharpens():
    grey = np.repeat(np.linspace(100, 140, 256, dtype=np.uint8)[None, :, None], 3, axis=2).repeat(256, axis=0)
    flat = clahe(np.full((64, 64, 3), 90, np.uint8), 1.0)
    assert np.ptp(flat) == 0
    assert np.ptp(clahe(grey, 4.0)) > np.ptp(grey)
    step = np.full((40, 40, 3), 100, np.uint8)
    step[:, 20:] = 150
    sharp = unsharp(step, 1.0, 1.5)
    assert sharp.min() < 100
    assert sharp.max() > 150
    # the definition: image + strength * (image - blurred)
    blurred = cv2.GaussianBlur(step, (0, 0), 1.0).astype(float)
    assert np.abs(sharp - np.clip(step + 1.5 * (step - blurred), 0, 255)).max() <= 1


def test_enhance_is_the_three_steps_in_order():
    image = noise(900, 700)
    want = unsharp(clahe(resize(image, 600), 1.0), 1.0, 1.5)
    assert np.array_equal(enhance(image, EnhanceSettings()), want)


def test_decode_composites_transparency_on_white():
    picture = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    picture.paste((0, 0, 255, 255), (0, 0, 4, 8))
    image = decode(encoded(picture, "PNG"))
    assert image[0, 0].tolist() == [255, 0, 0]  # BGR
    assert image[0, 7].tolist() == [255, 255, 255]


def test_decode_applies_exif_orientation_and_grey_becomes_colour():
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees to show
    assert decode(encoded(Image.new("RGB", (40, 20)), "JPEG", exif=exif)).shape == (40, 20, 3)
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
