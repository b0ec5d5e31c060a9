"""What each stage takes per picture or row on this machine: a few rows of the user's own data are really
run."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import Idefics2Processor

from src.data.errors import InputError
from src.data.folders import DataFolder, ProcessedFolder
from src.data.names import picture_names, read_files
from src.data.samples import Sample, test_samples, train_samples
from src.data.sampling import SampledTables
from src.data.tables import read_test, read_train, table_text
from src.data.text_store import TextStore
from src.model.collator import TrainingCollator, model_inputs
from src.model.decoding import AnswerGrammar
from src.model.generation import Model, generate
from src.model.letterbox import letterboxed_sizes
from src.model.memory import Preset, is_merged
from src.model.modeling import (
    add_lora,
    card_memory,
    dequantised,
    load_base,
    load_config,
    load_processor,
    lora_config,
    preset_for,
)
from src.model.precision import vision_in_bfloat16
from src.prepare.preprocessing import preprocess
from src.rules import answer_samples
from src.settings import LoraSettings, PreprocessSettings

PER_CORE = 6
"""Pictures in the first of two runs; the second has three times as many, and the difference leaves out the
start."""
STEPS = 4
"""Training batches, of which the first is not counted."""


@dataclass(frozen=True, slots=True)
class PictureRates:
    """Seconds of one core per picture in ``preprocess.py --ocr``, and in the rules; bytes per picture."""

    preprocess: float
    rules: float
    source_bytes: float
    processed_bytes: float
    text_bytes: float


@dataclass(frozen=True, slots=True)
class ModelRates:
    """Seconds to load the model, per row of training (without its evaluations), per answer."""

    load: float
    training: float
    answer: float


def some_pictures(data: Path, drawn: SampledTables, count: int, folder: Path) -> Path:
    """A data folder of ``count`` of the pictures that are there and used, with their rows, in the tables'
    order.

    Raises `InputError` when none is there.
    """
    files, images = read_files(data), DataFolder(data).images
    names = [picture_names(table["image_link"], files) for table in drawn.tables]
    # In turns from the tables: both train and test rows are wanted.
    present = [[name for name in dict.fromkeys(own) if name and (images / name).is_file()] for own in names]
    turns = [
        own[number]
        for number in range(max(map(len, present), default=0))
        for own in present
        if number < len(own)
    ]
    chosen = set(list(dict.fromkeys(turns))[:count])
    if not chosen:
        raise InputError(
            f"{images}: none of the pictures that the tables name is there, so nothing can be measured"
        )
    small = DataFolder(folder)
    small.images.mkdir(parents=True)
    for name in chosen:
        (small.images / name).symlink_to((images / name).resolve())
    targets = [small.train] * (drawn.train is not None) + [small.test]
    for table, own, target in zip(drawn.tables, names, targets, strict=False):
        rows = table[[name in chosen for name in own]].copy()
        rows["image_link"] = [name for name in own if name in chosen]  # as downloads.csv names them
        target.write_text(table_text(rows))
    return folder


def picture_rates(data: Path, drawn: SampledTables, cores: int, folder: Path) -> PictureRates:
    """Preprocess some pictures and answer their test rows by rules; ``folder/more`` is left with what was
    made."""
    seconds, counts = [], []
    for name, count in (("few", PER_CORE * cores), ("more", 3 * PER_CORE * cores)):
        small = some_pictures(data, drawn, count, folder / name)
        start = time.monotonic()
        manifest = preprocess(PreprocessSettings(small, small / "processed", ocr=True, workers=cores))
        seconds.append(time.monotonic() - start)
        counts.append(len(manifest))
    processed = ProcessedFolder(small / "processed")
    grown = counts[1] - counts[0]
    # Too few pictures for a difference: with the start, which is honest for so few.
    wall = (seconds[1] - seconds[0]) / grown if grown else seconds[1] / counts[1]
    samples = _test_samples(small)
    start = time.monotonic()
    answer_samples(samples, TextStore(processed.root))
    rules = (time.monotonic() - start) / max(1, len({sample.image for sample in samples}))
    files = (DataFolder(small).images.iterdir(), processed.root.glob("*.jpg"), [processed.text])
    sizes = [sum(path.stat().st_size for path in paths) / counts[1] for paths in files]
    return PictureRates(max(wall, 1e-3) * cores, rules, *sizes)


def _test_samples(data: Path) -> list[Sample]:
    if not DataFolder(data).test.is_file():
        return []
    return test_samples(read_test(data), data / "processed", {})[0]


def model_rates(model: str, data: Path) -> ModelRates:
    """Train some steps and answer some rows of a folder that `picture_rates` has left, with the preset's
    batch sizes.

    Raises `InputError` when the model cannot run here.
    """
    preset, processor = preset_for(load_config(model)), load_processor(model)
    readings = TextStore(data / "processed")
    start = time.monotonic()
    base = load_base(model)
    load = time.monotonic() - start
    merged = is_merged(base.config, card_memory())
    if merged:  # then it is not trained, below
        base = dequantised(base)
        vision_in_bfloat16(base)
    answer = _seconds_per_answer(base, processor, preset, data)
    if not DataFolder(data).train.is_file():
        return ModelRates(load, 0.0, answer)
    samples = train_samples(read_train(data), data / "processed", {})[0]
    network = add_lora(
        load_base(model) if merged else base, lora_config(LoraSettings()), preset.gradient_checkpointing
    ).train()
    collator = TrainingCollator(processor, readings, AnswerGrammar(processor.tokenizer))
    size, seconds = preset.train_batch_size, []
    for step in range(STEPS):
        batch = [samples[(step * size + row) % len(samples)] for row in range(size)]
        inputs = model_inputs(collator(batch), network.device, base.dtype)
        start = time.monotonic()
        network(**inputs).loss.backward()
        _wait()
        seconds.append(time.monotonic() - start)
    return ModelRates(load, sum(seconds[1:]) / (size * (STEPS - 1)), answer)


def _seconds_per_answer(network: Model, processor: Idefics2Processor, preset: Preset, data: Path) -> float:
    """Of the folder's test rows, or of its train rows where there are none; the first batch is not
    counted."""
    processed = data / "processed"
    samples = _test_samples(data) or train_samples(read_train(data), processed, {})[0]
    size = max(1, min(preset.predict_batch_size, len(samples) // 2))
    sizes, times = letterboxed_sizes(processed), []
    start = time.monotonic()
    for _ in generate(network, processor, samples, TextStore(processed), sizes, size, bar_name=""):
        times.append(time.monotonic())
    return seconds_after_the_first(times) or (times[-1] - start) / len(times)


def seconds_after_the_first(times: Sequence[float]) -> float | None:
    """Seconds per answer, by the times at which answers came, without the first batch; None where there is no
    other."""
    later = [at for at in times if at - times[0] > 0.05]  # the answers of a batch come at once
    return (later[-1] - times[0]) / len(later) if later else None


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
