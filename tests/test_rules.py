import json

import pandas as pd
import pytest

from src import rules, sanity
from src.data.errors import InputError
from src.data.questions import test_questions as make_questions
from src.data.tables import read_test
from src.data.text_store import TextStore
from tests.conftest import run_python


def parsed(data, out, journal, count=None):
    """The test questions with what was parsed of their images' text."""
    questions = make_questions(read_test(data), out / "processed", {})[:count]
    texts = rules.parse_images([q.image for q in questions], TextStore(out / "processed"), journal)
    return rules.with_text(questions, texts)


def answer_of(question):
    return question.rules_answer[0]


def test_the_command_writes_a_valid_file(processed, tmp_path):
    data, out = processed
    answers = tmp_path / "rules.csv"
    result = run_python("-m", "src.rules", "--data", data, "--processed", out / "processed", "--out", answers)
    assert result.returncode == 0, result.stderr
    assert sanity.check(answers, data / "test.csv") == []
    truth = pd.read_csv(data / "test_truth.csv", keep_default_na=False)
    right = truth.merge(pd.read_csv(answers, keep_default_na=False), on="index").query(
        "prediction == entity_value"
    )
    assert len(right) >= 4  # of 7
    missing = run_python("-m", "src.rules", "--data", data, "--processed", tmp_path, "--out", answers)
    assert missing.returncode == 2
    assert "run preprocess.py with --ocr" in missing.stderr


def test_parsed_texts_are_kept_and_only_what_lacks_is_parsed(processed, tmp_path):
    journal, whole = tmp_path / "kept.jsonl", parsed(*processed, tmp_path / "other.jsonl")
    assert parsed(*processed, journal, 3) == whole[:3]
    # A run that was killed while it wrote; and an entry that shows whether it is used.
    entries = journal.read_text().splitlines()
    first = json.loads(entries[1])
    assert first["image"] == whole[0].image
    first["options"][whole[0].entity] = [[9.5, ["9 ton"], []]]
    journal.write_text("\n".join([entries[0], json.dumps(first), *entries[2:]]) + '\n{"image": "to')
    again = parsed(*processed, journal)
    assert answer_of(again[0]) == "9 ton"
    other_images = [number for number, question in enumerate(whole) if question.image != whole[0].image]
    assert [again[number] for number in other_images] == [whole[number] for number in other_images]
    assert parsed(*processed, journal) == again
    for question in whole:
        assert answer_of(question) in (*question.option_texts, "")


def test_answers_to_other_texts_are_not_kept(fresh, tmp_path):
    data, out = fresh
    journal = tmp_path / "kept.jsonl"
    parsed(data, out, journal)
    (out / "processed" / "text.jsonl").write_text("")
    assert {answer_of(question) for question in parsed(data, out, journal)} == {""}


def test_texts_of_an_earlier_version_are_told(fresh):
    text = fresh[1] / "processed" / "text.jsonl"
    entries = [json.loads(entry) for entry in text.read_text().splitlines()]
    text.write_text("".join(json.dumps({k: v for k, v in e.items() if k != "drawn"}) + "\n" for e in entries))
    with pytest.raises(
        InputError, match=r"of an earlier version of this code; run preprocess\.py --ocr again"
    ):
        TextStore(fresh[1] / "processed")


def test_several_processes_answer_as_one_does(processed, tmp_path, monkeypatch):
    alone = parsed(*processed, tmp_path / "one.jsonl")
    monkeypatch.setattr(rules, "PER_PROCESS", 2)
    monkeypatch.setattr(rules, "cpu_count", lambda: 2)
    assert parsed(*processed, tmp_path / "several.jsonl") == alone


@pytest.mark.parametrize("wrong", [{"lines": [["12 cm", 0.9, "no box"]]}, {"drawn": {"product": "none"}}])
def test_an_image_that_brings_up_an_unexpected_error_costs_only_its_own_answers(fresh, tmp_path, wrong):
    data, out = fresh
    text = out / "processed" / "text.jsonl"
    entries = [json.loads(entry) for entry in text.read_text().splitlines()]
    image = make_questions(read_test(data), out / "processed", {})[0].image
    for entry in entries:
        if entry["image"] == image:
            entry |= wrong
    text.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    questions = parsed(data, out, tmp_path / "kept.jsonl")
    assert [q.reason.startswith("error: ") for q in questions] == [q.image == image for q in questions]
    assert "Traceback" in questions[0].traceback
    command = [
        "-m",
        "src.rules",
        "--data",
        data,
        "--processed",
        out / "processed",
        "--out",
        out / "rules_out.csv",
    ]
    assert run_python(*command).returncode == 0
    strict = run_python(*command, "--strict")
    assert strict.returncode == 1
    assert "1 images have no answer for an unexpected error" in strict.stderr


def test_each_image_is_parsed_once_per_process(processed, tmp_path, monkeypatch):
    """Prompt context, options of all questions and the audit come from one parse."""
    parses = []
    original = rules.parse_image_text
    monkeypatch.setattr(rules, "parse_image_text", lambda *entry: parses.append(entry) or original(*entry))
    questions = parsed(*processed, tmp_path / "kept.jsonl")
    parsed(*processed, tmp_path / "kept.jsonl")
    assert len(parses) == len({question.image for question in questions}) < len(questions)
