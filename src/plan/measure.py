"""Rates on this machine: a few of the user's own images and rows are preprocessed, trained on and answered.

Everything that runs a model here goes through `seconds_per_training_row` and `timed_answers`, which call the
product's own trainer and answerer; ``benchmarks.gpu`` calls the same two.
"""

import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from src.data.errors import InputError
from src.data.folders import DataFolder, ProcessedFolder, RunFolder
from src.data.names import image_names, read_files
from src.data.questions import Question, test_questions, train_questions
from src.data.sampling import SampledTables
from src.data.tables import read_test, read_train, table_text
from src.data.text_store import TextStore
from src.model.collator import training_collator
from src.model.generation import Answerer, AnswererSettings
from src.model.memory import free_memory, is_merged
from src.model.modeling import (
    add_lora,
    card_memory,
    load_base,
    load_config,
    load_processor,
    lora_config,
    preset_for,
)
from src.plan.stages import Rates
from src.prepare.preprocessing import preprocess
from src.rules import parse_images, with_parsed_text
from src.settings import PROMPT, PreprocessSettings, TrainSettings
from src.training.configuration import training_arguments
from src.training.progress import Progress
from src.training.rows import load_data
from src.training.trainer import F1Trainer

PER_CORE = 6
"""Images per core in the first of two runs; the second has three times as many, and the difference leaves out
the start."""
STEPS = 4
"""Optimizer steps, of which the first is not counted."""


def image_rates(data: Path, sampled: SampledTables, cores: int, folder: Path) -> Rates:
    """Preprocess some images and answer their test rows by rules.

    ``folder/more`` is left, a data folder and a run folder in one.
    """
    seconds, counts = [], []
    for name, count in (("few", PER_CORE * cores), ("more", 3 * PER_CORE * cores)):
        small = copy_some(data, sampled, count, folder / name)
        processed = ProcessedFolder(small.root / "processed")
        start = time.monotonic()
        manifest = preprocess(PreprocessSettings(small.root, processed.root, ocr=True, workers=cores))
        seconds.append(time.monotonic() - start)
        counts.append(len(manifest))
    grown = counts[1] - counts[0]
    # Too few images for a difference: with the start, which is honest for so few.
    wall = (seconds[1] - seconds[0]) / grown if grown else seconds[1] / counts[1]
    images = {question.image for question in _test_questions(small)}
    start = time.monotonic()
    parse_images(images, TextStore(processed.root), RunFolder(small.root).rules_journal)
    rules = (time.monotonic() - start) / max(1, len(images))
    source, model, text = (
        sum(path.stat().st_size for path in paths) / counts[1]
        for paths in (small.images.iterdir(), processed.root.glob("*.jpg"), [processed.text])
    )
    return Rates(max(wall, 1e-3) * cores, rules, source, model, text)


def copy_some(data: Path, sampled: SampledTables, count: int, folder: Path) -> DataFolder:
    """Make ``folder`` a data folder of the first images of each table that are there, ``count`` in all.

    Raises `InputError` when no image is there.
    """
    files, images, small = read_files(data), DataFolder(data).images, DataFolder(folder)
    small.images.mkdir(parents=True)
    for target, table in ((small.train, sampled.train), (small.test, sampled.test)):
        if table is None:
            continue
        # Links become file names, because downloads.csv is not copied.
        rows = table.assign(image_link=image_names(table["image_link"], files))
        rows = rows[[bool(name) and (images / name).is_file() for name in rows["image_link"]]]
        chosen = rows["image_link"].unique()[: max(1, count // len(sampled.tables))]
        if len(chosen):
            target.write_text(table_text(rows[rows["image_link"].isin(chosen)]))
        for name in chosen:
            if not (small.images / name).exists():
                (small.images / name).symlink_to((images / name).resolve())
    if not any(small.images.iterdir()):
        raise InputError(
            f"{images}: none of the images that the tables name is there, so nothing can be measured"
        )
    return small


def _test_questions(data: DataFolder) -> list[Question]:
    if not data.test.is_file():
        return []
    questions = test_questions(read_test(data.root), data.root / "processed", {})
    return [question for question in questions if not question.reason]


def with_model(model: str, folder: Path, rates: Rates) -> Rates:
    """Return ``rates`` with those of training and answering rows of a folder that `image_rates` has left.

    Batches are the preset's, and one network at a time is in memory. Where even that is too much, the rates
    stay as given. Raises `InputError` when the model cannot run here.
    """
    config, data, run = load_config(model), DataFolder(folder), RunFolder(folder)
    preset, questions, adapter = preset_for(config), _test_questions(data), None
    if data.train.is_file():
        adapter = run.adapter
        settings = TrainSettings(
            folder,
            folder,
            model,
            batch_size=preset.train_batch_size,
            accumulation=preset.accumulation,
            learning_rate=preset.learning_rate,
            gradient_checkpointing=preset.gradient_checkpointing,
        )
        rows = STEPS * preset.train_batch_size * preset.accumulation
        with suppress(torch.OutOfMemoryError):
            seconds = seconds_per_training_row(settings, rows, adapter)
            rates = replace(rates, training=seconds, training_source="measured")
        questions = questions or train_questions(read_train(folder), run.processed, {})[0]
    size = max(1, min(preset.predict_batch_size, len(questions) // 2))
    merged = is_merged(config, card_memory())
    answerer = AnswererSettings(model, adapter, merged, False, PROMPT, run.processed, size, None)
    with suppress(torch.OutOfMemoryError):
        _, load, answer = timed_answers(answerer, questions, run)
        rates = replace(rates, load=load, answer=answer, answer_source="measured")
    return rates


class _StepClock(TrainerCallback):
    """The times at which optimizer steps ended."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.times.append(time.monotonic())


def seconds_per_training_row(settings: TrainSettings, rows: int, adapter: Path | None = None) -> float:
    """Return seconds per row of the trainer's optimizer steps over ``rows`` rows, the first step not counted.

    ``adapter``: a folder for the adapter as it is before the first step.
    """
    free_memory()  # of the network of before
    data = load_data(settings)
    collator = training_collator(load_processor(settings.model), settings)
    checkpointing = bool(settings.gradient_checkpointing)
    network = add_lora(load_base(settings.model), lora_config(settings), checkpointing)
    if adapter:
        network.save_pretrained(str(adapter))
    clock = _StepClock()
    questions = list(islice(cycle(data.questions or data.held_out), rows))
    with tempfile.TemporaryDirectory() as checkpoints:
        arguments = training_arguments(settings, Path(checkpoints))
        arguments.set_evaluate("no").set_save("no").set_logging("no")
        trainer = F1Trainer(network, collator, replace(data, questions=questions), settings, arguments)
        trainer.remove_callback(Progress)  # it would write into the run's folder
        trainer.add_callback(clock)
        trainer.train()
    rows_per_step = arguments.train_batch_size * arguments.gradient_accumulation_steps
    return (clock.times[-1] - clock.times[0]) / (rows_per_step * (len(clock.times) - 1))


def timed_answers(
    settings: AnswererSettings, questions: Sequence[Question], run: RunFolder
) -> tuple[list[Question], float, float]:
    """Answer questions as ``src.predict`` does; return them, seconds to load, and seconds per answer.

    The first batch is not counted, unless it is the only one. Parsed texts go into the journal of ``run``.
    """
    free_memory()  # of the network of before
    questions = with_parsed_text(questions, TextStore(run.processed), run.rules_journal)
    start = time.monotonic()
    answerer = Answerer.load(settings)
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()  # from now on that of answering
    loaded = time.monotonic()
    results, times = [], []
    for result in answerer.answers(questions, bar_name=""):
        results.append(result)
        times.append(time.monotonic())
    every = (time.monotonic() - loaded) / max(1, len(times))
    return results, loaded - start, seconds_after_the_first(times) or every


def seconds_after_the_first(times: Sequence[float]) -> float | None:
    """Return seconds per answer without the first batch, by the times at which answers came.

    None where there is no other batch; the answers of a batch come at once.
    """
    later = [at for at in times if at - times[0] > 0.05]
    return (later[-1] - times[0]) / len(later) if later else None
