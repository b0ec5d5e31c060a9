import dataclasses
import json
import math
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from accelerate.commands.config.config_args import load_config_from_file
from hypothesis import given
from hypothesis import strategies as st
from peft import LoraConfig
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import TrainingArguments

from src.data.details import to_entry
from src.data.errors import InputError
from src.data.questions import Question
from src.data.tables import read_test, read_train
from src.model.collator import model_inputs, training_collator
from src.model.modeling import add_lora, load_base, load_processor, lora_config, quantization_config
from src.model.prompts import prompt_for
from src.prepare.preprocessing import preprocess
from src.settings import LoraSettings, PreprocessSettings, TrainSettings
from src.train import train
from src.training import adapter
from src.training.configuration import (
    adapter_key,
    per_process,
    recipe_of,
    recipe_values,
    resolve,
    settings_in_use,
    training_arguments,
)
from src.training.progress import Progress
from src.training.rows import load_data
from src.training.trainer import F1Trainer, last_checkpoint
from tests.conftest import ROOT, TINY, assert_one_sentence, run_python
from tests.prepare.test_preprocessing import hashes
from tests.training.test_configuration import key_of


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
    assert {p.name for p in folder.iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
        "training.json",
        "README.md",
    }
    assert {p.name for p in settings.out.iterdir()} == {
        "processed",
        "adapter",
        "metrics.jsonl",
        "rules_out.journal.jsonl",
    }  # no checkpoints
    card = (folder / "README.md").read_text()
    for word in (
        f"base_model: {TINY}",
        '"batch_size": 4',
        "f1",
        "held-out",
        "never into the original weights",
    ):
        assert word.lower() in card.lower()
    record = json.loads((folder / "training.json").read_text())
    assert record["settings"]["batch_size"] == 4
    assert record["settings"]["learning_rate"] == 1e-3  # the preset's, resolved
    assert any(tensor.abs().max() > 0 for name, tensor in tensors.items() if "lora_B" in name)
    data = load_data(settings)
    assert len(result.losses) == -(-len(data.questions) // 4)
    assert {q.row for q in result.answers} <= {q.row for q in data.held_out}
    # judged as rows are answered later: by the best of the options, where there are some
    options = {(question.row, question.entity): question.option_texts for question in data.held_out}
    with_options = [question for question in result.answers if options[question.row, question.entity]]
    assert with_options
    for row in with_options:
        known = options[row.row, row.entity]
        chances = {option.text: option.log_probability for option in row.options}
        assert chances.keys() == {*known, ""}
        assert row.model_answer == max(chances, key=chances.get)
        total = sum(math.exp(value) for value in chances.values())
        assert row.confidence == pytest.approx(math.exp(max(chances.values())) / total)  # among the options
    assert result.scores.iloc[-1]["rows"] == min(4, len(data.held_out))
    logged = [json.loads(line) for line in (settings.out / "metrics.jsonl").read_text().splitlines()]
    assert [e["loss"] for e in logged if "loss" in e] == result.losses["loss"].tolist()
    assert [e["eval_f1"] for e in logged if "eval_f1" in e] == result.f1["f1"].tolist()
    assert result.f1["step"].iloc[0] == 0  # so is the base model
    assert result.f1["step"].iloc[-1] == result.losses["step"].iloc[-1]  # the end is scored, too
    assert record["cache_key"] in card
    of_adapters = result.f1[result.f1["step"].gt(0)]
    assert record["step"] == of_adapters.loc[of_adapters["f1"].eq(of_adapters["f1"].max()), "step"].iloc[-1]
    assert f"the best of {len(of_adapters)}" in card


def test_a_finished_run_is_not_repeated_but_a_changed_one_is(trained, capsys, monkeypatch):
    settings, result, _ = trained
    again = train(settings)
    assert "already trained" in capsys.readouterr().out
    assert again.losses.equals(result.losses)
    assert again.scores.equals(result.scores)

    monkeypatch.setattr("src.train.load_base", started)
    before, other = hashes(result.adapter), dataclasses.replace(settings, seed=1, lora_r=8)
    with pytest.raises(InputError, match=r"finished, .* \(lora_r 16, now 8; seed 0, now 1\); .* --overwrite"):
        train(other)
    with pytest.raises(Started):
        train(dataclasses.replace(other, overwrite=True))
    assert hashes(result.adapter) == before


def test_another_quantization_or_model_does_not_replace_a_finished_adapter_unasked(trained):
    settings, result, _ = trained
    settings = resolve(settings)
    quantization, *others = recipe_of(settings)
    quantization.bnb_4bit_use_double_quant = False
    recipe = recipe_values(settings, quantization, *others)
    with pytest.raises(InputError, match=r"\(quantization bnb_4bit_use_double_quant 'True', now 'False'\)"):
        adapter.load_result(result.adapter, "another key", recipe)
    assert adapter.load_result(result.adapter, "another key", recipe, overwrite=True) is None
    with pytest.raises(InputError, match=r"\(another model\)"):
        recorded = adapter.load_record(result.adapter)["recipe"]
        adapter.load_result(result.adapter, "another key", recorded | {"model": "other"})


class Started(Exception):
    """A training would load its model now."""


def started(*_, **__):
    raise Started


def test_what_it_does_not_depend_on_leaves_the_same_adapter(trained, tmp_path, capsys, monkeypatch):
    """Each change alone: tests/training/test_configuration.py."""
    settings, _, _ = trained
    data, out = shutil.copytree(settings.data, tmp_path / "data"), tmp_path / "out"
    shutil.copytree(settings.out, out)
    adapter_before = hashes(out / "adapter")
    for path in tmp_path.rglob("*"):
        os.utime(path, (1, 1))
    table = read_test(data)
    table.assign(index=table["index"] + 7).to_csv(data / "test.csv", index=False)
    preprocess(PreprocessSettings(data, out / "processed", max_size=378, ocr=True, workers=1))
    monkeypatch.setattr("src.train.load_base", started)
    monkeypatch.chdir(ROOT)
    changed = dataclasses.replace(settings, data=data, out=out, model="./data/idefics2-tiny")
    train(changed)
    assert "already trained" in capsys.readouterr().out
    assert hashes(out / "adapter") == adapter_before
    labels = read_train(data)
    labels.assign(entity_value="").to_csv(data / "train.csv", index=False)
    with pytest.raises(Started):
        train(changed)


def test_what_a_caller_changes_in_lora_and_arguments_takes_effect_and_is_recorded(processed, tmp_path):
    (tmp_path / "processed").symlink_to(processed[1] / "processed")
    settings = resolve(settings_for(processed[0], tmp_path, epochs=0.5, evaluations=1))
    other_key = key_of(settings)
    model = add_lora(load_base(str(TINY)), lora_config(LoraSettings(lora_r=4)))
    arguments = training_arguments(settings, tmp_path / "checkpoints")
    collator = training_collator(load_processor(str(TINY)), settings)
    lora = LoraConfig(r=16, lora_alpha=32, lora_dropout=0.05)
    assert settings_in_use(settings, lora, arguments, collator) == settings
    arguments.learning_rate = 5e-4
    collator.prompt = prompt_for(collator.processor, "{question} {context}")
    trainer = F1Trainer(model, collator, load_data(settings), settings, arguments)
    in_use = dataclasses.replace(settings, lora_r=4, learning_rate=5e-4, prompt="{question} {context}")
    assert trainer.settings == in_use
    recipe = recipe_values(in_use, quantization_config(), lora_config(in_use), arguments, collator)
    assert trainer.key == adapter_key(in_use, recipe) != other_key
    trainer.train(resume_from_checkpoint=last_checkpoint(arguments.output_dir))
    result = adapter.save(trainer)
    record = adapter.load_record(result.adapter)
    assert (record["settings"]["lora_r"], record["settings"]["learning_rate"]) == (4, 5e-4)
    assert json.loads((result.adapter / "adapter_config.json").read_text())["r"] == 4
    assert max(entry.get("learning_rate", 0) for entry in record["log"]) == 5e-4
    assert adapter.load_result(result.adapter, trainer.key, recipe).scores.equals(result.scores)


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
    torn = shutil.copytree(
        second, second.with_name("checkpoint-99")
    )  # a half-written newer one is passed over
    (torn / "trainer_state.json").write_text('{"global_step": 9')
    result = train(settings)
    assert re.search(
        r"\| 8/\d+ \[00:00", capfd.readouterr().err
    )  # went on from the whole checkpoint: 2 steps of 4
    assert result.losses["step"].tolist() == trained[1].losses["step"].tolist()
    assert result.f1["step"].tolist() == trained[1].f1["step"].tolist()
    got = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    assert got.keys() == wanted.keys()
    # Weights move by about 1e-3 a step; sums in another order (threads) leave some 1e-6.
    for name, tensor in wanted.items():
        assert (got[name] - tensor).abs().max() < 5e-5, name


def test_the_audit_decides_what_is_trained_on_and_held_out_rows_stay(processed, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(processed[1], out)
    table = read_train(processed[0])
    table.loc[:3, "entity_value"] = "123456 metre"  # on no image
    table.loc[:3, "entity_name"] = "height"
    folder = tmp_path / "data"
    shutil.copytree(processed[0], folder)
    table.to_csv(folder / "train.csv", index=False)
    data = load_data(settings_for(folder, out))
    trained_on = [q.label for q in data.questions]
    assert "123456 metre" not in trained_on
    assert {v.verdict for s, v in data.audited if s.label == "123456 metre"} <= {
        "contradicted",
        "not visible",
    }
    assert (
        abs(trained_on.count("") / len(trained_on) - 0.15) < 0.1
        or not data.counts["made, with an empty answer"]
    )
    plain = load_data(settings_for(folder, out, ocr=False))
    assert {question.context for question in plain.questions} == {""}
    assert [(q.row, q.entity, q.label) for q in plain.held_out] == [
        (q.row, q.entity, q.label) for q in data.held_out
    ]
    assert len(plain.questions) + len(plain.held_out) == len(table)
    (out / "processed" / "text.jsonl").unlink()
    with pytest.raises(InputError, match=r"run preprocess\.py with --ocr"):
        train(settings_for(folder, out))


def best_then_worse(monkeypatch, scores):
    """Let held-out rows be answered rightly in the shares ``scores``, one after the other."""
    left = iter(scores)

    def answers(model, processor, questions, data, settings):
        right = next(left)
        return [
            to_entry(
                replace(
                    question,
                    label="1 metre",
                    model_answer="1 metre" if number < right * len(questions) else "2 metre",
                )
            )
            for number, question in enumerate(questions)
        ]

    monkeypatch.setattr("src.training.trainer.answers_of", answers)


def test_the_best_adapter_is_kept_not_the_last(trained, processed, tmp_path, monkeypatch):
    (tmp_path / "processed").symlink_to(processed[1] / "processed")
    best_then_worse(monkeypatch, [1.0, 0.0, 0.5, 0.1, 0.1])
    result = train(settings_for(processed[0], tmp_path, held_out=0.2))
    base, first, second, third, *_ = result.f1["f1"]
    assert (base, first) == (1.0, 0.0)  # the base model is no adapter to keep
    assert 0 < third < second < 1
    assert result.scores.iloc[-1]["f1"] == second
    record = json.loads((result.adapter / "training.json").read_text())
    assert record["step"] == result.f1["step"][2] < result.f1["step"].iloc[-1]


def test_scoring_the_base_model_first_changes_no_weight_and_overwrite_replaces(
    trained, tmp_path, monkeypatch
):
    settings, _, tensors = trained
    out = shutil.copytree(settings.out, tmp_path / "out", symlinks=True)
    other = adapter.load_record(out / "adapter")
    other |= {"cache_key": "another", "recipe": other["recipe"] | {"lora_r": 4}}
    (out / "adapter" / "training.json").write_text(json.dumps(other))
    save_file(
        {name: tensor + 1 for name, tensor in tensors.items()}, out / "adapter" / "adapter_model.safetensors"
    )
    evaluate = F1Trainer.evaluate
    monkeypatch.setattr(
        F1Trainer, "evaluate", lambda self, **_: evaluate(self) if self.state.global_step else {}
    )
    settings = replace(settings, out=out)
    with pytest.raises(InputError, match=r"another recipe \(lora_r 4, now 16\)"):
        train(settings)
    result = train(replace(settings, overwrite=True))
    assert 0 not in result.f1["step"].tolist()
    again = load_file(result.adapter / "adapter_model.safetensors")
    assert again.keys() == tensors.keys()
    assert all(torch.equal(again[name], tensor) for name, tensor in tensors.items())


def test_a_loss_that_is_no_number_ends_with_one_sentence(processed, tmp_path):
    (tmp_path / "processed").symlink_to(processed[1] / "processed")
    settings = settings_for(processed[0], tmp_path, learning_rate=1e30)
    with pytest.raises(
        InputError,
        match=r"the loss is nan at step \d+, .*lines \d+ \(train-.*\): set learning_rate lower than 1e\+30",
    ):
        train(settings)
    kept = list(tmp_path.glob("checkpoints/*/checkpoint-*"))
    for tensors in (load_file(folder / "adapter_model.safetensors") for folder in kept):
        assert all(tensor.isfinite().all() for tensor in tensors.values())
    assert not (tmp_path / "adapter").exists()


def test_a_drive_that_does_not_give_an_image_ends_with_one_sentence(fresh):
    data, out = fresh
    for path in (out / "processed").glob("*.jpg"):
        path.unlink()
        path.symlink_to("/proc/self/mem")  # its first byte is refused with Errno 5
    with pytest.raises(
        InputError, match=r"\.jpg: unreadable drive \(Input/output error\); copy the run folder"
    ):
        train(settings_for(data, out, workers=0))


def test_out_of_memory_it_goes_on_with_smaller_batches_and_the_same_rows_per_step(
    trained, processed, tmp_path, capsys, monkeypatch
):
    (tmp_path / "processed").symlink_to(processed[1] / "processed")
    settings, rows = settings_for(processed[0], tmp_path), []

    def small_memory(batch, device, dtype):
        if len(batch["rows"]) > 2 and len(rows) == 8:
            raise torch.OutOfMemoryError("CUDA out of memory")
        rows.extend(batch["rows"])
        return model_inputs(batch, device, dtype)

    monkeypatch.setattr("src.training.trainer.model_inputs", small_memory)
    result = train(settings)
    assert (
        "out of GPU memory with batches of 4 x 1: on from checkpoint-2 with 2 x 2\n"
        in capsys.readouterr().out
    )
    assert rows == [sample.row for sample in load_data(settings).questions]  # each once, in the same order
    assert result.losses["step"].tolist() == trained[1].losses["step"].tolist()
    assert result.f1["step"].tolist() == trained[1].f1["step"].tolist()
    record = json.loads((result.adapter / "training.json").read_text())
    assert record["settings"]["batch_size"] == 4


def test_not_even_one_row_fits(processed, tmp_path, monkeypatch):
    (tmp_path / "processed").symlink_to(processed[1] / "processed")

    def no_memory(batch, device, dtype):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("src.training.trainer.model_inputs", no_memory)
    with pytest.raises(InputError, match="out of GPU memory with batches of 1 x 4; give a smaller"):
        train(settings_for(processed[0], tmp_path))


def test_in_float16_a_loss_that_is_no_number_has_its_likely_cause_named(tmp_path):
    sample = Question(3, "lamp.png", tmp_path / "lamp.png.jpg", "voltage", "12 volt")
    log = Progress(settings_for(tmp_path, tmp_path, learning_rate=1e-4), [sample])
    log.losses += [([1, 2], torch.tensor(1.5)), ([3], torch.tensor(torch.nan))]
    state = SimpleNamespace(global_step=7, is_world_process_zero=True, log_history=[])
    with pytest.raises(InputError, match=r"nan at step 7, .*lines 5 \(lamp\.png\): .*float16 overflows"):
        log.on_log(SimpleNamespace(fp16=True), state, None, logs={"loss": torch.nan})


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_large_model_trains_without_a_gpu_where_that_is_asked_for(processed, tmp_path, monkeypatch, capsys):
    (tmp_path / "processed").symlink_to(processed[1] / "processed")
    settings = settings_for(processed[0], tmp_path)
    assert key_of(replace(settings, cpu=True)) == key_of(settings)
    monkeypatch.setattr("src.model.memory.is_small", lambda config: False)
    with pytest.raises(InputError, match=r"needs a CUDA GPU: .*, or --cpu, where an 8B model takes"):
        train(settings)
    monkeypatch.setattr(F1Trainer, "train", started)
    with pytest.raises(Started):
        train(replace(settings, cpu=True))
    assert "no GPU: an 8B model takes about" in capsys.readouterr().out


def test_a_process_uses_one_gpu_of_those_it_sees(tmp_path, monkeypatch):
    monkeypatch.setattr(TrainingArguments, "n_gpu", property(lambda self: 4))
    arguments = training_arguments(resolve(settings_for(tmp_path, tmp_path)), tmp_path)
    assert arguments.n_gpu == 1
    assert arguments.train_batch_size == 4


def test_a_full_disk_gets_one_sentence_and_a_later_run_goes_on(processed, tmp_path):
    (tmp_path / "processed").symlink_to(processed[1] / "processed")
    made = (
        "TrainSettings(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], batch_size=4, checkpoint_steps=1,"
    )
    made += " workers=0)"
    limited = (
        "import resource, signal, sys; from pathlib import Path; from src.data.errors import run_main;"
        "from src.train import TrainSettings, train; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000)); run_main(lambda: train({made}))"
    )
    call = ["--data", processed[0], "--out", tmp_path, "--model", TINY, "--batch-size", "4"]
    result = run_python("-c", limited, processed[0], tmp_path, TINY)
    assert_one_sentence(result, "no space left", "run again to go on")
    assert not (tmp_path / "adapter").exists()
    again = run_python("-m", "src.train", *call)
    assert again.returncode == 0, again.stderr
    assert "adapter" in again.stdout
    assert "f1" in again.stdout


def test_shared_memory_that_is_too_small_is_named_and_not_the_disk(processed, tmp_path):
    """A limit on files holds in /dev/shm, too: it gives torch's error there before the first checkpoint.

    In a process of its own: a loader's process forked from one that has computed may wait for ever.
    """
    (tmp_path / "processed").symlink_to(processed[1] / "processed")
    limited = (
        "import resource, signal, sys; from pathlib import Path; from src.data.errors import run_main;"
        "from src.train import TrainSettings, load_data, train;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "settings = TrainSettings(*map(Path, sys.argv[1:3]), sys.argv[3], batch_size=4, workers=1);"
        "data = load_data(settings); resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000));"
        "run_main(lambda: train(settings, data))"
    )
    command = [sys.executable, "-c", limited, processed[0], tmp_path, TINY]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert_one_sentence(result, "error: /dev/shm: too small", "give --workers 0")


def test_two_processes_share_out_the_rows_of_a_step_and_average_to_the_gradients_of_one(processed, tmp_path):
    (tmp_path / "processed").symlink_to(processed[1] / "processed")
    one, two = tmp_path / "one.safetensors", tmp_path / "two.safetensors"
    step = ["-m", "tests.one_step", processed[0], tmp_path]
    single = run_python(*step, 4, one)
    assert single.returncode == 0, single.stderr
    double = run_python("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", 2, *step, 4, two)
    assert double.returncode == 0, double.stderr
    want, got = load_file(one), load_file(two)
    assert want.keys() == got.keys()
    assert max(gradient.abs().max() for gradient in want.values()) > 1e-3
    for name, gradient in want.items():
        assert (got[name] - gradient).abs().max() < 1e-6, name
    facts = []
    for file in (one, two):
        with safe_open(file, framework="pt") as opened:
            facts.append(opened.metadata())
    assert facts[0] == facts[1]  # the adapter's key, the rows of a step
    assert facts[0]["rows"] == "4"


@given(st.integers(1, 16), st.integers(1, 16), st.integers(1, 32))
def test_processes_share_out_the_rows_of_a_step_or_say_why_not(batch_size, accumulation, processes):
    settings = TrainSettings(ROOT, ROOT, batch_size=batch_size, accumulation=accumulation)
    if batch_size * accumulation % processes:
        with pytest.raises(
            InputError, match=rf"^{processes} processes cannot share out the \d+ rows .*: start"
        ):
            per_process(settings, processes)
        return
    size, batches = per_process(settings, processes)
    assert size * batches * processes == settings.rows_per_step
    assert size <= batch_size
    if processes == 1:
        assert (size, batches) == (batch_size, accumulation)


def test_gpu_memory_is_not_cut_up_unless_a_user_has_it_so():
    show = "import src, os; print(os.environ.get('PYTORCH_ALLOC_CONF'))"
    for given_name, want in (
        ("", "expandable_segments:True"),
        ("PYTORCH_CUDA_ALLOC_CONF", "None"),
        ("PYTORCH_ALLOC_CONF", "x:1"),
    ):
        environment = {name: value for name, value in os.environ.items() if "ALLOC_CONF" not in name}
        environment |= {given_name: "x:1"} if given_name else {}
        done = subprocess.run(
            [sys.executable, "-c", show],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == want


def unused_port() -> int:
    """Return a port that nobody listens at, of those that the kernel gives to no connection by itself.

    Of the others it may give this one to a connection before the first machine listens: even to the second
    machine's own, which is then connected to itself.
    """
    for port in random.SystemRandom().sample(range(20_000, 32_000), 100):
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port
    raise AssertionError("a hundred ports are in use")


def test_two_machines_by_the_config_file_do_so_too(processed, tmp_path):
    config = ROOT / "src" / "training" / "nodes-2x8.yaml"
    known = load_config_from_file(str(config))
    assert (known.num_machines, known.num_processes, known.distributed_type.value) == (2, 16, "MULTI_GPU")
    (tmp_path / "processed").symlink_to(processed[1] / "processed")
    one, two = tmp_path / "one.safetensors", tmp_path / "two.safetensors"
    single = run_python("-m", "tests.one_step", processed[0], tmp_path, 4, one)
    assert single.returncode == 0, single.stderr
    launch = ["-m", "accelerate.commands.launch", "--config_file", config, "--num_processes", 2]
    launch += ["--main_process_port", unused_port(), "--machine_rank"]
    step = ["-m", "tests.one_step", processed[0], tmp_path, 4, two]
    machines, logs = [], [tmp_path / f"machine-{rank}.log" for rank in range(2)]
    try:
        for rank, log in enumerate(logs):
            command = [sys.executable, *map(str, [*launch, rank, *step])]
            with log.open("w") as file:
                machines.append(subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=file))
        codes = [machine.wait(timeout=300) for machine in machines]
    except subprocess.TimeoutExpired:
        codes = [machine.poll() for machine in machines]
    finally:
        for machine in machines:
            machine.kill()
    assert codes == [0, 0], "\n".join(log.read_text()[-3000:] for log in logs)
    want, got = load_file(one), load_file(two)
    assert max((got[name] - gradient).abs().max() for name, gradient in want.items()) < 1e-6


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
