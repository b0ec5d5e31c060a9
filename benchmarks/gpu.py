"""Everything about this GPU in one command, in under ten minutes: idefics2-8b's size, with random weights.

    make bench-gpu DATA=path/to/data/folder OUT=path/to/results

Needs the pictures and texts of ``preprocess.py --ocr`` in ``OUT/processed``, and about 20 GB of disk for the
weights. Training and answering, each in bfloat16 and in float16 (as a card without bfloat16 computes), with
the batch sizes that the card gets: rows and tokens per second, peak memory beside the estimate, share of the
card's rate in matrix products. Also how many of the answers of the merged model are those of the adapter
beside the NF4 base. Writes ``benchmarks/gpu.json``, and the README's table from it.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks import models
from benchmarks.inference import some_rows
from benchmarks.results import put_into
from benchmarks.training import loop
from src.data.errors import InputError, run_main
from src.data.files import write_whole
from src.data.samples import Sample, by_picture
from src.data.text_store import TextStore
from src.model import generation, memory
from src.model.checks import gpu_fault
from src.model.letterbox import letterboxed_sizes
from src.model.modeling import (
    add_lora,
    card_memory,
    load_adapter,
    load_base,
    load_config,
    load_processor,
    lora_config,
    merge,
)
from src.model.precision import compute_dtype
from src.plan.measure import seconds_after_the_first
from src.plan.sizes import ANSWER_TOKENS, PROMPT_TOKENS, QUESTION_TOKENS, answering_flops, training_flops
from src.settings import LoraSettings, TrainSettings

ROOT = Path(__file__).resolve().parent.parent
RECORD = ROOT / "benchmarks" / "gpu.json"
MARKS = "<!-- gpu: written by make bench-gpu -->", "<!-- end of gpu -->"
DTYPES = "bfloat16", "float16"
PARTS = "training", "answering"
COMPARED = 200
"""Rows whose answers by the merged model and by the adapter beside the NF4 base are compared."""


def training(model: Path, data: Path, out: Path, rows: int) -> dict[str, float]:
    """Speed and memory of `benchmarks.training.loop` with the preset of this card."""
    config, card = load_config(str(model)), card_memory()
    preset = memory.preset(config, card or 80e9, compute_dtype())
    size = min(preset.train_batch_size, max(1, rows // 4))
    settings = TrainSettings(
        data, out, str(model), batch_size=size, accumulation=1, learning_rate=1e-4,
        gradient_checkpointing=preset.gradient_checkpointing,
    )  # fmt: skip
    found = loop("ours", str(model), settings, rows)
    estimate = memory.training(config, size, preset.gradient_checkpointing, settings.lora_r, compute_dtype())
    tokens = PROMPT_TOKENS + QUESTION_TOKENS + ANSWER_TOKENS
    used = found["rate"] * training_flops(config, checkpointing=False) / models.matmul_rate()
    return {"batch": size, "checkpointing": preset.gradient_checkpointing, "rows_per_s": found["rate"],
            "tokens_per_s": found["rate"] * tokens, "peak_gb": found["memory"] * 2**30 / 1e9,
            "estimated_gb": estimate.total / 1e9, "share_of_matrix_rate": used}  # fmt: skip


def answering(model: Path, data: Path, out: Path, rows: int) -> dict[str, float]:
    """Speed and memory of answering as `predict` does it, and beside it the adapter on the NF4 base."""
    config, processed = load_config(str(model)), out / "processed"
    samples = some_rows(data, processed, rows)
    card = card_memory() or 80e9
    preset, merged = memory.preset(config, card, compute_dtype()), memory.is_merged(config, card)
    size = min(preset.predict_batch_size, max(1, len(samples) // 3))
    texts: dict[bool, dict[Sample, str]] = {}
    measured: dict[str, float] = {"batch": size, "merged": merged}
    for is_merged in (merged, not merged):
        asked = samples if is_merged == merged else samples[:COMPARED]
        base = load_base(str(model))
        network = (merge if is_merged else load_adapter)(base, model / "adapter")
        times, texts[is_merged] = [], {}
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        results = generation.generate(
            network,
            load_processor(str(model)),
            asked,
            TextStore(processed),
            letterboxed_sizes(processed),
            size,
        )
        for result in results:
            times.append(time.monotonic())
            if isinstance(result, generation.Answered):
                texts[is_merged][result.sample] = result.weighed.answer
        if is_merged == merged:
            rate = 1 / (seconds_after_the_first(times) or float("nan"))
            pictures = len(by_picture(samples))
            flops = answering_flops(config, len(samples) / pictures)
            peak = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
            measured |= {"rows_per_s": rate, "peak_gb": peak / 1e9,
                         "estimated_gb": memory.answering(config, size, merged, compute_dtype()).total / 1e9,
                         "share_of_matrix_rate": rate * flops / models.matmul_rate()}  # fmt: skip
        del base, network
    both = texts[True].keys() & texts[False].keys()
    differ = sum(texts[True][sample] != texts[False][sample] for sample in both)
    return measured | {"compared": len(both), "differ_merged": differ}


def write_model(size: str, folder: Path) -> None:
    """A random model, and an adapter whose matrices are random, too, so that merging it changes something."""
    models.write(size, folder)
    network = add_lora(load_base(str(folder)), lora_config(LoraSettings()))
    torch.manual_seed(1)
    for name, parameter in network.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.01)
    network.save_pretrained(str(folder / "adapter"))


def part(args: argparse.Namespace) -> dict[str, float]:
    """One part in this process, with compute in ``args.dtype``."""
    if args.dtype == "float16" and torch.cuda.is_available():
        torch.cuda.is_bf16_supported = lambda *_, **__: False  # as on a T4
    measure = {"training": training, "answering": answering}[args.part]
    return measure(args.model, args.data, args.out, args.rows)


def as_markdown(record: dict[str, Any]) -> str:
    """The README's table: what is estimated, and measured in each type."""
    rows = {"training": 150_000, "answering": 131_187}
    config = models.config("8b")
    flops = {"training": training_flops(config, False), "answering": answering_flops(config, 1.45)}
    lines = [
        f"| {record.get('device', 'no GPU yet')} | estimated | {' | '.join(DTYPES)} |",
        "|---|---|---|---|",
    ]

    def row(what: str, estimated: str, name: str, text: str) -> None:
        """``text``: a format string for the measured values of a part."""
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
    """All parts, each in a process of its own. Raises `InputError` without a GPU."""
    samples = some_rows(args.data, args.out / "processed", args.rows)
    config = models.config("8b")
    estimate = memory.training(config, 8, True, 16, torch.bfloat16)
    print(
        f"{len(samples)} rows of {len(by_picture(samples))} pictures; estimated to train 8 rows at once: {estimate}"
    )
    if not torch.cuda.is_available():
        raise InputError(f"benchmarks.gpu measures a CUDA GPU: {gpu_fault()}")
    record: dict[str, Any] = {"device": torch.cuda.get_device_name(), "torch": torch.__version__, "rows": len(samples),
                              "matrix_tflops": models.matmul_rate() / 1e12}  # fmt: skip
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        write_model("8b", Path(folder))
        torch.cuda.empty_cache()
        for dtype in DTYPES if torch.cuda.is_bf16_supported(including_emulation=False) else DTYPES[1:]:
            for name in PARTS:
                call = [sys.executable, "-m", "benchmarks.gpu", *sys.argv[1:], "--part", name, "--dtype", dtype,
                        "--model", folder]  # fmt: skip
                done = subprocess.run(call, cwd=ROOT, text=True, stdout=subprocess.PIPE, check=True)
                record.setdefault(dtype, {})[name] = json.loads(done.stdout.splitlines()[-1])
                print(dtype, name, record[dtype][name], flush=True)
    record["minutes"] = round((time.monotonic() - start) / 60, 1)
    return record


def main() -> int:
    """Command line."""
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
    readme = ROOT / "README.md"
    write_whole(readme, put_into(readme.read_text(), as_markdown(record), MARKS))
    return 0


if __name__ == "__main__":
    run_main(main)
