import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src import metrics
from tests.conftest import assert_one_sentence, run_python


def test_the_challenges_counts():
    truths = ["5 gram", "5 gram", "5 gram", "", "", "10.0 volt"]
    answers = ["5 gram", "6 gram", "", "5 gram", "", "10 volt"]
    score = metrics.score(truths, answers)
    assert (score.tp, score.fp, score.fn, score.tn) == (2, 2, 1, 1)
    assert score.precision == 2 / 4
    assert score.recall == 2 / 3
    assert score.f1 == pytest.approx(2 * (0.5 * 2 / 3) / (0.5 + 2 / 3))
    assert score.f1 == pytest.approx(
        2 * 2 / (2 + 4 + 1)
    )  # 2TP / (TP + true values + answers where there is none)


@given(*[st.integers(0, 300)] * 4)
def test_an_interval_holds_the_f1_and_narrows_with_more_rows(tp, fp, fn, tn):
    few = metrics.Score(tp, fp, fn, tn)
    low, high = metrics.f1_interval(few)
    assert 0 <= low <= high <= 1
    if tp + fp + fn > 20:
        assert low - 0.05 <= few.f1 <= high + 0.05
    more_low, more_high = metrics.f1_interval(metrics.Score(*[100 * n for n in (tp, fp, fn, tn)]))
    assert more_high - more_low <= high - low + 0.01


def test_an_interval_is_that_of_resampled_rows():
    rows = np.repeat(["tp", "fp", "fn", "tn"], [60, 20, 10, 10])
    rng = np.random.default_rng(1)
    scores = [
        metrics.Score(**{name: int((drawn == name).sum()) for name in ("tp", "fp", "fn", "tn")}).f1
        for drawn in rng.choice(rows, (1000, len(rows)))
    ]
    expected = np.quantile(scores, [0.025, 0.975])
    assert metrics.f1_interval(metrics.Score(60, 20, 10, 10)) == pytest.approx(expected, abs=0.02)
    assert metrics.f1_interval(metrics.Score(tp=21))[0] < 0.95  # 21 right ones prove little


def test_numbers_are_compared_not_strings():
    assert metrics.score(["500.0 gram"], ["500 gram"]).tp == 1
    assert metrics.score(["500 gram"], ["500 kilogram"]).fp == 1
    assert metrics.score(["0.5 kilogram"], ["500 gram"]).fp == 1  # units are not converted


def test_nothing_answered_scores_zero():
    score = metrics.score(["5 gram", ""], ["", ""])
    assert (score.precision, score.recall, score.f1) == (0, 0, 0)


def test_lengths_must_agree():
    with pytest.raises(ValueError, match="zip"):
        metrics.score(["5 gram"], [])


def test_table_per_entity(tmp_path):
    (tmp_path / "t.csv").write_text(
        "index,entity_name,entity_value\n1,height,5 inch\n7,width,\n4,width,2 foot\n"
    )
    (tmp_path / "p.csv").write_text("index,prediction\n4,2.0 foot\n1,6 inch\n7,\n99,1 inch\n")
    table = metrics.score_files(tmp_path / "t.csv", tmp_path / "p.csv").set_index("entity")
    assert list(table.index) == ["height", "width", "all"]
    assert table.loc["height", "fp"] == 1
    assert (table.loc["width", "tp"], table.loc["width", "tn"], table.loc["width", "f1"]) == (1, 1, 1.0)
    assert table.loc["all", "rows"] == 3
    shown = run_python(
        "-m", "src.metrics", "--truth", tmp_path / "t.csv", "--predictions", tmp_path / "p.csv"
    )
    assert shown.returncode == 0
    assert "0.667" in shown.stdout


def test_bad_files_get_a_sentence(tmp_path):
    (tmp_path / "t.csv").write_text("index,entity_value\n1,5 inch\n")
    (tmp_path / "p.csv").write_text("index,prediction\n2,5 inch\n")
    (tmp_path / "n.csv").write_text("index\n1\n")
    call = ["-m", "src.metrics", "--pred", tmp_path / "p.csv", "--truth"]
    assert_one_sentence(run_python(*call, tmp_path / "t.csv"), "p.csv", "index 1")
    assert_one_sentence(run_python(*call, tmp_path / "n.csv"), "n.csv", "entity_value")
    assert_one_sentence(run_python(*call, tmp_path / "no.csv"), "no.csv", "not found")


def test_published_answers_score_as_their_owner_says(real, tmp_path):
    published = pd.read_csv(real / "published_answers.csv", dtype=str, keep_default_na=False)
    for column, strict in (("qwen2_vl_2b_zero_shot", 0.792), ("idefics2_8b_fine_tuned", 0.722)):
        published[["index", column]].rename(columns={column: "prediction"}).to_csv(
            tmp_path / "p.csv", index=False
        )
        table = metrics.score_files(real / "gold_dev.csv", tmp_path / "p.csv")
        assert table["f1"].iloc[-1] == pytest.approx(
            strict, abs=0.0005
        )  # what score.py beside the data prints
