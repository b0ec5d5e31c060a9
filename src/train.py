"""QLoRA fine-tuning of an IDEFICS2: what ``training.ipynb`` calls, and for several GPUs

    accelerate launch -m src.train --data my/folder --out my/results --model HuggingFaceM4/idefics2-8b

The adapter folder appears whole. A run that was cut off goes on from its last whole checkpoint; a finished
one with the same settings and data is not repeated.
"""

import dataclasses
import json
import os
import shutil
from typing import Any

import torch

from src import metrics
from src.data.errors import run_main
from src.data.files import fingerprint
from src.data.flags import parser_for, settings_of
from src.data.folders import DataFolder, ProcessedFolder, RunFolder
from src.model.memory import training
from src.model.modeling import (
    add_lora,
    card_memory,
    load_base,
    load_config,
    load_processor,
    lora_config,
    model_stamp,
    preset_for,
)
from src.model.precision import compute_dtype
from src.settings import TrainSettings
from src.training import adapter
from src.training.adapter import TrainResult
from src.training.rows import TrainData, load_data
from src.training.trainer import BEST, fit, training_arguments


def resolve(settings: TrainSettings) -> TrainSettings:
    """``settings`` with the preset's values for what is None. Raises `InputError`."""
    preset = preset_for(load_config(settings.model))
    return dataclasses.replace(
        settings,
        batch_size=settings.batch_size or preset.train_batch_size,
        accumulation=settings.accumulation or preset.accumulation,
        learning_rate=settings.learning_rate or preset.learning_rate,
        gradient_checkpointing=preset.gradient_checkpointing
        if settings.gradient_checkpointing is None
        else settings.gradient_checkpointing,
    )


def train(settings: TrainSettings, data: TrainData | None = None) -> TrainResult:
    """Train, score on held-out rows, save the adapter to ``out/adapter``; or return the result that is there
    already.

    ``data`` is `load_data` of the same settings where that is at hand: the audit of all rows takes minutes.
    Raises `InputError` for data or a model that cannot be used, for a loss that is no number, and when memory
    or disk do not suffice.
    """
    settings = resolve(settings)
    run = RunFolder(settings.out)
    folder, key = run.adapter, _fingerprint(settings)
    if finished := adapter.load_result(folder, key):
        print(f"{folder} is already trained with these settings and data")
        return finished
    # Processes share out the rows of a step: a run of another number of them must not go on from these
    # checkpoints.
    checkpoints = run.checkpoints / f"{key[:12]}-{os.environ.get('WORLD_SIZE', '1')}"
    arguments = training_arguments(settings, checkpoints)
    data = data or load_data(settings)
    processor = load_processor(settings.model, settings.image_splitting)
    torch.manual_seed(settings.seed)  # LoRA's starting weights
    if arguments.process_index == 0:
        _print_estimate(settings)
    model = add_lora(load_base(settings.model), lora_config(settings), bool(settings.gradient_checkpointing))
    log = fit(model, processor, data, settings, arguments)
    if arguments.process_index == 0:
        record = {
            "fingerprint": key,
            "settings": _plain(settings),
            "log": log,
            "trained_on": len(data.questions),
        }
        record["empty"] = sum(not question.label for question in data.questions)
        adapter.save(checkpoints / BEST, folder, record)
        shutil.rmtree(run.checkpoints, ignore_errors=True)
    arguments.distributed_state.wait_for_everyone()
    result = adapter.load_result(folder, key)
    assert result is not None
    return result


def _print_estimate(settings: TrainSettings) -> None:
    """What the GPU's memory will hold, before it is filled; nothing without one."""
    if card := card_memory():
        size, checkpointing = settings.batch_size or 1, bool(settings.gradient_checkpointing)
        estimate = training(
            load_config(settings.model), size, checkpointing, settings.lora_r, compute_dtype()
        )
        print(
            f"memory, estimated: {estimate} of {card / 1e9:.1f} for batches of {size} x {settings.accumulation}"
        )


def _plain(settings: TrainSettings) -> dict[str, Any]:
    """The settings as JSON values, without the paths: a moved folder changes nothing."""
    return {key: value for key, value in dataclasses.asdict(settings).items() if key not in ("data", "out")}


_NOT_IN_RESULT = (
    "workers",
    "checkpoint_steps",
    "evaluations",
    "batch_size",
    "accumulation",
    "gradient_checkpointing",
)
"""Settings that change how fast an adapter is made, but not which one; of the two sizes the product
counts."""


def _fingerprint(settings: TrainSettings) -> str:
    """What the adapter depends on: settings, base model, tables, processed pictures."""
    data, processed = DataFolder(settings.data), ProcessedFolder(RunFolder(settings.out).processed)
    depends_on = dict.fromkeys(processed.manifests, "run preprocess.py first")
    depends_on[data.train] = "a data folder needs this file"
    if settings.ocr:
        depends_on |= dict.fromkeys(processed.texts or [processed.text], "run preprocess.py with --ocr")
    if data.test.is_file():  # its proportions
        depends_on[data.test] = ""
    values = {key: value for key, value in _plain(settings).items() if key not in _NOT_IN_RESULT}
    values["rows_per_step"] = (settings.batch_size or 1) * (settings.accumulation or 1)
    return fingerprint(json.dumps([values, model_stamp(settings.model)]), depends_on)


def main() -> int:
    """Command line."""
    given = parser_for(TrainSettings, description="Fine-tune an IDEFICS2 with QLoRA.").parse_args()
    result = train(settings_of(TrainSettings, vars(given)))
    if os.environ.get("RANK", "0") == "0":
        print(f"{result.adapter}\n{metrics.show(result.scores)}")
    return 0


if __name__ == "__main__":
    run_main(main)
