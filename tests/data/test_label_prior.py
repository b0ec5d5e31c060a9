"""The label prior: how usual an amount is among train labels."""

import math

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from src.data.label_prior import LabelPrior
from src.entities import ENTITIES


def log_priors(prior, entity, group, texts):
    return [prior.log_prior(entity, group, text) for text in texts]


def labels(entity, group, unit, numbers):
    return [(entity, group, f"{number} {unit}") for number in numbers]


MATTRESSES = labels("depth", "beds", "centimetre", [180, 190, 200, 200, 203, 210] * 3)
CUSHIONS = labels("depth", "cushions", "centimetre", [8, 9, 10, 10, 12] * 3)


def test_amounts_like_those_of_its_group_are_usual_in_whatever_unit():
    prior = LabelPrior(MATTRESSES + CUSHIONS)
    texts = ["195 centimetre", "9 centimetre", "", "77 inch"]
    deep, flat, silence, in_inches = log_priors(prior, "depth", "beds", texts)
    assert deep > 0 > flat
    assert silence == 0
    assert abs(deep - in_inches) < 0.3
    deep, flat = log_priors(prior, "depth", "cushions", ["195 centimetre", "9 centimetre"])
    assert flat > 0 > deep


def test_a_group_without_labels_goes_by_its_entity():
    prior = LabelPrior(MATTRESSES * 3 + CUSHIONS)
    texts = ["195 centimetre", "9 centimetre", "0.3 millimetre"]
    often, seldom, never = log_priors(prior, "depth", "unheard of", texts)
    assert often > seldom > never
    group = log_priors(prior, "depth", "beds", texts)
    assert group[0] - group[1] > often - seldom


def test_a_group_of_many_labels_does_not_rule_out_what_it_lacks():
    """Labels are wrong now and then: however many there are, what none of them says keeps a share."""
    texts = ["600 centimetre"]
    (few,), (many,) = (log_priors(LabelPrior(CUSHIONS * n), "depth", "cushions", texts) for n in (5, 500))
    assert few >= many > few - 1


def test_labels_without_a_group_are_no_group():
    prior = LabelPrior(MATTRESSES * 3 + [(entity, "", answer) for entity, _, answer in CUSHIONS])
    assert log_priors(prior, "depth", "", ["9 centimetre"]) == log_priors(
        prior, "depth", "unheard of", ["9 centimetre"]
    )


def test_few_labels_say_nothing():
    few = LabelPrior(labels("voltage", "a", "volt", [12, 12, 230]))
    assert log_priors(few, "voltage", "a", ["12 volt", "5 volt"]) == [0.0, 0.0]
    assert log_priors(LabelPrior(MATTRESSES), "height", "beds", ["200 centimetre"]) == [0.0]
    assert log_priors(LabelPrior(()), "depth", "beds", []) == []


def test_typical_labels_are_neither_for_nor_against_silence():
    """Their mean is 0, so that silence, which no label speaks for, is not favoured by how wide amounts
    spread."""
    texts = [answer for _, _, answer in MATTRESSES + CUSHIONS]
    prior = LabelPrior(MATTRESSES + CUSHIONS)
    assert abs(np.mean(log_priors(prior, "depth", "unheard of", texts))) < 0.01


ANSWER = st.one_of(
    st.text(max_size=12),
    st.builds(
        "{} {}".format,
        st.from_regex(r"[0-9]{1,40}(\.[0-9]{1,40})?", fullmatch=True),
        st.sampled_from(sorted({unit for entity in ENTITIES.values() for unit in entity.units})),
    ),
)
ENTITY = st.sampled_from([*ENTITIES, "colour"])
GROUP = st.sampled_from(["1", "", "ä"])


@given(st.lists(st.tuples(ENTITY, GROUP, ANSWER), max_size=30), ENTITY, GROUP, st.lists(ANSWER, max_size=5))
def test_any_label_and_any_answer_get_a_number(known, entity, group, texts):
    values = log_priors(LabelPrior(known), entity, group, texts)
    assert len(values) == len(texts)
    assert all(math.isfinite(value) for value in values)
    table = pd.DataFrame(known, columns=["entity_name", "group_id", "entity_value"])
    assert len(log_priors(LabelPrior.of_table(table), entity, group, texts)) == len(texts)
