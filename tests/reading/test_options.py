"""Options of a question, and the rules' choice among them."""

import pytest

from src.reading.cross_line import parse_lines
from src.reading.layout import layout
from src.reading.options import find_options, rules_answer
from tests.reading.test_candidates import line
from tests.reading.test_layout import drawing


def rules(lines, entity, drawn=None):
    return rules_answer(find_options(parse_lines(lines, 400, 400), entity, drawn))


def answered(lines, entity, drawn=None):
    return rules(lines, entity, drawn)[0]


def test_dimensions_go_by_drawn_lines_words_and_order():
    image, lines, texts = drawing()
    drawn = layout(image, texts)
    assert answered(lines, "height", drawn) == "33 centimetre"
    assert answered(lines, "width", drawn) == "44 centimetre"
    named = [line("Height: 44 cm", 190, 310), line("Width: 33 cm", 20, 170)]  # words win
    assert answered(named, "height", drawn) == "44 centimetre"
    assert answered(named, "width", drawn) == "33 centimetre"
    sides = [line("30 x 20 x 10 cm", 0, 0)]
    assert answered(sides, "height") == "10 centimetre"
    assert answered([line("H30 x W20 x D10 cm", 0, 0)], "width") == "20 centimetre"


@pytest.mark.parametrize(
    ("texts", "entity", "want"),
    [
        (["60 g / 2.1 oz"], "item_weight", "60 gram"),  # printed first
        (["2.1 oz / 60 g"], "item_weight", "2.1 ounce"),
        (["Protein 12 g per serving", "NET WT 500 g"], "item_weight", "500 gram"),
        (["max. load 150 kg"], "item_weight", ""),
        (["max. load 150 kg", "Weight 2 kg"], "maximum_weight_recommendation", "150 kilogram"),
        (["Net weight 65 g"], "maximum_weight_recommendation", ""),
        (["9W = 60W equivalent", "9W"], "wattage", "9 watt"),
        (["Input 100-240V", "Output 5V"], "voltage", "240 volt"),
        (["only words"], "voltage", ""),
    ],
)
def test_words_decide_between_quantities(texts, entity, want):
    assert answered([line(text, 0, 50 * i, 12 * len(text)) for i, text in enumerate(texts)], entity) == want


def test_the_score_is_a_probability():
    _, sure = rules([line("NET WT 500 g", 0, 0)], "item_weight")
    _, torn = rules([line("500 g", 0, 0), line("400 g", 0, 50)], "item_weight")
    assert 0 < torn < sure < 1
