"""The plan of a run: the time of each stage on this machine or another, and changes that fit it into hours.

    python -m src.plan --data my/folder --model HUB_ID --gpu T4 --gpus 2 --hours 9

Some of the folder's own images and rows are really preprocessed, trained on and answered, in a temporary
folder, and the rates are scaled. What cannot run here (a model that needs a GPU, a card that is not here) is
estimated from the card's data sheet.
"""

import tempfile
from pathlib import Path

import torch
from transformers import PreTrainedConfig

from src.data.errors import InputError, run_main
from src.data.flags import settings_from_command_line
from src.data.folders import DataFolder
from src.data.names import image_names, read_files
from src.data.sampling import SampledTables, read_sampled
from src.model.family import hub_config
from src.model.memory import is_small
from src.model.modeling import load_config
from src.plan.catalogue import CARDS, card_here
from src.plan.measure import image_rates, with_model
from src.plan.stages import (
    ROWS_PER_IMAGE,
    Machine,
    Rates,
    Stage,
    Work,
    advice,
    catalogue_table,
    estimated,
    gpu_memory,
    stages,
)
from src.settings import HUB_MODEL, PlanSettings, cpu_count

WEIGHT_BYTES = 33.6e9
"""Bytes of `HUB_MODEL` that are fetched."""
WORKER_BYTES = 0.9e9
"""Bytes of a process that reads text; 0.5 to 0.9 GB were measured, by the sizes of its images."""


def plan(settings: PlanSettings) -> str:
    """Return the plan as text. Raises `InputError`."""
    sampled = read_sampled(settings.data, settings.rows, 0)
    # The published configuration where the model has not been fetched yet.
    config = hub_config() if settings.model == HUB_MODEL else load_config(settings.model)
    work, machine = work_of(settings.data, sampled), machine_of(settings, config)
    with tempfile.TemporaryDirectory() as folder:
        rates = image_rates(settings.data, sampled, cpu_count(), Path(folder))
        if machine.card:
            per_image = work.test_rows / work.test_images if work.test_images else ROWS_PER_IMAGE
            rates = estimated(rates, config, machine.card, per_image)
        if not settings.gpu and (is_small(config) or torch.cuda.is_available()):
            rates = with_model(settings.model, Path(folder) / "more", rates)
    planned = stages(work, machine, rates)
    where = f"{machine.gpus} x {machine.card.name}" if machine.card else "no GPU"
    lines = [f"{settings.data} with {settings.model} on {machine.cores} cores, {where}", ""]
    lines += [*_stage_lines(planned), "", *_needs(settings.model, work, machine, rates)]
    if machine.card:
        lines += [f"GPU memory, estimated, {line}" for line in gpu_memory(config, machine.card)]
    if settings.hours:
        lines += ["", *advice(work, planned, settings.hours)]
    if settings.catalogues:
        card = CARDS[settings.gpu or "H100"]
        answer = estimated(rates, hub_config(), card, ROWS_PER_IMAGE).answer
        lines += ["", f"{HUB_MODEL} on catalogues, by the rates of above:"]
        lines += catalogue_table(rates, answer, card.name)
    return "\n".join(lines)


def work_of(data: Path, sampled: SampledTables) -> Work:
    """Return counts of what a run has to do."""
    files, images = read_files(data), DataFolder(data).images
    trained, tested = (
        [] if table is None else image_names(table["image_link"], files)
        for table in (sampled.train, sampled.test)
    )
    used = {name for name in (*trained, *tested) if name}
    present = {path.name for path in images.iterdir()} if images.is_dir() else set()
    for_training, for_test = used - set(tested), set(tested) - {""}
    return Work(len(used - present), len(used), len(for_training), len(trained), len(tested), len(for_test))


def machine_of(settings: PlanSettings, config: PreTrainedConfig) -> Machine:
    """Return the machine that the plan is for: with a T4 where the model needs a GPU and there is none.

    Raises `InputError` for a card that is not in the catalogue.
    """
    cores, here = settings.cores or cpu_count(), torch.cuda.is_available()
    if settings.gpu and settings.gpu not in CARDS:
        raise InputError(f"--gpu {settings.gpu}: not a known card; name one of {', '.join(CARDS)}")
    if not settings.gpu and not here and is_small(config):
        return Machine(cores)
    card = card_here() if here and not settings.gpu else CARDS[settings.gpu or "T4"]
    return Machine(cores, settings.gpus or max(1, torch.cuda.device_count()), card)


def _stage_lines(planned: list[Stage]) -> list[str]:
    width, total = max(len(stage.work) for stage in planned), sum(stage.seconds for stage in planned)
    lines = [f"{s.name:<11} {s.work:<{width}} {_time(s.seconds):>9}  {s.source}" for s in planned]
    return [*lines, f"{'all':<11} {'':<{width}} {_time(total):>9}"]


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _needs(model: str, work: Work, machine: Machine, rates: Rates) -> list[str]:
    """Return lines about disk and memory."""
    disk = work.images * (rates.processed_bytes + rates.text_bytes) + work.to_fetch * rates.source_bytes
    weights, memory = WEIGHT_BYTES if model == HUB_MODEL else 0.0, machine.cores * WORKER_BYTES
    return [
        f"disk: {disk / 1e9:.1f} GB of images and texts, {weights / 1e9:.1f} GB of weights from the hub",
        f"memory: about {memory / 1e9:.0f} GB while text is read (0.9 GB a process)",
    ]


def main() -> int:
    """Print the plan for the settings on the command line."""
    print(plan(settings_from_command_line(PlanSettings, "What each stage of a run will take.")))
    return 0


if __name__ == "__main__":
    run_main(main)
