"""Unusable weights and GPUs are told in one sentence before anything is loaded."""

import json
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from src.data.errors import InputError
from src.model import checks
from src.model.checks import check_weights, weights_fault
from src.model.modeling import add_lora, load_adapter, load_base, load_config, lora_config
from src.settings import LoraSettings
from tests.conftest import TINY, assert_one_sentence, run_python

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a21\nsize 4971\n"


@pytest.fixture
def copied(tmp_path):
    """A copy of the bundled model."""
    return shutil.copytree(TINY, tmp_path / "model")


def test_a_pointer_instead_of_weights_ends_before_any_stage(copied, tmp_path):
    check_weights(copied)
    (copied / "model.safetensors").write_bytes(POINTER)
    with pytest.raises(InputError, match=r"model\.safetensors: is a git-lfs pointer, .* git lfs pull"):
        load_config(str(copied))
    result = run_python("-m", "src.run", "--out", tmp_path / "out", "--model", copied)
    assert_one_sentence(result, "git-lfs pointer")
    assert not (tmp_path / "out" / "processed").exists()


@pytest.mark.parametrize("kept", [0, 7, 8, 1000, -1])
def test_weights_that_are_cut_off_are_noticed(copied, kept):
    path = copied / "model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InputError, match="is cut off"):
        load_config(str(copied))


def test_a_part_that_is_missing_is_noticed(copied):
    index = copied / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}))
    with pytest.raises(InputError, match=r"model-2\.safetensors: cannot be read \(No such file"):
        load_config(str(copied))
    index.write_text("[]")
    with pytest.raises(InputError, match="not a readable index"):
        load_config(str(copied))


@given(st.binary(max_size=200), st.booleans())
def test_whatever_stands_in_a_file_is_weights_or_a_fault(tmp_path_factory, content, counted):
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    path.write_bytes(len(content).to_bytes(8, "little") + content if counted else content)
    fault = weights_fault(path)
    if not fault:
        assert isinstance(json.loads(content), dict)


def test_an_adapter_whose_weights_do_not_fit_is_refused(tmp_path):
    add_lora(load_base(str(TINY)), lora_config(LoraSettings())).save_pretrained(tmp_path)
    weights = tmp_path / "adapter_model.safetensors"
    tensors = load_file(weights)
    load_adapter(load_base(str(TINY)), tmp_path)
    first = min(tensors)
    for changed in (
        {name: tensor for name, tensor in tensors.items() if name != first},
        tensors | {f"other.{first}": tensors[first]},
        {name.replace("text_model", "language_model"): tensor for name, tensor in tensors.items()},
    ):
        save_file({name: tensor.clone() for name, tensor in changed.items()}, weights)
        with pytest.raises(InputError, match="does not fit this model"):
            load_adapter(load_base(str(TINY)), tmp_path)
    weights.write_bytes(POINTER)
    with pytest.raises(InputError, match="git-lfs pointer"):
        load_adapter(load_base(str(TINY)), tmp_path)


@pytest.mark.parametrize(
    ("built", "driver", "words"),
    [
        ("13.0", (12, 4), ["supports CUDA 12.4", "needs 13.0", "580 or newer", "whl/cu126"]),
        ("13.0", (10, 2), ["supports CUDA 10.2", "580 or newer"]),
        ("13.0", (13, 0), ["CUDA_VISIBLE_DEVICES"]),
        ("13.0", None, ["none was found"]),
        (None, (13, 0), ["built without CUDA"]),
    ],
)
def test_why_there_is_no_gpu_is_told(monkeypatch, built, driver, words):
    monkeypatch.setattr("torch.version.cuda", built)
    monkeypatch.setattr(checks, "driver_cuda", lambda: driver)
    for word in words:
        assert word in checks.gpu_fault()
