import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src import ensemble, metrics
from src.data.details import details_table, from_entry, to_entry
from src.data.errors import InputError
from src.data.questions import Question
from src.reading.options import TEMPERATURE, Option
from src.training import adapter


def rows(count, seed, *, model=1.0, rules=1.0, empty=0.2, labels=0.0):
    """Held-out questions of three options and abstaining; the model and the rules see the true one, each
    through its own noise.

    ``model``, ``rules``, ``labels``: how well they see it.
    """
    rng, noise = np.random.default_rng(seed), np.random.default_rng([seed, 1])
    questions = []
    for number in range(count):
        texts = [f"{number + 1}.{digit} gram" for digit in (1, 2, 3)]
        truth = "" if rng.random() < empty else texts[rng.integers(3)]
        seen = np.array([text == truth for text in [*texts, ""]], float)
        by_model = 3 * model * seen + rng.normal(size=4)
        by_model -= np.log(np.exp(by_model).sum() + 0.5)
        by_rules = 3 * rules * seen + rng.normal(size=4)
        logits = [*(TEMPERATURE * (by_rules[:3] - by_rules[3])).tolist(), 0.0]
        options = tuple(
            Option(
                (text,) if text else (),
                rule_logit=logit,
                log_probability=log_probability,
                log_prior=labels * (text == truth) + noise.normal() if text else 0.0,
            )
            for text, logit, log_probability in zip([*texts, ""], logits, by_model.tolist(), strict=True)
        )
        best = max(options, key=lambda option: option.log_probability)
        entity = ("item_weight", "height")[number % 2]
        questions.append(
            Question(
                number,
                f"{number}.jpg",
                Path(f"{number}.jpg"),
                entity,
                truth,
                options=options,
                model_answer=best.text,
                confidence=math.exp(best.log_probability),
            )
        )
    return questions


def changed(questions, **values):
    """The questions with these values in all of their options."""
    return [replace(q, options=tuple(replace(option, **values) for option in q.options)) for q in questions]


def f1(questions, predictions):
    return metrics.score([question.label for question in questions], list(predictions)).f1


def alone(questions, weights):
    return [question.prediction for question in ensemble.combine(questions, weights)]


LOG = st.floats(-60, 0)


@st.composite
def any_rows(draw):
    """Questions with any number of options, often none but to abstain, with and without OCR, free-form or
    not."""
    with_ocr, questions = draw(st.booleans()), []
    for row in range(draw(st.integers(1, 5))):
        known = draw(st.integers(0, 4)) if with_ocr else 0
        logits = [draw(st.floats(-40, 40)) for _ in range(known)]
        options = [Option((f"{number + 1} gram",), rule_logit=logit) for number, logit in enumerate(logits)]
        options += [Option(rule_logit=0.0 if with_ocr else None)]
        options += [Option(("9 gram",))] * draw(st.integers(0, 1))
        options = [replace(o, log_probability=draw(LOG), log_prior=draw(st.floats(-9, 9))) for o in options]
        entity = draw(st.sampled_from(["item_weight", "height"]))
        questions.append(Question(row, "a.jpg", Path("a.jpg"), entity, options=tuple(options)))
    return questions


@settings(deadline=None)
@given(any_rows(), st.sampled_from([ensemble.PRIOR, ensemble.MODEL_ALONE, ensemble.RULES_ALONE]))
def test_whatever_the_weights_a_prediction_is_one_of_the_options(questions, weights):
    for question, combined in zip(questions, ensemble.combine(questions, weights), strict=True):
        assert combined.prediction in [option.text for option in question.options]
        assert 0 <= combined.probability <= 1
        assert len(combined.options) == len(question.options)
        assert (
            from_entry(json.loads(json.dumps(to_entry(combined)))).options[0].texts
            == question.options[0].texts
        )


def test_both_together_are_better_than_each_on_rows_they_have_not_seen():
    weights = ensemble.fit(rows(500, seed=0, model=0.7, rules=0.7))
    others = rows(800, seed=1, model=0.7, rules=0.7)
    chosen = ensemble.combine(others, weights)
    each = [f1(others, alone(others, own)) for own in (ensemble.MODEL_ALONE, ensemble.RULES_ALONE)]
    assert f1(others, [question.prediction for question in chosen]) > max(each) + 0.015
    sources = {question.source for question in chosen}
    assert sources <= {"model", "rules", "both", "neither"}
    assert {"model", "rules", "both"} <= sources
    right = np.mean([question.prediction == question.label for question in chosen])
    assert np.mean([question.probability for question in chosen]) == pytest.approx(right, abs=0.05)
    for question in chosen:
        assert len(question.options) == 4
        assert sum(option.probability for option in question.options) == pytest.approx(1)


def test_labels_that_tell_much_are_heard_and_others_are_not():
    table, others = (rows(500, seed=seed, model=0.4, rules=0.4, labels=3.0) for seed in (10, 11))
    heard = alone(others, ensemble.fit(table))
    unheard = alone(others, ensemble.fit(changed(table, log_prior=0.0)))
    assert f1(others, heard) > f1(others, unheard) + 0.03
    assert ensemble.fit(rows(2000, seed=12))[4] < ensemble.PRIOR[4] < ensemble.fit(table)[4]


@pytest.mark.parametrize("blind", ["model", "rules"])
def test_one_that_tells_nothing_costs_little(blind):
    table, others = rows(400, seed=2, **{blind: 0.0}), rows(600, seed=3, **{blind: 0.0})
    best = ensemble.RULES_ALONE if blind == "model" else ensemble.MODEL_ALONE
    assert f1(others, alone(others, ensemble.fit(table))) > f1(others, alone(others, best)) - 0.02


@pytest.mark.parametrize("count", [1, 12, 60])
def test_few_rows_do_not_overturn_the_prior(count):
    """On so few rows the model alone may seem the better one by luck."""
    others = rows(600, seed=20, model=0.3)
    by_prior = f1(others, alone(others, ensemble.PRIOR))
    for seed in range(8):
        weights = ensemble.fit(rows(count, seed=30 + seed, model=0.3))
        assert f1(others, alone(others, weights)) > by_prior - 0.03


def test_without_held_out_rows_the_rules_decide_unless_they_hesitate():
    table = rows(300, seed=4, labels=1.0)
    chosen = alone(table, ensemble.PRIOR)
    by_rules = alone(table, ensemble.RULES_ALONE)
    logits = np.sort([[option.rule_logit for option in question.options] for question in table])
    sure = np.flatnonzero(logits[:, -1] - logits[:, -2] > 3)
    assert np.mean([chosen[row] == by_rules[row] for row in sure]) > 0.97
    assert f1(table, chosen) > f1(table, by_rules)


def test_the_weights_are_those_of_the_field_s_own_formula():
    table = rows(200, seed=8)
    best = np.array(ensemble.fit(table))
    options = ensemble._OptionTable.of(table)
    places = [ensemble._position_of(q.options, q.label, q.entity) for q in table]

    def loss(weights):
        chances = options.probabilities(weights)
        rest = sum(math.log(chances[row, place]) for row, place in enumerate(places))
        return -rest + 0.5 * (ensemble._PRECISION * (weights - ensemble._PRIOR) ** 2).sum()

    for number in range(10):
        step = np.zeros(10)
        step[number] = 1e-3
        assert loss(best) <= min(loss(best + step), loss(best - step)) + 1e-7


def test_held_out_rows_none_of_whose_options_is_true_change_nothing():
    table = rows(20, seed=13)
    table = [replace(question, label="7777 gram") for question in table]
    assert ensemble.fit(table) == pytest.approx(ensemble.PRIOR)


def test_a_truth_in_another_unit_is_the_option_of_its_amount():
    weighed = [Option(("60 gram",)), Option(("1 ounce",)), Option()]
    assert ensemble._position_of(weighed, "0.06 kilogram", "item_weight") == 0
    assert ensemble._position_of(weighed, "1 ounce", "item_weight") == 1
    assert ensemble._position_of(weighed, "", "item_weight") == 2
    assert ensemble._position_of(weighed, "7 gram", "item_weight") == -1


def test_without_ocr_the_model_alone_decides():
    table = [
        replace(q, options=(Option(log_probability=-2.0), Option((q.model_answer,), log_probability=-0.5)))
        if q.model_answer
        else replace(q, options=(Option(log_probability=-0.3),))
        for q in rows(200, seed=9)
    ]
    assert ensemble.fit(table) == ensemble.MODEL_ALONE
    chosen = ensemble.combine(table, ensemble.MODEL_ALONE)
    assert {question.source for question in chosen} == {"model"}
    assert [question.prediction for question in chosen] == [question.model_answer for question in table]
    details = details_table(chosen)
    assert set(details["rules"]) == {""}
    assert all(option["rules"] is None for text in details["options"] for option in json.loads(text))
    assert "rules" not in ensemble.describe(table, ensemble.MODEL_ALONE).partition("the rule logit")[0]


def test_a_handful_of_rows_is_enough_to_go_on():
    for count in (1, 2, 5):
        table = rows(count, seed=10)
        chosen = ensemble.combine(table, ensemble.fit(table))
        assert all(0 <= question.probability <= 1 for question in chosen)
        assert len(chosen) == count
        assert "the ensemble" in ensemble.describe(table, ensemble.fit(table))


def test_probabilities_that_are_no_numbers_are_refused():
    table = rows(68, seed=11)
    first, *others = table[5].options
    table[5] = replace(table[5], options=(replace(first, log_probability=math.nan), *others))
    with pytest.raises(InputError, match="no numbers \\(1 rows\\)"):
        ensemble.fit(table)


def test_an_adapter_of_an_earlier_version_is_told():
    with pytest.raises(InputError, match="earlier version"):
        adapter.held_out({"answers": [{"row": 1, "weighed": []}]})


def test_how_far_probabilities_can_be_trusted_is_shown_before_and_after():
    table = rows(500, seed=12)
    shown = ensemble.reliability(table)
    assert shown["stage"].value_counts().to_dict() == {"the model's answer": 500, "the prediction": 500}
    part = shown[shown["stage"].eq("the prediction")]
    bins = part.groupby((part["probability"] * 10).clip(upper=9.99).astype(int))
    gap = (bins["probability"].mean() - bins["right"].mean()).abs()
    assert (gap * bins.size()).sum() / len(part) < 0.08  # expected calibration error


def test_units_that_are_confused_are_counted():
    table = metrics.confusion_of_units(
        ["1 gram", "2 gram", "", "1 inch"], ["1 gram", "2 ounce", "3 inch", ""]
    )
    assert table.loc["gram", "gram"] == 1
    assert table.loc["gram", "ounce"] == 1
    assert table.loc["(none)", "inch"] == 1
    assert table.loc["inch", "(none)"] == 1
