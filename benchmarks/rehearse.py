"""A rehearsal at full size: what a first run of idefics2-8b does, with random weights, with a GPU or without.

    make rehearse

Writes a checkpoint with idefics2-8b's names and shapes (float32, 34 GB) and some model images, loads it by
the product's own loader in NF4, trains 4 steps of 2 rows with checkpointing, cut off and resumed after the
second, and answers 8 questions by their options and 2 freely. Each step is printed as it finishes, with its
seconds and peak memory beside the estimates of `src.plan`; run again after a cut, it goes on with the part
that was not finished. At the end its table goes into ``benchmarks/README.md``. Without a GPU, float32 weights
stay in their files, and memory is what a process has of its own.
"""

import argparse
import contextlib
import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from benchmarks import models
from benchmarks.results import put_into
from src.data.errors import InputError, run_main
from src.data.files import write_whole
from src.data.folders import RunFolder
from src.data.questions import Question, test_questions
from src.data.sampling import read_sampled
from src.data.tables import read_test
from src.data.text_store import TextStore
from src.model import memory
from src.model.collator import training_collator
from src.model.generation import Answerer, AnswererSettings
from src.model.modeling import add_lora, load_base, load_config, load_processor, lora_config
from src.model.precision import compute_dtype
from src.plan.catalogue import answering_flops, training_flops
from src.plan.measure import copy_some
from src.plan.stages import ANSWERING_SHARE, TRAINING_SHARE
from src.prepare.preprocessing import preprocess
from src.reading.options import ABSTAIN
from src.rules import with_parsed_text
from src.settings import PROMPT, PreprocessSettings, TrainSettings
from src.training.configuration import training_arguments
from src.training.rows import load_data
from src.training.trainer import F1Trainer, last_checkpoint

ROOT = Path(__file__).resolve().parent.parent
MARKS = "<!-- rehearsal: written by make rehearse -->", "<!-- end of rehearsal -->"
IMAGES = 40
"""Number of images that are preprocessed; the rows ask about these."""
ROWS, STEPS = 2, 4
"""Rows of a training step, and steps; the first process ends after half of them."""
BY_OPTIONS, FREELY = 8, 2
"""Questions answered by their options, and freely."""


@contextlib.contextmanager
def step(name: str, seconds: float | None = None, total: float | None = None) -> Iterator[None]:
    """Measure a step and print it as a line of JSON; ``seconds`` and ``total`` (bytes): as estimated."""
    cuda, ended, seen = torch.cuda.is_available(), threading.Event(), [own_memory()]

    def watch() -> None:
        while not ended.wait(0.2):
            seen.append(own_memory())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    start = time.monotonic()
    yield
    if cuda:
        torch.cuda.synchronize()
    measured: dict[str, Any] = {"step": name, "seconds": time.monotonic() - start}
    ended.set()
    measured["peak"] = torch.cuda.max_memory_allocated() if cuda else max(seen)
    print(json.dumps({**measured, "estimated": [seconds, total]}), flush=True)


def own_memory() -> int:
    """Return bytes of this process that are not mapped files."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition("RssAnon:")[2].split()[0])


def write(size: str, data: Path, out: Path) -> None:
    """Write the checkpoint."""
    with step("write checkpoint"):
        models.write(size, out / "model", torch.float32)


def read(size: str, data: Path, out: Path) -> None:
    """Make a data folder of some images, and their model images and texts."""
    with step(f"read {IMAGES} images"):
        shutil.rmtree(out / "data", ignore_errors=True)  # of a run that was cut off
        small = copy_some(data, read_sampled(data, None, 0), IMAGES, out / "data")
        preprocess(PreprocessSettings(small.root, out / "processed", ocr=True))


class CutOff(TrainerCallback):
    """A callback that ends a training after half of its steps, once its checkpoint is written."""

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """End the training after half of its steps."""
        control.should_training_stop = state.global_step == STEPS // 2


def train(size: str, data: Path, out: Path) -> None:
    """Train up to the cut, or from its checkpoint to the end; leave the adapter in ``out``."""
    settings = TrainSettings(
        out / "data",
        out,
        str(out / "model"),
        batch_size=ROWS,
        accumulation=1,
        learning_rate=1e-4,
        gradient_checkpointing=True,
        checkpoint_steps=STEPS // 2,
        cpu=True,
    )
    questions = load_data(settings)
    if len(questions.questions) < ROWS * STEPS:
        raise InputError(f"{data}: has not the {ROWS * STEPS} rows that are trained on")
    arguments = training_arguments(settings, RunFolder(out).checkpoints)
    arguments.set_evaluate("no")
    config = load_config(settings.model)
    with step("load in NF4"):
        base = load_base(settings.model)
    trainer = F1Trainer(
        add_lora(base, lora_config(settings), gradient_checkpointing=True),
        training_collator(load_processor(settings.model), settings),
        replace(questions, questions=questions.questions[: ROWS * STEPS]),
        settings,
        arguments,
    )
    checkpoint = last_checkpoint(str(arguments.output_dir))
    if checkpoint is None:
        trainer.add_callback(CutOff())
    seconds = STEPS // 2 * ROWS * training_flops(config, True) / (TRAINING_SHARE * models.matmul_rate())
    estimate = memory.training(config, ROWS, True, settings.lora_r, compute_dtype()).total
    what = "train 2 steps" if checkpoint is None else "resume, 2 more"
    with step(f"{what} of {ROWS} rows", seconds, estimate):
        trainer.train(checkpoint)
    trainer.model.save_pretrained(RunFolder(out).adapter)


def answer(size: str, data: Path, out: Path) -> None:
    """Answer some questions by their options, and some freely."""
    config, run = load_config(str(out / "model")), RunFolder(out)
    rows = memory.preset(config, 0).predict_batch_size
    settings = AnswererSettings(
        str(out / "model"), run.adapter, False, False, PROMPT, run.processed, rows, None, cpu=True
    )
    table = read_test(out / "data")
    questions = [q for q in test_questions(table, run.processed, {}) if not q.reason]
    questions = with_parsed_text(questions, TextStore(run.processed), run.rules_journal)
    known = [question for question in questions if question.option_texts][:BY_OPTIONS]
    unknown = [replace(question, options=(ABSTAIN,)) for question in questions[:FREELY]]
    seconds = answering_flops(config, 1) / (ANSWERING_SHARE * models.matmul_rate())
    estimate = memory.answering(config, rows, False, compute_dtype()).total
    with step("load, with adapter"):
        answerer = Answerer.load(settings)
    for name, asked in (("by options", known), ("freely", unknown)):
        with step(f"{len(asked)} answers {name}", len(asked) * seconds, estimate):
            answers: list[Question] = list(answerer.answers(asked, bar_name=""))
        if faults := [question.reason for question in answers if question.reason]:
            raise InputError(f"{len(faults)} questions were not answered: {faults[0]}")


PARTS: dict[str, Callable[[str, Path, Path], None]] = {
    "write": write,
    "read": read,
    "train": train,
    "resume": train,
    "answer": answer,
}


def as_markdown(device: str, steps: list[dict[str, Any]]) -> str:
    """Return the table of the steps."""
    lines = [f"| {device} | seconds (estimated) | own GB (estimated) |", "|---|---|---|"]
    for one in steps:
        seconds, total = one["estimated"]
        of_time, of_memory = f" ({seconds:,.0f})" if seconds else "", f" ({total / 1e9:.1f})" if total else ""
        measured = f"{one['seconds']:,.0f}{of_time} | {one['peak'] / 1e9:.1f}{of_memory}"
        lines.append(f"| {one['step']} | {measured} |")
    return "\n".join(lines)


def rehearse(size: str, data: Path, out: Path) -> list[dict[str, Any]]:
    """Do the parts that are not finished, each in a process of its own; return the steps of all."""
    path = out / f"rehearsal-{size}.json"
    record: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    for name in PARTS:
        if name in record:
            continue
        call = [sys.executable, "-m", "benchmarks.rehearse", *sys.argv[1:], "--part", name]
        steps = []
        with subprocess.Popen(call, cwd=ROOT, text=True, stdout=subprocess.PIPE) as child:
            for line in child.stdout or ():
                if line.startswith('{"step"'):
                    steps.append(json.loads(line))
                    line = as_markdown("", steps[-1:]).splitlines()[-1] + "\n"
                print(line, end="", flush=True)
        if child.returncode:
            raise InputError(f"the rehearsal's part {name!r} failed; run again to go on with it")
        record[name] = steps
        write_whole(path, json.dumps(record, indent=1) + "\n")
    return [one for steps in record.values() for one in steps]


def main() -> int:
    """Rehearse, or do one part."""
    parser = argparse.ArgumentParser(description="What a first run of idefics2-8b does, with random weights.")
    parser.add_argument("--data", type=Path, default=Path("data/sample"))
    parser.add_argument("--out", type=Path, default=Path("outputs/rehearsal"), help="needs 34 GB")
    parser.add_argument("--size", choices=("8b", "100m", "tiny"), default="8b")
    parser.add_argument("--part", choices=tuple(PARTS), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.part:
        PARTS[args.part](args.size, args.data, args.out)
        return 0
    table = as_markdown(models.machine(), rehearse(args.size, args.data, args.out))
    print(table)
    if args.size == "8b":
        readme = ROOT / "benchmarks" / "README.md"
        write_whole(readme, put_into(readme.read_text(), table, MARKS))
    return 0


if __name__ == "__main__":
    run_main(main)
