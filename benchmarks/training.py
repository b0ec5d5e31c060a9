"""Speed and memory of training beside the way of the official IDEFICS2 fine-tuning notebook.

    make bench-train DATA=path/to/data/folder OUT=path/to/results

Needs the model images and text lines of ``preprocess.py --ocr`` in ``OUT/processed``. On a CPU the model has
100 M parameters, on a GPU it is idefics2-8b's size; the weights are random. Batches have the same size.

- ours: `src.train`'s own loop: bucketed batches, images decoded in workers, logits only at the answer, vision
  tower without gradients, checkpointing of text model and connector.
- official: ``prepare_model_for_kbit_training`` with checkpointing, logits and loss over the full sequence,
  batches in random order, the processor in the main process. Same rows, prompts, LoRA and optimizer.

Each loop runs in a process of its own, the rounds alternate; the first two steps are not counted.
"""

import argparse
import dataclasses
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
from transformers import Trainer, TrainerCallback

from benchmarks import models
from src.data.errors import InputError, run_main
from src.data.questions import Question
from src.model.collator import training_collator
from src.model.family import LORA_TARGETS, family_of
from src.model.modeling import add_lora, load_base, load_processor, lora_config
from src.model.prompts import prompt_for
from src.plan.catalogue import forward_flops
from src.settings import TrainSettings
from src.training.configuration import training_arguments
from src.training.progress import Progress
from src.training.rows import load_data
from src.training.trainer import F1Trainer

ROOT = Path(__file__).resolve().parent.parent
WARM_UP = 2


class Stopwatch(TrainerCallback):
    """Counts steps and seconds from the end of the warm-up on."""

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Note the time."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        if state.global_step == WARM_UP:
            self.start = time.monotonic()
        self.seconds = time.monotonic() - getattr(self, "start", time.monotonic())
        self.counted = state.global_step - WARM_UP


class OfficialCollator:
    """Passes images to the processor as they are; all tokens but padding and image tokens are labels."""

    def __init__(self, processor: Any) -> None:
        self.processor = processor
        self.prompt, self.end = prompt_for(processor), family_of(processor).end

    def __call__(self, questions: Sequence[Question]) -> dict[str, torch.Tensor]:
        """Return the processor's tensors and ``labels`` (batch, tokens)."""
        images = [[Image.open(question.model_image)] for question in questions]
        texts = [self.prompt(q.entity, q.context) + q.label + self.end for q in questions]
        batch = self.processor(text=texts, images=images, return_tensors="pt", padding=True)
        ids = batch["input_ids"]
        # The notebook's own label for image tokens, 32001, is no longer ignored by the loss.
        batch["labels"] = ids.masked_fill(ids.eq(0) | ids.eq(32001), -100)
        return dict(batch)


def loop(name: str, model: str, settings: TrainSettings, rows: int) -> dict[str, float]:
    """Train one loop over ``rows`` rows; return rows per second and peak memory in GiB."""
    data = load_data(settings)
    data = dataclasses.replace(data, questions=data.questions[:rows])
    processor = load_processor(model)
    with tempfile.TemporaryDirectory() as folder:
        arguments = training_arguments(settings, Path(folder))
        arguments.set_evaluate("no").set_save("no").set_logging("no")
        if name == "ours":
            network = add_lora(load_base(model), lora_config(settings), bool(settings.gradient_checkpointing))
            trainer = F1Trainer(network, training_collator(processor, settings), data, settings, arguments)
            trainer.remove_callback(Progress)  # it would write into the run's folder
        else:
            arguments.train_sampling_strategy, arguments.dataloader_num_workers = "random", 0
            lora = LoraConfig(r=16, lora_alpha=32, lora_dropout=0.05, target_modules=LORA_TARGETS)
            network = get_peft_model(prepare_model_for_kbit_training(load_base(model)), lora)
            collator = OfficialCollator(processor)
            trainer = Trainer(network, arguments, collator, train_dataset=data.questions)
        stopwatch = Stopwatch()
        trainer.add_callback(stopwatch)
        trainer.train()
    cuda = torch.cuda.is_available()
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    memory = torch.cuda.max_memory_allocated() if cuda else resident
    return {
        "rate": stopwatch.counted * arguments.train_batch_size / stopwatch.seconds,
        "memory": memory / 2**30,
    }


def main() -> int:
    """Run both loops some rounds and print the table."""
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
        sizes = {"batch_size": args.batch_size, "accumulation": 1, "learning_rate": 1e-4}
        sizes["gradient_checkpointing"] = not args.no_checkpointing
        settings = TrainSettings(args.data, args.out, args.model, **sizes)
        print(json.dumps(loop(args.loop, args.model, settings, args.rows)))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        model = models.write(args.size, Path(folder))
        results: dict[str, list[dict[str, float]]] = {"ours": [], "official": []}
        for round_ in range(args.rounds):
            for name in ("ours", "official") if round_ % 2 == 0 else ("official", "ours"):
                call = [*sys.argv[1:], "--loop", name, "--model", str(model)]
                command = [sys.executable, "-m", "benchmarks.training", *call]
                done = subprocess.run(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, check=True)
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
    config = models.config(args.size)
    parts = forward_flops(config, family_of(config).patches, tokens=160)
    # Forward through all, backward through text and connector; not the second forward of checkpointing.
    row = parts["vision"] + 2 * (parts["connector"] + parts["text"])
    best = models.matmul_rate()
    print(
        "forward TFLOP per row: " + ", ".join(f"{name} {flops / 1e12:.3f}" for name, flops in parts.items())
    )
    share, minutes = ours["rate"] * row / best, 150_000 / ours["rate"] / 60
    print(
        f"{row / 1e12:.2f} TFLOP per row, {best / 1e12:.1f} TFLOP/s in matrix products: "
        f"ours {share:.0%}; 150,000 rows in {minutes:.0f} min"
    )


if __name__ == "__main__":
    run_main(main)
