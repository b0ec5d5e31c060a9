import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src import ensemble, metrics
from src.data.errors import InputError
from src.reading.options import TEMPERATURE


def rows(count, seed, model=1.0, rules=1.0, empty=0.2, labels=0.0):
    """Held-out rows of three options and abstaining; model and rules see the true one, each through its own
    noise.

    ``model``, ``rules``, ``labels``: how well they see it.
    """
    rng, noise = np.random.default_rng(seed), np.random.default_rng([seed, 1])
    answers = []
    for number in range(count):
        texts = [f"{number + 1}.{digit} gram" for digit in (1, 2, 3)]
        truth = "" if rng.random() < empty else texts[rng.integers(3)]
        seen = np.array([text == truth for text in [*texts, ""]], float)
        by_model = 3 * model * seen + rng.normal(size=4)
        by_model -= np.log(np.exp(by_model).sum() + 0.5)
        by_rules = 3 * rules * seen + rng.normal(size=4)
        weighed = [*zip([*texts, ""], by_model.tolist(), strict=True)]
        best, chance = max(weighed, key=lambda pair: pair[1])
        usual = [labels * (text == truth) + noise.normal() if text else 0.0 for text, _ in weighed]
        answers.append(
            {
                "picture": f"{number}.jpg", "entity": ("item_weight", "height")[number % 2], "truth": truth,
                "model_answer": best, "confidence": math.exp(chance), "silence": math.exp(by_model[3]),
                "weighed": [list(pair) for pair in weighed],
                "logits": (TEMPERATURE * (by_rules[:3] - by_rules[3])).tolist(),
                "usual": usual,
            }
        )  # fmt: skip
    return pd.DataFrame(answers)


def f1(table, predictions):
    return metrics.score(table["truth"].tolist(), list(predictions)).f1


def alone(table, weights):
    return ensemble.combine(table, weights)["prediction"]


LOG = st.floats(-60, 0)


@st.composite
def any_rows(draw):
    """Questions with any number of options, often none but silence, with and without OCR, with own writing or
    not."""
    with_ocr, answers = draw(st.booleans()), []
    for _ in range(draw(st.integers(1, 5))):
        known = draw(st.integers(0, 4)) if with_ocr else 0
        texts = [
            *(f"{number + 1} gram" for number in range(known)),
            "",
            *draw(st.sampled_from([[], ["9 gram"]])),
        ]
        row = {
            "entity": draw(st.sampled_from(["item_weight", "height"])),
            "weighed": [[t, draw(LOG)] for t in texts],
        }
        row["usual"] = [draw(st.floats(-9, 9)) for _ in texts]
        answers.append(
            row | ({"logits": [draw(st.floats(-40, 40)) for _ in range(known)]} if with_ocr else {})
        )
    return pd.DataFrame(answers)


@settings(deadline=None)
@given(any_rows(), st.sampled_from([ensemble.PRIOR, ensemble.MODEL_ALONE, ensemble.RULES_ALONE]))
def test_whatever_the_weights_a_prediction_is_one_of_the_options(table, weights):
    combined = ensemble.combine(table, weights)
    for weighed, row in zip(table["weighed"], combined.itertuples(), strict=True):
        assert row.prediction in [text for text, _ in weighed]
        assert 0 <= row.chance <= 1
        assert len(row.chances) == len(weighed)


def test_both_together_are_better_than_each_on_rows_they_have_not_seen():
    weights = ensemble.fit(rows(500, seed=0, model=0.7, rules=0.7))
    others = rows(800, seed=1, model=0.7, rules=0.7)
    chosen = ensemble.combine(others, weights)
    each = [f1(others, alone(others, own)) for own in (ensemble.MODEL_ALONE, ensemble.RULES_ALONE)]
    assert f1(others, chosen["prediction"]) > max(each) + 0.015
    assert set(chosen["source"]) <= {"model", "rules", "both", "neither"}
    assert {"model", "rules", "both"} <= set(chosen["source"])
    right = np.mean([a == b for a, b in zip(chosen["prediction"], others["truth"], strict=True)])
    assert chosen["chance"].mean() == pytest.approx(right, abs=0.05)
    for weighed, chances in zip(others["weighed"], chosen["chances"], strict=True):
        assert len(chances) == len(weighed)
        assert sum(chances) == pytest.approx(1)


def test_labels_that_tell_much_are_heard_and_others_are_not():
    table, others = (rows(500, seed=seed, model=0.4, rules=0.4, labels=3.0) for seed in (10, 11))
    heard = alone(others, ensemble.fit(table))
    unheard = alone(others, ensemble.fit(table.drop(columns="usual")))
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
    margins = [np.sort([*logits, 0.0])[-1] - np.sort([*logits, 0.0])[-2] for logits in table["logits"]]
    sure = np.array(margins) > 3
    assert (chosen[sure] == by_rules[sure]).mean() > 0.97
    assert f1(table, chosen) > f1(table, by_rules)


def test_the_weights_are_those_of_the_field_s_own_formula():
    table = rows(200, seed=8)
    best = np.array(ensemble.fit(table))
    options = ensemble._Options.of(table)
    columns = (table["weighed"], table["truth"], table["entity"])
    places = [ensemble._position_of(*row) for row in zip(*columns, strict=True)]

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
    table["truth"] = "7777 gram"
    assert ensemble.fit(table) == pytest.approx(ensemble.PRIOR)


def test_a_truth_in_another_unit_is_the_option_of_its_amount():
    weighed = [("60 gram", -1.0), ("1 ounce", -1.0), ("", -1.0)]
    assert ensemble._position_of(weighed, "0.06 kilogram", "item_weight") == 0
    assert ensemble._position_of(weighed, "1 ounce", "item_weight") == 1
    assert ensemble._position_of(weighed, "", "item_weight") == 2
    assert ensemble._position_of(weighed, "7 gram", "item_weight") == -1


def test_without_ocr_the_model_alone_decides():
    table = rows(200, seed=9).drop(columns=["logits", "usual"])
    table["weighed"] = [
        [["", -2.0], [text, -0.5]] if text else [["", -0.3]] for text in table["model_answer"]
    ]
    assert ensemble.fit(table) == ensemble.MODEL_ALONE
    chosen = ensemble.combine(table, ensemble.MODEL_ALONE)
    assert set(chosen["source"]) == {"model"}
    assert chosen["prediction"].tolist() == table["model_answer"].tolist()
    for text in ensemble.options_as_json(table, chosen):
        assert all(by_rules is None for _, _, by_rules, _ in json.loads(text))
    assert "rules" not in ensemble.describe(table, ensemble.MODEL_ALONE).partition("the rules' logit")[0]


def test_a_handful_of_rows_is_enough_to_go_on():
    for count in (1, 2, 5):
        table = rows(count, seed=10)
        chosen = ensemble.combine(table, ensemble.fit(table))
        assert chosen["chance"].between(0, 1).all()
        assert len(chosen) == count
        assert "the ensemble" in ensemble.describe(table, ensemble.fit(table))


def test_probabilities_that_are_no_numbers_are_refused():
    table = rows(68, seed=11)
    table.at[5, "weighed"][1][1] = math.nan
    with pytest.raises(InputError, match="no numbers \\(1 rows\\)"):
        ensemble.fit(table)


def test_an_adapter_of_an_earlier_version_is_told():
    with pytest.raises(InputError, match="earlier version"):
        ensemble.fit(rows(5, seed=11).drop(columns="weighed"))


def test_how_far_probabilities_can_be_trusted_is_shown_before_and_after():
    table = rows(500, seed=12)
    shown = ensemble.reliability(table)
    assert shown["stage"].value_counts().to_dict() == {"the model's answer": 500, "the prediction": 500}
    part = shown[shown["stage"].eq("the prediction")]
    bins = part.groupby((part["chance"] * 10).clip(upper=9.99).astype(int))
    gap = (bins["chance"].mean() - bins["right"].mean()).abs()
    assert (gap * bins.size()).sum() / len(part) < 0.08  # expected calibration error


def test_units_that_are_confused_are_counted():
    table = metrics.confusion_of_units(
        ["1 gram", "2 gram", "", "1 inch"], ["1 gram", "2 ounce", "3 inch", ""]
    )
    assert table.loc["gram", "gram"] == 1
    assert table.loc["gram", "ounce"] == 1
    assert table.loc["(none)", "inch"] == 1
    assert table.loc["inch", "(none)"] == 1
