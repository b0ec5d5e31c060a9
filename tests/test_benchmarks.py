"""The benchmarks run; what they measure is in benchmarks/README.md, never in a test."""

import re
from pathlib import Path

import pandas as pd
import pytest

from benchmarks import reading
from src.data.errors import InputError
from src.data.samples import Sample
from src.reading.choose import Answer
from tests.conftest import run_python


def test_recall_and_agreement_by_hand():
    def row(truth, given, *shown):
        return reading.Row(Sample(0, "a", Path("a"), "item_weight", truth), (), [list(shown)], Answer(given, 0.9))

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
    assert shown.index("hard rows") < shown.index("random rows") < shown.index("silver.csv: recall in any unit")
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
