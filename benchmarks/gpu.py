"""Everything about this GPU in one command, in under ten minutes: idefics2-8b's size, with random weights.

    make bench-gpu DATA=path/to/data/folder OUT=path/to/results

Needs the images and texts of ``preprocess.py --ocr`` in ``OUT/processed``, and about 20 GB of disk for the
weights. Training and answering, each in bfloat16 and in float16 (as a card without bfloat16 computes), with
the batch sizes that the card gets: rows and tokens per second, peak memory beside the estimate, share of the
card's rate in matrix products. Also how many of the answers of the merged model are those of the adapter
beside the NF4 base. Writes ``benchmarks/gpu.json``, and the table in ``benchmarks/README.md`` from it.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import Idefics2Config

from benchmarks import models
from benchmarks.inference import some_rows
from benchmarks.results import put_into
from src.data.errors import InputError, run_main
from src.data.files import write_whole
from src.data.folders import RunFolder
from src.data.questions import Question, by_image
from src.model import memory
from src.model.checks import gpu_fault
from src.model.generation import AnswererSettings
from src.model.modeling import add_lora, card_memory, load_base, load_config, lora_config
from src.model.precision import compute_dtype
from src.plan.catalogue import TRAIN_TOKENS, answering_flops, training_flops
from src.plan.measure import seconds_per_training_row, timed_answers
from src.settings import PROMPT, LoraSettings, TrainSettings

ROOT = Path(__file__).resolve().parent.parent
RECORD = ROOT / "benchmarks" / "gpu.json"
MARKS = "<!-- gpu: written by make bench-gpu -->", "<!-- end of gpu -->"
DTYPES = "bfloat16", "float16"
PARTS = "training", "answering"
COMPARED = 200
"""Rows whose answers by the merged model and by the adapter beside the NF4 base are compared."""


def training(model: Path, data: Path, out: Path, rows: int) -> dict[str, float]:
    """Measure speed and memory of the trainer's steps with the preset of this card."""
    config, preset = _shape(model)
    size, checkpointing = min(preset.train_batch_size, max(1, rows // 4)), preset.gradient_checkpointing
    settings = TrainSettings(
        data,
        out,
        str(model),
        batch_size=size,
        accumulation=max(1, min(preset.accumulation, rows // (4 * size))),
        learning_rate=preset.learning_rate,
        gradient_checkpointing=checkpointing,
    )
    rate = 1 / seconds_per_training_row(settings, rows)
    peak, rank = _peak_gb(), settings.lora_r
    return {
        "batch": size,
        "checkpointing": checkpointing,
        "rows_per_s": rate,
        "tokens_per_s": rate * TRAIN_TOKENS,
        "peak_gb": peak,
        "estimated_gb": memory.training(config, size, checkpointing, rank, compute_dtype()).total / 1e9,
        "share_of_matrix_rate": rate * training_flops(config, checkpointing=False) / models.matmul_rate(),
    }


def answering(model: Path, data: Path, out: Path, rows: int) -> dict[str, float]:
    """Measure speed and memory of answering as `predict` does it, and how many answers merging changes."""
    config, preset = _shape(model)
    questions, merged = some_rows(data, out / "processed", rows), memory.is_merged(config, _card())
    size = min(preset.predict_batch_size, max(1, len(questions) // 3))
    settings = AnswererSettings(
        str(model), model / "adapter", merged, False, PROMPT, out / "processed", size, None
    )
    results, _, seconds = timed_answers(settings, questions, RunFolder(out))
    peak, answers = _peak_gb(), _texts(results)
    flops = answering_flops(config, len(questions) / len(by_image(questions)))
    results, *_ = timed_answers(replace(settings, merged=not merged), questions[:COMPARED], RunFolder(out))
    others = _texts(results)
    compared = answers.keys() & others.keys()
    return {
        "batch": size,
        "merged": merged,
        "rows_per_s": 1 / seconds,
        "peak_gb": peak,
        "estimated_gb": memory.answering(config, size, merged, compute_dtype()).total / 1e9,
        "share_of_matrix_rate": flops / seconds / models.matmul_rate(),
        "compared": len(compared),
        "differ_merged": sum(answers[row] != others[row] for row in compared),
    }


def _texts(results: list[Question]) -> dict[int, str]:
    return {question.row: question.model_answer for question in results if not question.reason}


def _card() -> float:
    """Return bytes of this machine's card; without one, of a card of 80 GB."""
    return card_memory() or 80e9


def _shape(model: Path) -> tuple[Idefics2Config, memory.Preset]:
    config = load_config(str(model))
    return config, memory.preset(config, _card())


def _peak_gb() -> float:
    return torch.cuda.max_memory_allocated() / 1e9 if torch.cuda.is_available() else 0.0


def write_model(size: str, folder: Path) -> None:
    """Write a random model, and an adapter with random matrices, so that merging it changes something."""
    models.write(size, folder)
    network = add_lora(load_base(str(folder)), lora_config(LoraSettings()))
    torch.manual_seed(1)
    for name, parameter in network.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.01)
    network.save_pretrained(str(folder / "adapter"))


def part(args: argparse.Namespace) -> dict[str, float]:
    """Measure one part in this process, computing in ``args.dtype``."""
    if args.dtype == "float16" and torch.cuda.is_available():
        torch.cuda.is_bf16_supported = lambda *_, **__: False  # as on a T4
    measure = {"training": training, "answering": answering}[args.part]
    return measure(args.model, args.data, args.out, args.rows)


def as_markdown(record: dict[str, Any]) -> str:
    """Return the table: what is estimated, and measured in each type."""
    rows = {"training": 150_000, "answering": 131_187}
    config = models.config("8b")
    flops = {"training": training_flops(config, False), "answering": answering_flops(config, 1.45)}
    lines = [
        f"| {record.get('device', 'no GPU yet')} | estimated | {' | '.join(DTYPES)} |",
        "|---|---|---|---|",
    ]

    def row(what: str, estimated: str, name: str, text: str) -> None:
        """Add a line; ``text``: a format string for the measured values of a part."""
        runs = [record.get(dtype, {}).get(name) for dtype in DTYPES]
        cells = [
            text.format(**run, hours=rows[name] / run["rows_per_s"] / 3600) if run else "not measured"
            for run in runs
        ]
        lines.append(f"| {what} | {estimated} | {' | '.join(cells)} |")

    for name in PARTS:
        memory_text = "{peak_gb:.1f} GB ({estimated_gb:.1f} estimated), batch {batch}"
        row(f"{name}: memory", "by `src.plan`", name, memory_text)
        rate_text = "{hours:.1f} h: {rows_per_s:.1f} rows/s, {share_of_matrix_rate:.0%} of the matrix rate"
        row(f"{rows[name]:,} rows", f"{flops[name] / 1e12:.1f} TFLOP each", name, rate_text)
    row("answers changed by merging", "", "answering", "{differ_merged} of {compared}")
    return "\n".join(lines)


def measure_all(args: argparse.Namespace) -> dict[str, Any]:
    """Measure all parts, each in a process of its own. Raises `InputError` without a GPU."""
    questions = some_rows(args.data, args.out / "processed", args.rows)
    config = models.config("8b")
    estimate = memory.training(config, 8, True, 16, torch.bfloat16)
    print(f"{len(questions)} rows of {len(by_image(questions))} images; ", end="")
    print(f"estimated to train 8 rows at once: {estimate}")
    if not torch.cuda.is_available():
        raise InputError(f"benchmarks.gpu measures a CUDA GPU: {gpu_fault()}")
    record: dict[str, Any] = {"device": torch.cuda.get_device_name(), "torch": torch.__version__}
    record |= {"rows": len(questions), "matrix_tflops": models.matmul_rate() / 1e12}
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        write_model("8b", Path(folder))
        torch.cuda.empty_cache()
        for dtype in DTYPES if torch.cuda.is_bf16_supported(including_emulation=False) else DTYPES[1:]:
            for name in PARTS:
                call = [sys.executable, "-m", "benchmarks.gpu", *sys.argv[1:]]
                call += ["--part", name, "--dtype", dtype, "--model", folder]
                done = subprocess.run(call, cwd=ROOT, text=True, stdout=subprocess.PIPE, check=True)
                record.setdefault(dtype, {})[name] = json.loads(done.stdout.splitlines()[-1])
                print(dtype, name, record[dtype][name], flush=True)
    record["minutes"] = round((time.monotonic() - start) / 60, 1)
    return record


def main() -> int:
    """Measure a part, or all of them and write record and README."""
    parser = argparse.ArgumentParser(description="Speed and memory of this GPU at idefics2-8b's size.")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder with processed/")
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--dtype", choices=DTYPES, help=argparse.SUPPRESS)
    parser.add_argument("--model", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.part:
        print(json.dumps(part(args)))
        return 0
    record = measure_all(args)
    write_whole(RECORD, json.dumps(record, indent=1) + "\n")
    readme = ROOT / "benchmarks" / "README.md"
    write_whole(readme, put_into(readme.read_text(), as_markdown(record), MARKS))
    return 0


if __name__ == "__main__":
    run_main(main)
