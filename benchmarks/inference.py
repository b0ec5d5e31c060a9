"""Speed of answering beside a plain loop over the test rows.

    make bench-infer DATA=path/to/data/folder OUT=path/to/results

Needs the images and texts of ``preprocess.py --ocr`` in ``OUT/processed``. On a CPU the model has 100 M
parameters, on a GPU it is idefics2-8b's size. The weights are random, and the adapter has learnt nothing.

- ours: `src.model.generation.generate`. An image is encoded once for its questions, batches have one image
  size, options are scored in one pass, the grammar constrains free-form answers, images are prepared in other
  processes, the adapter is merged, and on a CPU with AMX the vision tower computes in bfloat16.
- reference: the reference solution's way. Rows in the order of the file, an image encoded for each and
  prepared in the main process, no grammar, the adapter beside the NF4 base, up to 30 tokens.

First both write the same number of answer tokens, because random weights do not stop by themselves. Then each
follows its own rule. Each loop runs in a process of its own, and the rounds alternate. The first batch is not
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
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers import ProcessorMixin

from benchmarks import models
from src.data.errors import run_main
from src.data.folders import RunFolder
from src.data.names import read_files
from src.data.questions import Question, by_image, test_questions
from src.data.tables import read_test
from src.data.text_store import TextStore
from src.model import generation
from src.model.collator import encode, open_image
from src.model.decoding import MAX_NEW_TOKENS
from src.model.family import family_of
from src.model.modeling import add_lora, load_adapter, load_base, load_processor, lora_config, merge
from src.model.precision import compute_dtype, vision_in_bfloat16
from src.model.prompts import prompt_for
from src.plan.catalogue import PROMPT_TOKENS, QUESTION_TOKENS, forward_flops
from src.plan.measure import seconds_after_the_first
from src.reading.options import ABSTAIN
from src.rules import with_parsed_text
from src.settings import LoraSettings

ROOT = Path(__file__).resolve().parent.parent
TOKENS = MAX_NEW_TOKENS
"""Tokens of an answer where both loops write the same number."""
SAME, OWN = f"{TOKENS} tokens each", "each by its own rule"
"""The two ways in which each loop is measured."""


@dataclass(frozen=True, slots=True)
class Questions:
    """The questions that both loops answer."""

    rows: list[Question]  # with prompt context and options
    processed: Path
    processor: ProcessorMixin
    batch_size: int


class Clock:
    """Seconds in the parts of a model, by hooks that wait for the device, so that only the part is timed."""

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


def loop(name: str, model: Path, questions: Questions) -> dict[str, Any]:
    """Answer in both ways; return rows per second of each, peak memory in GiB and, for ours, the parts."""
    base, adapter = load_base(str(model)), model / "adapter"
    if name == "ours":
        vision_in_bfloat16(base)
        run, network = ours, merge(base, adapter)
    else:
        run, network = reference, load_adapter(base, adapter)
    measured: dict[str, Any] = {way: run(network, questions, way) for way in (SAME, OWN)}
    if torch.cuda.is_available():
        peak = torch.cuda.max_memory_allocated()
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    measured["memory"] = peak / 2**30
    if name == "ours":
        clock, start = Clock(network), time.monotonic()
        run(network, questions, OWN)
        others = time.monotonic() - start - sum(clock.seconds.values())
        measured["parts"] = clock.seconds | {"input and the rest": max(0.0, others)}
    return measured


def ours(network: generation.Model, questions: Questions, way: str) -> float:
    """Return rows per second of `generation.generate`."""
    rows = questions.rows
    if way == SAME:  # all are answered freely
        rows = [replace(question, options=(ABSTAIN,)) for question in rows]
    answers = generation.generate(
        network,
        questions.processor,
        rows,
        family_of(questions.processor).padded_sizes(questions.processed),
        questions.batch_size,
        bar_name="",
        to_the_limit=way == SAME,
    )
    times = [time.monotonic() for _ in answers]
    return 1 / (seconds_after_the_first(times) or float("nan"))


def reference(network: generation.Model, questions: Questions, way: str) -> float:
    """Return rows per second of the plain loop."""
    limits = {"max_new_tokens": 30}
    if way == SAME:
        limits = {"min_new_tokens": TOKENS, "max_new_tokens": TOKENS}
    rows, size, times = questions.rows, questions.batch_size, []
    prompt = prompt_for(questions.processor)
    for start in range(0, len(rows), size):
        batch = rows[start : start + size]
        images = [open_image(question, family_of(questions.processor)) for question in batch]
        prompts = [prompt(question.entity, question.context) for question in batch]
        inputs = encode(questions.processor, images, prompts, "left").to(network.device, network.dtype)
        with torch.inference_mode():
            network.generate(**inputs, **limits, do_sample=False, eos_token_id=[2, 32002], pad_token_id=0)
        times.append(time.monotonic())
    return (len(rows) - size) / (times[-1] - times[0])


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def some_rows(data: Path, processed: Path, count: int) -> list[Question]:
    """Return all questions of the first images of ``test.csv``, at least ``count``, in the file's order."""
    questions = test_questions(read_test(data), processed, read_files(data))
    chosen: set[int] = set()
    for group in by_image([question for question in questions if not question.reason]):
        if len(chosen) >= count:
            break
        chosen.update(question.row for question in group)
    return [question for question in questions if question.row in chosen]


def agreement(questions: list[Question], processed: Path) -> str:
    """Say how many answers of the bundled, trained model are the same in bfloat16 as in `compute_dtype`."""
    processor = load_processor(str(models.TINY))
    sizes = family_of(processor).padded_sizes(processed)
    answers = []
    for dtype in (compute_dtype(), torch.bfloat16):
        network = load_base(str(models.TINY)).dequantize(dtype=dtype).to(dtype)
        results = generation.generate(network, processor, questions, sizes, 16, bar_name="")
        answers.append({question.row: question.model_answer for question in results if not question.reason})
    same = sum(answers[1][row] == text for row, text in answers[0].items())
    return f"bundled model, {compute_dtype()} and bfloat16: {same} of {len(questions)} answers are the same"


def write_model(size: str, folder: Path) -> Path:
    """Write a random model and an adapter that has not learnt anything."""
    models.write(size, folder)
    add_lora(load_base(str(folder)), lora_config(LoraSettings())).save_pretrained(str(folder / "adapter"))
    return folder


def main() -> int:
    """Run both loops for some rounds and print the table."""
    is_gpu = torch.cuda.is_available()
    parser = argparse.ArgumentParser(description="Speed of answering.")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder with processed/")
    parser.add_argument("--size", choices=["8b", "100m", "tiny"], default="8b" if is_gpu else "100m")
    parser.add_argument("--rows", type=int, default=512 if is_gpu else 48)
    parser.add_argument("--batch-size", type=int, default=64 if is_gpu else 16)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--loop", choices=["ours", "reference"], help=argparse.SUPPRESS)
    parser.add_argument("--model", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    processed = args.out / "processed"
    rows = some_rows(args.data, processed, args.rows)
    rows = with_parsed_text(rows, TextStore(processed), RunFolder(args.out).rules_journal)
    if args.loop:
        processor = load_processor(str(args.model))
        questions = Questions(rows, processed, processor, args.batch_size)
        print(json.dumps(loop(args.loop, args.model, questions)))
        return 0
    images = len(by_image(rows))
    print(
        f"{models.machine()}, {args.size}, batch {args.batch_size}, {len(rows)} rows of {images} images, "
        f"{args.rounds} rounds"
    )
    measured: dict[str, list[dict[str, Any]]] = {"ours": [], "reference": []}
    with tempfile.TemporaryDirectory() as folder:
        model = write_model(args.size, Path(folder))
        for round_ in range(args.rounds):
            for name in sorted(measured, reverse=round_ % 2 == 1):
                measured[name].append(_in_own_process(["--loop", name, "--model", str(model)]))
    _report(measured)
    print(agreement(rows, processed))
    rate = statistics.median(run[OWN] for run in measured["ours"])
    config = models.config(args.size)
    image_flops = sum(forward_flops(config, family_of(config).patches, PROMPT_TOKENS).values())
    question_flops = forward_flops(models.config(args.size), 0, QUESTION_TOKENS + TOKENS)["text"]
    row, best = image_flops * images / len(rows) + question_flops, models.matmul_rate()
    print(
        f"{row / 1e12:.2f} TFLOP per row, {best / 1e12:.1f} TFLOP/s in matrix products: "
        f"{rate * row / best:.0%}; 131,187 rows in {131_187 / rate / 60:.0f} min"
    )
    return 0


def _report(measured: dict[str, list[dict[str, Any]]]) -> None:
    for way in (SAME, OWN):
        middle = {name: statistics.median(run[way] for run in runs) for name, runs in measured.items()}
        for name, runs in measured.items():
            rates = ", ".join(f"{run[way]:.2f}" for run in runs)
            print(f"{way}: {name} {middle[name]:.2f} rows/s ({rates}), peak {runs[0]['memory']:.2f} GiB")
        print(f"{way}: x {middle['ours'] / middle['reference']:.2f}")
    parts = measured["ours"][0]["parts"].items()
    print("ours, seconds by part: " + ", ".join(f"{part} {seconds:.1f}" for part, seconds in parts))


def _in_own_process(flags: list[str]) -> dict[str, Any]:
    """Run one loop in a process of its own; return what it measured."""
    call = [sys.executable, "-m", "benchmarks.inference", *sys.argv[1:], *flags]
    done = subprocess.run(call, cwd=ROOT, text=True, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    run_main(main)
