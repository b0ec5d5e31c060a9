import dataclasses
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from src.data.questions import Question, train_questions
from src.data.sampling import in_proportions, read_sampled
from src.data.tables import read_train
from src.images.decode import read_image
from src.prepare.preprocessing import preprocess
from src.settings import PreprocessSettings, TrainSettings
from src.training.rows import bucketed, load_data
from tests.conftest import make_folder
from tests.family import FAMILY


def samples_of(counts):
    """Samples without images, entities mixed."""
    entities = [entity for entity, count in counts.items() for _ in range(count)]
    entities.sort(key=lambda entity: hash((entity, "mixed")))
    return [Question(row, f"{row}.jpg", Path(f"{row}.jpg"), entity) for row, entity in enumerate(entities)]


def in_order(samples, count, shares, seed):
    return [
        samples[position] for position in in_proportions([s.entity for s in samples], count, shares, seed)
    ]


def test_entities_are_drawn_in_the_proportions_of_the_test():
    samples = samples_of({"height": 1000, "item_weight": 3000, "voltage": 100, "wattage": 10})
    drawn = in_order(samples, 800, {"height": 50, "item_weight": 30, "voltage": 15, "wattage": 5}, seed=0)
    counts = Counter(sample.entity for sample in drawn)
    # wattage has 10 of its 40; voltage 100 of its 120 and more; the rest is shared out 5 to 3
    assert counts["wattage"] == 10
    assert counts["voltage"] == 100
    assert abs(counts["height"] - 690 * 5 / 8) <= 1
    assert len(drawn) == 800
    assert [s.row for s in drawn] == sorted(s.row for s in drawn)
    assert len({s.row for s in drawn}) == 800
    assert drawn == in_order(
        samples, 800, {"height": 50, "item_weight": 30, "voltage": 15, "wattage": 5}, seed=0
    )
    assert drawn != in_order(
        samples, 800, {"height": 50, "item_weight": 30, "voltage": 15, "wattage": 5}, seed=1
    )


def test_everything_is_kept_when_there_is_no_more_and_without_a_test_the_samples_decide():
    samples = samples_of({"height": 30, "voltage": 10})
    assert in_order(samples, 40, {"height": 1}, seed=0) == samples
    assert Counter(s.entity for s in in_order(samples, 20, {}, seed=0)) == {"height": 15, "voltage": 5}
    asked = Counter(s.entity for s in in_order(samples, 35, {"height": 9}, seed=0))
    assert asked == {"height": 30, "voltage": 5}  # what the test does not ask about only fills up


def test_batches_are_of_one_size_and_nothing_is_lost():
    questions = [replace(q, context="x" * (q.row * 7 % 50)) for q in samples_of({"height": 103})]
    sizes = {q.model_image.name: [(602, 602), (602, 392), (392, 602)][q.row % 3] for q in questions}
    ordered = bucketed(questions, sizes, 8, seed=0)
    assert sorted(q.row for q in ordered) == list(range(103))
    batches = [ordered[start : start + 8] for start in range(0, 103, 8)]
    is_of_one_size = [len({sizes[q.model_image.name] for q in batch}) == 1 for batch in batches]
    assert sum(is_of_one_size) >= 12  # 35, 34 and 34 of a size: 12 whole batches, the rest in mixed ones
    first_sizes = [sizes[batch[0].model_image.name] for batch in batches]
    assert first_sizes != sorted(first_sizes)
    whole = [
        [len(q.context) for q in batch] for batch, alike in zip(batches, is_of_one_size, strict=True) if alike
    ]
    without = bucketed([replace(q, context="") for q in questions], sizes, 8, seed=0)
    chance = [q.row * 7 % 50 for q in without]
    spread = np.mean([max(row) - min(row) for row in whole])
    assert spread < np.mean([max(chance[i : i + 8]) - min(chance[i : i + 8]) for i in range(0, 96, 8)]) / 2
    assert ordered == bucketed(questions, sizes, 8, seed=0)
    assert ordered != bucketed(questions, sizes, 8, seed=1)


def test_how_a_step_is_cut_into_batches_does_not_change_its_rows(processed):
    data, out = processed
    ordered = [
        load_data(TrainSettings(data, out, batch_size=size, accumulation=batches)).questions
        for size, batches in ((4, 2), (8, 1), (2, 2))
    ]
    assert ordered[0] == ordered[1] != ordered[2]


def test_sizes_are_those_the_model_gets(processed):
    data, out = processed
    sizes = FAMILY.padded_sizes(out / "processed")
    for sample in train_questions(read_train(data), out / "processed", {})[0]:
        assert FAMILY.padded(read_image(sample.model_image)).shape[:2] == sizes[sample.model_image.name]


def test_only_images_of_drawn_rows_and_of_the_test_are_read(tmp_path):
    data, out = make_folder(tmp_path / "data", 30, 3), tmp_path / "out"
    train = read_train(data)
    train.loc[0, "entity_value"] = "about as heavy as a cat"  # of no use, so it is never drawn
    train.to_csv(data / "train.csv", index=False)
    settings = PreprocessSettings(data, out / "processed", max_size=112, rows=12, seed=1, workers=1)
    drawn = read_sampled(data, 12, 1)
    assert [len(table) for table in (*drawn.tables, drawn.left_out)] == [12, 3, 18]
    assert 0 in drawn.left_out.index
    needed = {link.rpartition("/")[2] for link in drawn.links}
    assert set(preprocess(settings)["image"]) == needed
    asked = TrainSettings(data, out, rows=12, seed=1, ocr=False)
    found = load_data(asked)
    kept = found.questions + found.held_out
    assert {sample.row for sample in kept} == set(drawn.tables[0].index)
    labels = {sample.row: sample.label for sample in kept}
    whole = train_questions(read_train(data), out / "processed", {})[0]
    assert {s.row: s.label for s in whole if s.row in labels} == labels  # by their place in the whole table
    # More rows later: what is done is kept, and with --all everything is there.
    everything = preprocess(dataclasses.replace(settings, all=True))
    assert set(everything["image"]) == {path.name for path in (data / "images").iterdir()} > needed
    assert set(preprocess(settings)["image"]) == set(everything["image"])  # nothing is lost again
    assert sum(load_data(asked).reasons.values()) == 12


def test_rows_are_drawn_once_for_every_stage(tmp_path):
    data = make_folder(tmp_path / "data", 30, 5)
    some, same, other = (read_sampled(data, 10, seed) for seed in (3, 3, 4))
    assert some.links == same.links != other.links
    assert len(read_sampled(data, None, 3).left_out) == len(read_sampled(data, 30, 3).left_out) == 0
    (data / "train.csv").unlink()
    assert read_sampled(data, 10, 3).left_out is None
    pd.testing.assert_frame_equal(read_sampled(data, 10, 3).tables[0], some.tables[1])
