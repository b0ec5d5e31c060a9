"""The settings of a training as the objects that peft and transformers take, and the key of its result."""

import dataclasses
import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from peft import LoraConfig
from transformers import BitsAndBytesConfig

from src.data import files
from src.data.contents import image_contents
from src.data.errors import InputError
from src.data.folders import DataFolder, RunFolder
from src.data.names import image_names, read_files
from src.data.sampling import proportions, read_sampled
from src.entities import ENTITIES
from src.model.collator import TrainingCollator, training_collator
from src.model.contents import model_contents
from src.model.modeling import load_config, load_processor, lora_config, preset_for, quantization_config
from src.model.precision import compute_dtype
from src.model.prompts import Prompt, check_template
from src.settings import TrainSettings, decoding_workers
from src.training.adapter import as_json

NOT_IN_RESULT = (
    "workers",
    "checkpoint_steps",
    "evaluations",
    "batch_size",
    "accumulation",
    "gradient_checkpointing",
    "cpu",
    "model",
    "overwrite",
)
"""Settings that are not in the cache key; instead of the sizes their product is.

Of the model the contents count, by whatever path or id it is given.
"""

_RECIPE_ARGUMENTS = ("lr_scheduler_type", "weight_decay", "max_grad_norm", "adam_beta1", "adam_beta2")
"""Arguments of the trainer that no setting covers, and that a notebook may change."""
_NOT_OF_THE_RECIPE = (
    *("base_model_name_or_path", "inference_mode", "peft_version", "revision"),
    *("r", "lora_alpha", "lora_dropout"),
)
"""Fields of a LoRA configuration that change when it is put on a model or saved, or that are settings."""


def resolve(settings: TrainSettings) -> TrainSettings:
    """Return ``settings`` with the preset's values in place of None. Raises `InputError`."""
    check_template(settings.prompt)
    preset = preset_for(load_config(settings.model), settings.cpu)
    values: dict[str, Any] = {
        "batch_size": preset.train_batch_size,
        "accumulation": preset.accumulation,
        "learning_rate": preset.learning_rate,
        "gradient_checkpointing": preset.gradient_checkpointing,
    }
    missing = {name: value for name, value in values.items() if getattr(settings, name) is None}
    return dataclasses.replace(settings, **missing)


class TrainingArguments(transformers.TrainingArguments):
    """`transformers.TrainingArguments` for one GPU, however many the process sees: NF4 cannot be split."""

    @property
    def n_gpu(self) -> int:
        """Return the number of GPUs that this process uses."""
        return min(1, super().n_gpu)


def training_arguments(settings: TrainSettings, checkpoints: Path) -> TrainingArguments:
    """Return `Trainer`'s arguments for resolved ``settings``: the recipe's, and the machine's.

    Making them also finds this process's rank among others, and its GPU. Raises `InputError`.
    """
    batch_size, accumulation = per_process(settings, int(os.environ.get("WORLD_SIZE", "1")))
    return TrainingArguments(
        **machine_arguments(settings, checkpoints),
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=batch_size,
        gradient_accumulation_steps=accumulation,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=settings.warmup,  # below 1 a share of the steps
    )


def machine_arguments(settings: TrainSettings, checkpoints: Path) -> dict[str, Any]:
    """Return the arguments that follow from this machine, and from how this project logs and evaluates."""
    cuda, processes = torch.cuda.is_available(), int(os.environ.get("WORLD_SIZE", "1"))
    tensorboard = importlib.util.find_spec("tensorboard") is not None
    if tensorboard:
        os.environ.setdefault("TENSORBOARD_LOGGING_DIR", str(settings.out / "tensorboard"))
    return {
        "output_dir": str(checkpoints),
        # An 8-bit one waits for the GPU after each of 496 tensors; a paged one survives no resume on several.
        "optim": "adamw_torch_fused" if cuda else "adamw_torch",
        "bf16": cuda and compute_dtype() is torch.bfloat16,
        "fp16": cuda and compute_dtype() is torch.float16,
        "use_cpu": not cuda,
        "ddp_backend": "gloo" if not cuda and processes > 1 else None,
        "ddp_find_unused_parameters": False,
        "ddp_broadcast_buffers": False,  # they never change
        "train_sampling_strategy": "sequential",  # keeps the order of `rows.bucketed`
        "dataloader_num_workers": decoding_workers(settings.workers, cuda),
        "dataloader_pin_memory": cuda,
        "remove_unused_columns": False,
        # The loss is checked whenever it is logged, and that must come before the next checkpoint.
        "logging_steps": 10 if cuda and settings.checkpoint_steps % 10 == 0 else 1,
        "logging_nan_inf_filter": False,
        "eval_strategy": "steps",
        "eval_steps": 0.999 / settings.evaluations,  # a share of the steps; 1 would mean one step
        "save_steps": settings.checkpoint_steps,
        "save_total_limit": 2,
        "seed": settings.seed,
        "report_to": "tensorboard" if tensorboard else "none",
        "disable_tqdm": True,
    }


def per_process(settings: TrainSettings, processes: int) -> tuple[int, int]:
    """Return batch size and accumulation of each process, so that all see a step's rows of a single one.

    So an adapter does not depend on the number of GPUs. Raises `InputError` when it does not divide the rows.
    """
    share, remainder = divmod(settings.rows_per_step, processes)
    if remainder:
        sizes = f"--batch-size {settings.batch_size} x --accumulation {settings.accumulation}"
        raise InputError(
            f"{processes} processes cannot share out the {settings.rows_per_step} rows of an optimizer step "
            f"({sizes}): start as many as divide them, or give other sizes (this trains another adapter)"
        )
    size = max(size for size in range(1, (settings.batch_size or 1) + 1) if share % size == 0)
    return size, share // size


def recipe_of(
    settings: TrainSettings,
) -> tuple[BitsAndBytesConfig, LoraConfig, TrainingArguments, TrainingCollator]:
    """Return the objects that resolved settings stand for, as `recipe_values` takes them."""
    processor = load_processor(settings.model, settings.image_splitting)
    arguments = training_arguments(settings, RunFolder(settings.out).checkpoints)
    collator = training_collator(processor, settings)
    return quantization_config(), lora_config(settings), arguments, collator


def settings_in_use(
    settings: TrainSettings,
    lora: LoraConfig,
    arguments: transformers.TrainingArguments,
    collator: TrainingCollator,
) -> TrainSettings:
    """Return ``settings`` with the values of these objects, which a notebook may change.

    A prompt that is no `Prompt` has no template to take.
    """
    prompt = collator.prompt
    return dataclasses.replace(
        settings,
        lora_r=lora.r,
        lora_alpha=lora.lora_alpha,
        lora_dropout=lora.lora_dropout,
        epochs=arguments.num_train_epochs,
        batch_size=arguments.per_device_train_batch_size,
        accumulation=arguments.gradient_accumulation_steps * arguments.world_size,
        learning_rate=arguments.learning_rate,
        warmup=arguments.warmup_steps,
        prompt=prompt.template if isinstance(prompt, Prompt) else settings.prompt,
        image_splitting=collator.processor.image_processor.do_image_splitting,
    )


def _settings_values(settings: TrainSettings) -> dict[str, Any]:
    """Return the values of resolved settings that an adapter depends on, as JSON values."""
    values = {name: value for name, value in as_json(settings).items() if name not in NOT_IN_RESULT}
    return values | {"rows_per_step": settings.rows_per_step}


def _data_contents(settings: TrainSettings) -> list[Any]:
    """Return what an adapter depends on besides its recipe, as JSON values.

    These are the entities' proportions in the test table, the sampled rows with their labels, and the
    contents of their images. Raises `InputError` when one of these is missing.
    """
    data = DataFolder(settings.data)
    sampled = read_sampled(settings.data, settings.rows, settings.seed)
    if sampled.train is None:
        raise InputError(f"{data.train}: not found; a data folder needs this file")
    table = sampled.train
    images = image_names(table["image_link"], read_files(settings.data))
    cells = (table.index, images, table["entity_name"], table["entity_value"], table["group_id"])
    contents = image_contents(RunFolder(settings.out).processed, images, settings.ocr)
    test_entities = () if sampled.test is None else sampled.test["entity_name"]
    return [proportions(test_entities), list(zip(*cells, strict=True)), contents]


def recipe_values(
    settings: TrainSettings,
    quantization: BitsAndBytesConfig,
    lora: LoraConfig,
    arguments: transformers.TrainingArguments,
    collator: TrainingCollator,
) -> dict[str, Any]:
    """Return all that an adapter depends on but the data, by name, as JSON values.

    These are the settings in use, the model's contents, and what a notebook may change beyond settings.
    """
    adapter = {name: value for name, value in lora.to_dict().items() if name not in _NOT_OF_THE_RECIPE}
    return {
        "model": model_contents(settings.model),
        **_settings_values(settings_in_use(settings, lora, arguments, collator)),
        **{f"quantization {name}": str(value) for name, value in quantization.to_dict().items()},
        **{f"LoRA {name}": str(sorted(v) if isinstance(v, set) else v) for name, v in adapter.items()},
        **{name: str(getattr(arguments, name)) for name in _RECIPE_ARGUMENTS},
        "prompts": [collator.prompt(entity, "CONTEXT") for entity in ENTITIES],
    }


def adapter_key(settings: TrainSettings, recipe: Mapping[str, Any]) -> str:
    """Return the cache key of the adapter that a recipe (see `recipe_values`) makes of the settings' data.

    It decides whether an adapter is current. Raises `InputError` when the data are not there.
    """
    return files.cache_key([dict(recipe), *_data_contents(settings)])
