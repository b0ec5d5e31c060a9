"""Unusable weights and GPUs are told in one sentence before anything is loaded."""

import json
import shutil
import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from src.data.errors import InputError
from src.model import checks, libraries, modeling
from src.model.checks import check_weights, weights_fault
from src.model.modeling import add_lora, load_adapter, load_base, load_config, lora_config
from src.settings import LoraSettings
from tests.conftest import ROOT, SAMPLE, TINY, assert_one_sentence, run_python

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
        (None, (13, 0), ["built without CUDA", "pip install torch==2."]),
    ],
)
def test_why_there_is_no_gpu_is_told(monkeypatch, built, driver, words):
    monkeypatch.setattr("torch.version.cuda", built)
    monkeypatch.setattr(checks, "driver_cuda", lambda: driver)
    for word in words:
        assert word in checks.gpu_fault()


def install(folder, name, version, requires):
    """Put a library into a folder as pip would, one that cannot be imported."""
    (folder / name).mkdir()
    (folder / name / "__init__.py").write_text(
        "raise RuntimeError('operator torchvision::nms does not exist')"
    )
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir()
    needs = "".join(f"Requires-Dist: {text}\n" for text in requires)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}")


OLD_TORCHAO = ("torchao", "0.10.0", [])
OTHER_TORCHVISION = ("torchvision", "0.20.1+cu121", ["numpy", "torch==2.5.1", "scipy; extra == 'scipy'"])
FITTING_TORCHVISION = ("torchvision", "0.99", ["numpy", f"torch=={torch.__version__.partition('+')[0]}"])


@pytest.mark.parametrize(
    ("command", "library"),
    [
        ("src.run", OLD_TORCHAO),
        ("src.run", OTHER_TORCHVISION),
        ("src.train", OTHER_TORCHVISION),
        ("src.predict", OTHER_TORCHVISION),
    ],
)
def test_a_library_in_the_way_ends_before_any_stage(tmp_path, monkeypatch, command, library):
    install(tmp_path, *library)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    call = [sys.executable, "-m", command, "--out", tmp_path / "out", "--data", SAMPLE]
    result = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=False)
    name, version, _ = library
    assert_one_sentence(result, f"{name} {version} is in the way", f"pip uninstall -y {name}")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "library", [("torchao", "0.16.0", []), FITTING_TORCHVISION, ("torchvision", "1", [])]
)
def test_a_library_that_fits_is_left_alone(tmp_path, monkeypatch, library):
    install(tmp_path, *library)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert libraries.libraries_fault() == ""
    install(tmp_path, *OTHER_TORCHVISION) if library[0] == "torchao" else install(tmp_path, *OLD_TORCHAO)
    assert "is in the way" in libraries.libraries_fault()


@pytest.mark.parametrize(
    ("card", "built", "fits"),
    [
        ((6, 0), ["sm_75", "sm_80", "sm_90", "sm_120", "compute_120"], False),
        ((7, 0), ["sm_75", "sm_80", "sm_90", "sm_120", "compute_120"], False),
        ((7, 5), ["sm_75", "sm_80", "sm_90"], True),
        ((8, 9), ["sm_75", "sm_80", "sm_90"], True),
        ((10, 0), ["sm_75", "sm_80", "sm_90"], False),
        ((12, 1), ["sm_75", "compute_120"], True),
        ((9, 0), ["sm_90a"], True),
    ],
)
def test_a_card_without_kernels_in_this_torch_ends_before_any_stage(monkeypatch, card, built, fits):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda: card)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda: "Tesla P100-PCIE-16GB")
    monkeypatch.setattr("torch.cuda.get_arch_list", lambda: built)
    monkeypatch.setattr(modeling, "card_memory", lambda: 16e9)
    config = load_config(str(TINY))
    if fits:
        assert modeling.preset_for(config)
        return
    with pytest.raises(InputError, match=r"P100-PCIE-16GB \(sm_\d+\) has no kernels .* sm_75, "):
        modeling.preset_for(config)
