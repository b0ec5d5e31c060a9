import pytest

from src.reading.candidates import candidates, is_same
from src.reading.context import prompt_context
from src.reading.cross_line import parse_lines


def line(text, left, top, width=100, height=20, *, score=0.9):
    """An OCR line on an image of 400 x 400 pixels."""
    right, bottom = left + width, top + height
    return text, score, [[left, top], [right, top], [right, bottom], [left, bottom]]


def shown(lines, entity):
    return [str(c.quantity) for c in candidates(parse_lines(lines, 400, 400), entity)]


def test_only_what_fits_the_question_is_a_candidate():
    lines = [
        line("60 g / 2.1 oz", 0, 0),
        line("12 cm", 0, 50),
        line("500 ml", 0, 100),
        line("230V 40W", 0, 150),
    ]
    assert shown(lines, "item_weight") == ["60 gram", "2.1 ounce"]
    assert shown(lines, "height") == shown(lines, "depth") == ["12 centimetre"]
    assert shown(lines, "item_volume") == ["500 millilitre"]  # what is given in grams, too, is a weight
    assert shown(lines, "voltage") == ["230 volt"]
    assert shown(lines, "wattage") == ["40 watt"]
    assert shown(lines, "colour") == []
    assert shown([], "height") == []


@pytest.mark.parametrize(
    "unit", [line("ml", 110, 100, 40), line("ML", 10, 122, 40), line("ml", 110, 105, 30, 12)]
)
def test_a_number_and_its_unit_in_two_boxes_are_one(unit):
    assert shown([line("500", 5, 100), unit], "item_volume") == ["500 millilitre"]


def test_a_unit_far_away_is_not_taken():
    assert shown([line("500", 5, 100), line("ml", 300, 300, 40)], "item_volume") == []


def test_a_unit_stated_for_the_whole_image_goes_to_bare_numbers():
    assert shown([line("Unit: mm", 0, 0), line("120", 0, 100), line("45", 0, 200)], "width") == [
        "120 millimetre", "45 millimetre",
    ]  # fmt: skip


def test_metres_among_centimetres_are_centimetres():
    assert shown([line("60.2m", 0, 0), line("45cm", 0, 100)], "height") == [
        "60.2 centimetre",
        "45 centimetre",
    ]
    assert shown([line("2 m", 0, 0), line("45cm", 0, 100)], "height") == ["2 metre", "45 centimetre"]


def test_place_orientation_order_and_words():
    upright = ("30 cm", 0.9, [[20, 300], [20, 100], [40, 100], [40, 300]])
    lines = [
        line("Breite: 20 cm", 200, 350),
        upright,
        line("Net weight", 0, 20, 80),
        line("1 kg", 85, 20, 40),
    ]
    found = parse_lines(lines, 400, 400)
    assert [r.text for r in found] == ["Net weight", "1 kg", "30 cm", "Breite: 20 cm"]
    height, width = candidates(found, "width")
    assert (height.line.vertical, width.line.vertical) == (True, False)
    assert width.keywords["width"] == 1.0
    assert (height.rank, width.rank) == (0, 1)
    (weight,) = candidates(found, "item_weight")
    assert weight.keywords["net"] == 1.0  # a label to the left
    (height,) = candidates(parse_lines([line("H", 0, 0, 20), line("12 cm", 100, 0)], 400, 400), "depth")
    assert height.keywords["height"] == 1.0  # a table's label
    left, top, right, bottom = width.box
    assert 0.5 < left < right <= 0.75
    assert (top, bottom) == (350 / 400, 370 / 400)


def test_the_same_amount_in_two_units():
    first, second, other = candidates(
        parse_lines([line("60 g / 2.1 oz", 0, 0), line("75 g", 0, 50)], 400, 400), "item_weight"
    )
    assert is_same(first, second)
    assert not is_same(first, other)


def test_the_prompt_tells_quantities_places_and_words():
    lines = [
        line("Net 500 g", 0, 10),
        line("H 12 cm", 0, 190),
        line("hello", 0, 300),
        line("500 g", 300, 390, 90, 8),
    ]
    assert (
        prompt_context(parse_lines(lines, 400, 400), None)
        == "Read: 500 gram top left net; 12 centimetre left height."
    )
    assert prompt_context([], None) == "Read: nothing."
