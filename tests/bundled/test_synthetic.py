import numpy as np
import pandas as pd

from src.bundled.scene import SIDE
from src.bundled.scenes import make_scene, question
from src.bundled.synthetic import write_data_folder
from src.data.labels import USABLE_REASONS, normalise_label
from src.data.tables import read_train
from src.entities import ENTITIES
from src.images.decode import read_image
from src.reading.cross_line import parse_lines
from src.reading.options import find_options, rules_answer
from src.reading.quantity import parse_answer, same_amount
from tests.conftest import assert_one_sentence, run_python


def test_a_seed_gives_the_same_folder(tmp_path):
    for name in ("first", "second"):
        write_data_folder(tmp_path / name, 5, 3, seed=0)
    files = sorted(path.relative_to(tmp_path / "first") for path in (tmp_path / "first").rglob("*.*"))
    assert all((tmp_path / "first" / f).read_bytes() == (tmp_path / "second" / f).read_bytes() for f in files)
    assert len(read_train(tmp_path / "first")) == 5
    assert len(pd.read_csv(tmp_path / "first" / "test_truth.csv", keep_default_na=False)) == 3
    assert read_image(tmp_path / "first" / "images" / "train-0000.jpg").shape == (1000, 1000, 3)


def test_images_have_the_promised_variety():
    rng, entities, empty, several = np.random.default_rng(1), set(), 0, 0
    for _ in range(150):
        scene = make_scene(rng, missed=0.0)
        for entity, value in scene.values.items():
            label, reason = normalise_label(value, entity)
            assert reason in USABLE_REASONS
            assert not label or label.split(" ", 1)[1] in ENTITIES[entity].units
            entities.add(entity)
        empty += not scene.values
        several += len(scene.values) > 1
    assert entities == set(ENTITIES)
    assert empty > 0
    assert several > 30


def test_questions_about_an_image_differ_and_the_asked_share_has_no_answer():
    rng = np.random.default_rng(2)
    values = []
    for _ in range(150):
        scene = make_scene(rng)
        first, value = question(scene, rng, 0.3)
        values.append(value)
        assert question(scene, rng, 0.3, frozenset({first}))[0] != first
    assert 0.2 < np.mean([value == "" for value in values]) < 0.5


def test_values_other_than_lengths_can_be_read():
    rng, right = np.random.default_rng(3), []
    while len(right) < 150:
        scene = make_scene(rng, missed=0.0)
        for entity in ("item_weight", "voltage", "wattage", "item_volume"):
            if value := parse_answer(scene.values.get(entity, ""), entity):
                given = parse_answer(
                    rules_answer(find_options(parse_lines(scene.lines, SIDE, SIDE), entity, scene.layout))[0],
                    entity,
                )
                right.append(given is not None and same_amount(given, value))
    assert np.mean(right) > 0.85


def test_an_existing_folder_is_not_overwritten(tmp_path):
    assert_one_sentence(run_python("-m", "src.bundled.synthetic", "--out", tmp_path), "exists already")
