"""The settings of every stage, one dataclass each: what a command line, a notebook or ``make run`` can set.

`src.data.flags` makes the flags: ``learning_rate`` is ``--learning-rate`` in every command. None stands for a
value that the machine or the size of the model decides.
"""

import contextlib
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MAX_PIXELS = 64_000_000
"""Default limit of a source image; a 0.9 MB PNG of 30,000 x 30,000 px would take 2.5 GiB in memory."""
ROWS = 150_000
"""Default number of sampled rows of ``train.csv``."""
DATA, OUT, MODEL = Path("data/sample"), Path("outputs"), "data/idefics2-tiny"
"""Defaults of ``--data``, ``--out`` and ``--model``."""
HUB_MODEL = "HuggingFaceM4/idefics2-8b"
"""Hub id of the model that the project is made for."""
PROMPT = "{context} {question}"
"""Default words of a prompt: the prompt context (see `reading.context.prompt_context`), then the question."""

_ROWS = (
    "rows of train.csv to sample at most, entities in the proportions of test.csv; other rows need no images"
)
_SEED = "random seed for sampling rows, the held-out split and training"
_RAY = "address of a Ray cluster whose nodes do the work, or auto for the one that this machine belongs to"
_MODEL = "folder or hub id of the model"
_CPU = "let a model that needs a GPU run without one: it takes about a minute a row"
_DECODERS = "processes that decode images; default: by the machine's cores"


def setting(default: Any, text: str, least: float | None = None, **metadata: Any) -> Any:
    """Return a field with its default, its help text and the least value that makes sense.

    `src.data.flags` also reads ``spellings`` of the flag, the preferred one first, ``choices``, and
    ``positional``.
    """
    return field(default=default, metadata={"help": text, "least": least, **metadata})


def required(text: str, **metadata: Any) -> Any:
    """Return a field without a default, with its help text and metadata as of `setting`."""
    return field(metadata={"help": text, **metadata})


@dataclass(frozen=True, slots=True, kw_only=True)
class EnhanceSettings:
    """Enhancement of a source image into a model image; the defaults are the reference solution's."""

    max_size: int = setting(
        600, "longest side of a model image, px; smaller images are not enlarged", least=1
    )
    clip_limit: float = setting(1.0, "contrast limit of CLAHE, on 8x8 tiles", least=0)
    sigma: float = setting(1.0, "standard deviation of the unsharp mask's Gaussian, px", least=0)
    strength: float = setting(1.5, "strength of the unsharp mask: image + strength * (image - blurred)")


@dataclass(frozen=True, slots=True)
class PreprocessSettings(EnhanceSettings):
    """Settings of ``preprocess.py``."""

    data: Path = setting(DATA, "data folder with train.csv, test.csv and images/")
    out: Path = setting(
        OUT / "processed",
        "folder for the model images; a run's is OUT/processed",
        spellings=("processed", "out"),
    )
    ocr: bool = setting(False, "also read the text of each image into text.jsonl")
    ocr_precision: str = setting(
        "auto", "auto: recognise text in bfloat16 where the CPU has AMX; f32: never", choices=("auto", "f32")
    )
    ocr_device: str = setting(
        "cpu", "read text on the CPU or on a GPU (onnxruntime-gpu)", choices=("cpu", "cuda")
    )
    workers: int | None = setting(None, "processes; default: by the machine's cores", least=1)
    max_pixels: int = setting(MAX_PIXELS, "limit of a source image, px; larger ones fail", least=1)
    rows: int = setting(ROWS, _ROWS, least=1)
    seed: int = setting(0, _SEED)
    all: bool = setting(False, "also process the images of train.csv's rows that are not sampled")
    ray: str | None = setting(None, _RAY)
    shards: bool = setting(False, "write tar files with an index instead of a file per image, for very many")
    per_shard: int = setting(1000, "images in a shard", least=1)

    @property
    def sampled_rows(self) -> int | None:
        """Number of rows of train.csv whose images are needed; None: all."""
        return None if self.all else self.rows


@dataclass(frozen=True, slots=True)
class DownloadSettings:
    """Limits of a download: a link takes at most ``attempts`` times ``seconds`` and the waits in between."""

    connections: int = setting(32, "links that are fetched at the same time", least=1)
    attempts: int = setting(4, "attempts per link", least=1)
    timeout: float = setting(10.0, "longest wait for a connection or the next piece of a response, seconds")
    seconds: float = setting(60.0, "longest duration of an attempt, seconds")
    backoff: float = setting(
        0.5, "wait before the second attempt, seconds; doubles each time, half is jitter"
    )
    longest_wait: float = setting(
        30.0, "longest Retry-After that is waited for, seconds; else the link fails"
    )
    max_bytes: int = setting(50_000_000, "limit of a file, bytes", least=1)
    max_redirects: int = setting(5, "redirects that an attempt follows")
    host_failures: int = setting(
        10, "failed links in a row after which the other links of a host are left until the end", least=1
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraSettings:
    """Low-rank adapters of text model and connector (LoRA: arXiv:2106.09685; QLoRA: arXiv:2305.14314)."""

    lora_r: int = setting(16, "rank of the LoRA matrices", least=1)
    lora_alpha: int = setting(32, "numerator of the LoRA matrices' scale, alpha / rank")
    lora_dropout: float = setting(0.05, "share of the LoRA inputs left out in training")


@dataclass(frozen=True, slots=True)
class TrainSettings(LoraSettings):
    """Settings of ``training.ipynb`` and ``src.train``; None: as `modeling.Preset` has it for the model."""

    data: Path = required("data folder with train.csv")
    out: Path = required("run folder with processed/; adapter/ and metrics.jsonl are written there")
    model: str = setting(MODEL, _MODEL)
    rows: int = setting(ROWS, _ROWS, least=1)
    epochs: float = setting(1.0, "passes over the rows", least=0)
    batch_size: int | None = setting(None, "rows that go through the model at once", least=1)
    accumulation: int | None = setting(
        None, "batches per optimizer step; several processes share out their rows", least=1
    )
    learning_rate: float | None = setting(None, "learning rate after the warm-up, where it is highest")
    warmup: float = setting(0.03, "share of the steps in which the learning rate rises", least=0)
    gradient_checkpointing: bool | None = setting(None, "save memory for a third more time")
    prompt: str = setting(
        PROMPT, "words of the prompt; recorded in the adapter, so that answering uses the same"
    )
    image_splitting: bool = setting(
        False, "show an image as five: 320 image tokens instead of 64, about three times the time"
    )
    workers: int | None = setting(None, _DECODERS, least=0)
    ocr: bool = setting(True, "put text lines into the prompts, and let the audit decide on the labels")
    audit: bool = setting(True, "audit the labels; without, they stay (with OCR the audit is still shown)")
    empty_share: float = setting(
        0.15, "share of rows with an empty answer, made of questions that the images do not answer", least=0
    )
    held_out: float = setting(0.1, "share of the images that are held out of training", least=0)
    scored_rows: int = setting(
        500, "held-out rows to score at most, about; all are answered for the F1", least=1
    )
    evaluations: int = setting(4, "evaluations of the adapter in the run; the best one is kept", least=1)
    checkpoint_steps: int = setting(200, "optimizer steps between checkpoints", least=1)
    overwrite: bool = setting(False, "replace a finished adapter of other settings")
    cpu: bool = setting(False, _CPU)
    seed: int = setting(0, _SEED)

    @property
    def rows_per_step(self) -> int:
        """Rows of an optimizer step, of all processes together; known once the settings are resolved."""
        return (self.batch_size or 1) * (self.accumulation or 1)


@dataclass(frozen=True, slots=True)
class PredictSettings:
    """Settings of ``inference.ipynb`` and ``src.predict``."""

    data: Path = required("data folder with test.csv")
    out: Path = required("run folder with processed/ and adapter/; test_out.csv is written there")
    model: str = setting(MODEL, f"{_MODEL} that the adapter was trained on")
    predict_batch_size: int | None = setting(
        None, "rows answered at once; default: by the model's size; halved when memory is short", least=1
    )
    merged: bool | None = setting(
        None, "merge the adapter into the dequantised base model; default: where memory allows it"
    )
    cpu: bool = setting(False, _CPU)
    workers: int | None = setting(None, _DECODERS, least=0)
    ray: str | None = setting(None, _RAY)


@dataclass(frozen=True, slots=True)
class RunSettings:
    """Settings that ``src.run`` gives to every stage that has them."""

    data: Path = setting(DATA, "data folder with test.csv, images/ and, to train on, train.csv")
    out: Path = setting(OUT, "run folder; every stage writes there")
    model: str = setting(MODEL, _MODEL)
    ocr: bool = setting(True, "read the text of the images; without, the model sees images only")


@dataclass(frozen=True, slots=True)
class RulesSettings:
    """Settings of ``src.rules``."""

    data: Path = required("data folder with test.csv")
    processed: Path = required("folder that preprocess.py --ocr wrote")
    predictions: Path = required("prediction file to write", spellings=("predictions", "out"))
    strict: bool = setting(False, "exit with 1 after an unexpected error on an image")


@dataclass(frozen=True, slots=True)
class PlanSettings:
    """Settings of ``src.plan``."""

    data: Path = setting(DATA, "data folder with train.csv, test.csv and images/")
    model: str = setting(MODEL, _MODEL)
    rows: int = setting(ROWS, _ROWS, least=1)
    gpu: str | None = setting(None, "card to estimate for, of those in src/plan; default: the one here")
    gpus: int | None = setting(None, "number of GPUs; default: as many as are here, or else one", least=1)
    cores: int | None = setting(None, "CPU cores of the machine; default: those of this one", least=1)
    catalogues: bool = setting(False, "also estimate catalogues of 350 thousand to a billion images")
    hours: float | None = setting(None, "limit of the run, hours; what would fit it is suggested")


@dataclass(frozen=True, slots=True)
class SanitySettings:
    """Settings of ``src/sanity.py``."""

    predictions: Path = required("prediction file with index,prediction", spellings=("predictions", "file"))
    test: Path | None = setting(
        None, "test file that the predictions answer: checks indices and units per entity, too"
    )


@dataclass(frozen=True, slots=True)
class MetricsSettings:
    """Settings of ``src.metrics``."""

    truth: Path = required("CSV file with index and entity_value, gold or prediction: the true values")
    predictions: Path = required("prediction file with index,prediction", spellings=("predictions", "pred"))


@dataclass(frozen=True, slots=True)
class AskSettings:
    """Settings of ``src.ask``."""

    photos: list[str] = required("image files, or http(s) links to them", positional=True)
    entity: str | None = setting(None, "what to ask, such as height; default: all entities")
    adapter: Path | None = setting(
        None, "run folder whose adapter and model answer; default: no model, the rules answer"
    )
    json: bool = setting(False, "print a line of JSON per photo instead of a table")
    save: Path | None = setting(
        None, "PNG file for the photo with text lines, options and answers; of several photos, numbered"
    )


@dataclass(frozen=True, slots=True)
class ReportSettings:
    """Settings of ``src.report``."""

    out: Path = setting(OUT, "run folder; report.html is written there")
    data: Path | None = setting(None, "data folder of the run; default: the one that the run recorded in OUT")
    rows: int = setting(2000, "rows to show at most", spellings=("shown", "rows"))
    train: bool = setting(False, "also show train rows: label, audit's verdict")
    compare: Path | None = setting(
        None, "run folder, or CSV file with index,prediction, to compare the answers with"
    )


def cpu_count(cgroups: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")) -> int:
    """Return the cores that this process may use: its affinity, at most its control groups' quota rounded up.

    A container limits its processes by such quotas; those of all groups above this process count. Linux
    documents their versions 2 (cgroup-v2.rst) and 1 (sched-bwc.rst).
    """
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    lines = membership.read_text().splitlines() if membership.is_file() else []
    names = {line.split(":", 2)[-1].strip("/") for line in lines} | {""}
    groups = {parent for name in names for parent in (Path(name), *Path(name).parents)}
    quotas = [_quota(cgroups / root / group) for root in ("", "cpu", "cpu,cpuacct") for group in groups]
    return max(1, min([cores, *(math.ceil(quota) for quota in quotas if quota)]))


def _quota(group: Path) -> float:
    """Return the cores that a control group may use; 0 if it has no limit or none that can be read."""
    for files in (["cpu.max"], ["cpu.cfs_quota_us", "cpu.cfs_period_us"]):
        with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
            quota, period = (int(number) for file in files for number in (group / file).read_text().split())
            return max(0.0, quota / period)
    return 0


def decoding_workers(workers: int | None, cuda: bool) -> int:
    """Return the processes that decode images for the model: ``workers``, or by default as the cores allow.

    With a GPU, nearly all cores of this process's share; without, the model itself needs them.
    """
    if workers is not None:
        return workers
    cores = cpu_count() // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(1, min(12, cores - 1)) if cuda else int(cores > 2)
