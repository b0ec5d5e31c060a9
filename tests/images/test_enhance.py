import numpy as np
import pytest
from PIL import Image

from src.images.decode import cv2, decode
from src.images.enhance import clahe, enhance, is_blank, resize, unsharp
from src.settings import EnhanceSettings
from tests.images.test_decode import encoded, noise


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


def test_resize_of_a_reduced_image_keeps_the_ratio_of_the_full_one():
    assert resize(noise(201, 750), 600).shape[:2] == (161, 600)
    assert resize(noise(201, 750), 600, (1500, 401)).shape[:2] == (160, 600)


def test_every_pixel_counts_when_a_image_shrinks():
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


def test_unsharp_is_the_image_and_its_difference_to_the_blurred_one():
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
    before, after = (
        cv2.cvtColor(picture, cv2.COLOR_BGR2YCrCb).astype(int) for picture in (resize(image, 600), made)
    )
    assert np.abs(before[:, :, 1:] - after[:, :, 1:]).max() <= 2
    assert np.ptp(after[:, :, 0]) > np.ptp(before[:, :, 0])


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (12, 200, 90)])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_one_colour_is_blank_and_faint_print_is_not(colour, kind):
    picture = Image.new("RGB", (100, 80), colour)
    assert is_blank(decode(encoded(picture, kind)))
    picture.paste(tuple(abs(level - 30) for level in colour), (40, 40, 44, 42))
    assert not is_blank(decode(encoded(picture, kind)))
