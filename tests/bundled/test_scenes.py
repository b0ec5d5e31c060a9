"""What the tiny model is pretrained on, and that pretraining learns."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from decimal import Decimal
from itertools import pairwise

import numpy as np

from src.bundled.layouts import NO_LINE, measure, sample_layout
from src.bundled.pretrain import CHECKPOINT, evaluate, example
from src.bundled.scene import SIDE
from src.bundled.scenes import lengths_as_printed, make_scene, question
from src.bundled.synthetic import draw
from src.data.labels import normalise_label
from src.data.tables import read_train
from src.model.generation import generate
from src.model.modeling import load_base, load_processor
from src.reading.context import DIRECTIONS, prompt_context
from src.reading.cross_line import parse_lines
from src.reading.quantity import Quantity
from src.sanity import prediction_fault
from tests.conftest import ROOT, TINY
from tests.family import FAMILY, prompt


def test_scenes_follow_from_their_seed_and_their_answers_can_be_read():
    rng = np.random.default_rng(7)
    entities, found, empty = set(), 0, 0
    for _ in range(400):
        scene = make_scene(rng)
        entity, value = question(scene, rng)
        answer, reason = normalise_label(value, entity)
        assert reason in ("ok", "empty")
        entities.add(entity)
        empty += not answer
        found += bool(answer) and answer in prompt_context(parse_lines(scene.lines, SIDE, SIDE), scene.layout)
    assert len(entities) == 8
    assert 0.1 < empty / 400 < 0.35
    assert found / (400 - empty) > 0.9  # OCR misses lines of some
    first, second = (make_scene(np.random.default_rng(3)) for _ in range(2))
    assert first == second
    assert np.array_equal(*(draw(first, np.random.default_rng(1), 224) for _ in range(2)))
    assert draw(first, rng, 224).shape == (224, 224, 3)


def test_examples_answer_with_what_stands_in_the_prompt_or_nothing():
    rng = np.random.default_rng(0)
    made = [row for row in (example(rng, 70, prompt) for _ in range(200)) if row]
    assert len(made) > 180
    for row in made:
        assert row.image.size == (70, 70)
        assert row.answer in ("", *row.options)
        printed = row.answer.replace("fluid ounce", "ounce")  # as liquids often have it
        told = row.prompt.replace("fluid ounce", "ounce").replace(";", " ").replace(". ", "  ")
        assert not row.answer or f" {printed} " in told


def test_lengths_stand_as_on_real_images():
    """Heights stand along upright lines, widths along level ones, and prompts mostly say so."""
    rng = np.random.default_rng(0)
    layouts = {
        axis: [sample_layout(axis, rng)[1] for _ in range(300)] for axis in ("height", "width", "depth")
    }
    assert all(
        sum(length.is_answer for length in lengths) == 1
        for several in layouts.values()
        for lengths in several
    )
    lines = {
        axis: Counter(length.line for lengths in several for length in lengths if length.is_answer)
        for axis, several in layouts.items()
    }
    assert lines["height"]["vertical"] > 2 * lines["height"]["horizontal"]
    assert lines["width"]["horizontal"] > 2 * lines["width"]["vertical"]
    assert all(set(counts) <= {*DIRECTIONS, NO_LINE} for counts in lines.values())
    told = Counter()
    for _ in range(300):
        scene = make_scene(rng)
        upright = [bool(abs(x1 - x0) < 0.01) for x0, _, x1, _ in scene.segments]
        found = parse_lines(scene.lines, SIDE, SIDE)
        if len(scene.segments) == 1 and sum(len(r.mentions) for r in found) == 1:
            told[upright[0], "vertical" in prompt_context(found, scene.layout)] += 1
    assert told[True, True] > 3 * told[True, False]
    assert told[False, False] > 3 * told[False, True]


def test_lengths_of_a_scene_are_as_long_as_counted():
    """No two alike, the longest first, in a unit that suits them; whatever was counted."""
    rng = np.random.default_rng(0)
    for longest in (0.03, 0.5, 4, 30, 300, 90000):
        for shares in ((1,), (1, 0.9), (1, 1, 1), (1, 0.5, 0.001, 0.001)):
            for _ in range(20):
                unit, numbers = lengths_as_printed(longest, shares, rng)
                assert all(float(first) > float(second) > 0 for first, second in pairwise(numbers))
                metres = Quantity(Decimal(numbers[0]), unit).amount
                assert 0.5 < float(metres) * 100 / longest < 2 or longest < 30 or min(shares) < 0.1


def test_layouts_are_counted_and_nothing_else_is_kept(processed, tmp_path):
    data, out = processed
    table = read_train(data)
    table["image"] = table["image_link"].str.rpartition("/")[2]
    table["agreed"] = [
        normalise_label(v, e)[0] for v, e in zip(table["entity_value"], table["entity_name"], strict=True)
    ]
    table[["image", "entity_name", "agreed"]].to_csv(tmp_path / "truth.csv", index=False)
    counts = measure([out / "processed"], [tmp_path / "truth.csv"])
    assert sum(counts.values()) > 3
    for key in counts:
        entity, longest, told, right = key.split(" | ")
        lengths = [length.partition(" ") for length in told.split("; ")]
        assert lengths[0][0] == "1"  # shares of the longest, to one digit, as that itself
        assert all(
            float(share) == float(f"{float(share):.1g}") for share in (longest, *(s for s, *_ in lengths))
        )
        assert not any(c.isdigit() for *_, words in lengths for c in words)
        assert entity in ("height", "width", "depth")
        assert 0 <= int(right) < len(lengths)


def test_a_killed_pretraining_goes_on_learns_and_stays_in_the_grammar(tmp_path, processed, questions):
    code = "import sys; from src.bundled import pretrain; pretrain.EVERY = 2; sys.exit(pretrain.main())"
    command = [sys.executable, "-c", code, "--out", str(tmp_path / "model")]
    command += ["--minutes", "0.5", "--batch-size", "4"]
    checkpoint = tmp_path / "model.part" / CHECKPOINT
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL, start_new_session=True) as killed:
        while not checkpoint.is_file():
            time.sleep(0.2)
            assert killed.poll() is None
        os.killpg(killed.pid, signal.SIGKILL)
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "on from step " in result.stdout
    assert not checkpoint.parent.exists()
    # its tokenizer, made from mistral-common, is the bundled one
    assert (tmp_path / "model" / "tokenizer.json").read_bytes() == (TINY / "tokenizer.json").read_bytes()
    losses = json.loads((tmp_path / "model" / "pretraining.json").read_text())["loss_curve"]
    assert losses[-1] < 0.8 * losses[0]
    folder, asked = processed[1] / "processed", questions["test"]
    model, processor = load_base(str(tmp_path / "model")), load_processor(str(tmp_path / "model"))
    answers = list(generate(model, processor, asked, FAMILY.padded_sizes(folder), 4, workers=0))
    assert len(answers) == len(asked)
    for answered in answers:
        assert prediction_fault(answered.model_answer, answered.entity) == ""


def test_the_bundled_model_chooses_the_right_reading():
    """Scenes of a seed it was not trained on, in prompts as the pipeline makes them."""
    shares = evaluate(load_base(str(TINY)), load_processor(str(TINY)), 60)
    assert shares["all"] >= 0.55
    assert shares["with a value"] >= 0.45
