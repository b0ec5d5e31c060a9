"""Speed of answering beside a plain loop over the test rows.

    make bench-infer DATA=path/to/data/folder OUT=path/to/results

Needs the pictures and texts of ``preprocess.py --ocr`` in ``OUT/processed``. On a CPU the model has 100 M
parameters, on a GPU it is idefics2-8b's size; the weights are random, with an adapter that does nothing.

- ours: `src.model.generation.generate`: a picture encoded once for its questions, batches of one picture size, what was
  read weighed in one pass, the grammar, pictures prepared in other processes, the adapter merged, on a CPU with AMX the
  vision tower in bfloat16.
- reference: rows in the order of the file, a picture encoded for each, prepared in the main process, no grammar, the
  adapter beside the NF4 base, up to 30 tokens: the reference solution's way.

First with the same number of answer tokens for both, because random weights do not stop by themselves; then
each by its own rule. Each loop runs in a process of its own, the rounds alternate; the first batch is not
counted.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from transformers import Idefics2Processor

from benchmarks import models
from src.data.errors import run_main
from src.data.names import read_files
from src.data.samples import Sample, by_picture, test_samples
from src.data.tables import read_test
from src.data.text_store import TextStore
from src.model import generation
from src.model.collator import encode, open_picture, prompt_of
from src.model.decoding import MAX_NEW_TOKENS
from src.model.letterbox import letterboxed_sizes
from src.model.memory import PATCHES
from src.model.modeling import add_lora, load_adapter, load_base, load_processor, merge
from src.model.precision import compute_dtype, vision_in_bfloat16
from src.plan.catalogue import PROMPT_TOKENS, QUESTION_TOKENS, forward_flops
from src.plan.measure import seconds_after_the_first
from src.rules import answer_samples
from src.settings import LoraSettings

ROOT = Path(__file__).resolve().parent.parent
TOKENS = MAX_NEW_TOKENS
"""Of an answer where both write the same number."""
SAME, OWN = f"{TOKENS} tokens each", "each by its own rule"


class Clock:
    """Seconds in the parts of a model, by hooks; each is waited for, so that only its own pass is timed."""

    def __init__(self, base: Any) -> None:
        self.seconds = {"vision": 0.0, "prefill": 0.0, "decode": 0.0}
        for part in (base.model.vision_model, base.model.connector, base.model.text_model):
            part.register_forward_pre_hook(self._begin)
        base.model.vision_model.register_forward_hook(lambda *_: self._end("vision"))
        base.model.connector.register_forward_hook(lambda *_: self._end("vision"))
        base.model.text_model.register_forward_hook(
            lambda _, __, out: self._end("decode" if out.last_hidden_state.shape[1] == 1 else "prefill")
        )

    def _begin(self, *_: Any) -> None:
        _wait()
        self.start = time.monotonic()

    def _end(self, part: str) -> None:
        _wait()
        self.seconds[part] += time.monotonic() - self.start


def loop(name: str, model: Path, samples: list[Sample], processed: Path, batch_size: int) -> dict[str, Any]:
    """Answer the samples with the same number of tokens, then by the loop's own rule; ours once more part by
    part.

    Rows per second each, peak memory in GiB, seconds per part.
    """
    readings, processor = TextStore(processed), load_processor(str(model))
    base, adapter = load_base(str(model)), model / "adapter"
    run = ours if name == "ours" else reference
    if name == "ours":
        vision_in_bfloat16(base)
    network = merge(base, adapter) if name == "ours" else load_adapter(base, adapter)
    measured: dict[str, Any] = {
        mode: run(network, processor, samples, readings, processed, batch_size, mode == SAME)
        for mode in (SAME, OWN)
    }
    cuda = torch.cuda.is_available()
    memory = (
        torch.cuda.max_memory_allocated()
        if cuda
        else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    )
    measured["memory"] = memory / 2**30
    if name == "ours":
        clock, start = Clock(network), time.monotonic()
        run(network, processor, samples, readings, processed, batch_size, False)
        rest = time.monotonic() - start - sum(clock.seconds.values())
        measured["parts"] = clock.seconds | {"input and the rest": max(0.0, rest)}
    return measured


def ours(
    network: generation.Model, processor: Idefics2Processor, samples: list[Sample], readings: TextStore,
    processed: Path, batch_size: int, same_tokens: bool,
) -> float:  # fmt: skip
    """Rows per second of `generation.generate`: options weighed, or as many tokens written as the other
    does."""
    sizes, by_rules = letterboxed_sizes(processed), [] if same_tokens else answer_samples(samples, readings)
    options = {sample: found.texts for sample, found in zip(samples, by_rules, strict=False)}
    answers = generation.generate(
        network,
        processor,
        samples,
        readings,
        sizes,
        batch_size,
        bar_name="",
        to_the_limit=same_tokens,
        options=options,
    )
    times = [time.monotonic() for _ in answers]
    return 1 / (seconds_after_the_first(times) or float("nan"))


def reference(
    network: generation.Model, processor: Idefics2Processor, samples: list[Sample], readings: TextStore, _: Path,
    batch_size: int, same_tokens: bool,
) -> float:  # fmt: skip
    """Rows per second of the plain loop."""
    new = {"min_new_tokens": TOKENS, "max_new_tokens": TOKENS} if same_tokens else {"max_new_tokens": 30}
    marks = []
    for start in range(0, len(samples), batch_size):
        batch = samples[start : start + batch_size]
        pictures, prompts = [open_picture(s) for s in batch], [prompt_of(s, readings) for s in batch]
        inputs = encode(processor, pictures, prompts, "left").to(network.device, network.dtype)
        with torch.inference_mode():
            network.generate(**inputs, **new, do_sample=False, eos_token_id=[2, 32002], pad_token_id=0)
        marks.append(time.monotonic())
    return (len(samples) - batch_size) / (marks[-1] - marks[0])


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def some_rows(data: Path, processed: Path, count: int) -> list[Sample]:
    """All questions of the first pictures of ``test.csv``, at least ``count``, in the order of the file."""
    samples, _ = test_samples(read_test(data), processed, read_files(data))
    chosen: set[int] = set()
    for group in by_picture(samples):
        if len(chosen) >= count:
            break
        chosen.update(group)
    return [samples[position] for position in sorted(chosen)]


def agreement(samples: list[Sample], processed: Path) -> str:
    """How many answers of the bundled, trained model are the same in bfloat16 as in `compute_dtype`."""
    processor, sizes = load_processor(str(models.TINY)), letterboxed_sizes(processed)
    answers = []
    for dtype in (compute_dtype(), torch.bfloat16):
        network = load_base(str(models.TINY)).dequantize(dtype=dtype).to(dtype)
        found = generation.generate(network, processor, samples, TextStore(processed), sizes, 16, bar_name="")
        answers.append(
            {
                result.sample: result.weighed.answer
                for result in found
                if isinstance(result, generation.Answered)
            }
        )
    same = sum(answers[1][sample] == text for sample, text in answers[0].items())
    return f"bundled model, {compute_dtype()} and bfloat16: {same} of {len(samples)} answers are the same"


def write_model(size: str, folder: Path) -> Path:
    """A random model and an adapter that has not learnt anything."""
    models.write(size, folder)
    add_lora(load_base(str(folder)), LoraSettings()).save_pretrained(str(folder / "adapter"))
    return folder


def main() -> int:
    """Command line: both loops, some rounds; prints the table."""
    parser = argparse.ArgumentParser(description="Speed of answering.")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder with processed/")
    parser.add_argument(
        "--size", choices=["8b", "100m", "tiny"], default="8b" if torch.cuda.is_available() else "100m"
    )
    parser.add_argument("--rows", type=int, default=512 if torch.cuda.is_available() else 48)
    parser.add_argument("--batch-size", type=int, default=64 if torch.cuda.is_available() else 16)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--loop", choices=["ours", "reference"], help=argparse.SUPPRESS)
    parser.add_argument("--model", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    processed = args.out / "processed"
    samples = some_rows(args.data, processed, args.rows)
    if args.loop:
        print(json.dumps(loop(args.loop, args.model, samples, processed, args.batch_size)))
        return 0
    pictures = len(by_picture(samples))
    print(f"{models.machine()}, {args.size}, batch {args.batch_size}, {len(samples)} rows of {pictures} pictures, "
          f"{args.rounds} rounds")  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        model = write_model(args.size, Path(folder))
        found: dict[str, list[dict[str, Any]]] = {"ours": [], "reference": []}
        for round_ in range(args.rounds):
            for name in ("ours", "reference") if round_ % 2 == 0 else ("reference", "ours"):
                found[name].append(_apart(["--loop", name, "--model", str(model)]))
    for mode in (SAME, OWN):
        middle = {n: statistics.median(r[mode] for r in rounds) for n, rounds in found.items()}
        for name, rounds in found.items():
            every = ", ".join(f"{r[mode]:.2f}" for r in rounds)
            print(f"{mode}: {name} {middle[name]:.2f} rows/s ({every}), peak {rounds[0]['memory']:.2f} GiB")
        print(f"{mode}: x {middle['ours'] / middle['reference']:.2f}")
    print(agreement(samples, processed))
    parts = found["ours"][0]["parts"].items()
    print("ours, seconds by part: " + ", ".join(f"{part} {seconds:.1f}" for part, seconds in parts))
    config = models.config(args.size)
    picture = forward_flops(config, PATCHES, PROMPT_TOKENS)
    row = (
        sum(picture.values()) * pictures / len(samples)
        + forward_flops(config, 0, QUESTION_TOKENS + TOKENS)["text"]
    )
    best = models.matmul_rate()
    rate = middle["ours"]
    print(f"{row / 1e12:.2f} TFLOP per row, {best / 1e12:.1f} TFLOP/s in matrix products: {rate * row / best:.0%}; "
          f"131,187 rows in {131_187 / rate / 60:.0f} min")  # fmt: skip
    return 0


def _apart(flags: list[str]) -> dict[str, Any]:
    """One loop in a process of its own."""
    call = [sys.executable, "-m", "benchmarks.inference", *sys.argv[1:], *flags]
    done = subprocess.run(call, cwd=ROOT, text=True, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    run_main(main)
