import numpy as np
import pandas as pd
import pytest

from src import decide, metrics
from src.data.errors import InputError


def rows(count, seed, right_model=0.7, right_rules=0.5, empty=0.2):
    """Held-out answers of a model that is as often right as its confidence says, and of rules likewise."""
    rng = np.random.default_rng(seed)
    answers = []
    for number in range(count):
        truth = "" if rng.random() < empty else f"{number + 1} gram"
        sure, sure_rules = np.clip(rng.beta(4, 4 / right_model - 4, 2), 0.01, 0.99)
        sure_rules = np.clip(rng.beta(4, 4 / right_rules - 4), 0.01, 0.99)
        model = truth if rng.random() < sure else f"{number + 1}.5 gram"
        rules = truth if rng.random() < sure_rules else f"{number + 1}.25 gram"
        silence = np.clip(rng.beta(6, 2) if not truth else rng.beta(2, 6), 0.01, 0.99)
        answers.append((f"{number}.jpg", truth, model, sure, silence, rules, sure_rules, f"{model}; {rules}"))
    columns = ["picture", "truth", "model_answer", "confidence", "silence", "rules", "rules_score", "candidates"]
    return pd.DataFrame(answers, columns=columns)


def f1(table, predictions):
    return metrics.score(table["truth"].tolist(), predictions.tolist()).f1


def test_a_second_opinion_and_silence_gain_on_rows_they_have_not_seen():
    policy = decide.fit(rows(600, seed=0))
    assert policy.second_opinion
    assert policy.silence
    names = [name for name, _, taken in policy.steps if taken]
    assert names == ["model alone", "rules as second opinion", "silence"]
    others = rows(600, seed=1)
    chosen = decide.decide(others, policy)
    assert (
        f1(others, chosen["prediction"]) > max(f1(others, others["model_answer"]), f1(others, others["rules"])) + 0.02
    )
    assert set(chosen["source"]) == {"model", "rules", "both", "silence"}
    expected = chosen["chance"].mean()
    right = np.mean([metrics.comparable(a) == metrics.comparable(b)
                     for a, b in zip(chosen["prediction"], others["truth"], strict=True)])  # fmt: skip
    assert expected == pytest.approx(right, abs=0.06)


def test_a_step_without_gain_is_left_out():
    table = rows(300, seed=2)
    table["rules"], table["rules_score"] = "1 ton", 0.5  # never right
    table["silence"] = table["confidence"] = 0.6  # tell nothing
    policy = decide.fit(table)
    assert not policy.second_opinion
    assert not policy.silence
    assert [taken for _, _, taken in policy.steps] == [True, False, False]
    assert decide.decide(table, policy)["prediction"].tolist() == table["model_answer"].tolist()
    assert "left out" in decide.show(policy)


def test_an_overconfident_model_is_calibrated():
    table = rows(500, seed=3, right_model=0.4)
    table["confidence"] = 1 / (1 + np.exp(-(3 + 3 * np.log(table["confidence"] / (1 - table["confidence"])))))
    policy = decide.fit(table)
    shown = decide.reliability(table, policy)
    errors = {}
    for stage, part in shown.groupby("stage"):
        bins = part.groupby((part["chance"] * 10).clip(upper=9.99).astype(int))
        gap = (bins["chance"].mean() - bins["right"].mean()).abs()
        errors[stage] = (gap * bins.size()).sum() / len(part)  # expected calibration error
    assert errors["calibrated"] < 0.08 < errors["as it is"]


def test_without_ocr_the_rules_have_no_say():
    table = rows(200, seed=4).drop(columns=["rules", "rules_score", "candidates"])
    policy = decide.fit(table)
    assert [name for name, *_ in policy.steps] == ["model alone", "silence"]
    assert set(decide.decide(table, policy)["source"]) <= {"model", "silence"}


def test_a_handful_of_rows_is_enough_to_go_on():
    for count in (1, 2, 5):
        table = rows(count, seed=5)
        chosen = decide.decide(table, decide.fit(table))
        assert chosen["chance"].between(0, 1).all()
        assert len(chosen) == count


@pytest.mark.parametrize("name", ["confidence", "silence", "rules_score"])
def test_probabilities_that_are_no_numbers_are_refused(name):
    table = rows(68, seed=6)
    table.loc[5, name] = np.nan
    with pytest.raises(InputError, match=rf"no numbers \({name} of 1 rows\)"):
        decide.fit(table)


def test_units_that_are_confused_are_counted():
    table = metrics.confusion_of_units(["1 gram", "2 gram", "", "1 inch"], ["1 gram", "2 ounce", "3 inch", ""])
    assert table.loc["gram", "gram"] == 1
    assert table.loc["gram", "ounce"] == 1
    assert table.loc["(none)", "inch"] == 1
    assert table.loc["inch", "(none)"] == 1
