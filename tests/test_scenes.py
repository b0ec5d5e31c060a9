"""What the tiny model is pretrained on, and that pretraining learns."""

import json

import numpy as np

from src.bundled.pretrain import evaluate, example
from src.bundled.scenes import SIDE, draw, make_scene, question
from src.data.readings import ReadingStore
from src.data.samples import letterboxed_sizes
from src.data.samples import test_samples as make_test_samples
from src.data.tables import read_test
from src.model.generation import generate
from src.model.modeling import load_base, load_processor
from src.model.prompts import describe
from src.reading.joining import readings
from src.reading.quantity import normalise_label
from src.sanity import prediction_fault
from tests.conftest import TINY, run_python


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
        found += bool(answer) and answer in describe(readings(scene.lines, SIDE, SIDE))
    assert len(entities) == 8
    assert 0.1 < empty / 400 < 0.35
    assert found / (400 - empty) > 0.9  # OCR misses lines of some
    first, second = (make_scene(np.random.default_rng(3)) for _ in range(2))
    assert first == second
    assert np.array_equal(*(draw(first, np.random.default_rng(1), 224) for _ in range(2)))
    assert draw(first, rng, 224).shape == (224, 224, 3)


def test_examples_answer_with_what_stands_in_the_prompt_or_nothing():
    rng = np.random.default_rng(0)
    made = [row for row in (example(rng, 70) for _ in range(200)) if row]
    assert len(made) > 180
    for picture, prompt, answer, _ in made:
        assert picture.size == (70, 70)
        assert not answer or f" {answer} " in prompt.replace(";", " ").replace(". ", "  ")


def test_pretraining_on_a_small_budget_learns_and_stays_in_the_grammar(tmp_path, processed):
    result = run_python("-m", "src.bundled.pretrain", "--out", tmp_path / "model", "--minutes", 0.5, "--batch-size", 4)
    assert result.returncode == 0, result.stderr
    # its tokenizer, made from mistral-common, is the bundled one
    assert (tmp_path / "model" / "tokenizer.json").read_bytes() == (TINY / "tokenizer.json").read_bytes()
    losses = json.loads((tmp_path / "model" / "pretraining.json").read_text())["loss_curve"]
    assert losses[-1] < 0.8 * losses[0]
    data, out = processed
    folder = out / "processed"
    samples = make_test_samples(read_test(data), folder, {})[0]
    model, processor = load_base(str(tmp_path / "model")), load_processor(str(tmp_path / "model"))
    answers = list(generate(model, processor, samples, ReadingStore(folder), letterboxed_sizes(folder), 4, workers=0))
    assert len(answers) == len(samples)
    for answered in answers:
        assert prediction_fault(answered.entry()["model_answer"], answered.sample.entity) == ""


def test_the_bundled_model_chooses_the_right_reading():
    """Scenes of a seed it was not trained on, in prompts as the pipeline makes them."""
    shares = evaluate(load_base(str(TINY)), load_processor(str(TINY)), 60)
    assert shares["all"] >= 0.55
    assert shares["with a value"] >= 0.45
