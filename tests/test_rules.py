import json

import pandas as pd
import pytest

from src import rules, sanity
from src.data.errors import InputError
from src.data.samples import Sample
from src.data.samples import test_samples as make_test_samples
from src.data.tables import read_test
from src.data.text_store import TextStore
from src.images.decode import cv2, np
from src.model.prompts import describe
from src.reading import options as rule_options
from src.reading.cross_line import parse_lines
from src.reading.layout import Layout, around_lengths, directions, layout, position
from src.reading.options import logits, options
from src.reading.units import DIMENSION
from src.training import audit
from tests.conftest import run_python
from tests.reading.test_candidates import line


def answered(lines, entity, drawn=None):
    return rule_options.answer(parse_lines(lines, 400, 400), entity, drawn).text


def drawing():
    """A grey box on white, an upright line on its left and a level one below it; texts beside these."""
    image = np.full((400, 400, 3), 255, np.uint8)
    image[100:260, 120:320] = 120
    cv2.line(image, (90, 100), (90, 260), (0, 0, 0), 2)
    cv2.line(image, (120, 300), (320, 300), (0, 0, 0), 2)
    lines = [line("33 cm", 20, 170, 60), line("44 cm", 190, 310, 60)]
    return image, lines, [r.box for r in parse_lines(lines, 400, 400)]


def test_geometry_finds_product_and_directions():
    image, _, texts = drawing()
    drawn = layout(image, texts)
    assert np.allclose(drawn.product, (0.3, 0.25, 0.8, 0.65), atol=0.02)
    upright, level, _ = directions(drawn, texts[0])
    assert upright > 2 * level
    upright, level, _ = directions(drawn, texts[1])
    assert level > 2 * upright
    assert position(drawn, texts[0])[0] < -1  # left of the product
    assert position(drawn, texts[1])[1] > 1  # below it
    blank = layout(np.full((50, 80, 3), 255, np.uint8), [])
    assert blank.product == (0.0, 0.0, 1.0, 1.0)
    assert directions(blank, (0.1, 0.1, 0.2, 0.2)) == (0.0, 0.0, 0.0)


def test_the_prompt_tells_where_a_length_stands_to_the_product_and_its_line():
    image, lines, _ = drawing()
    found = parse_lines(lines, 400, 400)
    drawn = around_lengths(image, found)
    assert (
        describe(found, drawn)
        == "Read: 33 centimetre left vertical second; 44 centimetre bottom horizontal longest."
    )
    assert (
        describe(found, None) == "Read: 33 centimetre left second; 44 centimetre bottom longest."
    )  # to the picture
    assert around_lengths(image, parse_lines([line("500 g", 20, 170, 60)], 400, 400)) is None
    upright = parse_lines([line("33 cm", 60, 150, 20, 60)], 400, 400)
    assert describe(upright, around_lengths(image, upright)).startswith(
        "Read: 33 centimetre left upright vertical"
    )


def test_what_is_drawn_is_kept_as_json_without_what_is_far_from_lengths():
    image, lines, texts = drawing()
    image[20:22, 10:390] = 0  # a line at the top, far from both
    found, whole = parse_lines(lines, 400, 400), layout(image, texts)
    drawn = Layout.of(json.loads(json.dumps(around_lengths(image, found).entry())))
    assert 0 < len(drawn.segments) < len(whole.segments)
    for entity in ("height", "width", "depth"):
        groups = options(found, entity)
        assert logits(groups, entity, drawn) == pytest.approx(logits(groups, entity, whole), abs=0.02)
    nothing = Layout.of(around_lengths(np.full((50, 80, 3), 255, np.uint8), found).entry())
    assert nothing.segments.shape == (0, 4)


@pytest.mark.parametrize(
    "wrong",
    [
        {"segments": [[0, 0, float("nan"), 1]]},
        {"product": [0, 0, 1e39, 1]},
        {"product": [0, 1]},
        {"aspect": 0},
    ],
)
def test_a_layout_that_is_none_is_refused(wrong):
    with pytest.raises((ValueError, TypeError)):
        Layout.of({"product": [0, 0, 1, 1], "segments": [], "aspect": 1.0} | wrong)


def test_dimensions_go_by_drawn_lines_words_and_order():
    image, lines, texts = drawing()
    drawn = layout(image, texts)
    assert answered(lines, "height", drawn) == "33 centimetre"
    assert answered(lines, "width", drawn) == "44 centimetre"
    named = [line("Height: 44 cm", 190, 310), line("Width: 33 cm", 20, 170)]  # words win
    assert answered(named, "height", drawn) == "44 centimetre"
    assert answered(named, "width", drawn) == "33 centimetre"
    sides = [line("30 x 20 x 10 cm", 0, 0)]
    assert answered(sides, "height") == "10 centimetre"
    assert answered([line("H30 x W20 x D10 cm", 0, 0)], "width") == "20 centimetre"


@pytest.mark.parametrize(
    ("texts", "entity", "want"),
    [
        (["60 g / 2.1 oz"], "item_weight", "60 gram"),  # printed first
        (["2.1 oz / 60 g"], "item_weight", "2.1 ounce"),
        (["Protein 12 g per serving", "NET WT 500 g"], "item_weight", "500 gram"),
        (["max. load 150 kg"], "item_weight", ""),
        (["max. load 150 kg", "Weight 2 kg"], "maximum_weight_recommendation", "150 kilogram"),
        (["Net weight 65 g"], "maximum_weight_recommendation", ""),
        (["9W = 60W equivalent", "9W"], "wattage", "9 watt"),
        (["Input 100-240V", "Output 5V"], "voltage", "240 volt"),
        (["only words"], "voltage", ""),
    ],
)
def test_words_decide_between_quantities(texts, entity, want):
    assert answered([line(text, 0, 50 * i, 12 * len(text)) for i, text in enumerate(texts)], entity) == want


def test_the_score_is_a_chance():
    sure = rule_options.answer(parse_lines([line("NET WT 500 g", 0, 0)], 400, 400), "item_weight", None)
    torn = rule_options.answer(
        parse_lines([line("500 g", 0, 0), line("400 g", 0, 50)], 400, 400), "item_weight", None
    )
    assert 0 < torn.score < sure.score < 1


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


@pytest.fixture
def test_rows(processed):
    data, out = processed
    samples, _ = make_test_samples(read_test(data), out / "processed", {})
    return samples, TextStore(out / "processed")


def test_answers_are_kept_and_only_what_lacks_is_answered(test_rows, tmp_path):
    samples, texts = test_rows
    kept, answers = tmp_path / "rules.journal.jsonl", rules.answer_samples(samples, texts)
    assert rules.answer_samples(samples[:3], texts, kept) == answers[:3]
    # A run that was killed while it wrote; and an entry that shows whether it is used.
    entries = kept.read_text().splitlines()
    first = json.loads(entries[1])
    first["answers"][samples[0].entity] = [[9.5, "9 ton"]]
    kept.write_text("\n".join([entries[0], json.dumps(first), *entries[2:]]) + '\n{"image": "to')
    again = rules.answer_samples(samples, texts, kept)
    assert again[0].answer.text == "9 ton"
    assert again[3:] == answers[3:]
    assert rules.answer_samples(samples, texts, kept) == again
    for by_rules in answers:
        assert by_rules.answer.text in ("", *by_rules.texts)
        assert tuple(by_rules.entry()) == rules.COLUMNS


def test_answers_to_other_texts_are_not_kept(fresh, tmp_path):
    data, out = fresh
    samples, _ = make_test_samples(read_test(data), out / "processed", {})
    kept = tmp_path / "rules.journal.jsonl"
    rules.answer_samples(samples, TextStore(out / "processed"), kept)
    (out / "processed" / "text.jsonl").write_text("")
    assert {b.answer.text for b in rules.answer_samples(samples, TextStore(out / "processed"), kept)} == {""}


def test_texts_of_an_earlier_version_are_told(fresh):
    text = fresh[1] / "processed" / "text.jsonl"
    entries = [json.loads(entry) for entry in text.read_text().splitlines()]
    text.write_text("".join(json.dumps({k: v for k, v in e.items() if k != "drawn"}) + "\n" for e in entries))
    with pytest.raises(
        InputError, match=r"of an earlier version of this code; run preprocess\.py --ocr again"
    ):
        TextStore(fresh[1] / "processed")


def test_several_processes_answer_as_one_does(test_rows, monkeypatch):
    samples, texts = test_rows
    alone = rules.answer_samples(samples, texts)
    monkeypatch.setattr(rules, "PER_PROCESS", 2)
    monkeypatch.setattr(rules, "cpu_count", lambda: 2)
    assert rules.answer_samples(samples, texts) == alone


@pytest.mark.parametrize("wrong", [{"lines": [["12 cm", 0.9, "no box"]]}, {"drawn": {"product": "none"}}])
def test_a_picture_that_brings_up_an_unexpected_error_costs_only_its_own_answers(fresh, wrong):
    data, out = fresh
    samples, _ = make_test_samples(read_test(data), out / "processed", {})
    text = out / "processed" / "text.jsonl"
    entries = [json.loads(entry) for entry in text.read_text().splitlines()]
    for entry in entries:
        if entry["image"] == samples[0].image:
            entry |= wrong
    text.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    answers = rules.answer_samples(samples, TextStore(out / "processed"))
    hit = [sample.image == samples[0].image for sample in samples]
    assert [answer.reason.startswith("error: ") for answer in answers] == hit
    assert "Traceback" in answers[0].trace
    command = (
        "-m",
        "src.rules",
        "--data",
        data,
        "--processed",
        out / "processed",
        "--out",
        out / "rules_out.csv",
    )
    assert run_python(*command).returncode == 0
    strict = run_python(*command, "--strict")
    assert strict.returncode == 1
    assert "1 pictures have no answer for an unexpected error" in strict.stderr


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
def test_the_audit_compares_labels_with_the_picture(entity, label, verdict, answer):
    assert audit.judge(parse_lines(READ, 400, 400), entity, label) == audit.Verdict(verdict, answer)


def test_audited_samples_and_made_silent_ones(processed):
    out = processed[1]
    texts = TextStore(out / "processed")
    images = sorted(texts)
    samples = [Sample(i, image, out / image, "height", "1 inch") for i, image in enumerate(images)]
    verdicts = [audit.Verdict(list(audit.ACTIONS)[i % 5], f"{i + 1} inch") for i in range(len(samples))]
    kept = audit.apply(samples, verdicts)
    assert {s.row % 5 for s in kept} == {0, 1, 3, 4}  # contradicted ones are left out
    assert all(s.answer == f"{s.row + 1} inch" for s in kept)
    table = audit.report(samples, verdicts)
    assert table.loc["all"].sum() == len(samples)
    assert list(table.columns) == list(audit.ACTIONS)
    volts = [Sample(i, image, out / image, "voltage", "1 volt") for i, image in enumerate(images)]
    made = audit.empty_samples([*samples, *volts], texts, 5, seed=0)
    assert made == audit.empty_samples([*samples, *volts], texts, 5, seed=0)
    assert made == []  # every picture is asked for both
    made = audit.empty_samples(
        [s for s in volts if s.row % 2] + [s for s in samples if not s.row % 2], texts, 5, seed=0
    )
    assert made
    for sample in made:
        assert sample.answer == ""
        dimension = "voltage" if sample.entity == "voltage" else "length"
        assert not [
            m for r in texts[sample.image] for m in r.mentions if DIMENSION[m.quantity.unit] == dimension
        ]
