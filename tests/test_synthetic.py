import numpy as np
import pandas as pd

from src.bundled.synthetic import question, render, write_data_folder
from src.data.labels import USABLE_REASONS, normalise_label
from src.data.tables import read_train
from src.entities import ENTITY_UNITS
from tests.conftest import SAMPLE, assert_one_sentence, run_python


def test_a_seed_gives_the_same_picture_and_the_sample(tmp_path):
    first, second = (render(np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(first.image, second.image)
    assert first.values == second.values
    write_data_folder(tmp_path / "again", 5, 3, seed=0)
    again, bundled = read_train(tmp_path / "again"), read_train(SAMPLE)
    assert again.equals(bundled.head(5))  # the bundled sample is what the command makes
    truth = pd.read_csv(tmp_path / "again" / "test_truth.csv", keep_default_na=False)
    assert len(truth) == 3


def test_pictures_have_the_promised_variety():
    rng, entities, empty, dual = np.random.default_rng(1), set(), 0, 0
    for _ in range(150):
        picture = render(rng)
        assert max(picture.image.shape) == 1000
        assert picture.image.dtype == np.uint8
        for entity, value in picture.values.items():
            label, reason = normalise_label(value, entity)
            assert reason in USABLE_REASONS
            assert label.split(" ", 1)[1] in ENTITY_UNITS[entity]
            entities.add(entity)
        empty += not picture.values
        dual += len(picture.values) > 1
    assert entities == set(ENTITY_UNITS)
    assert empty > 0
    assert dual > 50


def test_about_the_asked_share_of_questions_has_no_answer():
    rng = np.random.default_rng(2)
    values = [question(render(rng), set(), rng, 0.3)[1] for _ in range(150)]
    assert 0.2 < np.mean([value == "" for value in values]) < 0.5


def test_an_existing_folder_is_not_overwritten(tmp_path):
    assert_one_sentence(run_python("-m", "src.bundled.synthetic", "--out", tmp_path), "exists already")
