"""Kinds of writing on products, each with several instances: whole kinds are read, not single
texts."""

import pytest

from src.reading.candidates import candidates
from src.reading.cross_line import parse_lines
from src.reading.lines import TextLine
from src.reading.mentions import find_quantities
from src.reading.options import find_options, rules_answer
from src.reading.words import SIDES


def found(text):
    return [str(mention.quantity) for mention in find_quantities(text)]


def line(text, left, top, width=100, height=20):
    """Return an OCR line on an image of 400 x 400 pixels."""
    right, bottom = left + width, top + height
    return text, 0.9, [[left, top], [right, top], [right, bottom], [left, bottom]]


def shown(lines, entity):
    return [str(c.quantity) for c in candidates(parse_lines(lines, 400, 400), entity)]


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("NET WT 1 LB 1.6 OZ (500g)", "1.1 pound"),
        ("2 LB 3.2 OZ", "2.2 pound"),
        ("3 lbs 8 oz", "3.5 pound"),
        ("1LB 12OZ", "1.75 pound"),
        ("5 lb. 4 oz.", "5.25 pound"),
        ("1 QT 1.8 FL OZ (1 L)", "1.06 quart"),
        ("1 PT 9.4 FL OZ", "1.59 pint"),
        ("1 GAL 2 QT", "1.5 gallon"),
        ("10'-6\"", "10.5 foot"),
        ("6' 3\"", "6.25 foot"),
        ("4ft 6in", "4.5 foot"),
    ],
)
def test_two_parts_are_one_amount(text, want):
    (compound,) = (m for m in find_quantities(text) if "compound" in m.flags)
    assert str(compound.quantity) == want


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("H20cmH", ["20 centimetre H"]),
        ("7.5inL x 3inW x 2inH", ["7.5 inch L", "3 inch W", "2 inch H"]),
        ("23(L)x14(W)x8(H)cm", ["23 centimetre L", "14 centimetre W", "8 centimetre H"]),
        ("(L)23 x (W)14 x (H)8 cm", ["23 centimetre L", "14 centimetre W", "8 centimetre H"]),
        ("23L*14W*8H cm", ["23 centimetre L", "14 centimetre W", "8 centimetre H"]),
        ('30"L x 20"W x 10"H', ["30 inch L", "20 inch W", "10 inch H"]),
        ("30cmL*20cmW*5cmH", ["30 centimetre L", "20 centimetre W", "5 centimetre H"]),
        ("[L]40 x [W]30 x [H]12 mm", ["40 millimetre L", "30 millimetre W", "12 millimetre H"]),
        ('W12.5"xD10"xH9"', ["12.5 inch W", "10 inch D", "9 inch H"]),
        ("W40 x D30 x H5 inch", ["40 inch W", "30 inch D", "5 inch H"]),
        ("30W*40Hcm", ["30 centimetre W", "40 centimetre H"]),
        (
            "6 x 1.5L, 5W x 2",
            ["1.5 litre ", "5 watt "],
        ),  # litres and watts stay where no letter is times another
        ("3.5L | 1200W x 2", ["3.5 litre ", "1200 watt "]),
    ],
)
def test_letters_of_axes(text, want):
    letters = {"length": "L", "width": "W", "height": "H", "depth": "D", "": ""}
    assert [f"{m.quantity} {letters[''.join(m.labels & SIDES)]}" for m in find_quantities(text)] == want


@pytest.mark.parametrize(
    ("text", "want"),
    [
        # feet marks before x
        ("5'x7'", ["5 foot", "7 foot"]),
        ("8' x 10'", ["8 foot", "10 foot"]),
        ("4'X6'", ["4 foot", "6 foot"]),
        # tolerances
        ("500 ± 10 g", ["500 gram"]),
        ("120±5mm", ["120 millimetre"]),
        ("250g ±5g", ["250 gram"]),
        ("20 +/- 1 cm", ["20 centimetre"]),
        ("±0.39 inches", []),
        ("+/- 2 mm", []),
        # thousands
        ("1 000 g", ["1000 gram"]),
        ("1'000 g", ["1000 gram"]),
        ("1’500 g", ["1500 gram"]),
        ("2 500 ml", ["2500 millilitre"]),
        # glued to the unit
        ("500ge", ["500 gram"]),
        ("156ge", ["156 gram"]),
        ("250mle", ["250 millilitre"]),
        ("18VLITHIUM", ["18 volt"]),
        ("18vLXT", ["18 volt"]),
        ("20VMAX", ["20 volt"]),
        ("33OZJAR", ["33 ounce"]),
        ("16OZBOTTLE", ["16 ounce"]),
        ("5LBBAG", ["5 pound"]),
        ("17watts", ["17 watt"]),
        ("110 Voltage", ["110 volt"]),
        ("60 Wattage", ["60 watt"]),
        # letters for digits
        ("25olbs", ["250 pound"]),
        ("O.6lb", ["0.6 pound"]),
        ("17o0 watts", ["1700 watt"]),
        ("(l42g)", ["142 gram"]),
        ("18.SKG", ["18.5 kilogram"]),
        ("50omm", ["500 millimetre"]),
        ("22:2V", ["22.2 volt"]),
        ("25.2n", ["25.2 inch"]),
        ("1OO ml", ["100 millilitre"]),
        ("5OOg", ["500 gram"]),
        ("I00W", ["100 watt"]),
        ("l2V", ["12 volt"]),
        ("3O cm", ["30 centimetre"]),
        ("2S0 g", ["250 gram"]),
        ("1B0 cm", ["180 centimetre"]),
        ("1l0V", ["110 volt"]),
        ("l.5 L", ["1.5 litre"]),
        ("0.S lb", ["0.5 pound"]),
        ("6OW", ["60 watt"]),
        ("l6oz", ["16 ounce"]),
        ("1:5L", ["1.5 litre"]),
        ("0 g", []),
        ("O g", []),
        ("0.0 lb", []),
        # damaged fractions
        ('31½/2"', ["31.5 inch"]),
        ("12¹½2 inch", ["12.5 inch"]),
        ("3/2", []),
        ('7½/8"', ["7.5 inch"]),
        ("1.1/2 in", ["1.5 inch"]),
        ('3 /4"', ["0.75 inch"]),
        ('15/1/2"', []),
        # Chinese and Cyrillic
        ("500克", ["500 gram"]),
        ("净含量:2千克", ["2 kilogram"]),
        ("250毫升", ["250 millilitre"]),
        ("1.5升", ["1.5 litre"]),
        ("220伏", ["220 volt"]),
        ("60瓦", ["60 watt"]),
        ("30厘米", ["30 centimetre"]),
        ("12毫米", ["12 millimetre"]),
        ("5 кг", ["5 kilogram"]),
        ("500 г", ["500 gram"]),
        ("250мл", ["250 millilitre"]),
        ("2 л", ["2 litre"]),
        ("30 см", ["30 centimetre"]),
        ("12мм", ["12 millimetre"]),
        ("60 Вт", ["60 watt"]),
        ("220 В", ["220 volt"]),
        ("500克装", ["500 gram"]),
        ("масса 250 г", ["250 gram"]),
        # as printed in English where nothing decides
        ("1,000 g", ["1000 gram"]),
        ("1.000 g", ["1 gram"]),
        # two units for one thing are no concentration, watts before volts no code
        ("3.4 OZ / 100 ML", ["3.4 ounce", "100 millilitre"]),
        ("3.3oz/100ml", ["3.3 ounce", "100 millilitre"]),
        ("DC12W24V", ["12 watt", "24 volt"]),
        ("HOLDS 200LBS / .90KG", ["200 pound", "0.9 kilogram"]),
        ("1 000g", ["1000 gram"]),
        ("12 000 克", ["12000 gram"]),
        ("1 000,5 g", ["1000.5 gram"]),
        ("30cm (±1~2cm)", ["30 centimetre"]),
        ("12VCAR", ["12 volt"]),
        ("18VTOOLS", ["18 volt"]),
        ("5VUSB", ["5 volt"]),
        ("60WTUBE", ["60 watt"]),
        ('123/4"', ["12.75 inch"]),
        ("231/2 in", ["23.5 inch"]),
        ("8-½ in", ["8.5 inch"]),
        ("15 ³/₄ in", ["15.75 inch"]),
        ("10, 12 cm", ["12 centimetre"]),
        ("5 ft3", ["5 cubic foot"]),
        ("500 грамм", ["500 gram"]),
        ("12 Вольт", ["12 volt"]),
        ("5 литров", ["5 litre"]),
        ("２５０ｇ", ["250 gram"]),
        ("５００ｍｌ", ["500 millilitre"]),
        ("100㎎", ["100 milligram"]),
    ],
)
def test_kinds_of_writing(text, want):
    assert found(text) == want


@pytest.mark.parametrize(
    "text",
    [
        *(
            "300ml/h",
            "80 g/m2",
            "80g/m²",
            "14.4 W/m",
            "30 mg/kg",
            "$3.99/100g",
            "250 ml/min",
            "5 L/h",
            "12 W per meter",
        ),
        *(
            "12 W per meter",
            "€2 / 100 ml",
            "4-in-1",
            "2in1",
            "3 in 1",
            "6 IN 1",
            "24T",
            "36T",
            "5018V",
            "10W-30",
            "5W-30",
        ),
        "10W40",
        "15W/40",
        "2 IN I",
        "2-in-l",
        "Tolerance: ±1-3cm",
        "Please allow 1-3 cm error",
        "±1~2cm",
        "14.4W/ft",
        "90 g/sqm",
        "20 lbs/ft",
        "8 lb/ft3",
        "3 oz/yd2",
        "25 ft-lbs",
        "30 in-lbs",
        "2,50€/100g",
        "1.99/100 g",
        "12 ft2",
        "60瓦时",
        "3升级",
        "3VENTS",
        "5Wheels",
    ],
)
def test_no_amounts(text):
    assert found(text) == []


@pytest.mark.parametrize(
    ("lines", "entity", "want"),
    [
        ([line("1570", 100, 100), line("Watt Motor", 90, 122, 120)], "wattage", ["1570 watt"]),
        ([line("650", 100, 100), line("Watts Power", 90, 122, 120)], "wattage", ["650 watt"]),
        ([line("Rated Voltage(V~)", 0, 100, 150), line("220", 170, 100, 40)], "voltage", ["220 volt"]),
        ([line("Net weight(kg)", 0, 100, 150), line("11.5", 170, 100, 40)], "item_weight", ["11.5 kilogram"]),
        ([line("Power (W)", 0, 100, 100), line("45", 120, 100, 40)], "wattage", ["45 watt"]),
        ([line("Power (Watts)", 0, 100, 140), line("45", 160, 100, 40)], "wattage", ["45 watt"]),
        (
            [line("Voltage(V)", 0, 100, 100), line("100-240", 120, 100, 80)],
            "voltage",
            ["100 volt", "240 volt"],
        ),
        (
            [line("Size(cm)", 0, 100, 100), line("41*65*35", 120, 100, 80)],
            "width",
            ["41 centimetre", "65 centimetre", "35 centimetre"],
        ),
        ([line("36.2'", 0, 0), line("19.7'", 0, 50)], "width", ["36.2 inch", "19.7 inch"]),
        ([line("1.000 g", 0, 0), line("35.3 oz", 0, 50)], "item_weight", ["1000 gram", "35.3 ounce"]),
        ([line("10.000 ml", 0, 0), line("10 L", 0, 50)], "item_volume", ["10000 millilitre", "10 litre"]),
        ([line("36.2'", 0, 0), line('20"', 0, 50)], "width", ["36.2 inch", "20 inch"]),
        ([line("46'", 0, 0)], "height", ["46 inch"]),
        ([line("10'", 0, 0)], "height", ["10 foot"]),
    ],
)
def test_what_several_lines_say_together(lines, entity, want):
    assert shown(lines, entity) == want


@pytest.mark.parametrize(
    ("lines", "load"),
    [
        (
            [line("WEIGHT CAPACITY", 100, 60, 160), line("350 lbs", 110, 85), line("159 kg", 110, 110)],
            "350 pound",
        ),
        ([line("Support up to", 100, 100, 120), line("485lbs", 110, 122)], "485 pound"),
        ([line("hold up to 35", 100, 100, 120), line("Ibs or 15.9 kg", 100, 122, 120)], "35 pound"),
        ([line("MAX LOAD", 100, 100), line("120KG", 100, 122)], "120 kilogram"),
        ([line("350 lbs", 100, 100), line("Weight Capacity", 90, 122, 140)], "350 pound"),
        ([line("Can hold", 100, 100), line("25 kg", 100, 122)], "25 kilogram"),
        ([line("Max. user weight 110 kg", 50, 100, 250)], "110 kilogram"),
        ([line("Weight Rating", 20, 100, 140), line("250 lbs", 170, 100, 80)], "250 pound"),
        ([line("承重", 100, 100, 40), line("15kg", 150, 100, 60)], "15 kilogram"),
        ([line("Capacidad de carga", 60, 100, 200), line("90 kg", 100, 122)], "90 kilogram"),
    ],
)
def test_words_of_a_load_make_it_no_weight(lines, load):
    read = parse_lines(lines, 400, 400)
    assert rules_answer(find_options(read, "maximum_weight_recommendation", None))[0] == load
    assert rules_answer(find_options(read, "item_weight", None))[0] == ""


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("S00ml", ["500 millilitre"]),
        ("B00 ml", ["800 millilitre"]),
        ("S0 cm", ["50 centimetre"]),
        ("Z50ml", ["250 millilitre"]),
        ("B.5 oz", ["8.5 ounce"]),
        ("S.5 kg", ["5.5 kilogram"]),
        ("22:2 V", ["22.2 volt"]),
        ("12:5 cm", ["12.5 centimetre"]),
        ("16:9 in", []),  # a ratio
        ("12:30 m", []),  # a time
        ("3:1 lb", []),
        ("S24W", ["24 watt"]),  # a model of 24 watts
        ("B12 500mcg", ["500 microgram"]),
        ("VITAMIN B12 500 mcg", ["500 microgram"]),
        ("SIZE S 10 oz", ["10 ounce"]),
        ("BOO", []),
    ],
)
def test_a_first_digit_or_a_point_that_ocr_took_for_another_sign(text, want):
    assert found(text) == want


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("12inchWide", ["12 inch"]),
        ("20ftLong", ["20 foot"]),
        ("30cmTall", ["30 centimetre"]),
        ("1.5VAA", ["1.5 volt"]),
        ("12 (±0.5) cm", ["12 centimetre"]),
        ("30 x 20 x 10 (±1) cm", ["30 centimetre", "20 centimetre", "10 centimetre"]),
        ("30L/20W/10H cm", ["30 centimetre", "20 centimetre", "10 centimetre"]),
        ("H30/W20/D10 cm", ["30 centimetre", "20 centimetre", "10 centimetre"]),
        ("5W/10W", ["5 watt", "10 watt"]),
        ("12L/3.2gal", ["12 litre", "3.2 gallon"]),
        ("24 500 ml bottles", ["500 millilitre"]),
        ("12 330 ml cans", ["330 millilitre"]),
        ("1 500 ml bottle", ["1500 millilitre"]),
        ("2 lb. & 4 oz", ["2 pound", "2.25 pound", "4 ounce"]),
        ("2 lb & 4 oz", ["2 pound", "2.25 pound", "4 ounce"]),
    ],
)
def test_what_stands_between_a_number_and_its_unit_or_after_it(text, want):
    assert found(text) == want


def test_text_lines_and_lists_as_in_json_are_parsed_alike():
    lists = [list(line("Net weight(kg)", 0, 100)), list(line("11.5", 110, 100))]
    assert parse_lines([TextLine(*fields) for fields in lists], 400, 400) == parse_lines(lists, 400, 400)
