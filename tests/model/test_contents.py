"""The hash of a model's files: other weights are noticed, large files read in part, times do not count."""

import os
import shutil

import pytest
import torch
from huggingface_hub import constants
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from src.model.contents import model_contents, sampled_blocks
from tests.conftest import TINY


@pytest.fixture
def model(tmp_path):
    return shutil.copytree(TINY, tmp_path / "model")


@given(st.floats(0, 1, exclude_max=True), st.integers(1, 255))
@hypothesis_settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_one_other_byte_anywhere_in_small_weights_is_noticed(model, place, difference):
    before, weights = model_contents(str(model)), model / "model.safetensors"
    data = bytearray(weights.read_bytes())
    position = int(place * len(data))
    data[position] ^= difference
    weights.write_bytes(data)
    assert model_contents(str(model)) != before
    data[position] ^= difference
    weights.write_bytes(data)
    assert model_contents(str(model)) == before


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_another_configuration_or_tokenizer_is_noticed_and_a_readme_is_not(model, name):
    before = model_contents(str(model))
    (model / "README.md").write_text("of another day")
    for path in model.iterdir():
        os.utime(path, (1, 1))
    assert model_contents(str(model)) == before
    (model / name).write_text((model / name).read_text() + " ")
    assert model_contents(str(model)) != before


def test_other_weights_of_any_large_tensor_are_noticed_in_a_large_file(tmp_path):
    """The tiny model has 7 M weights; these are 12 tensors of 4 MiB, read in part."""
    path = tmp_path / "model.safetensors"
    tensors = {f"layer.{number}": torch.full((1024, 1024), float(number)) for number in range(12)}
    save_file(tensors, path)
    before = model_contents(str(tmp_path))
    assert sum(map(len, sampled_blocks(path))) < path.stat().st_size / 2
    for name in tensors:
        save_file(tensors | {name: tensors[name] + 1}, path)
        assert model_contents(str(tmp_path)) != before
    save_file(tensors | {"layer.0": tensors["layer.0"].half()}, path)
    assert model_contents(str(tmp_path)) != before
    save_file(load_file(path) | tensors, path)
    assert model_contents(str(tmp_path)) == before


def test_a_file_of_five_gigabytes_is_read_in_at_most_16_mebibytes(tmp_path):
    path = tmp_path / "model.safetensors"
    with path.open("wb") as stream:
        stream.truncate(5 * 10**9)
    assert sum(map(len, sampled_blocks(path))) <= 2**24 + 8


def test_a_model_of_the_hub_is_known_by_its_commit(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    found = []
    for commit in ("a" * 40, "b" * 40, "a" * 40):
        folder = tmp_path / "models--maker--model"
        (folder / "refs").mkdir(parents=True, exist_ok=True)
        (folder / "refs" / "main").write_text(commit)
        snapshot = folder / "snapshots" / commit
        shutil.copytree(TINY, snapshot, dirs_exist_ok=True)
        found.append(model_contents("maker/model"))
    assert found[0] == found[2] != found[1]
