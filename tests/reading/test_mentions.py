from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from src.reading.mentions import find_quantities
from src.reading.quantity import Quantity, parse_answer
from src.reading.units import ALLOWED_UNITS


def found(text):
    return [str(mention.quantity) for mention in find_quantities(text)]


@pytest.mark.parametrize(
    ("text", "want"),
    [
        # names, plurals, abbreviations, symbols, languages
        ("Net Wt. 500 Gms", ["500 gram"]),
        ("10 Kgs", ["10 kilogram"]),
        ("7 KGS.", ["7 kilogram"]),
        ("330lbs Load Bearing", ["330 pound"]),
        ("16 fl. oz.", ["16 fluid ounce"]),
        ("16 FL OZ", ["16 fluid ounce"]),
        ("16 oz", ["16 ounce"]),
        ("41 inches", ["41 inch"]),
        ('41"', ["41 inch"]),
        ("41''", ["41 inch"]),
        ("41\u2033", ["41 inch"]),
        ("4 in.", ["4 inch"]),
        ("12\u339d", ["12 centimetre"]),
        ("500 ml", ["500 millilitre"]),
        ("500 ML", ["500 millilitre"]),
        ("12 Watts", ["12 watt"]),
        ("1.2 kW", ["1.2 kilowatt"]),
        ("220V~", ["220 volt"]),
        ("24VAC", ["24 volt"]),
        ("12 volts DC", ["12 volt"]),
        ("60 x 37 x 9 pulgadas", ["60 inch", "37 inch", "9 inch"]),
        ("Capacit\u00e0 di 0,47 litri", ["0.47 litre"]),
        # what OCR makes of them
        ("20 Ibs", ["20 pound"]),
        ("20 1bs", ["20 pound"]),
        ("501bs", ["50 pound"]),
        ("2.50Z", ["2.5 ounce"]),
        ("7 0Z", ["7 ounce"]),
        ("16 FI OZ", ["16 fluid ounce"]),
        ("500 m1", ["500 millilitre"]),
        ("57. 5cubic feet", ["57.5 cubic foot"]),
        ("(11oz/3.0g)", ["0.11 ounce", "3 gram"]),
        ("7LBS /32KG", ["7 pound", "3.2 kilogram"]),  # a point lost, between whole numbers, too
        ("12oz (34g)", ["1.2 ounce", "34 gram"]),
        ("1 lb/45 g", ["1 pound", "45 gram"]),  # a digit lost
        ("70lbs/32kg", ["70 pound", "32 kilogram"]),
        ("22 lbs (10 kg)", ["22 pound", "10 kilogram"]),
        ("150m - 5.07 FL 02", ["150 millilitre", "5.07 fluid ounce"]),  # a letter lost
        ("1.7 fl oz (50 m)", ["1.7 fluid ounce", "50 millilitre"]),
        ("hose of 15 m, 8 fl oz", ["15 metre", "8 fluid ounce"]),
        ("12 FL 02 (355 ml)", ["12 fluid ounce", "355 millilitre"]),
        ("16.9FL.02", ["16.9 fluid ounce"]),
        # numbers
        ("81,5 cm", ["81.5 centimetre"]),
        ("1,200 g", ["1200 gram"]),
        ("1.234,5 g", ["1234.5 gram"]),
        (".5 inch", ["0.5 inch"]),
        ('1/2"', ["0.5 inch"]),
        ('1 1/2"', ["1.5 inch"]),
        ('15-1/8"', ["15.125 inch"]),
        ("1\u00bd in", ["1.5 inch"]),
        ("12\u00b3/4 inch", ["12.75 inch"]),
        ('21/4"', ["2.25 inch"]),
        ("5'7\"", ["5 foot", "5.5833 foot", "7 inch"]),
        ("2 lb 4 oz", ["2 pound", "2.25 pound", "4 ounce"]),
        # several
        ("100-240V", ["100 volt", "240 volt"]),
        ("1.5~2 V", ["1.5 volt", "2 volt"]),
        ("from 11 to 17.3 inches", ["11 inch", "17.3 inch"]),
        ("6 x 4 x 2 in", ["6 inch", "4 inch", "2 inch"]),
        ("12 x 330 ml", ["330 millilitre"]),
        ("2 PACK 50g", ["50 gram"]),
        ("60 g / 2.1 oz", ["60 gram", "2.1 ounce"]),
        ("L23 x W14 x H8cm", ["23 centimetre", "14 centimetre", "8 centimetre"]),
        ("23L x 14W x 8H cm", ["23 centimetre", "14 centimetre", "8 centimetre"]),
        ("Size (cm): 23", ["23 centimetre"]),
        ("Height23.6cm", ["23.6 centimetre"]),
        # none at all
        *(
            (text, [])
            for text in ("", "500", "kg", "5G phone", "2 in 1 tool", "3-8 m2", "10 m\u00b3", "26.80wh")
        ),
        *((text, []) for text in ("3500mAh", "100%", "47 \u03a9", "the 90's", "13321010000023 g", "60Hz")),
        *((text, []) for text in ("UP-2 Tent", "V2 in the box", "0.3 VA")),
    ],
)
def test_all_the_ways_a_value_is_written(text, want):
    assert found(text) == want


def test_what_belongs_together_is_told():
    low, high = find_quantities("100-240V")
    assert (low.flags, high.flags) == ({"low"}, {"high"})
    first, second = find_quantities("60 g (2.1 oz)")
    assert (first.flags, second.flags) == (frozenset(), {"converted"})
    sides = find_quantities("L23 x W14 x H8cm")
    axes = ("length", "width", "height")
    assert [(m.labels, m.side, m.sides) for m in sides] == [({a}, i, 3) for i, a in enumerate(axes)]
    assert find_quantities("12 x 330 ml")[0].flags == {"pack"}
    assert find_quantities('75"DIA')[0].labels == {"diameter"}
    assert find_quantities("Size (cm): 23")[0].flags == {"borrowed"}
    (only,) = find_quantities("about 12 cm wide")
    assert "about 12 cm wide"[only.start : only.end] == "12 cm"


UNITS = st.sampled_from(sorted(ALLOWED_UNITS))
NUMBERS = st.decimals(min_value=Decimal("0.001"), max_value=999_999, places=3, allow_nan=False)


@given(NUMBERS, UNITS)
def test_what_is_written_is_read_again(number, unit):
    quantity = Quantity(number.normalize(), unit)
    assert parse_answer(str(quantity)) == Quantity(Decimal(str(quantity).split()[0]), unit)
    assert [str(m.quantity) for m in find_quantities(str(quantity))] == [str(quantity)]


WORDS = ("cm", "in", "lb", "oz", "fl", "V", "W", "kg", "ml", "ft", "H")
PIECES = st.lists(st.sampled_from([*"0123456789.,/-~x\u00d7*\"'()+ \u00bd\u00b3", *WORDS]))


@given(st.one_of(st.text(), PIECES.map("".join)))
@example("1/0 in")
@example("0 g / 0 oz")
@example("9" * 500 + "cm")
def test_no_text_breaks_it_and_every_unit_is_allowed(text):
    for mention in find_quantities(text):
        assert mention.quantity.unit in ALLOWED_UNITS
        assert parse_answer(str(mention.quantity)) is not None
        assert 0 <= mention.start < mention.end <= len(text)
