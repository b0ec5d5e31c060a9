"""The benchmarks run; what they measure is in benchmarks/README.md, never in a test."""

import re

from tests.conftest import run_python


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
