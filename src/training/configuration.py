"""The settings of a training as the objects that peft and transformers take, and the key of its result."""

import dataclasses
import hashlib
import importlib.util
import json
import os
from pathlib import Path
from typing import Any

import torch
import transformers
from peft import LoraConfig
from transformers import BitsAndBytesConfig

from src.data.files import fingerprint
from src.data.folders import DataFolder, ProcessedFolder, RunFolder
from src.entities import ENTITIES
from src.model.modeling import load_config, model_stamp, preset_for
from src.model.precision import compute_dtype
from src.model.prompts import PromptFunction, check_template
from src.settings import TrainSettings, decoding_workers
from src.training.adapter import as_json

NOT_IN_RESULT = (
    "workers",
    "checkpoint_steps",
    "evaluations",
    "batch_size",
    "accumulation",
    "gradient_checkpointing",
)
"""Settings that change how fast an adapter is made, but not which one; the product of the sizes counts."""

_RECIPE_ARGUMENTS = ("lr_scheduler_type", "weight_decay", "max_grad_norm", "adam_beta1", "adam_beta2")
"""Arguments of the trainer that no setting covers, and that a notebook may change."""
_NOT_OF_THE_RECIPE = ("base_model_name_or_path", "inference_mode", "peft_version", "revision")
"""Fields of a LoRA configuration that change when it is put on a model or saved."""


def resolve(settings: TrainSettings) -> TrainSettings:
    """Return ``settings`` with the preset's values in place of None. Raises `InputError`."""
    check_template(settings.prompt)
    preset = preset_for(load_config(settings.model))
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

    Making them also finds this process's rank among others, and its GPU.
    """
    return TrainingArguments(
        **machine_arguments(settings, checkpoints),
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.batch_size,
        gradient_accumulation_steps=settings.accumulation,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=settings.warmup,  # below 1 a share of the steps
    )


def machine_arguments(settings: TrainSettings, checkpoints: Path) -> dict[str, Any]:
    """Return the arguments that follow from this machine, and from how this project logs and evaluates."""
    cuda = torch.cuda.is_available()
    tensorboard = importlib.util.find_spec("tensorboard") is not None
    if tensorboard:
        os.environ.setdefault("TENSORBOARD_LOGGING_DIR", str(settings.out / "tensorboard"))
    return {
        "output_dir": str(checkpoints),
        # A paged optimizer does not survive a resume on several GPUs.
        "optim": "adamw_8bit" if cuda else "adamw_torch",
        "bf16": cuda and compute_dtype() is torch.bfloat16,
        "fp16": cuda and compute_dtype() is torch.float16,
        "use_cpu": not cuda,
        "ddp_backend": "gloo" if not cuda and int(os.environ.get("WORLD_SIZE", "1")) > 1 else None,
        "ddp_find_unused_parameters": False,
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


def settings_in_use(
    settings: TrainSettings, lora: LoraConfig, arguments: transformers.TrainingArguments
) -> TrainSettings:
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
    """Return what decides whether an adapter is current: resolved settings, base model, tables, model images.

    Raises `InputError` when a file of these is missing.
    """
    data, processed = DataFolder(settings.data), ProcessedFolder(RunFolder(settings.out).processed)
    files = dict.fromkeys(processed.manifests, "run preprocess.py first")
    files[data.train] = "a data folder needs this file"
    if settings.ocr:
        files |= dict.fromkeys(processed.texts or [processed.text], "run preprocess.py with --ocr")
    if data.test.is_file():  # its proportions
        files[data.test] = ""
    values = {name: value for name, value in as_json(settings).items() if name not in NOT_IN_RESULT}
    values["rows_per_step"] = (settings.batch_size or 1) * (settings.accumulation or 1)
    return fingerprint(json.dumps([values, model_stamp(settings.model)]), files)


def adapter_key(
    settings: TrainSettings,
    quantization: BitsAndBytesConfig,
    lora: LoraConfig,
    arguments: transformers.TrainingArguments,
    prompt: PromptFunction,
) -> str:
    """Return the cache key of the adapter that these objects make, whatever a notebook has changed in them.

    Raises `InputError` as `cache_key` does.
    """
    adapter = {name: value for name, value in lora.to_dict().items() if name not in _NOT_OF_THE_RECIPE}
    recipe = {
        "quantization": quantization.to_dict(),
        "lora": {name: sorted(value) if isinstance(value, set) else value for name, value in adapter.items()},
        "arguments": {name: str(getattr(arguments, name)) for name in _RECIPE_ARGUMENTS},
        "prompts": [prompt(entity, "CONTEXT") for entity in ENTITIES],
    }
    text = json.dumps([cache_key(settings_in_use(settings, lora, arguments)), recipe], default=str)
    return hashlib.sha256(text.encode()).hexdigest()
