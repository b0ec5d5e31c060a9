"""The settings of every stage, one dataclass each: what a command line, a notebook or ``make run`` can set.

Flags are made of them (`data.flags`): ``learning_rate`` is ``--learning-rate`` everywhere. None means: chosen
by the machine or by the size of the model.
"""

import contextlib
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MAX_PIXELS = 64_000_000
"""A 0.9 MB PNG of 30,000 x 30,000 passes OpenCV's own limit and takes 2.5 GiB."""
ROWS = 150_000
_ROWS = "of train.csv, at most so many, entities in the proportions of test.csv; pictures of other rows are not needed"
_SEED = "of all that is drawn"
_RAY = "address of a Ray cluster, or auto for the one that runs here: its nodes do the work"


def _setting(default: Any, what: str, least: float | None = None) -> Any:
    """A field with its default and what it is, with its unit; ``least``: the lowest value that makes
    sense."""
    return field(default=default, metadata={"help": what, "least": least})


def _required(what: str) -> Any:
    return field(metadata={"help": what, "least": None})


@dataclass(frozen=True, slots=True, kw_only=True)
class EnhanceSettings:
    """How a picture is made ready for the model (defaults: the reference solution's)."""

    max_size: int = _setting(
        600, "long side of a processed picture, px; smaller ones are not enlarged", least=1
    )
    clip_limit: float = _setting(1.0, "contrast limit of CLAHE, on 8x8 tiles", least=0)
    sigma: float = _setting(1.0, "of the unsharp mask's Gaussian, px", least=0)
    strength: float = _setting(1.5, "of the unsharp mask: picture + strength * (picture - blurred)")


@dataclass(frozen=True, slots=True)
class PreprocessSettings(EnhanceSettings):
    """One run of ``preprocess.py``."""

    data: Path = _setting(Path("data/sample"), "data folder: train.csv, test.csv, images/")
    out: Path = _setting(Path("outputs/processed"), "folder for the processed pictures")
    ocr: bool = _setting(False, "also read the text of each picture into text.jsonl")
    workers: int | None = _setting(None, "processes; default: by the machine's cores", least=1)
    max_pixels: int = _setting(MAX_PIXELS, "limit of one picture, px; larger ones fail", least=1)
    rows: int = _setting(ROWS, _ROWS, least=1)
    seed: int = _setting(0, _SEED)
    all: bool = _setting(False, "also the pictures of rows of train.csv that are not drawn")
    ray: str | None = _setting(None, _RAY)
    shards: bool = _setting(
        False, "into tar files with an index instead of a file per picture: for very many"
    )
    per_shard: int = _setting(1000, "pictures in a shard", least=1)

    @property
    def drawn_rows(self) -> int | None:
        """Rows of train.csv whose pictures are needed; None: all."""
        return None if self.all else self.rows


@dataclass(frozen=True, slots=True)
class DownloadSettings:
    """Limits of a download; a link is done with after ``attempts`` times ``seconds`` and the waits between
    them."""

    connections: int = _setting(32, "links that are fetched at a time", least=1)
    attempts: int = _setting(4, "per link", least=1)
    timeout: float = _setting(10.0, "to connect, and between two pieces of a response, seconds")
    seconds: float = _setting(60.0, "for one whole attempt, seconds")
    backoff: float = _setting(
        0.5, "before the second attempt, then doubled each time; half is jitter, seconds"
    )
    longest_wait: float = _setting(
        30.0, "a server that asks for more (Retry-After) is not asked again, seconds"
    )
    max_bytes: int = _setting(50_000_000, "limit of one file, bytes", least=1)
    max_redirects: int = _setting(5, "per attempt")
    host_failures: int = _setting(
        10, "links of one host that fail in a row; then its others wait for the end", least=1
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraSettings:
    """Low-rank adapters on text model and connector (Hu et al. 2021, arXiv:2106.09685; QLoRA,
    arXiv:2305.14314)."""

    lora_r: int = _setting(16, "rank of the LoRA matrices", least=1)
    lora_alpha: int = _setting(32, "their scale is alpha / r")
    lora_dropout: float = _setting(0.05, "share of their inputs left out in training")


@dataclass(frozen=True, slots=True)
class TrainSettings(LoraSettings):
    """One run of ``training.ipynb``. None: the preset's value for the model's size (see
    `modeling.Preset`)."""

    data: Path = _required("data folder with train.csv")
    out: Path = _required("run folder with processed/; adapter/ and metrics.jsonl are written there")
    model: str = _setting("data/idefics2-tiny", "folder or hub id")
    rows: int = _setting(ROWS, _ROWS, least=1)
    epochs: float = _setting(1.0, "passes over the rows", least=0)
    batch_size: int | None = _setting(None, "rows that a process puts through the model at once", least=1)
    accumulation: int | None = _setting(None, "batches per optimizer step", least=1)
    learning_rate: float | None = _setting(None, "the highest, after the warm-up")
    warmup: float = _setting(0.03, "share of the steps", least=0)
    gradient_checkpointing: bool | None = _setting(None, "less memory, a third more time")
    image_splitting: bool = _setting(
        False, "a picture as five: 320 image tokens instead of 64, about three times the time"
    )
    workers: int | None = _setting(
        None, "processes that decode pictures; default: by the machine's cores", least=0
    )
    ocr: bool = _setting(True, "what was read goes into the prompts, and the audit decides on the labels")
    audit: bool = _setting(True, "off: labels as they are (with OCR the audit is shown nevertheless)")
    empty_share: float = _setting(
        0.15, "of the rows with an empty answer, made from questions that pictures do not answer", least=0
    )
    held_out: float = _setting(0.1, "share of the pictures that are not trained on", least=0)
    scored_rows: int = _setting(500, "held-out rows at most, about; all are answered for the F1", least=1)
    evaluations: int = _setting(4, "how often in the run; the adapter of the best one is kept", least=1)
    checkpoint_steps: int = _setting(200, "optimizer steps between checkpoints", least=1)
    seed: int = _setting(0, _SEED)


@dataclass(frozen=True, slots=True)
class PredictSettings:
    """One run of ``inference.ipynb``, or of ``src.predict``."""

    data: Path = _required("data folder with test.csv")
    out: Path = _required("run folder with processed/ and adapter/; test_out.csv is written there")
    model: str = _setting("data/idefics2-tiny", "what the adapter was trained on")
    predict_batch_size: int | None = _setting(
        None, "rows; default: by the model's size; halved when memory is short", least=1
    )
    merged: bool | None = _setting(
        None, "adapter merged into the dequantised base; default: where memory allows it"
    )
    workers: int | None = _setting(
        None, "processes that decode pictures; default: by the machine's cores", least=0
    )
    ray: str | None = _setting(None, _RAY)


@dataclass(frozen=True, slots=True)
class PlanSettings:
    """One run of ``src.plan``."""

    data: Path = _setting(Path("data/sample"), "data folder")
    model: str = _setting("data/idefics2-tiny", "folder or hub id")
    rows: int = _setting(ROWS, "rows of train.csv, as for the run", least=1)
    gpu: str | None = _setting(
        None, "estimate for this card (src/plan/catalogue.py lists them); default: the one here"
    )
    gpus: int | None = _setting(None, "how many of them; default: as many as are here, else one", least=1)
    cores: int | None = _setting(None, "cores of that machine; default: of this one", least=1)
    catalogues: bool = _setting(False, "also what 350 thousand to a billion images take")
    hours: float | None = _setting(None, "a limit: whether the run fits it, and if not, what would")


def cpu_count(cgroups: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> int:
    """Cores that this process may use: those of its affinity, at most its control groups' quota (a
    container's limit).

    Version 1 and 2 of Linux' control groups, see its documentation (cgroup-v2.rst, sched-bwc.rst); the quota
    of a group that this process is in at any level counts, rounded up.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    groups = own.read_text().splitlines() if own.is_file() else []
    names = {line.split(":", 2)[-1].strip("/") for line in groups} | {""}
    paths = {parent for name in names for parent in (Path(name), *Path(name).parents)}
    quotas = [_quota(cgroups / root / path) for root in ("", "cpu", "cpu,cpuacct") for path in paths]
    return max(1, min([cores, *(math.ceil(quota) for quota in quotas if quota)]))


def _quota(group: Path) -> float:
    """Cores that a control group may use; 0: no limit there, or none that can be read."""
    for files in (["cpu.max"], ["cpu.cfs_quota_us", "cpu.cfs_period_us"]):
        with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
            quota, period = (int(number) for file in files for number in (group / file).read_text().split())
            return max(0.0, quota / period)
    return 0


def decoding_workers(wanted: int | None, cuda: bool) -> int:
    """Processes that decode pictures for the model: ``wanted``, or what this machine's cores allow.

    With a GPU, nearly all cores of this process's share; without, the model itself needs them.
    """
    if wanted is not None:
        return wanted
    cores = cpu_count() // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(1, min(12, cores - 1)) if cuda else int(cores > 2)
