"""The parser's tables: each named pattern has two examples that are read differently without it."""

import re

import pytest

from src.reading import cross_line, mentions, numbers, structure, tokens
from src.reading.cross_line import parse_lines
from tests.reading.test_structure import line

PRODUCTIONS = {
    "legend": {
        "H x W: 40 x 30 cm": ["40 centimetre height", "30 centimetre width"],
        "Width x Height: 60 x 40 cm": ["60 centimetre width", "40 centimetre height"],
    },
    "tolerance": {"500 ± 10 g": ["500 gram"], "12 (±0.5) cm": ["12 centimetre"]},
    "about": {"± 3 kg": ["3 kilogram"], "±500 ml": ["500 millilitre"]},
    "tolerance alone": {"±2 mm": [], "length ±2-3 cm": []},
    "named sides": {
        "L 12 W 16 H 2 cm": ["12 centimetre length", "16 centimetre width", "2 centimetre height"],
        'Height 16, Width 12"': ["16 inch height", "12 inch width"],
    },
    "quantity": {"12 cm": ["12 centimetre"], "20cmH": ["20 centimetre height"]},
    "rate": {"800 L/h": [], "80 g/m2": []},
    "per hundred": {"5 g / 100 g": [], "per 100 ml": []},
    "no amount": {"60 Hz": [], "5018V": []},
    "repair": {
        "11oz/3.0g": ["0.11 ounce", "3 gram converted"],
        "1.7 fl oz (50 m)": ["1.7 fluid ounce", "50 millilitre converted"],
    },
    "compound": {
        "2 lb 4 oz": ["2 pound", "2.25 pound compound", "4 ounce"],
        "5'7\"": ["5 foot prime", "5.5833 foot compound", "7 inch"],
    },
    "range": {
        "100-240V": ["100 volt low", "240 volt high"],
        "3W/5W/7W": ["3 watt low", "5 watt low", "7 watt high"],
    },
    "one named side": {
        "H30 x 20 cm": ["30 centimetre height", "20 centimetre"],
        "30 cm x 20D": ["30 centimetre", "20 centimetre depth"],
    },
    "dimensions": {
        "6 x 4 x 2 in": ["6 inch", "4 inch", "2 inch"],
        "60/40/120 cm": ["60 centimetre", "40 centimetre", "120 centimetre"],
    },
    "sum": {"2 + 3 kg": ["2 kilogram sum", "3 kilogram sum"], "10W + 5W": ["10 watt sum", "5 watt sum"]},
    "conversion": {
        "60 g / 2.1 oz": ["60 gram", "2.1 ounce converted"],
        "12 in (30 cm)": ["12 inch", "30 centimetre converted"],
    },
}
FORMS = {
    "mixed fraction": {"15-1/8 in": ["15.125 inch"], "1 1/2 in": ["1.5 inch"]},
    "vulgar fraction": {"1½ in": ["1.5 inch"], "8-½ in": ["8.5 inch"]},
    "glued fraction": {'123/4"': ["12.75 inch"], "231/2 in": ["23.5 inch"]},
    "fraction": {"1/2 in": ["0.5 inch"], "21/4 in": ["2.25 inch"]},
    "before a misread unit": {"501bs": ["50 pound"], "2.50Z": ["2.5 ounce"]},
    "thousands": {"1,200 g": ["1200 gram thousand"], "1,200.5 g": ["1200.5 gram"]},
    "spaced thousands": {"1 000 g": ["1000 gram"], "1'000 g": ["1000 gram"]},
    "continental": {"1.234,5 g": ["1234.5 gram"], "12.345,75 kg": ["12345.75 kilogram"]},
    "odd point": {"1·5 kg": ["1.5 kilogram"], "1 ,5 kg": ["1.5 kilogram"]},
    "plain": {"81,5 cm": ["81.5 centimetre"], ".5 in": ["0.5 inch"]},
}
NO_NUMBERS = {
    "motor oil": {"5W-30": [], "10W40": []},
    "steel": {"316L": [], "304L 12 cm": ["12 centimetre"]},
    "price": {"3 €/ 1 kg": [], "5 €/ 2 L": []},
    "misread lumen": {"10W/8101m": ["10 watt"], "9W 8061m": ["9 watt"]},
    "brand": {"3M tape": [], "3M VHB": []},
}
LINES = {
    "_unit_alone": {
        ("500", 5, 100, "ml", 110, 100): ["500 millilitre"],
        ("ml", 100, 80, "500", 100, 100): ["500 millilitre"],
    },
    "_unit_below": {
        ("1570", 100, 100, "Watt Motor", 90, 122): ["1570 watt"],
        ("hold up to 35", 100, 100, "Ibs or 15.9 kg", 100, 122): ["35 pound", "15.9 kilogram"],
    },
    "_unit_in_label": {
        ("Net weight(kg)", 0, 100, "11.5", 110, 100): ["11.5 kilogram"],
        ("Size(cm)", 0, 100, "41*65*35", 110, 100): ["41 centimetre", "65 centimetre", "35 centimetre"],
    },
    "_lost_c": {
        ("60.2m", 0, 0, "45cm", 0, 100): ["60.2 centimetre borrowed", "45 centimetre"],
        ("80 m", 0, 0, "20 in", 0, 100): ["80 centimetre borrowed", "20 inch"],
    },
    "_lost_prime": {
        ("46'", 0, 0, "hello", 0, 100): ["46 inch prime"],
        ("19.7'", 0, 0, '20"', 0, 100): ["19.7 inch prime", "20 inch"],
    },
    "_thousand": {
        ("1.000 g", 0, 0, "35.3 oz", 0, 100): ["1000 gram thousand", "35.3 ounce"],
        ("1.500 ml", 0, 0, "Peso neto", 0, 100): ["1500 millilitre thousand"],
    },
}


def told(text):
    """Return the mentions of a text or of two lines (text, left, top, text, left, top), labels and flags."""
    lines = [line(*text[:3]), line(*text[3:])] if isinstance(text, tuple) else [line(text, 0, 0)]
    found = [m for parsed in parse_lines(lines, 400, 400) for m in parsed.mentions]
    return [" ".join([str(m.quantity), *sorted(m.labels), *sorted(m.flags)]) for m in found]


def cases(table):
    return [(name, text, want) for name, examples in table.items() for text, want in examples.items()]


@pytest.fixture
def is_needed(monkeypatch):
    """Return a check that a text gives ``want``, but not when a table is only what is left of it."""

    def check(module, table, left, text, want):
        mentions.parse.cache_clear()
        assert told(text) == want
        mentions.parse.cache_clear()
        monkeypatch.setattr(module, table, left)
        assert told(text) != want

    yield check
    mentions.parse.cache_clear()


@pytest.mark.parametrize(("name", "text", "want"), cases(PRODUCTIONS))
def test_each_production_is_needed(is_needed, name, text, want):
    left = [pair for key, pair in zip(structure.PRODUCTIONS, structure._COMPILED, strict=True) if key != name]
    is_needed(structure, "_COMPILED", left, text, want)


@pytest.mark.parametrize(("name", "text", "want"), cases(FORMS))
def test_each_form_of_a_number_is_needed(is_needed, name, text, want):
    left = [pattern for key, pattern in zip(numbers.FORMS, numbers._PATTERNS, strict=True) if key != name]
    is_needed(numbers, "_PATTERNS", left, text, want)


@pytest.mark.parametrize(("name", "text", "want"), cases(NO_NUMBERS))
def test_each_kind_of_digits_without_an_amount_is_needed(is_needed, name, text, want):
    left = "|".join(pattern for key, pattern in tokens.NO_NUMBERS.items() if key != name)
    is_needed(tokens, "_NO_NUMBER", re.compile(left, re.IGNORECASE), text, want)


@pytest.mark.parametrize(("name", "text", "want"), cases(LINES))
def test_each_way_in_which_lines_relate_is_needed(is_needed, name, text, want):
    table = "_UNIT_SOURCES" if name.startswith("_unit") else "_CORRECTIONS"
    left = tuple(function for function in getattr(cross_line, table) if function.__name__ != name)
    is_needed(cross_line, table, left, text, want)


def test_every_pattern_has_examples():
    assert list(PRODUCTIONS) == list(structure.PRODUCTIONS)
    assert list(FORMS) == list(numbers.FORMS)
    assert list(NO_NUMBERS) == list(tokens.NO_NUMBERS)
    functions = (*cross_line._UNIT_SOURCES, *cross_line._CORRECTIONS)
    assert list(LINES) == [function.__name__ for function in functions]
    for table in (PRODUCTIONS, FORMS, NO_NUMBERS, LINES):
        assert {len(examples) for examples in table.values()} == {2}
