"""The prompt context: what a prompt says about the text lines of an image."""

import pytest

from src.model.modeling import load_processor
from src.reading.context import prompt_context
from src.reading.cross_line import parse_lines
from tests.conftest import TINY
from tests.reading.test_candidates import line


@pytest.fixture(scope="module")
def processor():
    return load_processor(str(TINY))


def test_lengths_are_told_by_rank_and_one_length_in_two_units_has_one():
    lines = ["12 cm", "30 x 20 cm", "7.87 in", "5 mm", "500 g"]
    found = parse_lines([line(text, 0, 60 * i) for i, text in enumerate(lines)], 400, 400)
    told = {
        " ".join(item.split()[:2]): item.split()[2:] for item in prompt_context(found, None)[6:-1].split("; ")
    }
    ranks = {
        key: [word for word in words if word in ("longest", "second", "third")] for key, words in told.items()
    }
    assert ranks == {
        "12 centimetre": ["third"],
        "30 centimetre": ["longest"],
        "20 centimetre": ["second"],
        "7.87 inch": ["second"],
        "5 millimetre": [],
        "500 gram": [],
    }
    assert "longest" not in prompt_context(parse_lines([line("8 cm / 3 in", 0, 0)], 400, 400), None)  # of one


def test_words_tell_gross_weights_servings_and_equivalents():
    lines = ["G.W. 5.3 kg", "N.W. 5 kg net", "12 g protein per serving", "60 W equivalent", "Grosse 23 cm"]
    found = parse_lines([line(text, 0, 60 * i) for i, text in enumerate(lines)], 400, 400)
    assert prompt_context(found, None) == (
        "Read: 5.3 kilogram top left gross; 5 kilogram top left net; 12 gram left serving; "
        "60 watt left equal; 23 centimetre left."
    )


def test_many_readings_stay_short(processor):
    many = [line(f"{i}.25 millilitre diameter height", 0, 10 * i) for i in range(39)]
    assert 100 < len(processor.tokenizer(prompt_context(parse_lines(many, 400, 400), None)).input_ids) <= 160
