import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src import decide, metrics
from src.data.errors import InputError


def rows(count, seed, model=1.0, rules=1.0, empty=0.2, own=0.0, labels=0.0):
    """Held-out rows of three options and silence; model and rules see the true one, each through noise of its own.

    ``model``, ``rules``, ``labels``: how well they see it. ``own``: share of rows whose truth only the model writes.
    """
    rng, noise = np.random.default_rng(seed), np.random.default_rng([seed, 1])
    answers = []
    for number in range(count):
        texts = [f"{number + 1}.{digit} gram" for digit in (1, 2, 3)]
        truth = "" if rng.random() < empty else texts[rng.integers(3)]
        if truth and rng.random() < own:
            truth = f"{number + 1}.7 gram"
        seen = np.array([text == truth for text in [*texts, ""]], float)
        by_model = 3 * model * seen + rng.normal(size=4)
        by_model -= np.log(np.exp(by_model).sum() + (8.0 if truth not in [*texts, ""] else 0.5))
        by_rules = 3 * rules * seen + rng.normal(size=4)
        weighed = [*zip([*texts, ""], by_model.tolist(), strict=True)]
        written = truth if truth not in [*texts, ""] else f"{number + 1}.9 gram"
        weighed.append((written, math.log(1 - np.exp(by_model).sum())))
        best, chance = max(weighed, key=lambda pair: pair[1])
        usual = [labels * (text == truth) + noise.normal() if text else 0.0 for text, _ in weighed]
        answers.append(
            {
                "picture": f"{number}.jpg", "entity": ("item_weight", "height")[number % 2], "truth": truth,
                "model_answer": best, "confidence": math.exp(chance), "silence": math.exp(by_model[3]),
                "weighed": [list(pair) for pair in weighed], "logits": (by_rules[:3] - by_rules[3]).tolist(),
                "usual": usual,
            }
        )  # fmt: skip
    return pd.DataFrame(answers)


def f1(table, predictions):
    return metrics.score(table["truth"].tolist(), list(predictions)).f1


def alone(table, weights):
    return decide.decide(table, decide.Policy(weights))["prediction"]


LOG = st.floats(-60, 0)


@st.composite
def any_rows(draw):
    """Questions with any number of options, often none but silence, with and without OCR, with own writing or not."""
    with_ocr, answers = draw(st.booleans()), []
    for _ in range(draw(st.integers(1, 5))):
        known = draw(st.integers(0, 4)) if with_ocr else 0
        texts = [*(f"{number + 1} gram" for number in range(known)), "", *draw(st.sampled_from([[], ["9 gram"]]))]
        row = {"entity": draw(st.sampled_from(["item_weight", "height"])), "weighed": [[t, draw(LOG)] for t in texts]}
        row["usual"] = [draw(st.floats(-9, 9)) for _ in texts]
        answers.append(row | ({"logits": [draw(st.floats(-40, 40)) for _ in range(known)]} if with_ocr else {}))
    return pd.DataFrame(answers)


@settings(deadline=None)
@given(any_rows(), st.booleans(), st.sampled_from([0.0, 0.4, 1.0]), st.sampled_from([0.0, 0.5, 1.0]), st.data())
def test_whatever_the_policy_a_prediction_is_one_of_the_options(table, quiet, f1_there, below, data):
    weights = data.draw(st.sampled_from([decide.Policy().weights, decide.MODEL_ALONE, decide.RULES_ALONE]))
    decided = decide.decide(table, decide.Policy(weights, quiet, f1_there, below))
    for weighed, row in zip(table["weighed"], decided.itertuples(), strict=True):
        assert row.prediction in [text for text, _ in weighed]
        assert 0 <= row.chance <= 1
        assert len(row.chances) == len(weighed)


def test_both_together_are_better_than_each_on_rows_they_have_not_seen():
    policy = decide.fit(rows(500, seed=0))
    others = rows(800, seed=1)
    chosen = decide.decide(others, policy)
    each = [f1(others, alone(others, weights)) for weights in (decide.MODEL_ALONE, decide.RULES_ALONE)]
    assert f1(others, chosen["prediction"]) > max(each) + 0.015
    assert set(chosen["source"]) <= {"model", "rules", "both", "neither"}
    assert {"model", "rules", "both"} <= set(chosen["source"])
    right = np.mean([a == b for a, b in zip(chosen["prediction"], others["truth"], strict=True)])
    assert chosen["chance"].mean() == pytest.approx(right, abs=0.05)
    for weighed, chances in zip(others["weighed"], chosen["chances"], strict=True):
        assert len(chances) == len(weighed)
        assert sum(chances) == pytest.approx(1)


def test_labels_that_tell_much_are_heard_and_others_are_not():
    table, others = (rows(500, seed=seed, model=0.5, rules=0.5, labels=3.0) for seed in (10, 11))
    heard = decide.decide(others, decide.fit(table))["prediction"]
    unheard = decide.decide(others, decide.fit(table.drop(columns="usual")))["prediction"]
    assert f1(others, heard) > f1(others, unheard) + 0.03
    assert decide.fit(rows(2000, seed=12)).weights[4] < decide.Policy().weights[4] < decide.fit(table).weights[4]


@pytest.mark.parametrize(("blind", "name"), [("model", "rules alone"), ("rules", "model alone")])
def test_one_that_tells_nothing_costs_nothing(blind, name):
    table, others = rows(400, seed=2, **{blind: 0.0}), rows(600, seed=3, **{blind: 0.0})
    policy = decide.fit(table)
    weights = decide.RULES_ALONE if blind == "model" else decide.MODEL_ALONE
    best = f1(others, alone(others, weights))
    assert f1(others, decide.decide(others, policy)["prediction"]) > best - 0.02
    assert name in decide.show(policy)


@pytest.mark.parametrize("count", [1, 12, 60])
def test_few_rows_do_not_overturn_how_it_is_done(count):
    """On so few rows the model alone, or silence, may seem the better one, or as good, by luck."""
    others = rows(600, seed=20, model=0.3)
    usual = f1(others, decide.decide(others, decide.Policy())["prediction"])
    for seed in range(8):
        policy = decide.fit(rows(count, seed=30 + seed, model=0.3))
        assert f1(others, decide.decide(others, policy)["prediction"]) > usual - 0.03


def test_without_held_out_rows_the_rules_decide_unless_they_hesitate():
    table = rows(300, seed=4)
    chosen = decide.decide(table, decide.Policy())["prediction"]
    by_rules = alone(table, decide.RULES_ALONE)
    margins = [np.sort([*logits, 0.0])[-1] - np.sort([*logits, 0.0])[-2] for logits in table["logits"]]
    sure = np.array(margins) > 3
    assert (chosen[sure] == by_rules[sure]).mean() > 0.97
    assert f1(table, chosen) > f1(table, by_rules)


def test_what_the_model_writes_itself_counts_where_options_leave_room():
    table = rows(500, seed=5, own=0.25, model=1.5)
    policy = decide.fit(table)
    assert policy.own_below > 0
    others = rows(500, seed=6, own=0.25, model=1.5)
    chosen = decide.decide(others, policy)
    own = others["truth"].str.contains(r"\.7 ")
    assert (chosen["prediction"] == others["truth"])[own].mean() > 0.5
    assert decide.fit(rows(500, seed=7)).own_below == 0  # where it gains nothing, nothing is written


def test_the_weights_are_those_of_the_field_s_own_formula():
    table = rows(200, seed=8)
    policy = decide.fit(table)
    best = np.array(decide._fitted(table, policy).weights)

    def loss(weights):
        options = decide._Options.of(table, policy.own_below)
        chances = options.chances(weights)
        places = [
            decide._position_of(*row) for row in zip(table["weighed"], table["truth"], table["entity"], strict=True)
        ]
        rest = sum(math.log(chances[row, place]) for row, place in enumerate(places) if options.there[row, place])
        return -rest + 0.5 * (decide._PRECISION * (weights - decide._PRIOR) ** 2).sum()

    for number in range(10):
        step = np.zeros(10)
        step[number] = 1e-3
        assert loss(best) <= min(loss(best + step), loss(best - step)) + 1e-7


def test_a_truth_in_another_unit_is_the_option_of_its_amount():
    weighed = [("60 gram", -1.0), ("1 ounce", -1.0), ("", -1.0)]
    assert decide._position_of(weighed, "0.06 kilogram", "item_weight") == 0
    assert decide._position_of(weighed, "1 ounce", "item_weight") == 1
    assert decide._position_of(weighed, "", "item_weight") == 2
    assert decide._position_of(weighed, "7 gram", "item_weight") == -1


def test_without_ocr_the_rules_have_no_say():
    table = rows(200, seed=9).drop(columns=["logits", "usual"])
    table["weighed"] = [[["", -2.0], [text, -0.5]] if text else [["", -0.3]] for text in table["model_answer"]]
    policy = decide.fit(table)
    assert [name for name, *_ in policy.steps] == ["model alone", "silence by the expected F1"]
    chosen = decide.decide(table, policy)
    assert set(chosen["source"]) <= {"model", "neither"}
    if not policy.quiet:
        assert chosen["prediction"].tolist() == table["model_answer"].tolist()
    for text in decide.shown(table, chosen):
        assert all(by_rules is None for _, _, by_rules, _ in json.loads(text))


def test_a_handful_of_rows_is_enough_to_go_on():
    for count in (1, 2, 5):
        table = rows(count, seed=10)
        chosen = decide.decide(table, decide.fit(table))
        assert chosen["chance"].between(0, 1).all()
        assert len(chosen) == count


def test_probabilities_that_are_no_numbers_are_refused():
    table = rows(68, seed=11)
    table.at[5, "weighed"][1][1] = math.nan
    with pytest.raises(InputError, match="no numbers \\(1 rows\\)"):
        decide.fit(table)


def test_an_adapter_of_an_earlier_version_is_told():
    with pytest.raises(InputError, match="earlier version"):
        decide.fit(rows(5, seed=11).drop(columns="weighed"))


def test_how_far_probabilities_can_be_trusted_is_shown_before_and_after():
    table = rows(500, seed=12)
    shown = decide.reliability(table, decide.fit(table))
    assert shown["stage"].value_counts().to_dict() == {"the model's answer": 500, "the prediction": 500}
    part = shown[shown["stage"].eq("the prediction")]
    bins = part.groupby((part["chance"] * 10).clip(upper=9.99).astype(int))
    gap = (bins["chance"].mean() - bins["right"].mean()).abs()
    assert (gap * bins.size()).sum() / len(part) < 0.08  # expected calibration error


def test_units_that_are_confused_are_counted():
    table = metrics.confusion_of_units(["1 gram", "2 gram", "", "1 inch"], ["1 gram", "2 ounce", "3 inch", ""])
    assert table.loc["gram", "gram"] == 1
    assert table.loc["gram", "ounce"] == 1
    assert table.loc["(none)", "inch"] == 1
    assert table.loc["inch", "(none)"] == 1
