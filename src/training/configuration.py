"""The settings of a training as the objects that peft and transformers take, and the key of its result."""

import dataclasses
import importlib.util
import os
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from transformers import TrainingArguments

from src.data import files
from src.data.contents import image_contents
from src.data.errors import InputError
from src.data.folders import DataFolder, RunFolder
from src.data.names import image_names, read_files
from src.data.sampling import proportions, read_sampled
from src.model.contents import model_contents
from src.model.modeling import load_config, preset_for
from src.model.precision import compute_dtype
from src.settings import TrainSettings, decoding_workers
from src.training.adapter import as_json

NOT_IN_RESULT = (
    "workers",
    "checkpoint_steps",
    "evaluations",
    "batch_size",
    "accumulation",
    "gradient_checkpointing",
    "model",
)
"""Settings that change how fast an adapter is made, but not which one; the product of the sizes counts.

Of the model the contents count, by whatever path or id it is given.
"""


def resolve(settings: TrainSettings) -> TrainSettings:
    """Return ``settings`` with the preset's values in place of None. Raises `InputError`."""
    preset = preset_for(load_config(settings.model))
    values: dict[str, Any] = {
        "batch_size": preset.train_batch_size,
        "accumulation": preset.accumulation,
        "learning_rate": preset.learning_rate,
        "gradient_checkpointing": preset.gradient_checkpointing,
    }
    missing = {name: value for name, value in values.items() if getattr(settings, name) is None}
    return dataclasses.replace(settings, **missing)


class OneGpuArguments(TrainingArguments):
    """`TrainingArguments` for one GPU, however many the process sees: an NF4 model cannot be split."""

    @property
    def n_gpu(self) -> int:
        """Return the number of GPUs that this process uses."""
        return min(1, super().n_gpu)


def training_arguments(settings: TrainSettings, checkpoints: Path) -> TrainingArguments:
    """Return `Trainer`'s arguments for resolved ``settings``.

    Making them also finds this process's rank among others, and its GPU.
    """
    cuda = torch.cuda.is_available()
    tensorboard = importlib.util.find_spec("tensorboard") is not None
    if tensorboard:
        os.environ.setdefault("TENSORBOARD_LOGGING_DIR", str(settings.out / "tensorboard"))
    return OneGpuArguments(
        output_dir=str(checkpoints),
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.batch_size,
        gradient_accumulation_steps=settings.accumulation,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=settings.warmup,  # below 1 a share of the steps
        # A paged optimizer does not survive a resume on several GPUs.
        optim="adamw_8bit" if cuda else "adamw_torch",
        bf16=cuda and compute_dtype() is torch.bfloat16,
        fp16=cuda and compute_dtype() is torch.float16,
        use_cpu=not cuda,
        ddp_backend="gloo" if not cuda and int(os.environ.get("WORLD_SIZE", "1")) > 1 else None,
        ddp_find_unused_parameters=False,
        train_sampling_strategy="sequential",  # keeps the order of `rows.bucketed`
        dataloader_num_workers=decoding_workers(settings.workers, cuda),
        dataloader_pin_memory=cuda,
        remove_unused_columns=False,
        # The loss is checked whenever it is logged, and that must come before the next checkpoint.
        logging_steps=10 if cuda and settings.checkpoint_steps % 10 == 0 else 1,
        logging_nan_inf_filter=False,
        eval_strategy="steps",
        eval_steps=0.999 / settings.evaluations,  # a share of the steps; 1 would mean one step
        save_steps=settings.checkpoint_steps,
        save_total_limit=2,
        seed=settings.seed,
        report_to="tensorboard" if tensorboard else "none",
        disable_tqdm=True,
    )


def settings_in_use(settings: TrainSettings, lora: LoraConfig, arguments: TrainingArguments) -> TrainSettings:
    """Return ``settings`` with the values of ``lora`` and ``arguments``, which a notebook may change."""
    return dataclasses.replace(
        settings,
        lora_r=lora.r,
        lora_alpha=lora.lora_alpha,
        lora_dropout=lora.lora_dropout,
        epochs=arguments.num_train_epochs,
        batch_size=arguments.per_device_train_batch_size,
        accumulation=arguments.gradient_accumulation_steps,
        learning_rate=arguments.learning_rate,
        warmup=arguments.warmup_steps,
    )


def cache_key(settings: TrainSettings) -> str:
    """Return what decides whether an adapter is current: all that training depends on.

    These are resolved settings, the contents of the model's files, the entities' proportions in the test
    table, and the sampled rows with their labels and the contents of their images. Raises `InputError` when
    one of these is missing.
    """
    data = DataFolder(settings.data)
    sampled = read_sampled(settings.data, settings.rows, settings.seed)
    if sampled.train is None:
        raise InputError(f"{data.train}: not found; a data folder needs this file")
    table = sampled.train
    images = image_names(table["image_link"], read_files(settings.data))
    cells = (table.index, images, table["entity_name"], table["entity_value"], table["group_id"])
    values = {name: value for name, value in as_json(settings).items() if name not in NOT_IN_RESULT}
    values["rows_per_step"] = (settings.batch_size or 1) * (settings.accumulation or 1)
    contents = image_contents(RunFolder(settings.out).processed, images, settings.ocr)
    asked = () if sampled.test is None else sampled.test["entity_name"]
    rows = list(zip(*cells, strict=True))
    return files.cache_key([values, model_contents(settings.model), proportions(asked), rows, contents])
