"""The settings of the long stages, one dataclass each."""

import os
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class LoraSettings:
    """Low-rank adapters on text model and connector (Hu et al. 2021, arXiv:2106.09685; QLoRA, arXiv:2305.14314)."""

    r: int = 16
    alpha: int = 32
    dropout: float = 0.05


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """One run of ``training.ipynb``. None: the preset's value for the model's size (see `modeling.Preset`)."""

    data: Path
    out: Path  # holds processed/; adapter/ and metrics.jsonl are written into it
    model: str
    rows: int = 150_000  # at most so many, entities in the proportions of test.csv
    epochs: float = 1.0
    batch_size: int | None = None  # rows per process that go through the model together
    accumulation: int | None = None  # batches per optimizer step
    learning_rate: float | None = None
    warmup: float = 0.03  # share of the steps
    gradient_checkpointing: bool | None = None  # less memory, a third more time
    image_splitting: bool = False  # a picture as five: 320 image tokens instead of 64, about three times the time
    workers: int | None = None  # processes that decode pictures; None: see `decoding_workers`
    ocr: bool = True  # what was read goes into the prompts, and the audit decides on the labels
    audit: bool = True  # False: labels as they are (with OCR the audit is shown nevertheless)
    empty_share: float = 0.15  # of the training rows; made from questions that pictures do not answer
    held_out: float = 0.1  # share of the pictures
    scored_rows: int = 500  # held-out rows at most, about; all are answered for the F1
    evaluations: int = 4  # how often in the run; the adapter of the best one is kept
    checkpoint_steps: int = 200
    seed: int = 0
    lora: LoraSettings = field(default_factory=LoraSettings)


@dataclass(frozen=True, slots=True)
class PredictSettings:
    """One run of ``inference.ipynb``."""

    data: Path
    out: Path  # holds processed/ and adapter/; test_out.csv is written into it
    model: str
    batch_size: int | None = None  # rows; None: the preset's; halved by itself when memory is short
    merged: bool | None = None  # adapter merged into the dequantised base; None: where memory allows it
    workers: int | None = None  # processes that decode pictures; None: see `decoding_workers`


def decoding_workers(wanted: int | None, cuda: bool) -> int:
    """Processes that decode pictures for the model: ``wanted``, or what this machine's cores allow.

    With a GPU, nearly all cores of this process's share; without, the model itself needs them.
    """
    if wanted is not None:
        return wanted
    cores = (os.cpu_count() or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(1, min(12, cores - 1)) if cuda else int(cores > 2)
