"""The cache key of a training: what leaves an adapter current, and what does not."""

import dataclasses
import json
import os
import shutil

import cv2
import numpy as np
import pandas as pd
import pytest

from src.data.errors import InputError
from src.data.names import image_name
from src.data.sampling import read_sampled
from src.data.tables import read_test, read_train
from src.prepare.preprocessing import preprocess
from src.settings import PreprocessSettings, TrainSettings
from src.training.configuration import adapter_key, recipe_of, recipe_values, resolve
from tests.conftest import ROOT, TINY


@pytest.fixture
def settings(fresh):
    return TrainSettings(*fresh, str(TINY))


def key_of(settings, **changes):
    settings = resolve(dataclasses.replace(settings, **changes))
    return adapter_key(settings, recipe_values(settings, *recipe_of(settings)))


def first_image(table):
    return image_name(table["image_link"][0])


def processed_again(settings, **changes):
    folders = settings.data, settings.out / "processed"
    return preprocess(PreprocessSettings(*folders, max_size=378, ocr=True, workers=1, **changes))


def touch_everything(folder):
    for path in folder.rglob("*"):
        os.utime(path, (1, 1))


def touch_a_test_image(settings):
    os.utime(settings.data / "images" / first_image(read_test(settings.data)), (1, 1))
    processed_again(settings)


def touch_all_files(settings):
    touch_everything(settings.data)
    touch_everything(settings.out)
    processed_again(settings)


def renumber_the_test_table(settings):
    table = read_test(settings.data)
    table.assign(index=table["index"] + 1000).to_csv(settings.data / "test.csv", index=False)


def ask_everything_twice(settings):
    table = read_test(settings.data)
    again = table.assign(index=table["index"] + 1000)
    pd.concat([again, table]).to_csv(settings.data / "test.csv", index=False)


def write_the_train_table_otherwise(settings):
    read_train(settings.data).to_csv(settings.data / "train.csv", index=False, sep=";", encoding="utf-16")


def give_the_image_another_server(settings):
    path = settings.data / "train.csv"
    path.write_text(path.read_text().replace("https://example.com/", "https://example.org/other/"))


@pytest.mark.parametrize(
    "change",
    [
        touch_a_test_image,
        touch_all_files,
        renumber_the_test_table,
        ask_everything_twice,
        write_the_train_table_otherwise,
        give_the_image_another_server,
    ],
)
def test_what_training_does_not_depend_on_leaves_the_key(settings, change):
    before = key_of(settings)
    change(settings)
    assert key_of(settings) == before


def test_a_model_and_folders_are_known_by_their_contents_wherever_they_are(settings, tmp_path, monkeypatch):
    before = key_of(settings)
    monkeypatch.chdir(ROOT)
    copied = tmp_path / "copied"
    shutil.copytree(TINY, copied / "model")
    touch_everything(copied)
    for model in (
        "data/idefics2-tiny",
        "./data/idefics2-tiny",
        "data/../data/idefics2-tiny/",
        copied / "model",
    ):
        assert key_of(settings, model=str(model)) == before
    shutil.copytree(settings.data, copied / "data")
    shutil.copytree(settings.out, copied / "out")
    assert key_of(settings, data=copied / "data", out=copied / "out") == before


def change_a_label(settings):
    table = read_train(settings.data)
    table.loc[3, "entity_value"] = "41 gram" if "gram" not in table["entity_value"][3] else ""
    table.to_csv(settings.data / "train.csv", index=False)


def change_a_source_image(settings):
    """The file keeps its size: bytes behind the end of a JPEG are not shown."""
    source = settings.data / "images" / first_image(read_train(settings.data))
    size = source.stat().st_size
    _, jpeg = cv2.imencode(".jpg", np.eye(40, dtype=np.uint8) * 255)
    source.unlink()  # a hard link
    source.write_bytes(jpeg.tobytes().ljust(size, b"\0"))
    processed_again(settings)


def change_a_model_image(settings):
    image = settings.out / "processed" / first_image(read_train(settings.data))
    image.write_bytes(image.read_bytes() + b"\0")


def remove_a_model_image(settings):
    (settings.out / "processed" / first_image(read_train(settings.data))).unlink()


def change_a_text_line(settings):
    path, image = settings.out / "processed" / "text.jsonl", first_image(read_train(settings.data))
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    for entry in entries:
        if entry["image"] == image:
            entry["lines"][0][0] += "."
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))


def ask_for_another_entity(settings):
    table = read_test(settings.data)
    table.loc[0, "entity_name"] = "voltage" if table["entity_name"][0] != "voltage" else "wattage"
    table.to_csv(settings.data / "test.csv", index=False)


@pytest.mark.parametrize(
    "change",
    [
        change_a_label,
        change_a_source_image,
        change_a_model_image,
        remove_a_model_image,
        change_a_text_line,
        ask_for_another_entity,
    ],
)
def test_what_training_depends_on_changes_the_key(settings, change):
    before = key_of(settings)
    change(settings)
    assert key_of(settings) != before


def test_rows_that_are_not_sampled_do_not_count(settings):
    before = key_of(settings, rows=8)
    sampled = set(read_sampled(settings.data, 8, settings.seed).train.index)
    table = read_train(settings.data)
    values = table["entity_value"]
    row = next(row for row in table.index if row not in sampled and values[row] and "[" not in values[row])
    table.loc[row, "entity_value"] = f"7{values[row]}"
    table.to_csv(settings.data / "train.csv", index=False)
    assert key_of(settings, rows=8) == before
    assert key_of(settings) != key_of(settings, rows=8)


def test_settings_that_only_change_the_speed_do_not_count(settings):
    before = key_of(settings, batch_size=4, accumulation=2)
    assert key_of(settings, batch_size=8, accumulation=1, workers=3, checkpoint_steps=7) == before
    assert key_of(settings, batch_size=8, accumulation=2) != before
    assert key_of(settings, batch_size=4, accumulation=2, learning_rate=1e-5) != before


def test_what_is_missing_is_named(settings):
    for path, words in (
        (settings.out / "processed" / "text.jsonl", r"run preprocess\.py with --ocr"),
        (settings.out / "processed" / "manifest.csv", r"run preprocess\.py first"),
        (settings.data / "train.csv", "a data folder needs this file"),
    ):
        path.unlink()
        with pytest.raises(InputError, match=f"{path}: not found; {words}"):
            key_of(settings)
