import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
from safetensors.torch import load_file

from src.dataset import read_train
from src.errors import InputError
from src.settings import TrainSettings
from src.train import train
from src.training_data import load_data
from tests.conftest import ROOT, TINY


def settings_for(data, out, **changes):
    return TrainSettings(data, out, str(TINY), batch_size=4, scored_rows=4, checkpoint_steps=1, **changes)


@pytest.fixture(scope="module")
def trained(processed, tmp_path_factory):
    """An undisturbed run: (settings, its result, its adapter's tensors)."""
    out = tmp_path_factory.mktemp("trained")
    (out / "processed").symlink_to(processed[1] / "processed")
    settings = settings_for(processed[0], out)
    return settings, train(settings), load_file(out / "adapter" / "adapter_model.safetensors")


def test_the_adapter_folder_is_whole(trained):
    settings, result, tensors = trained
    folder = settings.out / "adapter"
    assert {p.name for p in folder.iterdir()} == {"adapter_config.json", "adapter_model.safetensors", "training.json"}
    assert {p.name for p in settings.out.iterdir()} == {"processed", "adapter"}  # no checkpoints, no parts
    record = json.loads((folder / "training.json").read_text())
    assert record["settings"]["batch_size"] == 4
    assert record["settings"]["learning_rate"] == 1e-3  # the preset's, resolved
    assert any(tensor.abs().max() > 0 for name, tensor in tensors.items() if "lora_B" in name)
    data = load_data(settings)
    assert len(result.losses) == -(-len(data.samples) // 4)
    assert set(result.answers["row"]) <= {s.row for s in data.held_out}
    assert result.scores.iloc[-1]["rows"] == min(4, len(data.held_out))


def test_a_finished_run_is_not_repeated_but_a_changed_one_is(trained, capsys, monkeypatch):
    settings, result, _ = trained
    again = train(settings)
    assert "already trained" in capsys.readouterr().out
    assert again.losses.equals(result.losses)
    assert again.scores.equals(result.scores)

    def started(*_):
        raise InterruptedError

    monkeypatch.setattr("src.train.load_base", started)
    with pytest.raises(InterruptedError):
        train(dataclasses.replace(settings, seed=1))


def test_killed_and_started_again_it_ends_at_the_same_weights(trained, processed, tmp_path, capfd):
    (tmp_path / "processed").symlink_to(processed[1] / "processed")
    settings, wanted = settings_for(processed[0], tmp_path), trained[2]
    code = (
        "from pathlib import Path; from src.train import TrainSettings, train;"
        f"train(TrainSettings(Path({str(processed[0])!r}), Path({str(tmp_path)!r}), {str(TINY)!r},"
        " batch_size=4, scored_rows=4, checkpoint_steps=1))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.DEVNULL)
    while not list(tmp_path.glob("checkpoints/*/checkpoint-2/trainer_state.json")):
        assert process.poll() is None
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "adapter").exists()
    (second,) = tmp_path.glob("checkpoints/*/checkpoint-2")
    torn = shutil.copytree(second, second.with_name("checkpoint-99"))  # a half-written newer one is passed over
    (torn / "trainer_state.json").write_text('{"global_step": 9')
    result = train(settings)
    assert re.search(r"\| 2/\d \[00:00", capfd.readouterr().err)  # went on from the whole checkpoint
    assert result.losses["step"].tolist() == trained[1].losses["step"].tolist()
    got = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    assert got.keys() == wanted.keys()
    # Weights move by about 1e-3 a step; sums in another order (threads) leave some 1e-6.
    for name, tensor in wanted.items():
        assert (got[name] - tensor).abs().max() < 5e-5, name


def test_the_audit_decides_what_is_trained_on_and_held_out_rows_stay(processed, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(processed[1], out)
    table = read_train(processed[0])
    table.loc[:3, "entity_value"] = "123456 metre"  # on no picture
    table.loc[:3, "entity_name"] = "height"
    folder = tmp_path / "data"
    shutil.copytree(processed[0], folder)
    table.to_csv(folder / "train.csv", index=False)
    data = load_data(settings_for(folder, out))
    trained_on = [s.answer for s in data.samples]
    assert "123456 metre" not in trained_on
    assert {v.verdict for s, v in data.audited if s.answer == "123456 metre"} <= {"contradicted", "not visible"}
    assert abs(trained_on.count("") / len(trained_on) - 0.15) < 0.1 or data.added == 0
    plain = load_data(settings_for(folder, out, ocr=False))
    assert plain.texts is None
    assert plain.held_out == data.held_out
    assert len(plain.samples) + len(plain.held_out) == len(table)
    (out / "processed" / "text.jsonl").unlink()
    with pytest.raises(InputError, match=r"run preprocess\.py with --ocr"):
        train(settings_for(folder, out))


def test_unusable_training_data_gets_one_sentence(fresh):
    data, out = fresh
    table = read_train(data)
    table.assign(entity_name="colour").to_csv(data / "train.csv", index=False)
    with pytest.raises(InputError, match="unknown entity: 16"):
        train(settings_for(data, out))
    table.head(0).to_csv(data / "train.csv", index=False)
    with pytest.raises(InputError, match="no rows"):
        train(settings_for(data, out))
    with pytest.raises(InputError, match=r"run preprocess\.py first"):
        train(settings_for(data, out / "nowhere"))
