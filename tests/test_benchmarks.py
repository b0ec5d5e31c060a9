"""The benchmarks run; what they measure is in benchmarks/README.md, never in a test."""

import json
import math
import re
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from benchmarks import gpu, reading, rehearse
from benchmarks.results import put_into
from src.data.errors import InputError
from src.data.questions import Question
from src.reading.options import Option
from tests.conftest import ROOT, SAMPLE, assert_one_sentence, run_python


def test_recall_and_agreement_by_hand():
    def row(truth, given, *shown):
        options = (Option(shown), Option())
        question = Question(0, "a", Path("a"), "item_weight", truth, options=options)
        return reading.Row(question, (), given, 0.9)

    rows = [
        row("500 gram", "500 gram", "500 gram"),
        row("500 gram", "0.5 kilogram", "0.5 kilogram"),
        row("2 pound", "", "2 pound"),
        row("3 ounce", ""),
    ]
    assert (reading.recall(rows), reading.recall(rows, any_unit=True)) == (0.5, 0.75)
    assert (reading.agreement(rows, "strict"), reading.agreement(rows, "amount")) == (0.25, 0.5)
    table = reading.per_entity([*rows, row("", "")], equal=lambda own: reading.agreement(own, "strict"))
    assert table.loc["all"].tolist() == table.loc["item_weight"].tolist() == [5, 0.5, 0.4]


def test_the_reading_benchmark_takes_what_tables_there_are(fresh, monkeypatch, capsys):
    data, out = fresh
    table = pd.read_csv(data / "train.csv", dtype=str, keep_default_na=False)
    (data / "train.csv").unlink()
    monkeypatch.setattr("sys.argv", ["reading", "--data", str(data), "--out", str(out)])
    with pytest.raises(InputError, match="has no train"):
        reading.main()
    image = table["image_link"].str.rsplit("/", n=1).str[-1]
    rows = pd.DataFrame({"index": range(len(table)), "image": image, "entity_name": table["entity_name"]})
    rows["agreed"] = rows["gold"] = table["entity_value"]
    rows["alternatives"], rows["drawn"] = "", ["hard", "random"] * (len(rows) // 2)
    for name in ("silver.csv", "gold_hard_dev.csv"):
        rows.to_csv(data / name, index=False)
    assert reading.main() == 0
    shown = capsys.readouterr().out
    assert (
        shown.index("hard rows") < shown.index("random rows") < shown.index("silver.csv: recall in any unit")
    )
    last = [line.split() for line in shown.splitlines() if line.startswith("all ")]
    assert [int(line[1]) for line in last] == [8, 8, 16]
    assert float(last[2][2]) > 0.7
    missed = (out / "reading.html").read_text().count("<figure>")
    equal = float(last[2][3])
    assert missed == 16 - round(16 * equal)  # the page has the hand-read rows, here the same as the others


def test_the_training_benchmark_runs_at_a_small_size(processed):
    data, out = processed
    call = ["--data", data, "--out", out, "--size", "tiny", "--rows", 6, "--batch-size", 2, "--rounds", 1]
    result = run_python("-m", "benchmarks.training", *call)
    assert result.returncode == 0, result.stderr
    assert re.search(r"ours: \d+\.\d+ rows/s .*peak \d+\.\d+ GiB\nofficial: \d+\.\d+ rows/s", result.stdout)
    assert "TFLOP per row" in result.stdout


def test_the_inference_benchmark_runs_at_a_small_size(processed):
    data, out = processed
    call = ["--data", data, "--out", out, "--size", "tiny", "--rows", 6, "--batch-size", 2, "--rounds", 1]
    result = run_python("-m", "benchmarks.inference", *call)
    assert result.returncode == 0, result.stderr
    for title in ("16 tokens each", "each by its own rule"):
        assert re.search(rf"{title}: ours \d+\.\d+ rows/s", result.stdout)
        assert re.search(rf"{title}: x \d+\.\d+", result.stdout)
    assert re.search(r"seconds by part: vision \d+\.\d, prefill", result.stdout)


def test_what_the_gpu_benchmark_measures_runs_at_a_small_size(processed, tmp_path):
    data, out = processed
    gpu.write_model("tiny", tmp_path)
    trained = gpu.training(tmp_path, data, out, rows=8)
    answered = gpu.answering(tmp_path, data, out, rows=6)
    assert trained["rows_per_s"] > 0 < trained["share_of_matrix_rate"]
    assert 0 <= answered["differ_merged"] <= answered["compared"]
    assert answered["compared"] >= 6
    assert all(math.isfinite(value) for value in (*trained.values(), *answered.values()))
    record = {"device": "A card", "bfloat16": {"training": trained, "answering": answered}}
    table = gpu.as_markdown(record)
    assert f"{trained['rows_per_s']:.1f} rows/s" in table
    assert f"{answered['differ_merged']} of {answered['compared']}" in table
    assert table.count("not measured") == 5  # of float16


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here: make bench-gpu runs whole")
def test_the_gpu_benchmark_gets_as_far_as_its_first_cuda_call(processed):
    data, out = processed
    before = gpu.RECORD.read_bytes()
    done = run_python("-m", "benchmarks.gpu", "--data", data, "--out", out, "--rows", 6)
    assert_one_sentence(done, "measures a CUDA GPU")
    assert "images; estimated to train 8 rows at once: " in done.stdout
    assert gpu.RECORD.read_bytes() == before


def test_the_benchmarks_page_shows_what_was_measured_on_a_gpu():
    readme = (ROOT / "benchmarks" / "README.md").read_text()
    assert put_into(readme, gpu.as_markdown(json.loads(gpu.RECORD.read_text())), gpu.MARKS) == readme


def test_the_rehearsal_runs_at_a_small_size(processed, tmp_path, capfd, monkeypatch):
    (tmp_path / "data").symlink_to(processed[0])
    (tmp_path / "processed").symlink_to(processed[1] / "processed")
    monkeypatch.setattr(rehearse, "BY_OPTIONS", 2)
    for name, part in rehearse.PARTS.items():
        if name != "read":
            part("tiny", processed[0], tmp_path)
    lines = [line for line in capfd.readouterr().out.splitlines() if line.startswith('{"step"')]
    steps = [json.loads(line) for line in lines]
    assert [step["step"] for step in steps] == [
        "write checkpoint",
        "load in NF4",
        "train 2 steps of 2 rows",
        "load in NF4",
        "resume, 2 more of 2 rows",
        "load, with adapter",
        "2 answers by options",
        "2 answers freely",
    ]
    assert all(step["seconds"] > 0 < step["peak"] for step in steps)
    (state,) = tmp_path.glob("checkpoints/*/checkpoint-4/trainer_state.json")
    assert json.loads(state.read_text())["global_step"] == 4
    weights = load_file(tmp_path / "model" / "model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}
    table = rehearse.as_markdown("a CPU", steps)
    assert table.count("\n") == 1 + len(steps)
    put_into((ROOT / "benchmarks" / "README.md").read_text(), table, rehearse.MARKS)


def test_a_rehearsal_cut_off_while_it_read_its_images_reads_them_again(tmp_path, monkeypatch):
    monkeypatch.setattr(rehearse, "IMAGES", 2)
    for _ in range(2):
        rehearse.read("tiny", SAMPLE, tmp_path)
        assert len((tmp_path / "processed" / "text.jsonl").read_text().splitlines()) == 2


def test_a_rehearsal_that_was_cut_off_goes_on(tmp_path, monkeypatch):
    done = [{"step": "done", "seconds": 1.0, "peak": 1e9, "estimated": [None, 2e9]}]
    record = {part: done for part in rehearse.PARTS if part != "answer"}
    (tmp_path / "rehearsal-tiny.json").write_text(json.dumps(record))
    started = []

    def start(call, **_):
        started.append(call[call.index("--part") + 1])
        raise InterruptedError

    monkeypatch.setattr("subprocess.Popen", start)
    with pytest.raises(InterruptedError):
        rehearse.rehearse("tiny", SAMPLE, tmp_path)
    assert started == ["answer"]
    (tmp_path / "rehearsal-tiny.json").write_text(json.dumps(record | {"answer": done}))
    assert rehearse.rehearse("tiny", SAMPLE, tmp_path) == done * len(rehearse.PARTS)
