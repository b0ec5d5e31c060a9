"""The audit of train labels, and questions made with the empty label."""

from dataclasses import replace

import pytest

from src import rules
from src.data.questions import Question
from src.data.text_store import TextStore
from src.reading.image_text import parse_image_text
from src.training import audit
from tests.reading.test_candidates import line

READ = [line("NET WT 500 g", 0, 0), line("120", 0, 100)]


@pytest.mark.parametrize(
    ("entity", "label", "verdict", "answer"),
    [
        ("item_weight", "500 gram", "supported", "500 gram"),
        ("item_weight", "0.5 kilogram", "other unit", "500 gram"),
        ("item_weight", "700 gram", "contradicted", "700 gram"),
        ("voltage", "230 volt", "not visible", ""),
        ("voltage", "120 volt", "doubtful", "120 volt"),
        ("voltage", "", "supported", ""),
    ],
)
def test_the_audit_compares_labels_with_the_image(tmp_path, entity, label, verdict, answer):
    text = parse_image_text(READ, 400, 400, None)
    question = Question(0, "a.jpg", tmp_path, entity, label, options=text.options_for(entity))
    assert audit.judge(question, text.text) == audit.Verdict(verdict, answer)


def test_a_text_that_brought_up_an_error_is_dropped(tmp_path):
    question = Question(0, "a.jpg", tmp_path, "height", "1 inch", reason="error: ValueError: no box")
    assert audit.ACTIONS[audit.judge(question, "").verdict] == "drop"


def test_audited_questions_and_made_empty_ones(processed, tmp_path):
    out = processed[1]
    store = TextStore(out / "processed")
    images = sorted(store)
    texts = rules.parse_images(images, store, tmp_path / "kept.jsonl")
    heights = [Question(i, image, out / image, "height", "1 inch") for i, image in enumerate(images)]
    verdicts = [audit.Verdict(list(audit.ACTIONS)[i % 5], f"{i + 1} inch") for i in range(len(heights))]
    kept = audit.apply(heights, verdicts)
    assert {q.row % 5 for q in kept} == {0, 1, 3, 4}  # contradicted ones are left out
    assert all(q.label == f"{q.row + 1} inch" for q in kept)
    table = audit.report(heights, verdicts)
    assert table.loc["all"].sum() == len(heights)
    assert list(table.columns) == list(audit.ACTIONS)
    volts = [replace(question, entity="voltage", label="1 volt") for question in heights]
    made = audit.empty_questions([*heights, *volts], texts, 5, seed=0)
    assert made == audit.empty_questions([*heights, *volts], texts, 5, seed=0)
    assert made == []  # every image is asked for both
    mixed = [q for q in volts if q.row % 2] + [q for q in heights if not q.row % 2]
    made = audit.empty_questions(mixed, texts, 5, seed=0)
    assert made
    for question in made:
        assert question.label == ""
        dimension = "voltage" if question.entity == "voltage" else "length"
        assert dimension not in texts[question.image].dimensions
        assert question.option_texts == ()
