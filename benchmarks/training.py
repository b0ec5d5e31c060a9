"""Speed and memory of training beside the way of the official IDEFICS2 fine-tuning notebook, at equal
batches.

    make bench-train DATA=path/to/data/folder OUT=path/to/results

Needs the pictures and texts of ``preprocess.py --ocr`` in ``OUT/processed``. On a CPU the model has 100 M
parameters, on a GPU it is idefics2-8b's size; the weights are random.

- ours: `src.train`'s own loop: bucketed batches, pictures decoded in workers, logits only at the answer, vision tower
  without gradients, checkpointing of text model and connector.
- official: ``prepare_model_for_kbit_training`` with checkpointing, logits and loss over the full sequence, batches in
  random order, the processor in the main process. Same rows, prompts, LoRA and optimizer.

Each loop runs in a process of its own, the rounds alternate; the first two steps are not counted.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training
from PIL import Image
from transformers import Idefics2Processor, Trainer, TrainerCallback

from benchmarks import models
from src.data.errors import InputError, run_main
from src.data.samples import Sample
from src.data.text_store import TextStore
from src.model.collator import TrainingCollator, prompt_of
from src.model.decoding import AnswerGrammar
from src.model.memory import PATCHES
from src.model.modeling import LORA_TARGETS, add_lora, load_base, load_processor
from src.model.prompts import completion
from src.plan.catalogue import forward_flops
from src.settings import TrainSettings
from src.training.rows import load_data
from src.training.trainer import F1Trainer, OneGpuArguments, training_arguments

ROOT = Path(__file__).resolve().parent.parent
WARM_UP = 2


class Stopwatch(TrainerCallback):
    """Seconds from the end of the warm-up to the end."""

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Note the time."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        if state.global_step == WARM_UP:
            self.start = time.monotonic()
        self.seconds = time.monotonic() - getattr(self, "start", time.monotonic())
        self.counted = state.global_step - WARM_UP


class OfficialCollator:
    """Pictures as they are through the processor; everything but padding and image tokens is a label."""

    def __init__(self, processor: Idefics2Processor, readings: TextStore | None) -> None:
        self.processor, self.readings = processor, readings

    def __call__(self, samples: Sequence[Sample]) -> dict[str, torch.Tensor]:
        """Tensors and ``labels`` (batch, tokens)."""
        pictures = [[Image.open(sample.picture)] for sample in samples]
        texts = [prompt_of(sample, self.readings) + completion(sample.answer) for sample in samples]
        batch = self.processor(text=texts, images=pictures, return_tensors="pt", padding=True)
        ids = batch["input_ids"]
        batch["labels"] = ids.masked_fill(
            ids.eq(0) | ids.eq(32001), -100
        )  # its own 32001 is no longer ignored
        return dict(batch)


def loop(name: str, model: str, settings: TrainSettings, rows: int) -> dict[str, float]:
    """Train one loop over ``rows`` rows; return rows per second and peak memory in GiB."""
    data = load_data(settings)
    samples = data.samples[:rows]
    with tempfile.TemporaryDirectory() as folder:
        arguments = training_arguments(settings, Path(folder))
        changes: dict[str, Any] = {"eval_strategy": "no", "save_strategy": "no", "logging_strategy": "no"}
        if name == "official":
            changes |= {"train_sampling_strategy": "random", "dataloader_num_workers": 0}
        changed = {**arguments.to_dict(), **changes}
        arguments = OneGpuArguments(**{key: value for key, value in changed.items() if value is not None})
        processor = load_processor(model)
        grammars = [AnswerGrammar(processor.tokenizer) for _ in range(2)]  # as in trainer.py
        if name == "ours":
            network: torch.nn.Module = add_lora(
                load_base(model), settings, bool(settings.gradient_checkpointing)
            )
            collator: TrainingCollator | OfficialCollator = TrainingCollator(
                processor, data.readings, grammars[0]
            )
        else:
            lora = LoraConfig(r=16, lora_alpha=32, lora_dropout=0.05, target_modules=LORA_TARGETS)
            network = get_peft_model(prepare_model_for_kbit_training(load_base(model)), lora)
            collator = OfficialCollator(processor, data.readings)
        stopwatch = Stopwatch()
        parts: dict[str, Any] = {"model": network, "args": arguments, "train_dataset": samples,
                                 "data_collator": collator, "callbacks": [stopwatch]}  # fmt: skip
        ours = name == "ours"
        trainer = (
            F1Trainer(answer=lambda _: [], eval_dataset=[], grammar=grammars[1], **parts)
            if ours
            else Trainer(**parts)
        )
        trainer.train()
    cuda = torch.cuda.is_available()
    memory = (
        torch.cuda.max_memory_allocated()
        if cuda
        else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    )
    return {
        "rate": stopwatch.counted * arguments.train_batch_size / stopwatch.seconds,
        "memory": memory / 2**30,
    }


def main() -> int:
    """Command line: both loops, some rounds; prints the table."""
    parser = argparse.ArgumentParser(description="Speed and memory of training.")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder with processed/")
    parser.add_argument(
        "--size", choices=["8b", "100m", "tiny"], default="8b" if torch.cuda.is_available() else "100m"
    )
    parser.add_argument("--rows", type=int, default=256 if torch.cuda.is_available() else 48)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--no-checkpointing", action="store_true", help="ours without gradient checkpointing")
    parser.add_argument("--loop", choices=["ours", "official"], help=argparse.SUPPRESS)
    parser.add_argument("--model", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.rows < (WARM_UP + 1) * args.batch_size:
        raise InputError(
            f"--rows {args.rows}: at least {(WARM_UP + 1) * args.batch_size} are needed for this batch"
        )
    if args.loop:
        settings = TrainSettings(
            args.data, args.out, args.model, batch_size=args.batch_size, accumulation=1, learning_rate=1e-4,
            gradient_checkpointing=not args.no_checkpointing,
        )  # fmt: skip
        print(json.dumps(loop(args.loop, args.model, settings, args.rows)))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        model = models.write(args.size, Path(folder))
        results: dict[str, list[dict[str, float]]] = {"ours": [], "official": []}
        for round_ in range(args.rounds):
            for name in ("ours", "official") if round_ % 2 == 0 else ("official", "ours"):
                call = [*sys.argv[1:], "--loop", name, "--model", str(model)]
                done = subprocess.run([sys.executable, "-m", "benchmarks.training", *call], cwd=ROOT, text=True,
                                      stdout=subprocess.PIPE, check=True)  # fmt: skip
                results[name].append(json.loads(done.stdout.splitlines()[-1]))
    _report(results, args)
    return 0


def _report(results: dict[str, list[dict[str, float]]], args: argparse.Namespace) -> None:
    print(f"{models.machine()}, {args.size}, batch {args.batch_size}, {args.rows} rows, {args.rounds} rounds")
    middle = {}
    for name, rounds in results.items():
        middle[name] = {key: statistics.median(r[key] for r in rounds) for key in ("rate", "memory")}
        every = ", ".join(f"{r['rate']:.2f}" for r in rounds)
        print(f"{name}: {middle[name]['rate']:.2f} rows/s ({every}), peak {middle[name]['memory']:.2f} GiB")
    ours, official = middle["ours"], middle["official"]
    print(f"rate x {ours['rate'] / official['rate']:.2f}, memory {ours['memory'] / official['memory']:.0%}")
    parts = forward_flops(models.config(args.size), PATCHES, tokens=160)
    # Forward of all, backward to the inputs through text and connector; checkpointing's second forward is no
    # use.
    row = parts["vision"] + 2 * (parts["connector"] + parts["text"])
    best = models.matmul_rate()
    print(
        "forward TFLOP per row: " + ", ".join(f"{name} {flops / 1e12:.3f}" for name, flops in parts.items())
    )
    print(f"{row / 1e12:.2f} TFLOP per row, {best / 1e12:.1f} TFLOP/s in matrix products: "
          f"ours {ours['rate'] * row / best:.0%}; 150,000 rows in {150_000 / ours['rate'] / 60:.0f} min")  # fmt: skip


if __name__ == "__main__":
    run_main(main)
