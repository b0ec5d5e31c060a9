"""The table of a plan: what each stage does, how long, from what; memory, disk, and what fits a limit of
hours."""

from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import Idefics2Config

from src.model import memory
from src.plan.measure import ModelRates, PictureRates
from src.plan.sizes import SHARE, Card, answering_flops, training_flops
from src.settings import TrainSettings

FETCHED_PER_SECOND = 60.0
"""Links, of all connections together: assumed, as it depends on the servers."""


@dataclass(frozen=True, slots=True)
class Work:
    """What there is to do."""

    to_fetch: int  # pictures that are not there yet
    pictures: int  # used by drawn train rows and the test
    train_pictures: int  # of them, those of train rows alone
    train_rows: int
    test_rows: int
    test_pictures: int


@dataclass(frozen=True, slots=True)
class Machine:
    """Where it is to run."""

    cores: int
    gpus: int  # 0: the model runs on the CPU
    gpu: str  # its name; empty without one
    card: Card | None


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage: its name, what it works on, how long, and where the figure is from."""

    name: str
    work: str
    seconds: float
    source: str


def stages(
    work: Work, machine: Machine, pictures: PictureRates, model: ModelRates, source: str
) -> list[Stage]:
    """Each stage with its time. ``source``: where the figures of ``model`` are from."""
    settings, processes = TrainSettings(Path(), Path()), max(1, machine.gpus)
    held_out = min(settings.held_out * work.train_rows, settings.scored_rows)
    found = [
        Stage("fetch", f"{work.to_fetch:,} links", work.to_fetch / FETCHED_PER_SECOND, "assumed: 60 links/s"),
        Stage(
            "preprocess", f"{work.pictures:,} pictures", work.pictures * pictures.preprocess / machine.cores,
            f"measured: {pictures.preprocess:.2f} s of a core each",
        ),
        Stage(
            "rules", f"{work.test_pictures:,} pictures", work.test_pictures * pictures.rules / machine.cores,
            f"measured: {pictures.rules * 1000:.0f} ms of a core each",
        ),
        Stage(
            "training", f"{work.train_rows:,} rows, {settings.evaluations} x {held_out:,.0f} answers",
            model.load + (work.train_rows * model.training + settings.evaluations * held_out * model.answer)
            / processes,
            f"{source}: {_rate(model.training)}",
        ),
        Stage(
            "inference", f"{work.test_rows:,} rows", model.load + work.test_rows * model.answer / processes,
            f"{source}: {_rate(model.answer)}",
        ),
    ]  # fmt: skip
    left_out = {"fetch"} if not work.to_fetch else set()
    left_out |= {"training"} if not work.train_rows else set()
    return [stage for stage in found if stage.name not in left_out]


def _rate(seconds: float) -> str:
    return f"{1 / seconds:.1f} rows/s" if seconds else "no rows"


def estimated_rates(
    config: Idefics2Config, card: Card, rows_per_picture: float, checkpointing: bool
) -> ModelRates:
    """Of a card that is not here, by its maker's figures and `SHARE`; to load, a minute is assumed."""
    rate = card.tflops * 1e12
    return ModelRates(
        60.0,
        training_flops(config, checkpointing) / (SHARE["training"] * rate),
        answering_flops(config, rows_per_picture) / (SHARE["inference"] * rate),
    )


def rows_that_fit(work: Work, found: list[Stage], hours: float) -> int:
    """Train rows with which all stages take at most nine tenths of ``hours``; less than 1: none do."""
    by_name = {stage.name: stage.seconds for stage in found}
    per_row = by_name.get("training", 0.0) / max(1, work.train_rows)
    # Their pictures are fetched and preprocessed for them alone.
    share = work.train_pictures / max(1, work.pictures)
    per_row += share * (by_name.get("fetch", 0.0) + by_name["preprocess"]) / max(1, work.train_rows)
    fixed = sum(by_name.values()) - per_row * work.train_rows
    return int((0.9 * hours * 3600 - fixed) / per_row) if per_row else 0


def gpu_memory(
    config: Idefics2Config, machine: Machine, preset: memory.Preset, dtype: torch.dtype
) -> list[str]:
    """What a card will hold in training and in answering."""
    card = machine.card
    assert card is not None
    merged = memory.is_merged(config, card.memory)
    train = memory.training(config, preset.train_batch_size, preset.gradient_checkpointing, 16, dtype)
    answer = memory.answering(config, preset.predict_batch_size, merged, dtype)
    return [
        f"training: {train} of {card.memory / 1e9:.1f}, {preset.train_batch_size} x {preset.accumulation} rows a step",
        f"inference: {answer} of {card.memory / 1e9:.1f}, {preset.predict_batch_size} rows at once",
    ]
