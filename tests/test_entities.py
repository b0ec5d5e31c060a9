"""The table of entities: a new entry is all that a new entity takes."""

import re
import subprocess
import sys

import pytest

from src.entities import ENTITIES
from src.reading.options import features
from src.reading.units import BY_NAME, DIMENSION
from src.reading.words import KINDS
from tests.conftest import ROOT


def test_a_new_entity_needs_no_other_change(tmp_path):
    command = [sys.executable, "-m", "tests.torque", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ENTITIES)
def test_an_entity_has_units_of_one_dimension_that_can_be_printed(name):
    entity = ENTITIES[name]
    assert len({DIMENSION[unit] for unit in entity.units}) == 1
    assert set(entity.numbers) <= set(entity.units)
    assert all(BY_NAME[unit].printed for unit in entity.numbers)
    assert all(re.fullmatch("[0-9]+ [0-9]+", pair) for pair in entity.ranges.split("|") if pair)


@pytest.mark.parametrize("name", ENTITIES)
def test_the_words_of_an_entity_are_kinds_that_the_reader_knows(name):
    entity = ENTITIES[name]
    known = set(KINDS) | {"net", "volume"}
    assert entity.other_kinds <= known
    weighted = {feature.removeprefix("word_") for feature in entity.weights if feature.startswith("word_")}
    assert weighted <= known
    assert features([], name, None) == []
