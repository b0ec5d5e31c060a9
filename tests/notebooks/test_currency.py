"""What a notebook depends on: each change of it is noticed, and the time of a file is none."""

import os
import shutil

import pytest

from src.data.folders import DataFolder, RunFolder
from src.notebooks.currency import depends_on, left
from tests.conftest import ROOT, TINY


@pytest.fixture
def folders(fresh, tmp_path):
    """(data folder, run folder, model, notebook) that a test may change."""
    model = shutil.copytree(TINY, tmp_path / "model")
    notebook = tmp_path / "inference.ipynb"
    shutil.copy(ROOT / "inference.ipynb", notebook)
    return (*fresh, model, notebook)


def key_of(data, out, model, notebook, **parameters):
    return depends_on(notebook, {"MODEL": str(model)} | parameters, DataFolder(data), RunFolder(out))


def test_the_times_of_files_do_not_count(folders):
    before = key_of(*folders)
    for folder in folders:
        for path in [folder, *folder.rglob("*")]:
            os.utime(path, (1, 1))
    assert key_of(*folders) == before
    assert key_of(*folders, SETTINGS={"rows": 8}) != before


@pytest.mark.parametrize(
    "path",
    [
        "data/train.csv",
        "data/test.csv",
        "data/test_truth.csv",
        "out/processed/text.jsonl",
        "out/processed/train-0001.jpg",
        "model/model.safetensors",
        "model/config.json",
        "inference.ipynb",
    ],
)
def test_each_file_that_a_notebook_reads_counts(folders, tmp_path, path):
    before, file = key_of(*folders), tmp_path / path
    whole = file.read_bytes()
    file.write_bytes(whole.replace(b"1", b"2") + b" ")
    assert key_of(*folders) != before
    file.write_bytes(whole)
    assert key_of(*folders) == before


def test_what_a_notebook_left_is_known_by_its_contents(tmp_path):
    made, gone = tmp_path / "made.csv", tmp_path / "gone.csv"
    made.write_text("1")
    before = left([made, gone])
    os.utime(made, (1, 1))
    assert left([made, gone]) == before
    gone.write_text("")
    assert left([made, gone]) != before
    gone.unlink()
    made.write_text("2")
    assert left([made, gone]) != before
