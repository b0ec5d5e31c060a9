"""Retry passes: where they look, when they run, and how their lines are merged."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.images.decode import np
from src.ocr import retry_passes as retries
from src.ocr.retry_passes import is_missing, retry_passes
from src.ocr.text_lines import merged
from src.prepare import processes
from src.reading.cross_line import parse_lines
from src.reading.lines import TextLine
from tests.prepare.test_processes import job

PLACE = [[0, 0], [40, 0], [40, 10], [0, 10]]


def moved(by):
    return [[x + by, y] for x, y in PLACE]


@pytest.mark.parametrize(
    ("first", "closer", "kept"),
    [
        (("25 kg", 0.81, PLACE), ("2.5 kg", 0.97, PLACE), ["2.5 kg"]),  # a point is no matter of taste
        (("2.5 kg", 0.97, PLACE), ("25 kg", 0.81, PLACE), ["2.5 kg"]),
        (("1/2 in", 0.97, PLACE), ("12 in", 0.81, PLACE), ["1/2 in"]),
        (("1O kg", 0.75, PLACE), ("10 kg", 0.98, PLACE), ["10 kg"]),
        (("NET WT.500g", 0.9, PLACE), ("NET WT 500 g", 0.99, PLACE), ["NET WT.500g"]),
        (
            ("20 cm", 0.99, moved(20)),
            ("10 x 20 cm", 0.9, [[0, 0], [60, 0], [60, 10], [0, 10]]),
            ["10 x 20 cm"],
        ),
        (
            ("10 x 20 cm", 0.9, [[0, 0], [60, 0], [60, 10], [0, 10]]),
            ("20 cm", 0.99, moved(20)),
            ["10 x 20 cm"],
        ),
        (("10 cm", 0.9, PLACE), ("10 cm", 0.9, moved(50)), ["10 cm", "10 cm"]),
    ],
)
def test_of_readings_of_one_print_one_is_kept(first, closer, kept):
    assert [text for text, *_ in merged([TextLine(*first)], [TextLine(*closer)])] == kept


_boxes = st.tuples(*[st.integers(0, 60)] * 2, *[st.integers(0, 40)] * 2).map(
    lambda b: [[b[0], b[1]], [b[0] + b[2], b[1]], [b[0] + b[2], b[1] + b[3]], [b[0], b[1] + b[3]]]
)
_lines = st.lists(
    st.builds(
        TextLine,
        st.sampled_from(["", "°", "2.5 kg", "25 kg", "12V", "SHEA", "10 x 20 cm"]),
        st.floats(0, 1),
        _boxes,
    ),
    max_size=5,
)


@given(_lines, _lines)
def test_merging_invents_nothing_and_the_same_pass_again_changes_nothing(lines, closer):
    assert all(line in [*lines, *closer] for line in merged(lines, closer))
    assert merged(lines, lines) == lines


@given(_lines, _lines, st.floats(0.6, 1))
def test_what_overlaps_nothing_stays(lines, closer, score):
    alone = TextLine("8 V", score, moved(200))
    assert alone in merged(lines, [*closer, alone])
    assert alone in merged([alone, *lines], closer)


def slanting(degrees, length, height, down):
    """The box of a line of print from (300, 300) on, so far below its own base line."""
    along = np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))])
    below = np.array([-along[1], along[0]])
    corners = [(x, y + down) for x, y in ((0, 0), (length, 0), (length, height), (0, height))]
    return [np.rint(300 + x * along + y * below).astype(int).tolist() for x, y in corners]


@given(st.integers(-90, 90), st.integers(60, 300), st.integers(8, 40), st.floats(0.7, 3))
def test_slanting_lines_that_pass_by_each_other_both_stay(degrees, length, height, lines_apart):
    first = TextLine("SHEA BUTTER", 0.99, slanting(degrees, length, height, 0))
    second = TextLine("12 V", 0.9, slanting(degrees, length, height, lines_apart * height))
    assert merged([first], [second]) == [first, second]
    assert merged([first], [TextLine("5HEA BUTTER", 0.9, first.quad)]) == [first]


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 2200), st.integers(1, 2200), st.data())
def test_every_pass_knows_where_it_sees_a_thing(width, height, data):
    x, y = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    image = np.zeros((height, width, 1), np.uint8)
    image[y, x] = 1
    for group in retry_passes(width, height, ["height"]):
        places = []
        for retry in group:
            mark = np.argwhere(retry.view(image) == (254 if retry.inverted else 1))
            for row, column, *_ in mark:
                places.append(retry.to_image(TextLine("8", 1.0, [[int(column), int(row)]] * 4)).quad)
        assert places
        assert all(place == [[x, y]] * 4 for place in places)


def upright(text, at=0):
    return (text, 0.9, [[at, 80], [at, 40], [at + 10, 40], [at + 10, 80]])


@pytest.mark.parametrize(
    ("lines", "entities", "missing"),
    [
        ([("29.5 cm", 0.9, PLACE)], ["height"], False),
        ([("29.5 cm", 0.9, PLACE), upright("cm"), upright("06", 20)], ["height"], True),  # it says 90 cm
        ([("29.5 cm", 0.9, PLACE), upright("90 cm")], ["height"], False),
        ([("29.5 cm", 0.9, PLACE), ("06", 0.9, moved(50))], ["height"], False),  # the number of something
        ([("500 g", 0.9, PLACE), upright("06")], ["item_weight"], False),
        ([("500 g", 0.9, PLACE)], ["item_weight", "voltage"], True),
        ([("BROTH", 0.9, PLACE)], [], True),
        ([("500 g", 0.9, PLACE)], ["colour"], False),
        ([], ["height"], True),
    ],
)
def test_what_is_missing(lines, entities, missing):
    lines = [TextLine(*line) for line in lines]
    assert is_missing(lines, parse_lines(lines, 100, 100), entities) is missing


def test_an_error_in_a_retry_pass_costs_only_what_it_reads(tmp_path, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(retries, "merged", broken)
    known = job("a.jpg", tmp_path, ocr="auto")
    plain = processes.process(known)
    assert (plain["error"], bool(plain["lines"])) == ("", True)
    outcome = processes.process(job("a.jpg", tmp_path, ocr="auto", entities=("voltage", "wattage")))
    assert outcome["error"] == "text not read closer (ZeroDivisionError)"
    assert outcome["lines"] == plain["lines"]
    assert "ZeroDivisionError" in outcome["trace"]
