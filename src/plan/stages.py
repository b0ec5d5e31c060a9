"""The stages of a run, each with its time, scaled from rates; memory, and what fits a limit of hours."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from transformers import PreTrainedConfig

from src.model import memory
from src.plan.catalogue import Card, answering_flops, training_flops
from src.settings import LoraSettings, TrainSettings

FETCHED_PER_SECOND = 60.0
"""Links per second, of all connections together: assumed, as it depends on the servers."""
AUDIT_SECONDS = 1.2e-3
"""Seconds per train row before the first step, of one process: 2 to 4 minutes were measured for 150,000."""
LOADING_SECONDS = 60.0
"""Seconds to load the 8B model from a disk, where that is not measured."""
TRAINING_SHARE, ANSWERING_SHARE = 0.3, 0.2
"""Shares of `Card.tflops` that the work is assumed to reach; nothing has been measured on a card yet."""
ROWS_PER_IMAGE = 1.45
"""Questions about an image, as in the challenge's test."""
CATALOGUES = ((350_000, 16, 1), (10_000_000, 256, 8), (1_000_000_000, 10_000, 256))
"""Images of a catalogue, and the cores and GPUs that work on it."""
NAME_BYTES = 400.0
"""Bytes per image of the process that shares out the work with ``--shards``: 300 were measured for the name
(benchmarks/README.md), the others are for its questions."""
REMEDIES = {
    "fetch": "fetch the images before",
    "preprocess": "more cores, or preprocess on another machine before",
    "rules": "more cores",
    "training": "fewer rows, or a faster GPU",
    "inference": "more or faster GPUs",
}
"""Advice for each stage that may be the longest."""


@dataclass(frozen=True, slots=True)
class Rates:
    """Seconds and bytes per image or row; images take seconds of one core."""

    preprocess: float  # with OCR
    rules: float
    source_bytes: float
    processed_bytes: float
    text_bytes: float
    load: float = 0.0  # the model, once
    training: float = 0.0  # per row, without evaluations
    answer: float = 0.0
    training_source: str = "measured"
    answer_source: str = "measured"


@dataclass(frozen=True, slots=True)
class Work:
    """Counts of what a run has to do."""

    to_fetch: int  # images that are not there yet
    images: int  # of sampled train rows and the test
    train_images: int  # those of train rows alone
    train_rows: int
    test_rows: int
    test_images: int


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine that a plan is for; without GPUs the model runs on the CPU."""

    cores: int
    gpus: int = 0
    card: Card | None = None


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage: its name, what it works on, how long it takes, and where that figure is from."""

    name: str
    work: str
    seconds: float
    source: str


def stages(work: Work, machine: Machine, rates: Rates) -> list[Stage]:
    """Return the stages that have something to do, in their order."""
    settings, cores, processes = TrainSettings(Path(), Path()), machine.cores, max(1, machine.gpus)
    held_out = min(settings.held_out * work.train_rows, settings.scored_rows)
    evaluations = 1 + settings.evaluations  # one before the training
    training = (work.train_rows * rates.training + evaluations * held_out * rates.answer) / processes
    training += rates.load + work.train_rows * AUDIT_SECONDS
    answering = rates.load + work.test_rows * rates.answer / processes
    reading, ruling = work.images * rates.preprocess / cores, work.test_images * rates.rules / cores
    read, ruled = f"{rates.preprocess:.2f} s of a core each", f"{rates.rules * 1000:.0f} ms of a core each"
    rows = f"{work.train_rows:,} rows, {evaluations} x {held_out:,.0f} answers"
    trained, answered = (
        f"{1 / rate:.1f} rows/s" if rate else "no rows" for rate in (rates.training, rates.answer)
    )
    every = [
        Stage("fetch", f"{work.to_fetch:,} links", work.to_fetch / FETCHED_PER_SECOND, "assumed: 60 links/s"),
        Stage("preprocess", f"{work.images:,} images", reading, f"measured: {read}"),
        Stage("rules", f"{work.test_images:,} images", ruling, f"measured: {ruled}"),
        Stage("training", rows, training, f"{rates.training_source}: {trained}"),
        Stage("inference", f"{work.test_rows:,} rows", answering, f"{rates.answer_source}: {answered}"),
    ]
    idle = {"fetch": not work.to_fetch, "training": not work.train_rows}
    return [stage for stage in every if not idle.get(stage.name)]


def estimated(rates: Rates, config: PreTrainedConfig, card: Card, rows_per_image: float) -> Rates:
    """Return ``rates`` with those of the model on a card, by its data sheet and the assumed shares."""
    checkpointing = memory.preset(config, card.memory).gradient_checkpointing
    speed = card.tflops * 1e12
    source = f"estimated, {TRAINING_SHARE:.0%} and {ANSWERING_SHARE:.0%} of {card.tflops:.0f} TFLOP/s"
    return replace(
        rates,
        load=LOADING_SECONDS,
        training=training_flops(config, checkpointing) / (TRAINING_SHARE * speed),
        answer=answering_flops(config, rows_per_image) / (ANSWERING_SHARE * speed),
        training_source=source,
        answer_source=source,
    )


def gpu_memory(config: PreTrainedConfig, card: Card) -> list[str]:
    """Return a line each about the memory of a card in training and in answering."""
    preset, merged = memory.preset(config, card.memory), memory.is_merged(config, card.memory)
    rows, checkpointing, rank = preset.train_batch_size, preset.gradient_checkpointing, LoraSettings().lora_r
    dtype = torch.bfloat16 if card.bfloat16 else torch.float16
    train = memory.training(config, rows, checkpointing, rank, dtype)
    answer = memory.answering(config, preset.predict_batch_size, merged, dtype)
    return [
        f"training: {train} of {card.memory / 1e9:.1f}, {rows} x {preset.accumulation} rows a step",
        f"inference: {answer} of {card.memory / 1e9:.1f}, {preset.predict_batch_size} rows at once",
    ]


def rows_that_fit(work: Work, planned: list[Stage], hours: float) -> int:
    """Return how many train rows all stages do in nine tenths of ``hours``; less than 1: none."""
    seconds = {stage.name: stage.seconds for stage in planned}
    # Some images are fetched and preprocessed for train rows alone.
    share = work.train_images / max(1, work.images)
    of_rows = seconds.get("training", 0.0) + share * (seconds.get("fetch", 0.0) + seconds["preprocess"])
    per_row = of_rows / max(1, work.train_rows)
    return int((0.9 * hours * 3600 - sum(seconds.values()) + of_rows) / per_row) if of_rows else 0


def advice(work: Work, planned: list[Stage], hours: float) -> list[str]:
    """Return whether the stages fit a limit of hours, and if not, what would."""
    total = sum(stage.seconds for stage in planned) / 3600
    if total <= hours:
        return [f"fits {hours:g} h"]
    longest = max(planned, key=lambda stage: stage.seconds).name
    rows = rows_that_fit(work, planned, hours) // 100 * 100
    fewer = "with fewer train rows alone it does not fit; finished work is kept: go on another night"
    return [
        f"does not fit {hours:g} h ({total:.1f} h); the longest stage is {longest}: {REMEDIES[longest]}",
        f"with --rows {rows} it fits, a tenth in reserve" if rows > 0 else fewer,
    ]


def catalogue_table(rates: Rates, answer: float, gpu: str) -> list[str]:
    """Return `CATALOGUES` as lines of a Markdown table; ``answer``: seconds of a GPU per row.

    All figures are linear: none was measured on more than one machine.
    """
    lines = [
        f"| images | cores | reading | GPUs ({gpu}) | answering | sources | processed | driver's memory |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for images, cores, gpus in CATALOGUES:
        reading = images * (rates.preprocess + rates.rules) / cores / 3600
        answering = images * ROWS_PER_IMAGE * answer / gpus / 3600
        processed = images * (rates.processed_bytes + rates.text_bytes) / 1e12
        lines.append(
            f"| {images:,} | {cores:,} | {reading:,.1f} h | {gpus} | {answering:,.1f} h "
            f"| {images * rates.source_bytes / 1e12:,.2f} TB | {processed:,.2f} TB "
            f"| {0.3 + images * NAME_BYTES / 1e9:,.1f} GB |"
        )
    return lines
