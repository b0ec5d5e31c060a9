"""No text in lines of any box breaks the reading: what OCR may return, and worse."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from src.entities import ENTITIES
from src.images.decode import np
from src.reading.candidates import candidates
from src.reading.context import prompt_context
from src.reading.cross_line import parse_lines
from src.reading.layout import Layout
from src.reading.lines import Box
from src.reading.mentions import find_quantities
from src.reading.options import find_options, group_by_amount, rules_answer
from src.reading.quantity import parse_answer
from src.sanity import prediction_fault

DIGITS = "0123456789０１²³¹½¼¾⅛⅓"
SIGNS = ".,:;-–—−~〜±+/⁄()[]（）×x*✕|'\"’′″“”°º⌀Øø$€%&=_^!~⎓\u00a0\u2009 "
LETTERS = "OoQlIsSBZzLWHDTBgmkvVAtfcinbuUrReEaxX"
UNITS = (
    *(
        "mm",
        "cm",
        "in",
        "inch",
        "ft",
        "m",
        "kg",
        "g",
        "mg",
        "lb",
        "lbs",
        "oz",
        "fl oz",
        "0z",
        "Ib",
        "ml",
        "L",
        "cl",
    ),
    *(
        "gal",
        "qt",
        "pt",
        "cup",
        "cu ft",
        "V",
        "W",
        "kW",
        "mV",
        "VAC",
        "watts",
        "Voltage",
        "dia",
        "by",
        "to",
        "per",
    ),
    *("克", "千克", "毫升", "升", "伏", "瓦", "厘米", "毫米", "кг", "г", "мл", "л", "см", "мм", "Вт", "В"),
    *(
        "(cm):",
        "Unit: mm",
        "weight",
        "max load",
        "up to",
        "Net",
        "净含量",
        "IN1",
        "/h",
        "/m2",
        "℃",
        "字",
        "😀",
    ),
)
PIECES = st.sampled_from([*DIGITS, *DIGITS, *SIGNS, *LETTERS, *UNITS])
TEXTS = st.one_of(st.lists(PIECES, max_size=40).map("".join), st.text(max_size=300)).map(
    lambda text: text[:300]
)

WHERE = st.one_of(st.integers(-50, 1050), st.floats(-1e6, 1e6))
CORNERS = st.one_of(
    st.lists(st.tuples(WHERE, WHERE), min_size=4, max_size=4),
    st.tuples(WHERE, WHERE, st.integers(0, 400), st.integers(0, 60)).map(
        lambda b: [(b[0], b[1]), (b[0] + b[2], b[1]), (b[0] + b[2], b[1] + b[3]), (b[0], b[1] + b[3])]
    ),
)
LINES = st.lists(st.tuples(TEXTS, st.floats(0, 1), CORNERS), max_size=4)
DRAWN = st.sampled_from(
    [
        None,
        Layout(
            Box(0.2, 0.2, 0.8, 0.8), np.array([[0.1, 0.1, 0.1, 0.9], [0.5, 0.5, 0.5, 0.5]], np.float32), 1.0
        ),
        Layout(Box(0.5, 0.5, 0.5, 0.5), np.zeros((0, 4), np.float32), 0.01),
    ]
)


@given(TEXTS)
@example("3/2")
@example("1/0 in")
@example("3/1 lb")
@example("0" * 300 + "g")
@example("1 LB 0 OZ")
@example("0 g / 0.0 oz")
@example("¹½²/³ in")
@example("Height 40 Width 30")
@example("L 12 W 16 H 2")
@example(".000001 cc")
@settings(deadline=None)
def test_every_quantity_of_any_text_is_positive_finite_and_where_it_says(text):
    for mention in find_quantities(text):
        assert mention.quantity.number.is_finite()
        assert mention.quantity.number > 0
        assert parse_answer(str(mention.quantity)) is not None
        assert 0 <= mention.start < mention.end <= len(text)


POINT = [(0, 0)] * 4


@given(LINES, st.integers(0, 2000), st.integers(0, 2000), DRAWN)
@example([("", 0.0, POINT), ("1克", 0.0, POINT)], 0, 0, None)
@example([("1 cm", 0.0, [(0, 0), (0, 0), (0, 0), (0, -3)])], 0, 0, None)
@settings(deadline=None, max_examples=40)
def test_no_lines_break_the_rules_or_the_prompt(lines, width, height, drawn):
    found = parse_lines(lines, width, height)
    assert sorted(reading.text for reading in found) == sorted(text for text, _, _ in lines)
    prompt = prompt_context(found, drawn)
    assert prompt.startswith("Read: ")
    for entity in (*ENTITIES, "colour"):
        for candidate in candidates(found, entity):
            assert candidate.quantity.number.is_finite()
            assert candidate.quantity.number > 0
            assert prediction_fault(str(candidate.quantity), entity) == ""
        if entity in ENTITIES:
            options = find_options(found, entity, drawn)
            assert all(np.isfinite(option.rule_logit) for option in options)
            text, probability = rules_answer(options)
            assert prediction_fault(text, entity) == ""
            assert 0 < probability <= 1


LENGTHS = st.tuples(
    st.one_of(st.integers(1, 60), st.floats(0.5, 40).map(lambda x: round(x, 1))),
    st.sampled_from(["cm", "mm", "in", "ft", "m"]),
)


ONE_LENGTH = LENGTHS.map("{0[0]}{0[1]}".format)
TWO_LENGTHS = st.tuples(LENGTHS, LENGTHS).map("{0[0][0]} {0[0][1]} / {0[1][0]} {0[1][1]}".format)


@given(st.lists(st.one_of(ONE_LENGTH, TWO_LENGTHS), max_size=6))
@example(["1.8 ft / 0.5 m", "2 ft"])
@settings(deadline=None)
def test_one_option_has_one_number_in_each_unit(texts):
    """However near numbers in other units stand: 1.8 ft and 2 ft are two, though 0.5 m, rounded, could be
    either."""
    tops = [60 * number for number in range(len(texts))]
    lines = [(t, 0.9, [(0, y), (90, y), (90, y + 20), (0, y + 20)]) for t, y in zip(texts, tops, strict=True)]
    found = parse_lines(lines, 400, 400)
    groups = group_by_amount(found, "height")
    assert sum(map(len, groups)) == len(candidates(found, "height"))
    for group in groups:
        numbers = {(candidate.quantity.unit, candidate.quantity.number) for candidate in group}
        assert len(numbers) == len({unit for unit, _ in numbers})
