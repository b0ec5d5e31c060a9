"""Which rows the page shows, and as what they count."""

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src import metrics
from src.data.errors import InputError
from src.data.questions import Question
from src.report.page import write_report
from src.report.rows import TEST, Row, outcome_of, shown_rows
from tests.conftest import assert_one_sentence, run_python


def test_bad_input_gets_one_sentence(tmp_path):
    assert_one_sentence(run_python("-m", "src.report", "--out", tmp_path), "test_out.details.csv", "make run")
    with pytest.raises(InputError, match="from 1 to"):
        write_report(tmp_path, rows=0)
    with pytest.raises(InputError, match="--data"):
        write_report(tmp_path, train=True)


EXAMPLES = {
    "": ("2 inch", None),
    "tp": ("2 inch", "2 inch"),
    "tn": ("", ""),
    "fp": ("2 inch", ""),
    "fn": ("", "2 inch"),
}
"""An answer and a truth for each outcome."""


def row(number, outcome, probability, other=None):
    answer, truth = EXAMPLES[outcome]
    question = Question(number, "a.jpg", Path("a.jpg"), "height", prediction=answer, probability=probability)
    return Row(question, TEST, truth, other=other)


PROBABILITIES = st.just(math.nan) | st.floats(0, 1)
OTHERS = st.sampled_from([None, "", "2.0 inch", "9 yard"])
ROWS = st.lists(st.tuples(st.sampled_from(list(EXAMPLES)), PROBABILITIES, OTHERS), max_size=40).map(
    lambda pairs: [row(number, *pair) for number, pair in enumerate(pairs)]
)


@given(ROWS, st.integers(1, 50))
def test_what_is_wrong_changed_and_least_sure_is_shown_first(rows, count):
    kept, chosen = shown_rows(rows, count)
    assert bool(chosen) == (len(rows) > count)
    assert len(kept) == min(count, len(rows))
    assert [row.question.row for row in kept] == sorted({row.question.row for row in kept})
    wrong = [row for row in rows if row.outcome in ("fp", "fn")]
    assert len([row for row in kept if row in wrong]) == min(len(wrong), count) or len(rows) <= count
    changed = [row for row in rows if row not in wrong and row.change]
    places = max(0, count - len(wrong))
    if len(rows) > count:
        assert len([row for row in kept if row in changed]) >= min(len(changed), places)
        told = f"{min(len(changed), places)} answered otherwise by the other run"
        assert (told in chosen) == bool(changed and places)
    left = (places - len(changed)) // 2
    first = [*wrong, *changed]
    others = sorted(row.probability for row in rows if row not in first and not math.isnan(row.probability))
    if len(rows) > count and 0 < left <= len(others):
        sure = sorted(row.probability for row in kept if row not in first and not math.isnan(row.probability))
        assert sure[:left] == others[:left]


@pytest.mark.parametrize(
    ("answer", "truth", "want"),
    [
        ("2 inch", "2.0 inch", "tp"),
        ("", "", "tn"),
        ("2 inch", "", "fp"),
        ("2 inch", "3 inch", "fp"),
        ("", "2 inch", "fn"),
        ("2 inch", None, ""),
    ],
)
def test_an_outcome_is_what_the_metrics_count(answer, truth, want):
    assert outcome_of(answer, truth) == want
    if truth is not None:
        assert getattr(metrics.score([truth], [answer]), want) == 1
