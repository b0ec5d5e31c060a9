"""Why an answer was chosen, and why it is wrong: the sentences agree with the scores they speak of."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src import ensemble
from src.data.questions import Question
from src.reading.options import Option
from src.report.entries import model_shares, range_of
from src.report.reasons import FAILURES, failure_of, why
from src.report.rows import TEST, Row, held_out_rows

LENGTHS = ("2 inch", "30 centimetre", "7 metre", "")
SCORES = st.floats(-6, 6)


def row_of(scores, truth, weights=ensemble.PRIOR, entity="depth"):
    """A row whose options have these scores (rules, model, prior) each, predicted by these weights."""
    texts = ((text,) if text else () for text in LENGTHS)
    options = tuple(
        Option(text, (), logit, min(0.0, model), prior if text else 0.0)
        for text, (logit, model, prior) in zip(texts, scores, strict=False)
    )
    question = Question(1, "a.jpg", Path("a.jpg"), entity, group="7", options=options)
    [question] = ensemble.combine([question], weights)
    return Row(question, TEST, truth, weights)


ROWS = st.builds(
    row_of,
    st.lists(st.tuples(SCORES, SCORES, SCORES), min_size=2, max_size=4),
    st.sampled_from([*LENGTHS, "5.08 centimetre", "9 yard"]),
    st.tuples(*[st.floats(-1, 2)] * 10),
)


@given(ROWS)
def test_contributions_add_up_to_the_probabilities(row):
    utility = ensemble.contributions(row.question, row.weights).sum(axis=1)
    powers = np.exp(utility - utility.max())
    probabilities = [option.probability for option in row.question.options]
    assert powers / powers.sum() == pytest.approx(probabilities, abs=1e-6)


@given(ROWS)
def test_every_wrong_answer_has_one_failure_and_no_right_one(row):
    failure = failure_of(row)
    assert (failure in FAILURES) == (row.outcome in ("fp", "fn"))
    options = row.question.options
    texts = [option.text for option in options]
    if failure in ("rules had it", "both had it"):
        assert options[texts.index(row.truth)].rule_logit == max(option.rule_logit for option in options)
    if failure in ("model had it", "both had it"):
        best = max(option.log_probability for option in options)
        assert options[texts.index(row.truth)].log_probability == best
    if failure == "not read":
        assert row.truth not in texts
    if failure == "other unit":
        assert (row.answer, row.truth) == ("2 inch", "5.08 centimetre")
    assert (failure == "should be empty") == (not row.truth and bool(row.answer))


@given(ROWS)
def test_the_sentence_names_the_score_that_speaks_most_for_the_answer(row):
    sentence = why(row, {})
    table = dict(zip([o.text for o in row.question.options], row.question.options, strict=True))
    others = [text for text in table if text != row.answer]
    true = row.truth if row.truth in others else max(others, key=lambda text: table[text].probability)
    gains = ensemble.contributions(row.question, row.weights)
    texts = list(table)
    tipped = (gains[texts.index(row.answer)] - gains[texts.index(true)]).argmax()
    words = (
        "The model prefers",
        "The rules prefer",
        "On held-out rows",
        "was not read",
        "among train labels",
    )
    assert words[tipped] in sentence
    tail = sentence.partition("; ")[2]
    is_against = table[row.answer].rule_logit < table[true].rule_logit and tipped != 1
    assert ("the rules" in tail) == is_against
    if tail:
        assert tail.endswith(f"would choose {true or 'the empty answer'}.")


def test_a_prior_that_tipped_it_tells_how_many_labels_the_group_has():
    row = row_of([(1.0, -1.0, -2.0), (0.9, -1.2, 2.0)], "2 inch")
    assert row.answer == "30 centimetre"
    wanted = "30 centimetre is a more usual depth than 2 inch among train labels (group 7 has {}); "
    assert why(row, {("depth", "1"): 3}).startswith(wanted.format("none"))
    assert why(row, {("depth", "7"): 3}).startswith(wanted.format("3"))
    assert why(row, {}).endswith("train labels; the rules and the model would choose 2 inch.")


@given(st.lists(st.floats(-30, 0), min_size=1, max_size=6))
def test_the_model_has_one_number_per_option_and_the_rest_is_something_else(log_probabilities):
    total = sum(map(math.exp, log_probabilities))
    values = [value - math.log(max(1, total)) for value in log_probabilities]
    shares, rest = model_shares([Option(log_probability=value) for value in values])
    assert sum(shares) == pytest.approx(1)
    assert rest == pytest.approx(1 - sum(map(math.exp, values)), abs=1e-9)
    assert np.argmax(shares) == np.argmax(values)
    assert model_shares([Option()]) == ([None], 0.0)


@given(st.floats(0, 1))
def test_every_probability_is_in_one_range(probability):
    low, high = map(float, range_of(probability).split("-"))
    assert low <= probability <= high
    assert range_of(math.nan) == ""


def test_held_out_rows_are_predicted_by_weights_of_other_images(questions):
    scored = [
        Question(
            question.row,
            question.image,
            question.model_image,
            question.entity,
            question.label,
            options=tuple(Option(o.texts, o.boxes, o.rule_logit, -1.0) for o in question.options),
        )
        for question in questions["train"]
    ]
    rows = held_out_rows(scored)
    assert [(row.question.row, row.truth) for row in rows] == [(q.row, q.label) for q in scored]
    together = ensemble.combine_in_folds(scored)
    assert [row.answer for row in rows] == [question.prediction for question in together]
    assert len({row.weights for row in rows}) == ensemble.FOLDS
