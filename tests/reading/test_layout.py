"""The layout of an image: product, drawn lines, and where texts stand to them."""

import json

import pytest

from src.images.decode import cv2, np
from src.reading.context import prompt_context
from src.reading.cross_line import parse_lines
from src.reading.layout import Layout, around_lengths, directions, layout, position
from src.reading.options import find_options
from tests.reading.test_candidates import line


def drawing():
    """A grey box on white, an upright line on its left and a level one below it; texts beside these."""
    image = np.full((400, 400, 3), 255, np.uint8)
    image[100:260, 120:320] = 120
    cv2.line(image, (90, 100), (90, 260), (0, 0, 0), 2)
    cv2.line(image, (120, 300), (320, 300), (0, 0, 0), 2)
    lines = [line("33 cm", 20, 170, 60), line("44 cm", 190, 310, 60)]
    return image, lines, [r.box for r in parse_lines(lines, 400, 400)]


def test_geometry_finds_product_and_directions():
    image, _, texts = drawing()
    drawn = layout(image, texts)
    assert np.allclose(drawn.product, (0.3, 0.25, 0.8, 0.65), atol=0.02)
    upright, level, _ = directions(drawn, texts[0])
    assert upright > 2 * level
    upright, level, _ = directions(drawn, texts[1])
    assert level > 2 * upright
    assert position(drawn, texts[0])[0] < -1  # left of the product
    assert position(drawn, texts[1])[1] > 1  # below it
    blank = layout(np.full((50, 80, 3), 255, np.uint8), [])
    assert blank.product == (0.0, 0.0, 1.0, 1.0)
    assert directions(blank, (0.1, 0.1, 0.2, 0.2)) == (0.0, 0.0, 0.0)


def test_the_prompt_tells_where_a_length_stands_to_the_product_and_its_line():
    image, lines, _ = drawing()
    found = parse_lines(lines, 400, 400)
    drawn = around_lengths(image, found)
    assert (
        prompt_context(found, drawn)
        == "Read: 33 centimetre left vertical second; 44 centimetre bottom horizontal longest."
    )
    assert (
        prompt_context(found, None) == "Read: 33 centimetre left second; 44 centimetre bottom longest."
    )  # to the image
    assert around_lengths(image, parse_lines([line("500 g", 20, 170, 60)], 400, 400)) is None
    upright = parse_lines([line("33 cm", 60, 150, 20, 60)], 400, 400)
    assert prompt_context(upright, around_lengths(image, upright)).startswith(
        "Read: 33 centimetre left upright vertical"
    )


def test_what_is_drawn_is_kept_as_json_without_what_is_far_from_lengths():
    image, lines, texts = drawing()
    image[20:22, 10:390] = 0  # a line at the top, far from both
    found, whole = parse_lines(lines, 400, 400), layout(image, texts)
    drawn = Layout.of(json.loads(json.dumps(around_lengths(image, found).entry())))
    assert 0 < len(drawn.segments) < len(whole.segments)
    for entity in ("height", "width", "depth"):
        near, far = ([o.rule_logit for o in find_options(found, entity, which)] for which in (drawn, whole))
        assert near == pytest.approx(far, abs=0.02)
    nothing = Layout.of(around_lengths(np.full((50, 80, 3), 255, np.uint8), found).entry())
    assert nothing.segments.shape == (0, 4)


@pytest.mark.parametrize(
    "wrong",
    [
        {"segments": [[0, 0, float("nan"), 1]]},
        {"product": [0, 0, 1e39, 1]},
        {"product": [0, 1]},
        {"aspect": 0},
    ],
)
def test_a_layout_that_is_none_is_refused(wrong):
    with pytest.raises((ValueError, TypeError)):
        Layout.of({"product": [0, 0, 1, 1], "segments": [], "aspect": 1.0} | wrong)
