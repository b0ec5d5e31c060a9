"""The gallery of answers: which are shown, and how their print is enlarged."""

from collections import Counter
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src import plots
from src.data.questions import Question
from src.images.decode import cv2, read_image
from src.reading.options import Option

matplotlib.use("Agg")


def question(row, prediction, **fields):
    fields = {"entity": "$_{", "image": f"{row}.jpg", "probability": 0.9} | fields
    return Question(row, model_image=Path(f"{row}.jpg.jpg"), prediction=prediction, **fields)


ANSWERS = st.tuples(
    st.sampled_from(["", "5 metre", "7 metre"]),
    st.sampled_from([None, "", "5 metre"]),
    st.sampled_from(["height", "width", "voltage"]),
    st.sampled_from(["", "no image"]),
)


@given(st.lists(ANSWERS, max_size=40), st.integers(4, 12))
def test_of_many_answers_some_of_each_kind_are_shown(rows, count):
    questions = [
        question(row, answer, entity=entity, reason=reason)
        for row, (answer, _, entity, reason) in enumerate(rows)
    ]
    truths = [truth for _, truth, *_ in rows]
    shown = plots.varied(questions, truths, count)
    assert shown == sorted(set(shown))
    assert not any(questions[at].reason for at in shown)

    def kind(at):
        is_wrong = truths[at] not in (None, questions[at].prediction)
        return "wrong" if is_wrong else "other" if questions[at].prediction else "empty"

    there = Counter(kind(at) for at, q in enumerate(questions) if not q.reason)
    here = Counter(kind(at) for at in shown)
    assert len(shown) == min(count, there.total())
    for name in ("wrong", "empty"):
        assert here[name] >= min(there[name], count // 4)
    if here["wrong"] > count // 4:  # there is nothing else to show
        assert (here["empty"], here["other"]) == (there["empty"], there["other"])


BOXES = st.tuples(*[st.floats(0, 1)] * 4).map(
    lambda b: (*np.minimum(b[:2], b[2:]), *np.maximum(b[:2], b[2:]))
)


@given(BOXES, st.integers(1, 900), st.integers(1, 900))
def test_print_is_cut_out_wherever_it_stands(box, width, height):
    image = np.zeros((height, width, 3), np.uint8)
    answered = question(1, "5 metre", options=(Option(("5 metre",), boxes=(box,)), Option()))
    shown = plots.with_print(image, image, answered)
    assert shown.dtype == np.uint8
    assert shown.shape[1] <= 260
    assert shown.shape[0] <= 260 + 6 + 87


def test_the_print_of_the_source_stands_below_the_image():
    source = np.full((1200, 900, 3), 255, np.uint8)
    cv2.rectangle(source, (600, 1000), (700, 1020), (0, 0, 255), -1)
    box = (600 / 900, 1000 / 1200, 700 / 900, 1020 / 1200)
    answered = question(1, "5 metre", options=(Option(("5 metre",), boxes=(box,)), Option()))
    whole = cv2.resize(source, (450, 600))
    shown = plots.with_print(whole, source, answered)
    cut = shown[266:]
    red = (cut[:, :, 2] > 200) & (cut[:, :, 0] < 50)
    assert red.sum(axis=1).max() == pytest.approx(260 / 1.6, abs=3)  # 100 px of print, of 160 px
    assert plots.with_print(whole, source, question(1, "")).shape == (260, 195, 3)


def test_a_gallery_links_to_the_report_and_a_missing_image_costs_itself(tmp_path, capsys):
    cv2.imwrite(str(tmp_path / "1.jpg.jpg"), np.full((300, 300, 3), 200, np.uint8))
    questions = [
        question(1, "5 metre"),
        question(2, ""),
        question(3, "7 metre"),
        question(4, "", reason="gone"),
    ]
    plots.show_answers(tmp_path, tmp_path, questions, ["5 metre", "", None, ""], save=tmp_path / "g.png")
    assert "HTML" in capsys.readouterr().out
    assert read_image(tmp_path / "g.png").shape[1] > 600
